//! What a desktop is sent stays within what it reads, however long everything is that goes into it.

use hyper::{Method, StatusCode};

use crate::support::fake_desktop_wire::HEAD_LIMIT;
use crate::support::gateway::TestGateway;

/// As long as a host name may be, nearly (RFC 1035 section 2.3.4).
fn host() -> String {
    format!("{}.test", vec!["x".repeat(61); 4].join("."))
}

#[tokio::test]
async fn the_longest_head_is_one_that_a_desktop_still_reads() {
    let host = host();
    let gateway = TestGateway::start_with(&[("PUBLIC_URL", &format!("https://{host}"))]).await;
    let mut pupil = gateway.program("pupil").await.at(&host);
    let container = gateway.running_desktop(&mut pupil).await;
    let desktop = gateway.desktop(&container);
    let root = format!("/desktop/{}", container["id"].as_str().unwrap());

    // Everything that may be sent along, each as long as it may be.
    let long = "x".repeat(256);
    let mut browser = pupil;
    for name in [
        "accept",
        "accept-encoding",
        "cache-control",
        "content-encoding",
        "content-type",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "range",
        "user-agent",
    ] {
        browser = browser.with(name, &long);
    }
    let target = format!("/{}", "y".repeat(1023));
    let before = desktop.requests().len();
    let sent = [(Method::GET, ""), (Method::PUT, "body")];
    for (method, body) in &sent {
        let path = format!("{root}{target}");
        let answer = browser.send(method.clone(), &path, &[], body).await;
        assert_ne!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.text());
    }
    let seen = desktop.requests();
    assert_eq!(seen.len() - before, sent.len());
    for request in &seen[before..] {
        assert_eq!(request.target, target);
        let length = request.raw.len();
        assert!(
            (HEAD_LIMIT - 400..=HEAD_LIMIT).contains(&length),
            "{length}"
        );
        // What says how the body is to be read comes before everything else.
        assert_eq!(request.header("Content-Encoding"), Some(&*long));
        assert_eq!(request.header("User-Agent"), None, "no room was left");
    }

    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("origin", &*format!("https://{host}")),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        (
            "sec-websocket-protocol",
            &*format!("binary, {}", "z".repeat(500)),
        ),
    ];
    let path = format!("{root}/websockify?{}", "y".repeat(1012));
    let answer = browser.send(Method::GET, &path, &upgrade, "").await;
    assert_eq!(
        answer.status,
        StatusCode::SWITCHING_PROTOCOLS,
        "{}",
        answer.text()
    );
    let handshake = desktop.requests().pop().unwrap();
    assert!(handshake.raw.len() <= HEAD_LIMIT, "{}", handshake.raw.len());
    // The body of the PUT, which the fake has no use for.
    let mut violations = desktop.violations();
    violations
        .retain(|rule| !rule.starts_with("early-bytes") && !rule.starts_with("second-request"));
    assert_eq!(violations, Vec::<String>::new());
    gateway.stop().await;
}
