//! Traces: what a collector gets of a request and of the start of a desktop, and that nobody waits for it.

use std::sync::atomic::Ordering;

use hyper::Method;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::support::browser::Browser;
use crate::support::collector::{Collector, attributes};
use crate::support::gateway::{TestGateway, eventually};

const START: &str = "POST api";
/// A trace that somebody else began, and a span of theirs; sampled.
const REMOTE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn gateway(collector: &Collector, more: &[(&str, &str)]) -> TestGateway {
    let endpoint = collector.endpoint();
    let mut settings = vec![("OTLP_ENDPOINT", &*endpoint), ("OTLP_SAMPLE", "1")];
    settings.extend_from_slice(more);
    TestGateway::start_with(&settings).await
}

async fn spans(gateway: &TestGateway, outcome: &str) -> u32 {
    let mut operator = Browser::new(gateway.config.server.metrics.unwrap());
    let text = operator.get("/metrics").await.text();
    let series = format!("deskgate_trace_spans_total{{outcome=\"{outcome}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value.expect("the series").parse().expect("a number")
}

#[tokio::test]
async fn a_start_is_one_trace_from_the_request_to_the_engine() {
    let collector = Collector::start().await;
    let gateway = gateway(&collector, &[]).await;
    let session = gateway.session("pupil").await;
    let bearer = format!("Bearer {session}");
    let mut pupil = gateway
        .browser()
        .with("authorization", &bearer)
        .with_cookie("other", "a-cookie-of-somebody");
    let desktop = gateway.running_desktop(&mut pupil).await;
    let id = desktop["id"].as_str().unwrap_or_default().to_owned();
    let shown = format!("/desktop/{id}/diary.html?secret=of-a-desktop");
    pupil.get(&shown).await;
    pupil.get("/api/container/list?key=in-the-query").await;

    let start = collector.span(START).await;
    let launch = collector.span("launch").await;
    let queue = collector.span("queue").await;
    let create = collector.span("engine create").await;
    let readiness = collector.span("readiness").await;
    assert!(start.parent_span_id.is_empty(), "nobody is before it");
    assert_eq!(start.kind(), SpanKind::Server);
    assert_eq!(launch.parent_span_id, start.span_id);
    for child in [&queue, &create, &readiness] {
        assert_eq!(child.trace_id, start.trace_id, "{}", child.name);
        assert_eq!(child.parent_span_id, launch.span_id, "{}", child.name);
    }
    assert_eq!(create.kind(), SpanKind::Client);
    let said = attributes(&start.attributes);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "api"),
        ("url.path", "/api/container/start"),
        ("http.response.status_code", "201"),
    ] {
        assert_eq!(said[key], value, "{said:?}");
    }
    assert_eq!(said["deskgate.request"].len(), 36, "{said:?}");
    assert_eq!(attributes(&launch.attributes)["deskgate.desktop"], id);
    let carried = collector.span("GET desktop").await;
    let path = &attributes(&carried.attributes)["url.path"];
    assert_eq!(path, &format!("/desktop/{id}/..."));

    let resources = collector.resources();
    let about = resources.first().expect("a batch");
    assert_eq!(about["service.name"], "deskgate");
    assert_eq!(about["service.version"], env!("CARGO_PKG_VERSION"));
    assert!(resources.iter().all(|other| other == about), "one process");
    assert_eq!(about["service.instance.id"].len(), 36);
    collector.span("GET api").await;
    for secret in [
        &*session,
        "a-cookie-of-somebody",
        "in-the-query",
        "of-a-desktop",
        "diary",
        "127.0.0.1",
    ] {
        assert!(!collector.has(secret), "{secret}");
    }
    collector.assert_no_faults();
    gateway.stop().await;
}

#[tokio::test]
async fn a_trace_goes_on_for_trusted_proxies_only() {
    for (trusted, goes_on) in [("127.0.0.0/8", true), ("192.0.2.0/24", false)] {
        let collector = Collector::start().await;
        let gateway = gateway(&collector, &[("TRUSTED_PROXIES", trusted)]).await;
        let mut pupil = gateway.program("pupil").await;
        pupil
            .send(Method::GET, "/session", &[("traceparent", REMOTE)], "")
            .await;
        let span = collector.span("GET auth").await;
        let remote = span.trace_id == 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
        assert_eq!(remote, goes_on, "{trusted}");
        assert_eq!(!span.parent_span_id.is_empty(), goes_on, "{trusted}");
        // What a trusted proxy does not sample is not sampled here.
        let off = REMOTE.replace("-01", "-00");
        pupil
            .send(Method::GET, "/", &[("traceparent", &off)], "")
            .await;
        pupil
            .send(Method::GET, "/api/container/list", &[], "")
            .await;
        collector.span("GET api").await;
        assert_eq!(collector.find("GET page").is_none(), goes_on, "{trusted}");
        collector.assert_no_faults();
        gateway.stop().await;
    }
}

#[tokio::test]
async fn nothing_is_sampled_at_zero_and_health_never() {
    let collector = Collector::start().await;
    let none = gateway(&collector, &[("OTLP_SAMPLE", "0")]).await;
    let mut pupil = none.program("pupil").await;
    none.running_desktop(&mut pupil).await;
    none.stop().await;
    assert_eq!(
        collector.names(),
        Vec::<String>::new(),
        "a stop would have sent them"
    );
    let all = gateway(&collector, &[]).await;
    let mut pupil = all.program("pupil").await;
    pupil.get("/healthz").await;
    pupil.get("/session").await;
    all.stop().await;
    assert_eq!(collector.names(), ["GET auth"], "sent by the stop");
}

#[tokio::test]
async fn a_collector_that_is_away_is_counted_and_nobody_waits_for_it() {
    let collector = Collector::start().await;
    let gateway = gateway(&collector, &[]).await;
    collector.refusal.store(503, Ordering::SeqCst);
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    eventually("spans are lost", || async {
        spans(&gateway, "lost").await > 0
    })
    .await;
    assert_eq!(spans(&gateway, "sent").await, 0);
    collector.refusal.store(0, Ordering::SeqCst);
    pupil.get("/session").await;
    collector.span("GET auth").await;
    eventually("spans are sent", || async {
        spans(&gateway, "sent").await > 0
    })
    .await;
    gateway.stop().await;

    // One at which nobody answers at all holds up neither the start nor the stop.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let settings = [("OTLP_ENDPOINT", &*endpoint), ("OTLP_SAMPLE", "1")];
    let gateway = TestGateway::start_with(&settings).await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    gateway.stop().await;
}
