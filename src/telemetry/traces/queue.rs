//! Where ended spans wait for the exporter. Whoever ends one never waits: when the queue is full, the span is lost.

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

use super::super::metrics::Metrics;
use std::time::Duration;

/// Spans that may wait.
const MAX_WAITING: usize = 2048;

/// The way in.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: mpsc::Sender<SpanData>,
    metrics: Metrics,
}

impl Queue {
    /// The way in, and the way out.
    pub fn new(metrics: Metrics) -> (Self, mpsc::Receiver<SpanData>) {
        let (waiting, spans) = mpsc::channel(MAX_WAITING);
        (Self { waiting, metrics }, spans)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.waiting.try_send(span).is_err() {
            self.metrics.spans("lost", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
