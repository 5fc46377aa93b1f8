//! The conditions of the alerts in docs/operations/alerts.yml, provoked one by one: the metric that each looks at moves.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use tokio::net::TcpStream;

use crate::support::browser::Browser;
use crate::support::gateway::{TestGateway, eventually, own_ports};
use crate::support::postgres::OwnDatabase;
use crate::support::socket::open_h1;

async fn text(gateway: &TestGateway) -> String {
    let address = gateway.config.server.metrics.expect("an address");
    // They are served a moment after the gateway itself.
    eventually("metrics are served", || async {
        TcpStream::connect(address).await.is_ok()
    })
    .await;
    Browser::new(address).get("/metrics").await.text()
}

/// The value of one series, as `/metrics` has it now.
async fn value(gateway: &TestGateway, series: &str) -> f64 {
    let text = text(gateway).await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("{series} in {text}"));
    line.parse().expect("a number")
}

/// Waits until a series is above `limit`.
async fn rises(gateway: &TestGateway, series: &str, limit: f64) {
    eventually(series, || async { value(gateway, series).await > limit }).await;
}

#[tokio::test]
async fn an_engine_that_is_down_shows() {
    let gateway = TestGateway::start().await;
    rises(&gateway, "deskgate_engine_up", 0.0).await;
    gateway.engine.down.store(true, Ordering::SeqCst);
    let up = value(&gateway, "deskgate_engine_up").await;
    assert!(up.abs() < f64::EPSILON);
    let failed = "deskgate_engine_errors_total{call=\"ping\",cause=\"timeout\"}";
    rises(&gateway, failed, 0.0).await;
    gateway.engine.down.store(false, Ordering::SeqCst);
    rises(&gateway, "deskgate_engine_up", 0.0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_postgres_database_that_is_down_shows_and_leaves_no_old_figures() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let gateway = TestGateway::start_with(&[("DATABASE_URL", &own.url)]).await;
    rises(&gateway, "deskgate_database_up", 0.0).await;
    rises(&gateway, "deskgate_desktops_max", 0.0).await;
    let name = own.name();
    own.admin(&format!(
        "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"
    ))
    .await;
    own.admin(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    ))
    .await;
    let text = text(&gateway).await;
    assert!(text.contains("\ndeskgate_database_up 0.0\n"), "{text}");
    assert!(text.contains("\ndeskgate_engine_up 1.0\n"), "{text}");
    assert!(!text.contains("\ndeskgate_desktops"), "{text}");
    own.admin(&format!(
        "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"
    ))
    .await;
    rises(&gateway, "deskgate_database_up", 0.0).await;
    rises(&gateway, "deskgate_desktops_max", 0.0).await;
    gateway.stop().await;
    own.drop().await;
}

#[tokio::test]
async fn starts_that_fail_are_counted_by_reason_and_good_ones_by_time() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    rises(
        &gateway,
        "deskgate_desktop_start_duration_seconds_count",
        0.0,
    )
    .await;
    pupil.post("/api/container/remove", "").await;
    gateway.engine.fakes.lock().unwrap().user = "somebody else".into();
    pupil.post("/api/container/start", "").await;
    let failed = "deskgate_desktop_start_failures_total{reason=\"refused\"}";
    rises(&gateway, failed, 0.0).await;
    let failed = "deskgate_desktop_starts_total{outcome=\"error\"}";
    rises(&gateway, failed, 0.0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn ports_desktops_and_their_ends_are_counted() {
    let gateway = TestGateway::start_with(&[("MAX_DESKTOPS", "2")]).await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    for (series, expected) in [
        ("deskgate_desktops{state=\"running\"}", 1.0),
        ("deskgate_desktops{state=\"queued\"}", 0.0),
        ("deskgate_desktops_max", 2.0),
        ("deskgate_ports_used", 1.0),
        ("deskgate_ports", 49.0),
        ("deskgate_users_with_desktops", 1.0),
        ("deskgate_user_desktops_max", 1.0),
    ] {
        let seen = value(&gateway, series).await;
        assert!((seen - expected).abs() < f64::EPSILON, "{series} {seen}");
    }
    let name = container["container_name"].as_str().expect("a name");
    gateway.engine.vanish(name);
    pupil.get("/api/container/status").await;
    let ended = "deskgate_desktop_ends_total{reason=\"disappeared\"}";
    rises(&gateway, ended, 0.0).await;
    gateway.running_desktop(&mut pupil).await;
    pupil.post("/api/container/stop", "").await;
    let ended = "deskgate_desktop_ends_total{reason=\"asked\"}";
    rises(&gateway, ended, 0.0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_that_does_not_answer_is_told_from_a_browser_that_asks_badly() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let id = container["id"].as_str().expect("an id");
    let bad = pupil.get(&format!("/desktop/{id}/%2e%2e/secret")).await;
    assert!(bad.status.is_client_error(), "{}", bad.status);
    let by_browser = "deskgate_upstream_errors_total{side=\"browser\",code=\"bad_path\"}";
    rises(&gateway, by_browser, 0.0).await;
    let name = container["container_name"].as_str().expect("a name");
    gateway.engine.take_desktop(name).stop().await;
    let gone = pupil.get(&format!("/desktop/{id}/")).await;
    assert_eq!(gone.status, StatusCode::BAD_GATEWAY);
    let by_desktop = "deskgate_upstream_errors_total{side=\"desktop\",code=\"desktop_failed\"}";
    rises(&gateway, by_desktop, 0.0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn failed_logins_are_counted_by_code() {
    let gateway = TestGateway::start().await;
    let mut stranger = gateway.browser();
    let answer = stranger.get("/authorize?code=x&state=y").await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
    rises(&gateway, "deskgate_logins_total{outcome=\"failure\"}", 0.0).await;
    let expired = "deskgate_login_failures_total{reason=\"login_expired\"}";
    rises(&gateway, expired, 0.0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_end_of_the_certificate_is_known() {
    let data = tempfile::tempdir().expect("a directory");
    let path = |name: &str| data.path().join(name).display().to_string();
    let (cert, key) = (path("tls.crt"), path("tls.key"));
    let settings = [("TLS", "on"), ("TLS_CERT", &*cert), ("TLS_KEY", &*key)];
    let gateway = TestGateway::start_with(&settings).await;
    let expires = value(&gateway, "deskgate_certificate_expiry_timestamp_seconds").await;
    // The one that is made here is good until 2050-01-01.
    assert!((expires - 2_524_608_000.0).abs() < 1.0, "{expires}");
    gateway.stop().await;
}

#[tokio::test]
async fn the_process_shows_its_own_figures() {
    let gateway = TestGateway::start().await;
    let files = value(&gateway, "process_open_fds").await;
    let limit = value(&gateway, "process_max_fds").await;
    assert!(files > 3.0 && files < limit, "{files} of {limit}");
    assert!(value(&gateway, "process_resident_memory_bytes").await > 1e6);
    let used = value(&gateway, "deskgate_database_connections{state=\"idle\"}").await;
    assert!(used <= value(&gateway, "deskgate_database_connections_max").await);
    rises(&gateway, "deskgate_leader", 0.0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn who_leads_on_postgres_is_seen() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let settings = [("DATABASE_URL", own.url.as_str())];
    let first = TestGateway::start_with(&settings).await;
    rises(&first, "deskgate_leader", 0.0).await;
    // The other gateway of this process has the usual address.
    let mut elsewhere = settings.to_vec();
    let address = format!("127.0.0.1:{}", own_ports() + 48);
    elsewhere.push(("METRICS_LISTEN", &address));
    let second = TestGateway::start_with(&elsewhere).await;
    let follows = value(&second, "deskgate_leader").await;
    assert!(follows.abs() < f64::EPSILON, "{follows}");
    first.stop().await;
    rises(&second, "deskgate_leader", 0.0).await;
    second.stop().await;
    own.drop().await;
}

#[tokio::test]
async fn tasks_are_counted_and_end_with_what_they_are_for() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let mut pupil = gateway.browser().with("x-session-id", &session);
    let container = gateway.running_desktop(&mut pupil).await;
    let id = container["id"].as_str().expect("an id");
    let path = format!("/desktop/{id}/websockify");
    let before = value(&gateway, "deskgate_tasks").await;
    assert!(before > 10.0, "the upkeep: {before}");
    let mut tunnels = Vec::new();
    for _ in 0..5 {
        tunnels.push(open_h1(&gateway, &path, &session).await);
    }
    rises(&gateway, "deskgate_tasks", before + 4.0).await;
    drop(tunnels);
    eventually("the tasks end", || async {
        value(&gateway, "deskgate_tasks").await <= before
    })
    .await;
    gateway.stop().await;
}
