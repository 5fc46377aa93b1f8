//! The front door itself: heads that two readers could understand differently, silent connections,
//! TLS with a self-signed pair, and the stop.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::browser::Browser;
use crate::support::gateway::{PATIENCE, TestGateway};

/// What comes back for these bytes until the connection ends or is idle.
async fn raw(gateway: &TestGateway, bytes: &str) -> String {
    let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_millis(700), socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn ambiguous_heads_are_refused() {
    let gateway = TestGateway::start().await;
    assert_eq!(
        status(&raw(&gateway, "GET /healthz HTTP/1.1\r\nHost: desk.test\r\n\r\n").await),
        "200"
    );
    for (what, head, expected) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n", "400"),
        (
            "two hosts",
            "GET / HTTP/1.1\r\nHost: desk.test\r\nHost: desk.test\r\n\r\n",
            "400",
        ),
        (
            "another host",
            "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
            "421",
        ),
        (
            "a contradicting URI",
            "GET http://evil.test/ HTTP/1.1\r\nHost: desk.test\r\n\r\n",
            "400",
        ),
        (
            "authority form",
            "CONNECT desk.test:443 HTTP/1.1\r\nHost: desk.test\r\n\r\n",
            "400",
        ),
        (
            "gzip, chunked",
            "POST /logout HTTP/1.1\r\nHost: desk.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "two lengths",
            "POST /logout HTTP/1.1\r\nHost: desk.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            "400",
        ),
    ] {
        let answer = raw(&gateway, head).await;
        assert!(status(&answer).starts_with(expected), "{what}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn whoever_came_by_a_wrong_name_is_led_to_the_right_one() {
    let gateway = TestGateway::start().await;
    for host in ["127.0.0.1", "desk.example"] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n");
        let answer = raw(&gateway, &head).await;
        assert_eq!(status(&answer), "421", "{answer}");
        let links = answer.matches("href=\"https://desk.test/\"").count();
        assert_eq!(links, 2, "the name at the top, and the next step: {answer}");
        assert!(!answer.contains("<a class=\"button primary\" href=\"/\""));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn cookies_that_are_too_large_are_cleared() {
    let gateway = TestGateway::start().await;
    let mut browser = gateway.browser().with_cookie("planted", &"x".repeat(9000));
    let answer = browser.get("/").await;
    assert_eq!(answer.status.as_u16(), 431);
    assert_eq!(answer.header("clear-site-data"), Some("\"cookies\""));
    gateway.stop().await;
}

/// As many cookies as a browser keeps for a site, each as long as it may be.
fn full_jar() -> String {
    let cookies = (0..180).map(|at| format!("x{at}={}", "v".repeat(4090)));
    cookies.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn a_full_jar_is_cleared_and_stops_no_websocket() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let ours = format!("__Host-Http-session={session}");
    let jar = full_jar();
    assert!(jar.len() > 700 * 1024);
    for cookies in [
        format!("{jar}; {ours}"),
        format!("{ours}; {jar}"),
        format!("{jar}; {jar}; {ours}"),
        "x".repeat(40_000),
    ] {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: desk.test\r\nCookie: {cookies}\r\nSec-Fetch-Dest: document\r\n\r\n"
        );
        let answer = raw(&gateway, &head).await;
        assert_eq!(status(&answer), "431", "{answer}");
        assert!(
            answer.contains("clear-site-data: \"cookies\"\r\n"),
            "{answer}"
        );
        assert!(answer.contains("cookies_too_large"), "{answer}");
    }
    for cookies in [format!("{jar}; {ours}"), format!("{ours}; {jar}")] {
        let head = format!(
            "GET /api/container/events HTTP/1.1\r\nHost: desk.test\r\nOrigin: https://desk.test\r\n\
             Cookie: {cookies}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        let answer = raw(&gateway, &head).await;
        assert_eq!(status(&answer), "101", "{answer}");
    }
    let other = format!(
        "GET / HTTP/1.1\r\nHost: desk.test\r\nX-Other: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let answer = raw(&gateway, &other).await;
    assert_eq!(status(&answer), "431", "{answer}");
    assert!(!answer.contains("clear-site-data"), "{answer}");
    gateway.stop().await;
}

#[tokio::test]
async fn tls_with_a_pair_made_on_the_spot_speaks_h2_and_http_1_1() {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name).display().to_string();
    let (cert, key) = (file("new/tls.crt"), file("new/tls.key"));
    let gateway = TestGateway::start_with(&[
        ("TLS", "on"),
        ("TLS_CERT", &cert),
        ("TLS_KEY", &key),
        ("DESKTOP_ORIGIN", "https://desktops.test"),
    ])
    .await;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls::pki_types::CertificateDer::pem_file_iter(&cert).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    for (protocol, name) in [(&b"h2"[..], "desk.test"), (b"http/1.1", "desktops.test")] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let socket = TcpStream::connect(gateway.addr).await.unwrap();
        let name = name.try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector
            .connect(name, socket)
            .await
            .expect("a certificate for our names");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    }
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else reads the key");
    gateway.stop().await;
}

#[tokio::test]
async fn a_stop_refuses_new_connections_and_ends() {
    let gateway = TestGateway::start().await;
    let addr = gateway.addr;
    let mut idle = TcpStream::connect(addr).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: desk.test\r\n\r\n")
        .await
        .unwrap();
    let mut buffer = [0; 64];
    assert!(idle.read(&mut buffer).await.unwrap() > 0);
    tokio::time::timeout(PATIENCE, gateway.stop())
        .await
        .expect("it ends");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn metrics_count_what_happened_on_an_address_of_their_own() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    assert_eq!(
        pupil.get("/metrics").await.status.as_u16(),
        404,
        "not at the front door"
    );
    let address = gateway.config.server.metrics.unwrap();
    let mut operator = Browser::new(address);
    let metrics = operator.get("/metrics").await;
    assert_eq!(metrics.status.as_u16(), 200);
    for line in [
        "deskgate_desktop_starts_total{outcome=\"running\"} 1",
        "deskgate_requests_total{route=\"api\",status=\"201\"} 1",
        "# TYPE deskgate_requests_total counter",
        "deskgate_desktops{state=\"running\"} 1",
        "deskgate_user_desktops_max 1",
        "deskgate_database_up 1",
        "deskgate_engine_up 1",
        "deskgate_engine_call_duration_seconds_count{call=\"create\"} 1",
        "deskgate_session_lookups_total{source=\"database\"} 1",
        "process_open_fds ",
    ] {
        assert!(
            metrics.text().contains(line),
            "{line} in {}",
            metrics.text()
        );
    }
    gateway.stop().await;
}
