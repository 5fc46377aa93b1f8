//! The Docker engine, through bollard. Connects when first used, so that a gateway starts while the
//! engine is down, and turns Docker's status codes into [`EngineError`].

pub(crate) mod create;
pub(crate) mod networks;
mod seen;
mod stats;
pub(crate) mod trouble;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{CreateImageInfo, EventMessage, ExecConfig};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, EventsOptionsBuilder, ListContainersOptionsBuilder,
    ListImagesOptions, ListVolumesOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions, RenameContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::{Mutex, OnceCell};

use super::spec::{ContainerSpec, LABEL_DESKTOP, LABEL_INSTANCE, Network, container_name};
use super::{
    Container, Engine, EngineError, Event, Image, OwnNetwork, Percent, PullFailure, Stats,
};
use seen::{inspected, listed};
use trouble::{sort, sort_pull};

use crate::config::EngineConfig;
use crate::model::time::Timestamp;

/// How long one ordinary call may take. Creating a container on a busy disk is the slowest.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the engine may take, by what it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// A question about health, and the first word.
    pub ping: Duration,
    /// A question about containers, images or volumes.
    pub look: Duration,
    /// A question that a registry has to answer.
    pub registry: Duration,
    /// The time in which a pull says nothing new.
    pub silence: Duration,
    /// A whole pull.
    pub pull: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(3),
            look: Duration::from_secs(20),
            registry: Duration::from_secs(15),
            // Layers are unpacked on slow disks as well.
            silence: Duration::from_secs(60),
            pull: Duration::from_secs(4 * 60 * 60),
        }
    }
}

/// The Docker engine at one address.
#[derive(Debug)]
pub struct DockerEngine {
    host: String,
    deadlines: Deadlines,
    client: OnceCell<Docker>,
    /// Held while the network is looked for and made.
    preparing: Mutex<()>,
    /// Whether it was said that this engine keeps no volume to a size.
    warned_of_quota: AtomicBool,
}

impl DockerEngine {
    /// An engine that is connected to when first used.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self::with_deadlines(config, Deadlines::default())
    }

    /// The same with other deadlines.
    #[must_use]
    pub fn with_deadlines(config: EngineConfig, deadlines: Deadlines) -> Self {
        Self {
            host: config.docker_host,
            deadlines,
            client: OnceCell::new(),
            preparing: Mutex::new(()),
            warned_of_quota: AtomicBool::new(false),
        }
    }

    /// The connection, with the API version that both sides know. One caller after the other tries to have it, none longer
    /// than a question about health may take.
    async fn client(&self) -> Result<&Docker, EngineError> {
        let limit = self.deadlines.ping;
        let connected = self.client.get_or_try_init(|| async {
            let seconds = CALL_TIMEOUT.as_secs();
            let client = if self.host.starts_with("unix://") {
                Docker::connect_with_unix(&self.host, seconds, API_DEFAULT_VERSION)
            } else {
                Docker::connect_with_http(&self.host, seconds, API_DEFAULT_VERSION)
            };
            let client = client.map_err(EngineError::Unreachable)?;
            within(limit, client.negotiate_version()).await
        });
        match tokio::time::timeout(limit, connected).await {
            Ok(connected) => connected,
            Err(_) => Err(EngineError::Timeout(limit)),
        }
    }

    /// Brings an image, and says what comes.
    async fn pull_steps(&self, image: &str, percent: &Percent) -> Result<(), EngineError> {
        let (reference, tag) = reference_of(image);
        let options = CreateImageOptionsBuilder::new()
            .from_image(reference)
            .tag(tag)
            .build();
        let client = self.client().await?;
        let mut steps = client.create_image(Some(options), None, None);
        let (mut layers, silence) = (HashMap::new(), self.deadlines.silence);
        loop {
            match tokio::time::timeout(silence, steps.next()).await {
                Ok(Some(Ok(step))) => note_layer(&mut layers, step, percent),
                Ok(Some(Err(Error::RequestTimeoutError))) | Err(_) => {
                    let error = Error::RequestTimeoutError;
                    return Err(EngineError::Pull(PullFailure::Stalled, error));
                }
                Ok(Some(Err(error))) => return Err(sort_pull(error, silence)),
                Ok(None) => break,
            }
        }
        if self.image_id(image).await?.is_some() {
            return Ok(());
        }
        let error = "the pull ended, and the image is not there".to_owned();
        let error = Error::DockerStreamError { error };
        Err(EngineError::Pull(PullFailure::Other, error))
    }
}

/// A reference and the tag to ask for beside it: without one, Docker pulls every tag there is.
fn reference_of(image: &str) -> (&str, &str) {
    let name = image.rsplit('/').next().unwrap_or(image);
    let is_whole = name.contains([':', '@']);
    (image, if is_whole { "" } else { "latest" })
}

/// Runs a call under a deadline and sorts its error.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(sort(error, limit)),
        Err(_) => Err(EngineError::Timeout(limit)),
    }
}

/// Takes an error that means "it is so already" for success.
fn accept(
    result: Result<(), EngineError>,
    fine: impl Fn(&EngineError) -> bool,
) -> Result<(), EngineError> {
    match result {
        Err(error) if fine(&error) => Ok(()),
        other => other,
    }
}

/// Docker answers 304 when a container is in the wanted state already; bollard calls that an error.
fn is_unmodified(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Refused(Error::DockerResponseServerError {
            status_code: 304,
            ..
        })
    )
}

/// Docker answers 409 to a removal while another one is under way.
fn is_conflict(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Refused(Error::DockerResponseServerError {
            status_code: 409,
            ..
        })
    )
}

/// Docker has no status of its own for "it is so already" when it pauses, and another one for each way.
fn says(error: &EngineError, words: &str) -> bool {
    matches!(
        error,
        EngineError::Refused(Error::DockerResponseServerError { message, .. })
            if message.contains(words)
    )
}

/// What the engine is asked for a command in a container.
pub(crate) fn command_body(command: &[String]) -> ExecConfig {
    ExecConfig {
        cmd: Some(command.to_vec()),
        attach_stdout: Some(true),
        ..ExecConfig::default()
    }
}

fn instance_filter(instance: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(
        "label".to_owned(),
        vec![format!("{LABEL_INSTANCE}={instance}")],
    )])
}

#[async_trait]
impl Engine for DockerEngine {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn ping(&self) -> Result<(), EngineError> {
        let client = self.client().await?;
        let said = within(self.deadlines.ping, client.ping()).await?;
        if said.trim() == "OK" {
            return Ok(());
        }
        let error = "what answers is no container engine".to_owned();
        Err(EngineError::Refused(Error::DockerStreamError { error }))
    }

    async fn prepare(&self, network: &Network, instance: &str) -> Result<(), EngineError> {
        let client = self.client().await?;
        let _one_at_a_time = self.preparing.lock().await;
        networks::make(client, network, instance).await
    }

    async fn networks(&self, instance: &str) -> Result<Vec<OwnNetwork>, EngineError> {
        networks::own(self.client().await?, instance).await
    }

    async fn remove_network(&self, network: &str) -> Result<(), EngineError> {
        networks::remove(self.client().await?, network).await
    }

    async fn image_id(&self, image: &str) -> Result<Option<String>, EngineError> {
        let client = self.client().await?;
        match within(self.deadlines.look, client.inspect_image(image)).await {
            Ok(found) => Ok(Some(found.id.unwrap_or_default())),
            Err(EngineError::ImageMissing | EngineError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn images(&self) -> Result<Vec<Image>, EngineError> {
        let client = self.client().await?;
        let found = within(
            self.deadlines.look,
            client.list_images(None::<ListImagesOptions>),
        )
        .await?;
        let images = found.into_iter().map(|image| Image {
            id: image.id,
            names: image.repo_tags,
            size: image.size,
            created_at: Timestamp::from_millis(image.created.saturating_mul(1000)),
        });
        Ok(images.collect())
    }

    async fn remove_volumes(&self, labels: &[(&str, String)]) -> Result<u64, EngineError> {
        let client = self.client().await?;
        let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
        let filters = HashMap::from([("label".to_owned(), labels.collect::<Vec<_>>())]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let found = within(CALL_TIMEOUT, client.list_volumes(Some(options))).await?;
        let mut removed = 0;
        for volume in found.volumes.unwrap_or_default() {
            let gone = within(
                CALL_TIMEOUT,
                client.remove_volume(&volume.name, None::<RemoveVolumeOptions>),
            )
            .await;
            accept(gone, |error| matches!(error, EngineError::NotFound))?;
            removed += 1;
        }
        Ok(removed)
    }

    async fn pull(&self, image: &str, percent: &Percent) -> Result<(), EngineError> {
        let limit = self.deadlines.pull;
        match tokio::time::timeout(limit, self.pull_steps(image, percent)).await {
            Ok(pulled) => pulled,
            Err(_) => Err(EngineError::Timeout(limit)),
        }
    }

    async fn can_pull(&self, image: &str) -> Result<(), EngineError> {
        let client = self.client().await?;
        let asked = client.inspect_registry_image(image, None);
        within(self.deadlines.registry, asked).await.map(|_| ())
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        create::container(self.client().await?, spec, &self.warned_of_quota).await
    }

    async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        let client = self.client().await?;
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        within(CALL_TIMEOUT, client.rename_container(container, options)).await
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        let client = self.client().await?;
        accept(
            within(CALL_TIMEOUT, client.start_container(container, None)).await,
            is_unmodified,
        )
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        let client = self.client().await?;
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        // A frozen process takes no notice of a polite signal.
        match self.unpause(container).await {
            Ok(()) | Err(EngineError::NotFound | EngineError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let stopped = within(
            CALL_TIMEOUT + grace,
            client.stop_container(container, Some(options)),
        )
        .await;
        accept(stopped, |error| {
            is_unmodified(error) || matches!(error, EngineError::NotFound)
        })
    }

    async fn pause(&self, container: &str) -> Result<(), EngineError> {
        let client = self.client().await?;
        let paused = within(CALL_TIMEOUT, client.pause_container(container)).await;
        accept(paused, |error| says(error, "already paused"))
    }

    async fn unpause(&self, container: &str) -> Result<(), EngineError> {
        let client = self.client().await?;
        let woken = within(CALL_TIMEOUT, client.unpause_container(container)).await;
        accept(woken, |error| says(error, "is not paused"))
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let client = self.client().await?;
        // A container that waits for somebody has another name than its network.
        let found = self.inspect(container).await?;
        let network = found.as_ref().and_then(network_of);
        // `v` removes anonymous volumes only; a home is a named one and stays.
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let removed = within(
            CALL_TIMEOUT,
            client.remove_container(container, Some(options)),
        )
        .await;
        accept(removed, |error| {
            is_conflict(error) || matches!(error, EngineError::NotFound)
        })?;
        networks::remove(client, network.as_deref().unwrap_or(container)).await
    }

    async fn exec(
        &self,
        container: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<Option<i64>, EngineError> {
        let client = self.client().await?;
        let body = command_body(command);
        let made = within(CALL_TIMEOUT, client.create_exec(container, body)).await?;
        let run = async {
            let started = client
                .start_exec(&made.id, None::<StartExecOptions>)
                .await?;
            // Its output ends with it; what it says is of no interest.
            if let StartExecResults::Attached { mut output, .. } = started {
                while output.try_next().await?.is_some() {}
            }
            client.inspect_exec(&made.id).await
        };
        Ok(within(limit, run).await?.exit_code)
    }

    async fn has_volume(&self, volume: &str) -> Result<bool, EngineError> {
        let client = self.client().await?;
        match within(self.deadlines.look, client.inspect_volume(volume)).await {
            Ok(_) => Ok(true),
            Err(EngineError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), EngineError> {
        let client = self.client().await?;
        let call = client.remove_volume(volume, None::<RemoveVolumeOptions>);
        let removed = within(CALL_TIMEOUT, call).await;
        accept(removed, |error| matches!(error, EngineError::NotFound))
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>, EngineError> {
        let client = self.client().await?;
        match within(
            self.deadlines.look,
            client.inspect_container(container, None),
        )
        .await
        {
            Ok(found) => Ok(Some(inspected(found))),
            Err(EngineError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, instance: &str) -> Result<Vec<Container>, EngineError> {
        let client = self.client().await?;
        let filters = instance_filter(instance);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = within(self.deadlines.look, client.list_containers(Some(options))).await?;
        Ok(found.into_iter().map(listed).collect())
    }

    async fn stats(&self, container: &str) -> Result<Stats, EngineError> {
        stats::of(self.client().await?, container).await
    }

    async fn events(&self, instance: &str) -> Result<BoxStream<'static, Event>, EngineError> {
        let client = self.client().await?.clone();
        let mut filters = instance_filter(instance);
        filters.insert("type".into(), vec!["container".into()]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let events = client.events(Some(options));
        Ok(events
            .take_while(|event| std::future::ready(event.is_ok()))
            .filter_map(|event| std::future::ready(event.ok().and_then(happened)))
            .boxed())
    }

    async fn log_tail(&self, container: &str, lines: u32) -> Result<String, EngineError> {
        let client = self.client().await?;
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail(&lines.to_string())
            .build();
        let lines = client
            .logs(container, Some(options))
            .map_ok(|line| line.to_string());
        let lines: Vec<String> = within(self.deadlines.look, lines.try_collect()).await?;
        Ok(lines.concat())
    }
}

/// The name that the network of a desktop's container has, if it has one of its own.
fn network_of(container: &Container) -> Option<String> {
    let instance = container.labels.get(LABEL_INSTANCE)?;
    let desktop = container.labels.get(LABEL_DESKTOP)?.parse().ok()?;
    Some(container_name(instance, desktop))
}

/// Notes how far a layer of an image is. Half of the way is its download, the other half its unpacking.
fn note_layer(layers: &mut HashMap<String, (u64, u64)>, step: CreateImageInfo, percent: &Percent) {
    let (Some(layer), Some(detail)) = (step.id, step.progress_detail) else {
        return;
    };
    let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let (Some(current), Some(total)) = (count(detail.current), count(detail.total)) else {
        return;
    };
    let unpacks = step.status.is_some_and(|status| status == "Extracting");
    let done = if unpacks { total + current } else { current };
    let known = layers.entry(layer).or_default();
    *known = (done.max(known.0), total.saturating_mul(2).max(known.1));
    let (current, total) = layers.values().fold((0, 0), |(current, total), layer| {
        (current + layer.0, total + layer.1)
    });
    percent.note(current, total);
}

fn happened(message: EventMessage) -> Option<Event> {
    let name = message.actor?.attributes?.remove("name")?;
    Some(Event {
        name,
        action: message.action?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_tag_is_the_latest_and_not_all_of_them() {
        for (image, tag) in [
            ("alpine", "latest"),
            ("registry.test:5000/a/b", "latest"),
            ("registry.test:5000/a/b:1", ""),
            ("alpine:3", ""),
            ("alpine@sha256:00", ""),
        ] {
            assert_eq!(reference_of(image), (image, tag));
        }
    }
}
