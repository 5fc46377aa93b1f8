//! Sends spans to the collector in batches: OTLP 1.x over HTTP, in protobuf. What it does not take is lost and counted.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::super::metrics::Metrics;
use crate::config::TraceConfig;
use crate::outbound::HttpClient;

/// Spans that are sent at once.
const MAX_BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHERING: Duration = Duration::from_secs(2);

/// Sends spans.
pub(super) struct Exporter {
    address: String,
    resource: ResourceAttributesWithSchema,
    http: HttpClient,
    metrics: Metrics,
    /// Whether the last batch was lost, so that an outage is said once.
    failing: bool,
}

impl Exporter {
    /// To the collector of `config`.
    pub fn new(
        config: &TraceConfig,
        resource: &Resource,
        http: HttpClient,
        metrics: &Metrics,
    ) -> Self {
        Self {
            address: address(config),
            resource: resource.into(),
            http,
            metrics: metrics.clone(),
            failing: false,
        }
    }

    /// Until `stop`, and then what is there.
    pub async fn run(mut self, mut spans: Receiver<SpanData>, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = spans.recv_many(&mut batch, MAX_BATCH) => if count == 0 { return },
                () = stop.cancelled(), if !spans.is_closed() => spans.close(),
            }
            if batch.is_empty() {
                continue;
            }
            let more = async {
                while batch.len() < MAX_BATCH {
                    let room = MAX_BATCH - batch.len();
                    if spans.recv_many(&mut batch, room).await == 0 {
                        break;
                    }
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                _ = tokio::time::timeout(GATHERING, more) => {}
            }
            self.send(std::mem::take(&mut batch)).await;
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len();
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let message = ExportTraceServiceRequest { resource_spans };
        let answer = match request(&self.address, &message) {
            Ok(request) => self.http.send(request).await,
            Err(_) => return,
        };
        let taken = match answer {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("it answers {}", answer.status())),
            Err(error) => Err(super::super::ErrorChain(&error).to_string()),
        };
        let (taken, outcome) = match taken {
            Ok(()) => (true, "sent"),
            Err(error) => {
                if !self.failing {
                    tracing::warn!(collector = self.address, error, "spans are lost");
                }
                (false, "lost")
            }
        };
        if taken && self.failing {
            tracing::info!(collector = self.address, "spans are taken again");
        }
        self.failing = !taken;
        self.metrics.spans(outcome, count);
    }
}

/// Where the collector of `config` takes spans.
pub(super) fn address(config: &TraceConfig) -> String {
    let endpoint = config.endpoint.as_str().trim_end_matches('/');
    format!("{endpoint}/v1/traces")
}

/// The request that brings `message` to a collector.
pub(super) fn request(
    address: &str,
    message: &ExportTraceServiceRequest,
) -> hyper::http::Result<Request<Full<Bytes>>> {
    Request::post(address)
        .header(CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(Bytes::from(message.encode_to_vec())))
}
