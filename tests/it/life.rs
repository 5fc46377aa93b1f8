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

#[tokio::test]
async fn a_container_that_cannot_be_ended_holds_up_no_other() {
    let settings = [("INSTANCE", "school")];
    let gateway = TestGateway::start_with(&settings).await;
    let mut names = Vec::new();
    for name in ["first", "second"] {
        let mut pupil = gateway.program(name).await;
        let container = gateway.running_desktop(&mut pupil).await;
        names.push(container["container_name"].as_str().unwrap().to_owned());
    }
    let immovable = |name: Option<&String>| {
        *gateway.engine.immovable.lock().unwrap() = name.cloned();
    };
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let rows = database.all_desktops("docker").await.unwrap();
    for row in &rows {
        let (from, to, change) = (State::Running, State::Stopping, Change::default());
        assert!(database.transition(row.id, from, to, change).await.unwrap());
    }
    immovable(Some(&names[0]));
    let report = gateway.desktops.reconcile().await.unwrap();
    assert_eq!((report.refused, report.stopped), (0, 2), "{report:?}");
    let is_stopped = |name: &String| {
        let all = gateway.engine.all();
        all.contains(&(name.clone(), ContainerState::Exited))
    };
    eventually("the other one is stopped", || async {
        is_stopped(&names[1])
    })
    .await;
    assert!(!is_stopped(&names[0]));
    immovable(None);
    eventually("the first one is stopped as well", || async {
        gateway.desktops.reconcile().await.unwrap();
        is_stopped(&names[0])
    })
    .await;
    database.close().await;

    // The same with containers that have no row.
    immovable(Some(&names[0]));
    let backup = tempfile::tempdir().unwrap();
    let gateway = gateway
        .killed_and_started_with(&settings, Some(backup))
        .await;
    eventually("the other orphan is gone", || async {
        gateway.engine.all().len() == 1
    })
    .await;
    let report = gateway.desktops.reconcile().await.unwrap();
    assert_eq!((report.refused, report.orphans), (1, 0), "{report:?}");
    *gateway.engine.immovable.lock().unwrap() = None;
    let report = gateway.desktops.reconcile().await.unwrap();
    assert_eq!((report.refused, report.orphans), (0, 1), "{report:?}");
    gateway.stop().await;
}
