//! Traces for an OpenTelemetry collector: where the time of a request went, the start of a desktop and the engine's part in
//! it included. Off unless a collector is named, and then nothing but a look at an empty option.
//!
//! What a span holds are words and ids of ours. Queries, cookies, bodies and whatever else may be secret are not in it.

mod export;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use http_body_util::Full;
use hyper::{HeaderMap, Request};
use opentelemetry::context::FutureExt;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use super::metrics::Metrics;
use crate::config::TraceConfig;
use crate::outbound::{HttpClient, TrustError};
use crate::tasks::Tasks;
use queue::Queue;

/// How long a stop waits for the collector to take what is left.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Makes spans; clones make them for the same collector.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    /// Of their own, because they end after all others.
    tasks: Tasks,
}

impl Traces {
    /// Sends spans where `config` says, as this `instance`.
    ///
    /// # Errors
    /// The trusted roots are unusable.
    pub fn start(
        config: Option<&TraceConfig>,
        instance: &str,
        metrics: &Metrics,
    ) -> Result<Self, TrustError> {
        let Some(config) = config else {
            return Ok(Self::default());
        };
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", "deskgate"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
            KeyValue::new("service.namespace", instance.to_owned()),
        ]);
        let resource = resource.build();
        let (queue, spans) = Queue::new(metrics.clone());
        let sampled = Sampler::TraceIdRatioBased(config.sample);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(sampled)))
            .with_resource(resource.clone())
            .with_span_processor(queue)
            .build();
        let tasks = Tasks::new();
        let exporter = export::Exporter::new(config, &resource, HttpClient::new(None)?, metrics);
        tasks.spawn("traces", exporter.run(spans, tasks.soft().clone()));
        Ok(Self(Some(Arc::new(Inner {
            tracer: provider.tracer("deskgate"),
            provider,
            tasks,
        }))))
    }

    /// Sends what is left, within a deadline, and no more.
    pub async fn stop(&self) {
        if let Some(inner) = &self.0 {
            inner.tasks.stop(LAST_SPANS).await;
            // There is nothing left to send; it only says so to those who would still make spans.
            let _ = inner.provider.shutdown();
        }
    }

    /// Whether there is a collector.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a request; `None` if this one is not sampled. `remote` are the headers of whoever may say that it
    /// is part of a larger trace (W3C Trace Context).
    #[must_use]
    pub fn request(&self, name: String, remote: Option<&HeaderMap>) -> Option<Span> {
        let none = Context::new();
        let parent = remote.map(|headers| {
            TraceContextPropagator::new().extract_with_context(&none, &Headers(headers))
        });
        self.begin(name, SpanKind::Server, parent.as_ref().unwrap_or(&none))
    }

    /// A span within the one that this future is in; `None` if it is in none.
    #[must_use]
    pub fn child(&self, name: &'static str) -> Option<Span> {
        self.within(name.to_owned(), SpanKind::Internal)
    }

    /// The same for a call to somebody else.
    #[must_use]
    pub fn call(&self, whom: &'static str, call: &'static str) -> Option<Span> {
        self.0.as_ref()?;
        self.within(format!("{whom} {call}"), SpanKind::Client)
    }

    fn within(&self, name: String, kind: SpanKind) -> Option<Span> {
        self.0.as_ref()?;
        let current = Context::current();
        current
            .has_active_span()
            .then(|| self.begin(name, kind, &current))?
    }

    fn begin(&self, name: String, kind: SpanKind, parent: &Context) -> Option<Span> {
        let tracer = &self.0.as_ref()?.tracer;
        let span = tracer.span_builder(name).with_kind(kind);
        let span = span.start_with_context(tracer, parent);
        let context = parent.with_span(span);
        let sampled = context.span().span_context().is_sampled();
        sampled.then_some(Span(context))
    }
}

/// A request that brings the collector of `config` no spans, to see whether it would take some.
///
/// # Errors
/// The address is none that a request can go to.
pub fn empty_export(config: &TraceConfig) -> hyper::http::Result<Request<Full<Bytes>>> {
    let nothing = ExportTraceServiceRequest::default();
    export::request(&export::address(config), &nothing)
}

/// Something that takes time. It ends when it is dropped.
#[derive(Debug)]
pub struct Span(Context);

impl Span {
    /// Says something about it: a word or an id, never a secret.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(key, value));
    }

    /// It did not end well, for this reason.
    pub fn fail(&self, reason: &'static str) {
        self.set("error.type", reason);
        self.0.span().set_status(Status::error(reason));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.0.span().end();
    }
}

/// Runs `future` within a span, if there is one.
pub fn within<F: Future>(
    span: Option<&Span>,
    future: F,
) -> impl Future<Output = F::Output> + use<F> {
    match span {
        Some(span) => Either::Left(future.with_context(span.0.clone())),
        None => Either::Right(future),
    }
}

/// The headers of a request, as the library wants to read them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        // Two of them could be understood differently.
        let first = values.next()?;
        if values.next().is_some() {
            return None;
        }
        first.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0
            .keys()
            .map(hyper::header::HeaderName::as_str)
            .collect()
    }
}
