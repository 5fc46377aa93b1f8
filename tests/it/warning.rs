//! A stop by itself is announced, and can be put off where that is allowed.

use std::time::Duration;

use futures_util::StreamExt;
use hyper::StatusCode;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::browser::Browser;
use crate::support::gateway::{PATIENCE, TestGateway};
use crate::support::socket::{Socket, open_events};

const MINUTE: Duration = Duration::from_secs(60);

async fn with_desktop(settings: &[(&str, &str)]) -> (TestGateway, Browser, Socket<TcpStream>) {
    let gateway = TestGateway::start_with(settings).await;
    let session = gateway.session("pupil").await;
    let mut pupil = gateway
        .browser()
        .with("authorization", &format!("Bearer {session}"));
    gateway.running_desktop(&mut pupil).await;
    let events = open_events(&gateway, &session).await;
    (gateway, pupil, events)
}

async fn pass(gateway: &TestGateway, minutes: u32) {
    for _ in 0..minutes {
        gateway.clock.advance(MINUTE);
        gateway.desktops.reap().await;
    }
}

async fn container(pupil: &mut Browser) -> Value {
    pupil.get("/api/container/status").await.json()["container"].clone()
}

/// The next event of this type.
async fn event(events: &mut Socket<TcpStream>, kind: &str) -> Value {
    let found = async {
        loop {
            if let Some(Ok(Message::Text(text))) = events.next().await {
                let value: Value = serde_json::from_str(&text).unwrap();
                if value["type"] == kind {
                    return value;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .expect("it comes")
}

#[tokio::test]
async fn an_idle_stop_is_announced_and_a_wish_to_stay_puts_it_off() {
    let settings = [("DESKTOP_IDLE_STOP", "1h"), ("SESSION_IDLE", "12h")];
    let (gateway, mut pupil, mut events) = with_desktop(&settings).await;
    pass(&gateway, 54).await;
    let quiet = container(&mut pupil).await;
    assert_eq!(quiet["stops_because"], "idle");
    assert_eq!(quiet["stops_soon"], false);
    pass(&gateway, 2).await;
    let warning = event(&mut events, "warning").await;
    assert_eq!(warning["reason"], "idle");
    assert_eq!(warning["stops_at"], warning["container"]["stops_at"]);
    assert_eq!(container(&mut pupil).await["stops_soon"], true);

    let extended = pupil.post("/api/container/extend", "").await;
    assert_eq!(extended.status, StatusCode::OK);
    assert_eq!(extended.json()["container"]["stops_soon"], false);
    assert!(extended.json()["container"]["last_input"].is_null());
    pass(&gateway, 50).await;
    assert_eq!(container(&mut pupil).await["status"], "running");
    pass(&gateway, 15).await;
    assert_eq!(container(&mut pupil).await["status_reason_code"], "idle");
    let late = pupil.post("/api/container/extend", "").await;
    assert_eq!(
        (late.status, late.code()),
        (StatusCode::CONFLICT, "desktop_not_up".into())
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_lifetime_is_extended_as_often_as_is_allowed_and_only_near_its_end() {
    for (extend, longer) in [("1h", 60), ("off", 0)] {
        let settings = [
            ("DESKTOP_MAX_LIFETIME", "2h"),
            ("DESKTOP_EXTEND", extend),
            ("SESSION_IDLE", "12h"),
        ];
        let (gateway, mut pupil, mut events) = with_desktop(&settings).await;
        pass(&gateway, 10).await;
        // Too early to use it up.
        let early = pupil.post("/api/container/extend", "").await;
        assert_eq!(early.status, StatusCode::OK);
        pass(&gateway, 107).await;
        assert_eq!(event(&mut events, "warning").await["reason"], "lifetime");
        let answer = pupil.post("/api/container/extend", "").await;
        if longer > 0 {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            pass(&gateway, longer).await;
            assert_eq!(container(&mut pupil).await["status"], "running");
            let again = pupil.post("/api/container/extend", "").await;
            assert_eq!(again.code(), "not_extendable");
        } else {
            assert_eq!(answer.status, StatusCode::CONFLICT);
            assert_eq!(answer.code(), "not_extendable");
        }
        pass(&gateway, 10).await;
        assert_eq!(
            container(&mut pupil).await["status_reason_code"],
            "lifetime"
        );
        gateway.stop().await;
    }
}

#[tokio::test]
async fn nobody_is_stopped_unwarned_after_a_gateway_was_away() {
    let settings = [("DESKTOP_IDLE_STOP", "1h"), ("SESSION_IDLE", "12h")];
    let (gateway, pupil, _events) = with_desktop(&settings).await;
    let gateway = {
        let clock = gateway.clock.clone();
        let next = gateway.killed_and_started_again().await;
        clock.advance(300 * MINUTE);
        next
    };
    let mut pupil = pupil;
    pupil.gateway = gateway.addr;
    gateway.desktops.reap().await;
    let container_now = container(&mut pupil).await;
    assert_eq!(container_now["status"], "running");
    assert_eq!(container_now["stops_soon"], true);
    pass(&gateway, 4).await;
    assert_eq!(container(&mut pupil).await["status"], "stopped");
    gateway.stop().await;
}
