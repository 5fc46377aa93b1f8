//! Pause and wake: an idle desktop is frozen with its streams open, and goes on when somebody is there again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deskgate::engine::ContainerState;
use futures_util::SinkExt;
use hyper::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::support::browser::Browser;
use crate::support::gateway::{TestGateway, eventually};
use crate::support::socket::{KEY, UPDATE, next, open_selkies, open_vnc, say, tell};

const MINUTE: Duration = Duration::from_secs(60);
const SETTINGS: &[(&str, &str)] = &[
    ("DESKTOP_IDLE_PAUSE", "10m"),
    ("DESKTOP_IDLE_STOP", "10h"),
    ("SESSION_IDLE", "12h"),
];

struct Scene {
    gateway: TestGateway,
    session: String,
    pupil: Browser,
    id: String,
    name: String,
}

impl Scene {
    /// Somebody's desktop, which runs.
    async fn set() -> Self {
        Self::with(SETTINGS).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        Self::at(TestGateway::start_with(settings).await).await
    }

    /// In a gateway that runs.
    async fn at(gateway: TestGateway) -> Self {
        let session = gateway.session("pupil").await;
        let mut pupil = gateway
            .browser()
            .with("authorization", &format!("Bearer {session}"));
        let container = gateway.running_desktop(&mut pupil).await;
        let text = |name: &str| container[name].as_str().unwrap().to_owned();
        Self {
            session,
            pupil,
            id: text("id"),
            name: text("container_name"),
            gateway,
        }
    }

    async fn container(&mut self) -> Value {
        self.pupil.get("/api/container/status").await.json()["container"].clone()
    }

    /// Lets so much time pass that an idle desktop is asleep then.
    async fn fall_asleep(&self) {
        self.wait_minutes(15).await;
        assert_eq!(self.gateway.engine.state(), ContainerState::Paused);
    }

    async fn wait_minutes(&self, minutes: u32) {
        for _ in 0..minutes {
            self.gateway.clock.advance(MINUTE);
            self.gateway.desktops.reap().await;
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/desktop/{}/{rest}", self.id)
    }

    fn wakes(&self) -> usize {
        self.gateway.engine.unpauses.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn an_open_stream_sleeps_through_what_a_client_sends_and_wakes_at_a_key() {
    let mut scene = Scene::set().await;
    let mut socket = open_vnc(&scene.gateway, &scene.id, &scene.session).await;
    say(&mut socket, KEY).await;
    scene.fall_asleep().await;
    assert_eq!(scene.container().await["status"], "paused");
    for _ in 0..10 {
        socket.send(Message::binary(UPDATE)).await.unwrap();
        scene.gateway.clock.advance(MINUTE);
        scene.gateway.desktops.reap().await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(scene.gateway.engine.state(), ContainerState::Paused);
    assert_eq!(scene.wakes(), 0);

    socket.send(Message::binary(KEY)).await.unwrap();
    // Nothing that was sent meanwhile is lost, and nothing comes twice.
    for _ in 0..10 {
        assert_eq!(next(&mut socket).await, Some(Message::binary(UPDATE)));
    }
    assert_eq!(next(&mut socket).await, Some(Message::binary(KEY)));
    assert_eq!(scene.container().await["status"], "running");
    assert_eq!(scene.wakes(), 1);
    // Whoever is there keeps it awake.
    for _ in 0..5 {
        say(&mut socket, KEY).await;
        scene.gateway.clock.advance(5 * MINUTE);
        scene.gateway.desktops.reap().await;
    }
    assert_eq!(scene.gateway.engine.state(), ContainerState::Running);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn so_does_a_stream_of_selkies() {
    let gateway = TestGateway::start_with(SETTINGS).await;
    gateway.engine.echo.store(true, Ordering::SeqCst);
    let mut scene = Scene::at(gateway).await;
    let mut socket = open_selkies(&scene.gateway, &scene.id, &scene.session).await;
    tell(&mut socket, "kd,97").await;
    for _ in 0..15 {
        socket
            .send(Message::text("CLIENT_FRAME_ACK 417 0"))
            .await
            .unwrap();
        scene.wait_minutes(1).await;
    }
    assert_eq!(scene.container().await["status"], "paused");
    assert_eq!(scene.wakes(), 0);
    socket.send(Message::text("kd,97")).await.unwrap();
    eventually("the key has woken it", || async {
        scene.gateway.engine.state() == ContainerState::Running
    })
    .await;
    assert_eq!(scene.wakes(), 1);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn thirty_requests_at_once_wait_for_one_wake() {
    let scene = Scene::set().await;
    scene.fall_asleep().await;
    let (begun, path) = (Instant::now(), scene.path("app.js"));
    let mut asking = JoinSet::new();
    for _ in 0..30 {
        let (mut pupil, path) = (scene.pupil.clone(), path.clone());
        asking.spawn(async move { pupil.get(&path).await.status });
    }
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
    println!("30 requests after {:?}", begun.elapsed());
    assert_eq!(scene.wakes(), 1);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_new_websocket_wakes_and_a_tab_that_reconnects_alone_does_not_for_ever() {
    let scene = Scene::with(&[("DESKTOP_IDLE_PAUSE", "1m"), ("SESSION_IDLE", "12h")]).await;
    let open = async || open_vnc(&scene.gateway, &scene.id, &scene.session).await;
    for n in 0..10 {
        scene.wait_minutes(3).await;
        assert_eq!(scene.gateway.engine.state(), ContainerState::Paused);
        drop(open().await);
        assert_eq!(scene.wakes(), n + 1);
    }
    scene.wait_minutes(3).await;
    let mut page = scene.pupil.clone();
    let (path, begun) = (scene.path("app.js"), Instant::now());
    let reconnects = async {
        drop(open().await);
        begun.elapsed()
    };
    let visit = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(scene.wakes(), 10, "the WebSocket alone waits");
        page.get(&path).await.status
    };
    let (waited, status) = tokio::join!(reconnects, visit);
    assert_eq!(status, StatusCode::OK);
    assert!(waited >= Duration::from_millis(500), "{waited:?}");
    assert_eq!(scene.wakes(), 11);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_wake_that_fails_is_a_503_and_the_next_one_may_succeed() {
    let mut scene = Scene::set().await;
    scene.fall_asleep().await;
    scene.gateway.engine.down.store(true, Ordering::SeqCst);
    let path = scene.path("");
    let refused = scene.pupil.get(&path).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.code(), "engine_unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(scene.container().await["status"], "paused");
    let (page, other) = ([("accept", "text/html")], scene.path("x"));
    let page = scene.pupil.send(hyper::Method::GET, &other, &page, "");
    let page = page.await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.text().contains("<html"));
    scene.gateway.engine.down.store(false, Ordering::SeqCst);
    assert_eq!(scene.pupil.get(&path).await.status, StatusCode::OK);
    assert_eq!(scene.container().await["status"], "running");

    scene.fall_asleep().await;
    scene.gateway.engine.stuck.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let refused = scene.pupil.get(&path).await;
    assert_eq!(refused.code(), "engine_unavailable");
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "it has a deadline"
    );
    scene.gateway.stop().await;
}

#[tokio::test]
async fn what_somebody_does_at_the_engine_is_taken_over() {
    let mut scene = Scene::set().await;
    let engine = scene.gateway.engine.clone();
    engine.freeze(&scene.name, true).unwrap();
    scene.gateway.desktops.reconcile().await.unwrap();
    assert_eq!(scene.container().await["status"], "paused");
    let path = scene.path("app.js");
    assert_eq!(scene.pupil.get(&path).await.status, StatusCode::OK);
    assert_eq!(scene.container().await["status"], "running");

    scene.fall_asleep().await;
    engine.freeze(&scene.name, false).unwrap();
    scene.gateway.desktops.reconcile().await.unwrap();
    assert_eq!(scene.container().await["status"], "running");
    // It has no more of that than anybody whom nobody uses.
    scene.fall_asleep().await;

    engine.vanish(&scene.name);
    assert_ne!(scene.pupil.get(&path).await.status, StatusCode::OK);
    assert_eq!(scene.container().await["status"], "error");
    scene.gateway.stop().await;
}

#[tokio::test]
async fn gateways_wake_what_another_one_has_paused() {
    let mut scene = Scene::set().await;
    let other = scene.gateway.another().await;
    let mut there = scene.pupil.clone();
    there.gateway = other.addr;
    let path = scene.path("app.js");
    assert_eq!(there.get(&path).await.status, StatusCode::OK);
    let mut socket = open_vnc(&other, &scene.id, &scene.session).await;
    scene.fall_asleep().await;
    assert_eq!(there.get(&path).await.status, StatusCode::OK);
    assert_eq!(scene.container().await["status"], "running");

    scene.fall_asleep().await;
    say(&mut socket, KEY).await;
    assert_eq!(scene.container().await["status"], "running");

    scene.fall_asleep().await;
    other.stop().await;
    scene.gateway = scene.gateway.killed_and_started_again().await;
    scene.pupil.gateway = scene.gateway.addr;
    assert_eq!(scene.container().await["status"], "paused");
    assert_eq!(scene.pupil.get(&path).await.status, StatusCode::OK);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_request_under_way_holds_off_the_pause_and_a_paused_desktop_can_be_stopped() {
    let mut scene = Scene::set().await;
    let (mut other, path) = (scene.pupil.clone(), scene.path("hang"));
    let mut hanging = JoinSet::new();
    hanging.spawn(async move { other.try_send(hyper::Method::GET, &path, &[], "").await });
    let desktop = scene.gateway.engine.desktop(&scene.name);
    eventually("the request is there", || async {
        desktop.requests().iter().any(|seen| seen.target == "/hang")
    })
    .await;
    drop(desktop);
    scene.wait_minutes(15).await;
    assert_eq!(scene.gateway.engine.state(), ContainerState::Running);
    hanging.shutdown().await;
    eventually("it may sleep then", || async {
        scene.gateway.clock.advance(MINUTE);
        scene.gateway.desktops.reap().await;
        scene.gateway.engine.state() == ContainerState::Paused
    })
    .await;
    let stopped = scene.pupil.post("/api/container/stop", "{}").await;
    assert_eq!(stopped.json()["container"]["status"], "stopped");
    let reason = &stopped.json()["container"]["status_reason_code"];
    assert_eq!(reason, "asked");
    scene.gateway.stop().await;
}
