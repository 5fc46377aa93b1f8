//! A little OpenTelemetry collector: takes OTLP over HTTP as the specification says, decodes it, and keeps the spans.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::gateway::eventually;

#[derive(Default)]
struct Taken {
    messages: usize,
    spans: Vec<Span>,
    resources: Vec<BTreeMap<String, String>>,
    /// All of it, to look for what must not be there.
    raw: Vec<u8>,
    faults: Vec<String>,
}

/// The collector.
pub struct Collector {
    addr: SocketAddr,
    taken: Arc<Mutex<Taken>>,
    /// The status with which it refuses everything; 0: it does not.
    pub refusal: Arc<AtomicU16>,
    _running: JoinSet<()>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (taken, refusal) = (Arc::<Mutex<Taken>>::default(), Arc::<AtomicU16>::default());
        let mut running = JoinSet::new();
        running.spawn(serve(listener, taken.clone(), refusal.clone()));
        Self {
            addr,
            taken,
            refusal,
            _running: running,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The span with this name, once it is there.
    pub async fn span(&self, name: &str) -> Span {
        eventually(name, || async { self.find(name).is_some() }).await;
        self.find(name).unwrap()
    }

    pub fn find(&self, name: &str) -> Option<Span> {
        let taken = self.taken.lock().unwrap();
        taken.spans.iter().find(|span| span.name == name).cloned()
    }

    pub fn names(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        taken.spans.iter().map(|span| span.name.clone()).collect()
    }

    /// How many messages it took.
    pub fn messages(&self) -> usize {
        self.taken.lock().unwrap().messages
    }

    /// What each batch says of the gateway.
    pub fn resources(&self) -> Vec<BTreeMap<String, String>> {
        self.taken.lock().unwrap().resources.clone()
    }

    /// Whether these bytes came, in whatever field.
    pub fn has(&self, text: &str) -> bool {
        let taken = self.taken.lock().unwrap();
        let mut windows = taken.raw.windows(text.len());
        windows.any(|window| window == text.as_bytes())
    }

    #[track_caller]
    pub fn assert_no_faults(&self) {
        assert_eq!(self.taken.lock().unwrap().faults, Vec::<String>::new());
    }
}

async fn serve(listener: TcpListener, taken: Arc<Mutex<Taken>>, refusal: Arc<AtomicU16>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (taken, refusal) = (taken.clone(), refusal.clone());
        connections.spawn(async move {
            let service = service_fn(|request| {
                let (taken, refusal) = (taken.clone(), refusal.clone());
                async move {
                    let status = take(&taken, &refusal, request).await;
                    let answer = Response::builder()
                        .status(status)
                        .header("content-type", "application/x-protobuf");
                    Ok::<_, std::convert::Infallible>(
                        answer.body(Full::<Bytes>::default()).unwrap(),
                    )
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn take(taken: &Mutex<Taken>, refusal: &AtomicU16, request: Request<Incoming>) -> u16 {
    let (head, body) = request.into_parts();
    let kind = head.headers.get("content-type").cloned();
    let body = body.collect().await.unwrap().to_bytes();
    let refused = refusal.load(Ordering::SeqCst);
    if refused != 0 {
        return refused;
    }
    let mut taken = taken.lock().unwrap();
    let right = head.method == Method::POST
        && head.uri.path() == "/v1/traces"
        && kind.is_some_and(|kind| kind == "application/x-protobuf");
    let Ok(message) = ExportTraceServiceRequest::decode(&body[..]) else {
        taken.faults.push("not the message".into());
        return 400;
    };
    if !right {
        taken.faults.push(format!("{} {}", head.method, head.uri));
        return 404;
    }
    taken.messages += 1;
    taken.raw.extend_from_slice(&body);
    for resource in message.resource_spans {
        let about = resource.resource.map(|about| attributes(&about.attributes));
        taken.resources.extend(about);
        for scope in resource.scope_spans {
            for span in &scope.spans {
                let whole = span.trace_id.len() == 16
                    && span.span_id.len() == 8
                    && span.end_time_unix_nano >= span.start_time_unix_nano
                    && span.dropped_attributes_count == 0;
                if !whole {
                    taken.faults.push(format!("{span:?}"));
                }
            }
            taken.spans.extend(scope.spans);
        }
    }
    200
}

/// Attributes as texts.
pub fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    };
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), text(pair)))
        .collect()
}
