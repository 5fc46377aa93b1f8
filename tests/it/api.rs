//! The container API, black box.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::gateway::{TEMPLATE, TestGateway, eventually, own_ports};

const UNKNOWN: &str = "01234567-89ab-4cde-8f01-23456789abcd";

#[tokio::test]
async fn a_desktop_is_started_looked_at_stopped_and_removed() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let started = pupil
        .post("/api/container/start", r#"{"template": "desktop"}"#)
        .await;
    assert_eq!(started.status, StatusCode::CREATED, "{}", started.text());
    let id = started.json()["container"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        started.json()["url"],
        format!("https://desk.test/desktop/{id}/")
    );

    let again = pupil
        .send(
            Method::POST,
            "/api/container/start",
            &[("prefer", "wait=20")],
            "",
        )
        .await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.json()["container"]["id"], id.as_str());
    assert_eq!(again.json()["container"]["status"], "running");

    let status = pupil
        .get(&format!("/api/container/status?id={id}"))
        .await
        .json();
    assert_eq!(status["engine_status"], "running");
    let container = &status["container"];
    for key in [
        "user_id",
        "session_id",
        "container_id",
        "container_name",
        "started_at",
        "created_at",
    ] {
        assert!(container[key].is_string(), "{key}: {container}");
    }
    assert!(container["host_port"].is_u64() && container["stopped_at"].is_null());
    assert_eq!(container["container_port"], 6901);

    for _ in 0..2 {
        let stopped = pupil
            .post("/api/container/stop", &json!({ "id": id }).to_string())
            .await;
        assert_eq!(stopped.status, StatusCode::OK, "{}", stopped.text());
        assert_eq!(
            stopped.json()["container"]["status"],
            "stopped",
            "stopping is idempotent"
        );
    }
    assert_eq!(
        pupil.get("/api/container/list").await.json()["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        pupil
            .post("/api/container/remove", r#"{"template":"desktop"}"#)
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        pupil.get("/api/container/list").await.json(),
        json!({ "containers": [] })
    );
    assert_eq!(
        pupil.get("/api/container/status").await.status,
        StatusCode::NOT_FOUND
    );
    assert!(
        gateway.engine.all().is_empty(),
        "nothing is left at the engine"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn fifty_starts_at_once_make_one_desktop() {
    let gateway = TestGateway::start().await;
    let pupil = gateway.program("pupil").await;
    let mut starts = JoinSet::new();
    for _ in 0..50 {
        let mut pupil = pupil.clone();
        starts.spawn(async move { pupil.post("/api/container/start", "").await });
    }
    let answers = starts.join_all().await;
    let created = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED)
        .count();
    let existing = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .count();
    assert_eq!((created, existing), (1, 49));
    let ids: HashSet<String> = answers
        .iter()
        .map(|answer| answer.json()["container"]["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1);
    gateway.running_desktop(&mut pupil.clone()).await;
    assert_eq!(gateway.engine.created.load(Ordering::SeqCst), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn thirty_people_at_once_get_thirty_ports_and_the_engine_is_not_overrun() {
    let gateway = TestGateway::start().await;
    let mut starts = JoinSet::new();
    for number in 0..30 {
        let mut pupil = gateway.program(&format!("pupil-{number}")).await;
        starts.spawn(async move {
            let prefer = [("prefer", "wait=20")];
            pupil
                .send(Method::POST, "/api/container/start", &prefer, "")
                .await
                .json()["container"]
                .clone()
        });
    }
    let containers = starts.join_all().await;
    assert!(
        containers
            .iter()
            .all(|container| container["status"] == "running"),
        "{containers:?}"
    );
    let ports: HashSet<u64> = containers
        .iter()
        .map(|container| container["host_port"].as_u64().unwrap())
        .collect();
    assert_eq!(ports.len(), 30);
    assert!(gateway.engine.most_starting.load(Ordering::SeqCst) <= 4);
    gateway.stop().await;
}

#[tokio::test]
async fn a_port_that_something_else_has_is_passed_over() {
    // Two ports, one of them taken: whichever is proposed first, the desktop ends on the free one.
    let port = own_ports();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let range = format!("{port}-{}", port + 1);
    let gateway = TestGateway::start_with(&[("PORT_RANGE", &range)]).await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    assert_eq!(container["host_port"], u64::from(port + 1));
    drop(taken);
    gateway.stop().await;
}

#[tokio::test]
async fn bad_input_gets_a_clear_answer() {
    let gateway = TestGateway::start().await;
    let mut stranger = gateway.browser();
    for path in [
        "/api/container/list",
        "/api/container/status",
        "/api/templates",
        "/api/nothing",
    ] {
        let answer = stranger.get(path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    let mut pupil = gateway.program("pupil").await;
    let malformed = pupil
        .post("/api/container/start", "{\n  \"template\": }")
        .await;
    assert_eq!(
        (malformed.status, malformed.code().as_str()),
        (StatusCode::BAD_REQUEST, "invalid_json")
    );
    assert!(
        malformed.json()["detail"]
            .as_str()
            .unwrap()
            .contains("line 2 column"),
        "{}",
        malformed.text()
    );
    let unknown = pupil
        .post("/api/container/start", r#"{"template":"nonsense"}"#)
        .await;
    assert_eq!(
        (unknown.status, unknown.code().as_str()),
        (StatusCode::NOT_FOUND, "unknown_template")
    );
    let large = pupil
        .post("/api/container/start", &" ".repeat(20_000))
        .await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        pupil.get("/api/container/start").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        pupil.get("/api/nothing").await.status,
        StatusCode::NOT_FOUND
    );
    for id in [UNKNOWN, "x", "../../etc/passwd", ""] {
        let body = json!({ "id": id }).to_string();
        assert_eq!(
            pupil.post("/api/container/stop", &body).await.status,
            StatusCode::NOT_FOUND,
            "{id}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn somebody_elses_desktop_looks_like_none() {
    let gateway = TestGateway::start().await;
    let mut owner = gateway.program("owner").await;
    let id = gateway.running_desktop(&mut owner).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut other = gateway.program("other").await;
    let paths = |id: &str| {
        [
            format!("/desktop/{id}/"),
            format!("/api/container/status?id={id}"),
        ]
    };
    for (foreign, missing) in paths(&id).iter().zip(&paths(UNKNOWN)) {
        let (foreign, missing) = (other.get(foreign).await, other.get(missing).await);
        assert_eq!(foreign.status, StatusCode::NOT_FOUND);
        let public = |mut problem: serde_json::Value| {
            problem["instance"] = "".into();
            problem
        };
        assert_eq!(public(foreign.json()), public(missing.json()));
        let names = |answer: &crate::support::browser::Answer| {
            answer
                .headers
                .keys()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&foreign), names(&missing));
    }
    let body = json!({ "id": id }).to_string();
    assert_eq!(
        other.post("/api/container/stop", &body).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        owner.get(&format!("/desktop/{id}/")).await.status,
        StatusCode::OK
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let mut browser = gateway
        .browser()
        .with_cookie("__Host-Http-session", &session);
    assert_eq!(
        browser.get("/api/container/list").await.status,
        StatusCode::OK
    );
    let refused = browser.post("/api/container/start", "").await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::FORBIDDEN, "csrf_token_missing")
    );
    let forged = [("x-csrf-token", "AAAA")];
    assert_eq!(
        browser
            .send(Method::POST, "/api/container/start", &forged, "")
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    assert!(gateway.engine.all().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn an_engine_that_is_down_is_said_and_nothing_is_left_behind() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    gateway.engine.down.store(true, Ordering::SeqCst);
    let refused = pupil.post("/api/container/start", "").await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "engine_unavailable")
    );
    assert!(refused.header("retry-after").is_some());
    assert_eq!(
        pupil.get("/readyz").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(pupil.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(
        pupil.get("/api/container/list").await.json(),
        json!({ "containers": [] })
    );
    gateway.engine.down.store(false, Ordering::SeqCst);
    gateway.running_desktop(&mut pupil).await;
    gateway.stop().await;
}

#[tokio::test]
async fn quotas_hold() {
    let gateway = TestGateway::start_with(&[("MAX_DESKTOPS", "1")]).await;
    let mut first = gateway.program("first").await;
    gateway.running_desktop(&mut first).await;
    let refused = gateway
        .program("second")
        .await
        .post("/api/container/start", "")
        .await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "capacity_exhausted")
    );
    assert_eq!(refused.header("retry-after"), Some("60"));
    first.post("/api/container/stop", "").await;
    gateway
        .running_desktop(&mut gateway.program("second").await)
        .await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_quota_of_one_person_concerns_nobody_else() {
    let (one, other) = ("id = 'one'\nimage = 'i'", "id = 'other'\nimage = 'i'");
    let settings = [
        ("MAX_DESKTOPS_PER_USER", "1"),
        (TEMPLATE, one),
        (TEMPLATE, other),
    ];
    let gateway = TestGateway::start_with(&settings).await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    let more = r#"{"template":"other"}"#;
    let refused = pupil.post("/api/container/start", more).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded")
    );
    assert_eq!(refused.header("retry-after"), Some("60"));
    let list = pupil.get("/api/container/list").await.json();
    assert_eq!(list["containers"].as_array().unwrap().len(), 1);
    // The one that they have is theirs, quota or not.
    let again = pupil.post("/api/container/start", "").await;
    assert_eq!(again.status, StatusCode::OK);
    let mut neighbour = gateway.program("neighbour").await;
    let started = neighbour.post("/api/container/start", more).await;
    assert_eq!(started.status, StatusCode::CREATED);
    pupil.post("/api/container/stop", "").await;
    let started = pupil.post("/api/container/start", more).await;
    assert_eq!(started.status, StatusCode::CREATED);
    gateway.stop().await;
}

#[tokio::test]
async fn traffic_moves_last_accessed_without_a_write_per_request() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    assert!(container["last_accessed"].is_null());
    let page = format!("/desktop/{}/app.js", container["id"].as_str().unwrap());
    assert_eq!(pupil.get(&page).await.status, StatusCode::OK);
    eventually("last_accessed is written", || {
        let mut pupil = pupil.clone();
        async move {
            pupil.get("/api/container/status").await.json()["container"]["last_accessed"]
                .is_string()
        }
    })
    .await;
    gateway.stop().await;
}
