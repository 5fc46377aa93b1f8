//! HTTP through the proxy, against a desktop that keeps all of KasmVNC's rules.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::{Method, StatusCode};

use crate::support::browser::{Browser, HOST};
use crate::support::fake_desktop::{FakeDesktop, HOSTILE_HEADERS, big_body};
use crate::support::gateway::TestGateway;

/// A gateway, its pupil, and the pupil's running desktop.
async fn desktop(hostile: bool) -> (TestGateway, Browser, Arc<FakeDesktop>, String) {
    let gateway = TestGateway::start().await;
    gateway.engine.hostile.store(hostile, Ordering::SeqCst);
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let desktop = gateway.desktop(&container);
    let root = format!("/desktop/{}", container["id"].as_str().unwrap());
    (gateway, pupil, desktop, root)
}

#[tokio::test]
async fn a_request_reaches_the_desktop_as_it_wants_it_and_without_our_secrets() {
    let (gateway, _, desktop, root) = desktop(false).await;
    let session = gateway.session("pupil").await;
    let mut browser = gateway
        .browser()
        .with_cookie("__Host-Http-session", &session)
        .with_cookie("other", "cookie")
        .with("x-forwarded-for", "203.0.113.9")
        .with("forwarded", "for=203.0.113.9")
        .with("referer", "https://desk.test/api/")
        .with("accept-language", "de")
        .with("sec-ch-ua", "\"Chromium\"")
        .with("connection", "x-hop")
        .with("x-hop", "1")
        .with("user-agent", &"long ".repeat(100))
        .with("x-large", &"x".repeat(9000));
    let page = browser.get(&format!("{root}/app.js?v=1%20x")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert_eq!(desktop.violations(), Vec::<String>::new());
    let seen = desktop.requests().pop().unwrap();
    assert_eq!(seen.target, "/app.js?v=1%20x");
    assert_eq!(seen.header("Host"), Some(HOST));
    assert_eq!(seen.header("Connection"), None, "it decides by itself");
    assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(
        seen.header("Forwarded"),
        Some("for=127.0.0.1;host=desk.test;proto=https")
    );
    assert!(seen.header("Authorization").unwrap().starts_with("Basic "));
    assert_eq!(seen.reads, 1, "the head is one write");
    for name in [
        "cookie",
        "referer",
        "accept-language",
        "sec-ch-ua",
        "x-hop",
        "x-large",
        "x-session-id",
    ] {
        assert!(!seen.has_header(name), "{name} in {}", seen.text());
    }
    assert!(!seen.text().contains(&session));
    gateway.stop().await;
}

#[tokio::test]
async fn one_connection_carries_one_request() {
    let (gateway, mut pupil, desktop, root) = desktop(false).await;
    let before = (desktop.connections(), desktop.requests().len());
    for _ in 0..5 {
        pupil.get(&format!("{root}/")).await;
    }
    let after = (desktop.connections(), desktop.requests().len());
    assert_eq!((after.0 - before.0, after.1 - before.1), (5, 5));
    assert_eq!(desktop.violations(), Vec::<String>::new());
    gateway.stop().await;
}

#[tokio::test]
async fn answers_arrive_whole_with_and_without_a_length() {
    let (gateway, mut pupil, _, root) = desktop(false).await;
    let big = pupil.get(&format!("{root}/big")).await;
    assert!(big.bytes == big_body(), "{} bytes", big.bytes.len());
    for path in ["/slow", "/close-delimited"] {
        let answer = pupil.get(&format!("{root}{path}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(!answer.bytes.is_empty());
    }
    let missing = pupil.get(&format!("{root}/nothing-here")).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let cut = pupil
        .try_send(Method::GET, &format!("{root}/die"), &[], "")
        .await;
    assert!(
        cut.is_err(),
        "a body that was cut short is not passed off as whole: {cut:?}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn what_acts_on_the_whole_origin_never_reaches_the_browser() {
    let (gateway, mut pupil, _, root) = desktop(true).await;
    let answer = pupil.get(&format!("{root}/")).await;
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("sandbox ") && policy.contains(&format!("https://{HOST}{root}/")),
        "{policy}"
    );
    assert_eq!(
        answer
            .headers
            .get_all("content-security-policy")
            .iter()
            .count(),
        1
    );
    for (name, value) in HOSTILE_HEADERS {
        let passed = answer
            .headers
            .get_all(name)
            .iter()
            .any(|sent| sent.as_bytes() == value.as_bytes());
        assert!(!passed, "{name}: {value}");
    }
    assert_eq!(answer.header("server"), None);
    assert_eq!(
        answer.header("cross-origin-embedder-policy"),
        Some("require-corp")
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let permissions = answer.header("permissions-policy").unwrap();
    assert!(permissions.contains("camera=()"), "{permissions}");
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_served_ahead_of_a_visit() {
    let (gateway, mut pupil, desktop, root) = desktop(false).await;
    let before = desktop.requests().len();
    for path in [
        "/",
        "/session",
        "/api/container/list",
        &root,
        &format!("{root}/app.js"),
    ] {
        for purpose in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
        ] {
            let answer = pupil.send(Method::GET, path, &[purpose], "").await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (StatusCode::SERVICE_UNAVAILABLE, "prefetch_refused"),
                "{path} {purpose:?}"
            );
        }
    }
    assert_eq!(desktop.requests().len(), before);
    let asset = [("sec-purpose", "prefetch")];
    let asset = pupil.send(Method::GET, "/assets/home.js", &asset, "").await;
    assert_eq!(asset.status, StatusCode::OK);
    gateway.stop().await;
}

#[tokio::test]
async fn redirects_stay_inside() {
    let (gateway, mut pupil, _, root) = desktop(false).await;
    let inside = pupil.get(&format!("{root}/dir")).await;
    assert_eq!(inside.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(
        inside.header("location"),
        Some(format!("{root}/dir/").as_str())
    );
    let kept = pupil.get(&format!("{root}/redirect-escape")).await;
    assert_eq!(
        kept.header("location"),
        Some(format!("{root}/other/").as_str())
    );
    let out = pupil.get(&format!("{root}/redirect-out")).await;
    assert_eq!(
        (out.status, out.code().as_str()),
        (StatusCode::BAD_GATEWAY, "desktop_failed")
    );
    assert_eq!(out.header("location"), None);
    gateway.stop().await;
}

#[tokio::test]
async fn paths_that_climb_and_paths_that_are_denied_never_reach_the_desktop() {
    let (gateway, mut pupil, desktop, root) = desktop(false).await;
    let before = desktop.connections();
    for path in [
        "/../../api/",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/a/..%2f..",
        "/a//b",
        "/%5c..",
        "/x?y=../z",
    ] {
        let answer = pupil.get(&format!("{root}{path}")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, "bad_path"),
            "{path}"
        );
    }
    for path in [
        "/api/get_users",
        "/api",
        "/%61pi/get_users",
        "/Downloads/Downloads/",
    ] {
        assert_eq!(
            pupil.get(&format!("{root}{path}")).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let long = pupil.get(&format!("{root}/{}", "a".repeat(1100))).await;
    assert_eq!(long.status, StatusCode::URI_TOO_LONG);
    let worker = pupil
        .send(
            Method::GET,
            &format!("{root}/app.js"),
            &[("service-worker", "script")],
            "",
        )
        .await;
    assert_eq!(worker.code(), "service_worker_refused");
    assert_eq!(desktop.connections(), before);
    assert_eq!(desktop.api_calls(), Vec::<String>::new());
    gateway.stop().await;
}

#[tokio::test]
async fn people_are_led_in_and_programs_are_told() {
    let (gateway, mut pupil, _, root) = desktop(false).await;
    let id = root.rsplit('/').next().unwrap().to_owned();
    let page = [("accept", "text/html,*/*")];
    let bare = pupil
        .send(Method::GET, &format!("{root}/"), &page, "")
        .await;
    assert_eq!(bare.status, StatusCode::FOUND);
    let entry = format!("{root}/?path=desktop/{id}/websockify&reconnect=true&resize=remote");
    assert_eq!(bare.header("location"), Some(entry.as_str()));
    assert_eq!(
        pupil.send(Method::GET, &entry, &page, "").await.status,
        StatusCode::OK
    );
    let no_slash = pupil.get(&format!("{root}?a=b")).await;
    assert_eq!(no_slash.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(
        no_slash.header("location"),
        Some(format!("{root}/?a=b").as_str())
    );

    let mut stranger = gateway.browser();
    let to_login = stranger.send(Method::GET, &entry, &page, "").await;
    assert_eq!(to_login.status, StatusCode::FOUND);
    assert!(
        to_login
            .header("location")
            .unwrap()
            .starts_with("/login?return_to=%2Fdesktop%2F")
    );
    assert_eq!(stranger.get(&entry).await.status, StatusCode::UNAUTHORIZED);
    for (dest, expected) in [
        ("document", StatusCode::FOUND),
        ("iframe", StatusCode::UNAUTHORIZED),
        ("empty", StatusCode::UNAUTHORIZED),
    ] {
        let headers = [page[0], ("sec-fetch-dest", dest)];
        let answer = stranger.send(Method::GET, &entry, &headers, "").await;
        assert_eq!(answer.status, expected, "{dest}");
    }

    pupil.post("/api/container/stop", "").await;
    let waiting = pupil.send(Method::GET, &entry, &page, "").await;
    assert_eq!(waiting.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(waiting.text().contains("data-testid=\"waiting\""));
    assert!(
        waiting
            .header("content-security-policy")
            .unwrap()
            .contains("script-src 'self'")
    );
    let told = pupil.get(&entry).await;
    assert_eq!(
        (told.status, told.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "desktop_not_running")
    );
    assert!(told.header("retry-after").is_some());
    gateway.stop().await;
}
