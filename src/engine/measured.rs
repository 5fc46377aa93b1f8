//! An engine whose calls are counted and timed, whichever engine it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tracing::Instrument as _;

use super::spec::{ContainerSpec, Network};
use super::{Container, Engine, EngineError, Event, Image, OwnNetwork, Percent, Stats};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{Traces, within};

/// An engine, and who counts.
#[derive(Debug)]
pub struct Measured {
    engine: Arc<dyn Engine>,
    metrics: Metrics,
    traces: Traces,
}

impl Measured {
    /// Counts what `engine` is asked.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, metrics: Metrics, traces: Traces) -> Self {
        Self {
            engine,
            metrics,
            traces,
        }
    }

    async fn count<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, EngineError>> + Send,
    ) -> Result<T, EngineError> {
        let span = tracing::info_span!("engine", call);
        let begun = Instant::now();
        let traced = self.traces.call("engine", call);
        let answer = answer.instrument(span.clone());
        let answer = within(traced.as_ref(), answer).await;
        let (took, failure) = (begun.elapsed(), answer.as_ref().err().and_then(kind));
        if let (Some(traced), Some(cause)) = (&traced, failure) {
            traced.fail(cause);
        }
        self.metrics.engine_call(call, took, failure);
        let ms = took.as_millis();
        tracing::debug!(parent: &span, ms, failure, "engine call");
        answer
    }
}

/// The word for a failure. What is told apart from success without anything being wrong is none.
fn kind(error: &EngineError) -> Option<&'static str> {
    match error {
        EngineError::Unreachable(_) => Some("unreachable"),
        EngineError::Timeout(_) => Some("timeout"),
        EngineError::ImageMissing | EngineError::Pull(..) => Some("image"),
        EngineError::DiskFull(_) => Some("disk"),
        EngineError::Refused(_) | EngineError::NoSubnet => Some("refused"),
        EngineError::PortTaken | EngineError::NameTaken | EngineError::NotFound => None,
    }
}

#[async_trait]
impl Engine for Measured {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    async fn ping(&self) -> Result<(), EngineError> {
        self.count("ping", self.engine.ping()).await
    }

    async fn prepare(&self, network: &Network, instance: &str) -> Result<(), EngineError> {
        let prepared = self.engine.prepare(network, instance);
        self.count("prepare", prepared).await
    }

    async fn networks(&self, instance: &str) -> Result<Vec<OwnNetwork>, EngineError> {
        self.count("networks", self.engine.networks(instance)).await
    }

    async fn remove_network(&self, network: &str) -> Result<(), EngineError> {
        let removed = self.engine.remove_network(network);
        self.count("remove_network", removed).await
    }

    async fn image_id(&self, image: &str) -> Result<Option<String>, EngineError> {
        self.count("image_id", self.engine.image_id(image)).await
    }

    async fn images(&self) -> Result<Vec<Image>, EngineError> {
        self.count("images", self.engine.images()).await
    }

    async fn pull(&self, image: &str, percent: &Percent) -> Result<(), EngineError> {
        self.count("pull", self.engine.pull(image, percent)).await
    }

    async fn can_pull(&self, image: &str) -> Result<(), EngineError> {
        self.count("can_pull", self.engine.can_pull(image)).await
    }

    async fn remove_volumes(&self, labels: &[(&str, String)]) -> Result<u64, EngineError> {
        let removed = self.engine.remove_volumes(labels);
        self.count("remove_volumes", removed).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        self.count("create", self.engine.create(spec)).await
    }

    async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        let renamed = self.engine.rename(container, name);
        self.count("rename", renamed).await
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.count("start", self.engine.start(container)).await
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        self.count("stop", self.engine.stop(container, grace)).await
    }

    async fn pause(&self, container: &str) -> Result<(), EngineError> {
        self.count("pause", self.engine.pause(container)).await
    }

    async fn unpause(&self, container: &str) -> Result<(), EngineError> {
        self.count("unpause", self.engine.unpause(container)).await
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        self.count("remove", self.engine.remove(container)).await
    }

    async fn exec(
        &self,
        container: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<Option<i64>, EngineError> {
        let ran = self.engine.exec(container, command, limit);
        self.count("exec", ran).await
    }

    async fn has_volume(&self, volume: &str) -> Result<bool, EngineError> {
        self.count("has_volume", self.engine.has_volume(volume))
            .await
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), EngineError> {
        let removed = self.engine.remove_volume(volume);
        self.count("remove_volume", removed).await
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>, EngineError> {
        self.count("inspect", self.engine.inspect(container)).await
    }

    async fn list(&self, instance: &str) -> Result<Vec<Container>, EngineError> {
        self.count("list", self.engine.list(instance)).await
    }

    async fn stats(&self, container: &str) -> Result<Stats, EngineError> {
        self.count("stats", self.engine.stats(container)).await
    }

    async fn events(&self, instance: &str) -> Result<BoxStream<'static, Event>, EngineError> {
        self.count("events", self.engine.events(instance)).await
    }

    async fn log_tail(&self, container: &str, lines: u32) -> Result<String, EngineError> {
        let lines = self.engine.log_tail(container, lines);
        self.count("log_tail", lines).await
    }

    async fn available_memory(&self) -> Option<u64> {
        self.engine.available_memory().await
    }
}
