//! What a container for a desktop looks like: a pure function of template, desktop and settings.

use std::collections::HashMap;

use crate::config::Reach;
use crate::model::desktop::Desktop;
use crate::model::id::DesktopId;
use crate::model::template::{Auth, Home, Template};

/// Label with the name of the installation.
pub const LABEL_INSTANCE: &str = "deskgate.instance";
/// Label with the desktop's id.
pub const LABEL_DESKTOP: &str = "deskgate.desktop";
/// Label with the user's id.
pub const LABEL_USER: &str = "deskgate.user";
/// Label with the template's id.
pub const LABEL_TEMPLATE: &str = "deskgate.template";

/// Everything the engine is told about a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Deterministic name: it is a lock across gateways.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// Labels that let the truth be rebuilt from the engine.
    pub labels: HashMap<String, String>,
    /// `NAME=value`; holds the desktop's password.
    pub env: Vec<String>,
    /// Port inside.
    pub port: u16,
    /// Port on 127.0.0.1 of the host, if one is published.
    pub host_port: Option<u16>,
    /// Network to join.
    pub network: String,
    /// Shared memory, bytes.
    pub shm_size: i64,
    /// Memory limit, bytes.
    pub memory: i64,
    /// CPU limit, billionths of a core.
    pub nano_cpus: i64,
    /// Limit of processes and threads.
    pub pids: i64,
    /// Capabilities given back after all were dropped.
    pub cap_add: Vec<String>,
    /// Volume for the person's files.
    pub home: Option<HomeVolume>,
}

/// A named volume that outlives the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeVolume {
    /// Volume name, the same for each start by this user.
    pub name: String,
    /// Where it appears inside.
    pub path: String,
    /// Labels of the volume.
    pub labels: HashMap<String, String>,
}

/// The container's name for a desktop.
#[must_use]
pub fn container_name(instance: &str, desktop: DesktopId) -> String {
    format!("deskgate-{instance}-{desktop}")
}

/// The network that desktops of an installation share without reaching each other.
#[must_use]
pub fn network_name(instance: &str) -> String {
    format!("deskgate-{instance}")
}

impl ContainerSpec {
    /// Describes the container of `desktop`, which `password` protects.
    ///
    /// All capabilities are dropped but those of `cap_add`, and the port is published on 127.0.0.1 only: nobody
    /// reaches a desktop past the gateway.
    #[must_use]
    pub fn new(template: &Template, desktop: &Desktop, password: &str, place: Place<'_>) -> Self {
        let instance = place.instance;
        let owned = |name: &str, value: String| (name.to_owned(), value);
        let owner_labels = HashMap::from([
            owned(LABEL_INSTANCE, instance.to_owned()),
            owned(LABEL_USER, desktop.user_id.to_string()),
            owned(LABEL_TEMPLATE, template.id.clone()),
        ]);
        let mut labels = owner_labels.clone();
        labels.extend([owned(LABEL_DESKTOP, desktop.id.to_string())]);
        let mut env: Vec<String> = template
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if let Auth::Basic { password_env, .. } = &template.auth {
            env.push(format!("{password_env}={password}"));
        }
        Self {
            name: desktop.container_name.clone(),
            image: desktop.image_name.clone(),
            labels,
            env,
            port: desktop.container_port,
            host_port: desktop.host_port.filter(|_| place.reach == Reach::Port),
            network: network_name(instance),
            shm_size: saturating(template.shm_size),
            memory: saturating(template.memory),
            nano_cpus: i64::from(template.cpu_millis) * 1_000_000,
            pids: i64::from(template.pids),
            cap_add: template.cap_add.clone(),
            home: (template.home == Home::Volume).then(|| HomeVolume {
                name: format!(
                    "deskgate-{instance}-home-{}-{}",
                    desktop.user_id, template.id
                ),
                path: template.home_path.clone(),
                labels: owner_labels,
            }),
        }
    }
}

/// Where containers of this installation go.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Name of the installation.
    pub instance: &'a str,
    /// How the gateway reaches desktops.
    pub reach: Reach,
}

fn saturating(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::desktop::State;
    use crate::model::id::UserId;
    use crate::model::time::Timestamp;

    #[test]
    fn a_container_has_a_password_limits_labels_and_only_a_loopback_port() {
        let id = DesktopId::random();
        let template = Template::kasm("image:1".into(), 6901);
        let desktop = Desktop {
            id,
            user_id: UserId::random(),
            session_id: None,
            container_id: None,
            container_name: container_name("school", id),
            image_name: "image:1".into(),
            template: "desktop".into(),
            status: State::Queued,
            status_reason: None,
            host_port: Some(7001),
            container_port: 6901,
            created_at: Timestamp::default(),
            started_at: None,
            stopped_at: None,
            last_accessed: None,
            last_input: None,
            last_used: None,
            extensions: 0,
        };
        let place = |reach| Place {
            instance: "school",
            reach,
        };
        let spec = ContainerSpec::new(&template, &desktop, "pw", place(Reach::Port));
        assert_eq!(spec.env, ["VNC_PW=pw"]);
        assert_eq!(spec.host_port, Some(7001));
        assert_eq!(spec.labels[LABEL_DESKTOP], id.to_string());
        assert_eq!(spec.labels[LABEL_INSTANCE], "school");
        assert!(spec.memory > 0 && spec.pids > 0 && spec.nano_cpus > 0);
        let home = spec.home.expect("a home");
        assert!(
            !home.name.contains(&id.to_string()),
            "the home outlives the desktop"
        );
        let spec = ContainerSpec::new(&template, &desktop, "pw", place(Reach::Network));
        assert_eq!(spec.host_port, None);
    }
}
