//! What survives a killed gateway and a meddled-with engine.

use std::time::Duration;

use deskgate::engine::ContainerState;
use deskgate::model::desktop::State;
use deskgate::model::id::DesktopId;
use deskgate::store::Database;
use deskgate::store::containers::Change;
use hyper::StatusCode;

use crate::support::gateway::{TestGateway, eventually};

#[tokio::test]
async fn a_gateway_killed_in_the_middle_of_a_start_is_taken_over_by_the_next() {
    for delay in [0, 5, 20, 40, 60, 120, 200] {
        let gateway = TestGateway::start().await;
        let mut pupil = gateway.program("pupil").await;
        let session = pupil.clone();
        let started = pupil.post("/api/container/start", "").await;
        assert_eq!(started.status, StatusCode::CREATED);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let gateway = gateway.killed_and_started_again().await;
        let mut pupil = session;
        pupil.gateway = gateway.addr;
        eventually("the start is finished by the next gateway", || {
            let mut pupil = pupil.clone();
            async move {
                pupil.get("/api/container/status").await.json()["container"]["status"] == "running"
            }
        })
        .await;
        assert_eq!(gateway.engine.all().len(), 1, "after {delay} ms");
        let id = started.json()["container"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            pupil.get(&format!("/desktop/{id}/")).await.status,
            StatusCode::OK
        );
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_container_that_vanishes_is_noticed_and_the_next_start_makes_a_new_one() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    gateway
        .engine
        .vanish(container["container_name"].as_str().unwrap());
    let status = pupil.get("/api/container/status").await.json();
    assert_eq!(status["engine_status"], "absent");
    assert_eq!(status["container"]["status"], "error");
    assert!(
        status["container"]["status_reason"]
            .as_str()
            .unwrap()
            .contains("disappeared")
    );
    let next = gateway.running_desktop(&mut pupil).await;
    assert_ne!(next["id"], container["id"]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_ended_from_inside_is_stopped() {
    use deskgate::engine::Engine as _;

    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let name = container["container_name"].as_str().unwrap();
    gateway.engine.stop(name, Duration::ZERO).await.unwrap();
    let status = pupil.get("/api/container/status").await.json();
    assert_eq!(status["container"]["status"], "stopped", "{status}");
    assert_eq!(
        gateway.engine.all(),
        [(name.to_owned(), ContainerState::Exited)]
    );
    gateway.stop().await;
}

#[tokio::test]
async fn logout_does_to_desktops_what_the_setting_says() {
    for (setting, expected) in [("keep", "running"), ("stop", "stopped")] {
        let gateway = TestGateway::start_with(&[("DESKTOP_ON_LOGOUT", setting)]).await;
        let mut first = gateway.program("pupil").await;
        gateway.running_desktop(&mut first).await;
        let mut second = gateway.program("pupil").await;
        assert_eq!(first.post("/logout", "").await.status, StatusCode::OK);
        assert_eq!(first.get("/session").await.status, StatusCode::UNAUTHORIZED);
        eventually("the desktop is as it should be", || {
            let mut second = second.clone();
            async move {
                second.get("/api/container/status").await.json()["container"]["status"] == expected
            }
        })
        .await;
        second.post("/api/container/remove", "").await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn what_is_left_of_a_desktop_that_has_ended_is_cleared() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let database = Database::connect(&gateway.config.database).await.unwrap();

    // Whoever recorded the end died before the engine heard of it.
    let container = gateway.running_desktop(&mut pupil).await;
    let id: DesktopId = container["id"].as_str().unwrap().parse().unwrap();
    let name = container["container_name"].as_str().unwrap().to_owned();
    for (from, to) in [
        (State::Running, State::Stopping),
        (State::Stopping, State::Stopped),
    ] {
        let change = Change::default();
        assert!(database.transition(id, from, to, change).await.unwrap());
    }
    let report = gateway.desktops.reconcile().await.unwrap();
    assert_eq!(report.remains, 1, "{report:?}");
    assert_eq!(gateway.engine.all(), [(name, ContainerState::Exited)]);
    let report = gateway.desktops.reconcile().await.unwrap();
    assert_eq!(report.remains, 0, "a stopped container may stay");

    let container = gateway.running_desktop(&mut pupil).await;
    let id: DesktopId = container["id"].as_str().unwrap().parse().unwrap();
    let (from, to, change) = (State::Running, State::Error, Change::default());
    assert!(database.transition(id, from, to, change).await.unwrap());
    let report = gateway.desktops.reconcile().await.unwrap();
    assert_eq!(report.remains, 1, "{report:?}");
    assert!(gateway.engine.all().is_empty());
    database.close().await;
    gateway.stop().await;
}
