//! Who counts as idle: not whoever types, but an open tab that nobody looks at.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::SinkExt;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::browser::Browser;
use crate::support::gateway::{TestGateway, eventually};
use crate::support::logs::Logs;
use crate::support::socket::{
    KEY, UPDATE, close_code, next, open_h1, open_selkies, open_vnc, say, tell,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A gateway with these settings, somebody's session, their program, and the id of their running desktop.
async fn with_desktop(settings: &[(&str, &str)]) -> (TestGateway, String, Browser, String) {
    in_gateway(TestGateway::start_with(settings).await).await
}

/// The same in a gateway that runs.
async fn in_gateway(gateway: TestGateway) -> (TestGateway, String, Browser, String) {
    let session = gateway.session("pupil").await;
    let mut pupil = gateway
        .browser()
        .with("authorization", &format!("Bearer {session}"));
    let container = gateway.running_desktop(&mut pupil).await;
    let id = container["id"].as_str().unwrap().to_owned();
    (gateway, session, pupil, id)
}

async fn container(pupil: &mut Browser) -> Value {
    pupil.get("/api/container/status").await.json()["container"].clone()
}

/// Lets time pass and the reaper look, several times.
async fn pass(gateway: &TestGateway, time: Duration) {
    for _ in 0..20 {
        gateway.clock.advance(time / 20);
        gateway.desktops.reap().await;
    }
}

#[tokio::test]
async fn a_user_at_work_is_spared_and_an_abandoned_tab_is_not() {
    let (gateway, session, mut pupil, id) =
        with_desktop(&[("DESKTOP_IDLE_STOP", "1h"), ("SESSION_IDLE", "12h")]).await;
    let mut socket = open_vnc(&gateway, &id, &session).await;
    for _ in 0..3 {
        say(&mut socket, KEY).await;
        pass(&gateway, 50 * MINUTE).await;
        assert_eq!(container(&mut pupil).await["status"], "running");
    }
    // The client goes on by itself, and so do the page's requests.
    say(&mut socket, UPDATE).await;
    pupil.get(&format!("/desktop/{id}/app.js")).await;
    pass(&gateway, 9 * MINUTE).await;
    assert_eq!(container(&mut pupil).await["status"], "running");
    socket.send(Message::binary(UPDATE)).await.unwrap();
    pass(&gateway, 15 * MINUTE).await;
    let ended = container(&mut pupil).await;
    assert_eq!(ended["status"], "stopped");
    assert_eq!(ended["status_reason_code"], "idle");
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Away));
    let german = pupil
        .clone()
        .with("accept-language", "de")
        .get("/api/container/status")
        .await;
    let reason = german.json()["container"]["status_reason"].clone();
    assert!(reason.as_str().unwrap().contains("niemand benutzt"));
    gateway.stop().await;
}

#[tokio::test]
async fn opening_the_page_is_a_sign_of_a_person() {
    let settings = [("DESKTOP_IDLE_STOP", "1h"), ("SESSION_IDLE", "12h")];
    let (gateway, _, mut pupil, id) = with_desktop(&settings).await;
    pass(&gateway, 50 * MINUTE).await;
    let mut page = pupil
        .clone()
        .with("accept", "text/html")
        .with("sec-fetch-dest", "document");
    page.get(&format!("/desktop/{id}/?path=x")).await;
    pass(&gateway, 50 * MINUTE).await;
    assert_eq!(container(&mut pupil).await["status"], "running");
    assert!(container(&mut pupil).await["last_input"].is_null());
    pass(&gateway, 20 * MINUTE).await;
    assert_eq!(container(&mut pupil).await["status"], "stopped");
    gateway.stop().await;
}

#[tokio::test]
async fn so_it_is_in_a_stream_of_selkies() {
    let settings = [("DESKTOP_IDLE_STOP", "1h"), ("SESSION_IDLE", "12h")];
    let gateway = TestGateway::start_with(&settings).await;
    gateway.engine.echo.store(true, Ordering::SeqCst);
    let (gateway, session, mut pupil, id) = in_gateway(gateway).await;
    let mut socket = open_selkies(&gateway, &id, &session).await;
    for input in ["kd,97", "m,640,400,0,0,7", "js,b,0,3,1"] {
        tell(&mut socket, input).await;
        pass(&gateway, 50 * MINUTE).await;
        assert_eq!(container(&mut pupil).await["status"], "running", "{input}");
    }
    assert!(!container(&mut pupil).await["last_input"].is_null());
    // The client goes on by itself.
    let alone = ["CLIENT_FRAME_ACK 417 0", "_f,60", "SETTINGS,{}", "kr"];
    for words in alone {
        tell(&mut socket, words).await;
    }
    pass(&gateway, 9 * MINUTE).await;
    assert_eq!(container(&mut pupil).await["status"], "running");
    for words in alone {
        tell(&mut socket, words).await;
    }
    pass(&gateway, 15 * MINUTE).await;
    let ended = container(&mut pupil).await;
    assert_eq!(ended["status"], "stopped");
    assert_eq!(ended["status_reason_code"], "idle");
    gateway.stop().await;
}

#[tokio::test]
async fn traffic_counts_where_nobody_can_tell_what_it_is() {
    let logs = Logs::capture();
    let settings = [("DESKTOP_IDLE_STOP", "1h"), ("SESSION_IDLE", "12h")];
    let (gateway, session, mut pupil, id) = with_desktop(&settings).await;
    let path = format!("/desktop/{id}/websockify");
    let mut socket = open_h1(&gateway, &path, &session).await;
    assert!(next(&mut socket).await.is_some());
    for _ in 0..3 {
        // Nothing that an RFB client begins with, and selkies sends text.
        say(&mut socket, b"kd,97").await;
        pass(&gateway, 50 * MINUTE).await;
        assert_eq!(container(&mut pupil).await["status"], "running");
    }
    // Whoever runs the gateway is told once, however many streams there are.
    let mut second = open_h1(&gateway, &path, &session).await;
    assert!(next(&mut second).await.is_some());
    say(&mut second, b"kd,97").await;
    let told = logs.with("no protocol that is known");
    assert!(
        matches!(&told[..], [line] if line.contains("WARN") && line.contains(&id)),
        "{told:?}"
    );
    pass(&gateway, 50 * MINUTE).await;
    assert_eq!(container(&mut pupil).await["status"], "running");
    pass(&gateway, 20 * MINUTE).await;
    assert_eq!(container(&mut pupil).await["status"], "stopped");
    gateway.stop().await;
}

#[tokio::test]
async fn input_at_one_gateway_holds_off_the_other() {
    let (gateway, session, mut pupil, id) =
        with_desktop(&[("DESKTOP_IDLE_STOP", "1h"), ("SESSION_IDLE", "12h")]).await;
    let other = gateway.another().await;
    let mut socket = open_vnc(&other, &id, &session).await;
    pass(&gateway, 59 * MINUTE).await;
    say(&mut socket, KEY).await;
    // Whoever comes back is written at once, not with the next batch.
    eventually("the other gateway's key is in the database", || {
        let mut pupil = pupil.clone();
        async move { !container(&mut pupil).await["last_input"].is_null() }
    })
    .await;
    pass(&gateway, 30 * MINUTE).await;
    assert_eq!(container(&mut pupil).await["status"], "running");
    pass(&gateway, 40 * MINUTE).await;
    assert_eq!(container(&mut pupil).await["status"], "stopped");
    other.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_set_stops_nothing() {
    for hours in [24, -24] {
        let settings = [
            ("DESKTOP_IDLE_STOP", "1h"),
            ("DESKTOP_MAX_LIFETIME", "8h"),
            ("SESSION_TTL", "7d"),
            ("SESSION_IDLE", "6d"),
        ];
        let (gateway, _, mut pupil, _) = with_desktop(&settings).await;
        pass(&gateway, 10 * MINUTE).await;
        gateway.clock.jump(hours);
        pass(&gateway, 49 * MINUTE).await;
        assert_eq!(container(&mut pupil).await["status"], "running", "{hours}");
        pass(&gateway, 15 * MINUTE).await;
        assert_eq!(container(&mut pupil).await["status"], "stopped", "{hours}");
        gateway.stop().await;
    }
}
