//! A container as the Docker API wants it described, and the volume for its home.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, DeviceMapping, HostConfig, Mount as DockerMount, MountType,
    MountVolumeOptions, PortBinding, VolumeCreateRequest,
};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use super::super::spec::{ContainerSpec, HomeVolume, LABEL_INSTANCE};
use super::super::{Engine as _, EngineError};
use super::trouble::lacks_quota;
use super::{CALL_TIMEOUT, DockerEngine, within};
use crate::model::mount::Mount;
use crate::model::template::{Sandbox, Seccomp};
use crate::telemetry::ErrorChain;

/// How long programs wait for a name server that never answers (resolv.conf(5)): a second, once. The resolver of Docker 20.10
/// says nothing where its upstream refuses, and their own patience would be twenty.
const IMPATIENT: [&str; 2] = ["timeout:1", "attempts:1"];

impl DockerEngine {
    /// Whether the engine keeps a volume to a size, tried with one like `home`, which has to be nobody's: it is removed.
    ///
    /// # Errors
    /// Whatever else the engine says to it.
    pub async fn keeps_quota(&self, home: &HomeVolume, quota: u64) -> Result<bool, EngineError> {
        let made = self.client().await?.create_volume(volume_body(home, quota));
        let keeps = match within(CALL_TIMEOUT, made).await {
            Ok(_) => true,
            Err(error) if lacks_quota(&error) => false,
            Err(error) => return Err(error),
        };
        self.remove_volume(&home.name).await?;
        Ok(keeps)
    }
}

/// Makes a container and returns its id. `warned` is whether it was said that this engine keeps no volume to a size.
pub(super) async fn container(
    client: &Docker,
    spec: &ContainerSpec,
    warned: &AtomicBool,
) -> Result<String, EngineError> {
    if let Some(home) = &spec.home
        && let Some(quota) = home.quota
    {
        volume_with_quota(client, home, quota, warned).await?;
    }
    let options = CreateContainerOptionsBuilder::new()
        .name(&spec.name)
        .build();
    let made = client.create_container(Some(options), body(spec));
    Ok(within(CALL_TIMEOUT, made).await?.id)
}

/// Makes the volume of a home that is not there yet, with a limit where the file system below Docker's directory
/// has project quotas. Where it has none, the volume is made with the container, without a limit. Each new home asks
/// again: a limit that is left out once is left out for good.
async fn volume_with_quota(
    client: &Docker,
    home: &HomeVolume,
    quota: u64,
    warned: &AtomicBool,
) -> Result<(), EngineError> {
    match within(CALL_TIMEOUT, client.inspect_volume(&home.name)).await {
        Err(EngineError::NotFound) => {}
        other => return other.map(|_| ()),
    }
    let made = client.create_volume(volume_body(home, quota));
    match within(CALL_TIMEOUT, made).await {
        Ok(_) => Ok(()),
        Err(error) if lacks_quota(&error) => {
            if !warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(error = %ErrorChain(&error), "this engine keeps no volume to a size: home_quota has no effect");
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// What the engine is asked for a volume that is kept to a size.
pub(crate) fn volume_body(home: &HomeVolume, quota: u64) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(home.name.clone()),
        driver_opts: Some(HashMap::from([("size".to_owned(), quota.to_string())])),
        labels: Some(home.labels.clone()),
        ..VolumeCreateRequest::default()
    }
}

/// What the engine is asked for a container.
pub(crate) fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    let port = format!("{}/tcp", spec.port);
    let bindings = spec.host_port.map(|host_port| {
        let binding = PortBinding {
            host_ip: Some("127.0.0.1".into()),
            host_port: Some(host_port.to_string()),
        };
        HashMap::from([(port.clone(), Some(vec![binding]))])
    });
    let instance = spec.labels.get(LABEL_INSTANCE);
    let home = spec.home.as_ref().map(|home| {
        let mount = Mount {
            source: home.name.clone(),
            target: home.path.clone(),
            read_only: false,
        };
        volume(&mount, home.labels.clone())
    });
    let shared = spec.mounts.iter().map(|mount| {
        if mount.source.starts_with('/') {
            return directory(mount);
        }
        let label = instance.map(|name| (LABEL_INSTANCE.to_owned(), name.clone()));
        volume(mount, label.into_iter().collect())
    });
    let host = HostConfig {
        port_bindings: bindings,
        mounts: Some(home.into_iter().chain(shared).collect()),
        network_mode: Some(spec.network.name.clone()),
        dns: spec.name_server.map(|server| vec![server.to_string()]),
        dns_options: spec
            .name_server
            .map(|_| IMPATIENT.map(str::to_owned).into()),
        shm_size: Some(spec.shm_size),
        memory: Some(spec.memory),
        // Swap beyond the memory limit would let one desktop wear out the disk of all.
        memory_swap: Some(spec.memory),
        nano_cpus: Some(spec.nano_cpus),
        pids_limit: Some(spec.pids),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        env: Some(spec.env.clone()),
        labels: Some(spec.labels.clone()),
        exposed_ports: Some(vec![port]),
        entrypoint: spec.command.clone(),
        user: spec.sandbox.user.clone(),
        stop_signal: spec.stop_signal.clone(),
        host_config: Some(confined(host, &spec.sandbox)),
        ..ContainerCreateBody::default()
    }
}

/// Adds what the container may do.
fn confined(host: HostConfig, sandbox: &Sandbox) -> HostConfig {
    let mut options = Vec::new();
    if sandbox.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    match &sandbox.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => options.push("seccomp=unconfined".into()),
        Seccomp::Profile(profile) => options.push(format!("seccomp={profile}")),
    }
    let devices = sandbox.devices.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    });
    HostConfig {
        cap_drop: Some(sandbox.cap_drop.clone()),
        cap_add: Some(sandbox.cap_add.clone()),
        security_opt: Some(options),
        init: Some(sandbox.init),
        readonly_rootfs: Some(sandbox.read_only),
        tmpfs: Some(sandbox.tmpfs.clone().into_iter().collect()),
        devices: Some(devices.collect()),
        ..host
    }
}

/// A named volume, which Docker makes with these labels if it is not there.
fn volume(mount: &Mount, labels: HashMap<String, String>) -> DockerMount {
    DockerMount {
        typ: Some(MountType::VOLUME),
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        volume_options: Some(MountVolumeOptions {
            labels: Some(labels),
            ..MountVolumeOptions::default()
        }),
        ..DockerMount::default()
    }
}

/// A directory of the host, which has to be there.
fn directory(mount: &Mount) -> DockerMount {
    DockerMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..DockerMount::default()
    }
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
