//! What rows and containers do not agree on: it is noticed at once, shown before it is done, and ends as the person
//! would expect who sits at the desktop.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deskgate::clock::Clock as _;
use deskgate::desktop::reconcile::Report;
use deskgate::desktop::repair::Repair;
use deskgate::engine::{ContainerState, Engine as _};
use deskgate::model::desktop::{Desktop, State};
use deskgate::model::id::DesktopId;
use deskgate::store::Database;
use deskgate::store::containers::Change;
use hyper::StatusCode;
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::fake_engine::Ending;
use crate::support::gateway::{TestGateway, eventually};

fn name_of(container: &Value) -> &str {
    container["container_name"].as_str().expect("a name")
}

fn id_of(container: &Value) -> DesktopId {
    container["id"].as_str().unwrap().parse().expect("an id")
}

async fn row(database: &Database, container: &Value) -> Desktop {
    let row = database.find_desktop(id_of(container)).await.unwrap();
    row.expect("a row")
}

/// Waits, without asking the gateway, until a desktop is in this state for this reason.
async fn ends(database: &Database, container: &Value, state: State, reason: &str) {
    eventually("it has ended for the true reason", || async {
        let row = row(database, container).await;
        assert!(row.status != State::Error || state == State::Error);
        row.status == state && row.status_reason.as_deref() == Some(reason)
    })
    .await;
}

/// A copy of the gateway's database.
async fn copied(gateway: &TestGateway, to: &Path) {
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let Database::Sqlite(pool) = &database else {
        panic!("it is SQLite")
    };
    sqlx::query("VACUUM INTO $1")
        .bind(to.join("deskgate.db").display().to_string())
        .execute(pool)
        .await
        .unwrap();
    database.close().await;
}

async fn opens(pupil: &mut Browser, container: &Value) -> StatusCode {
    let path = format!("/desktop/{}/", container["id"].as_str().unwrap());
    pupil.get(&path).await.status
}

#[tokio::test]
async fn what_the_engine_tells_is_noticed_long_before_the_next_look() {
    let gateway = TestGateway::start().await;
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let mut pupil = gateway.program("pupil").await;
    // Twice, since whoever listens has to go on listening.
    for exit_code in [139, 134] {
        let container = gateway.running_desktop(&mut pupil).await;
        let ending = Ending {
            exit_code,
            oom_killed: false,
        };
        gateway.engine.end(name_of(&container), ending);
        gateway.engine.tell(name_of(&container), "die");
        ends(&database, &container, State::Error, "ended").await;
    }
    database.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_restarted_engine_ended_was_not_ended_by_its_user() {
    let gateway = TestGateway::start().await;
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    gateway.engine.restart();
    ends(&database, &container, State::Stopped, "engine_restarted").await;
    let status = pupil.get("/api/container/status").await.json();
    assert!(
        status["container"]["status_reason"]
            .as_str()
            .unwrap()
            .contains("restarted"),
        "{status}"
    );

    // And again what it says when nothing was restarted.
    let container = gateway.running_desktop(&mut pupil).await;
    gateway.engine.end(name_of(&container), Ending::default());
    gateway.engine.tell(name_of(&container), "die");
    ends(&database, &container, State::Stopped, "ended_inside").await;
    database.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_that_somebody_stops_ends_as_they_asked_however_its_container_ends() {
    let gateway = TestGateway::start().await;
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let mut pupil = gateway.program("pupil").await;
    for exit_code in [137, 0] {
        let container = gateway.running_desktop(&mut pupil).await;
        let seen = row(&database, &container).await;
        let asked = Change {
            reason: Some("asked"),
            ..Change::default()
        };
        let (from, to) = (State::Running, State::Stopping);
        assert!(database.transition(seen.id, from, to, asked).await.unwrap());
        let ending = Ending {
            exit_code,
            oom_killed: false,
        };
        gateway.engine.end(name_of(&container), ending);
        // Somebody who asked for its state read the row before.
        gateway.desktops.refresh(seen).await.unwrap();
        gateway.desktops.reconcile().await.unwrap();
        ends(&database, &container, State::Stopped, "asked").await;
    }
    database.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_that_an_older_database_does_not_know_goes_on() {
    for frozen in [false, true] {
        let gateway = TestGateway::start().await;
        let mut pupil = gateway.program("pupil").await;
        let backup = tempfile::tempdir().unwrap();
        copied(&gateway, backup.path()).await;
        let container = gateway.running_desktop(&mut pupil).await;
        gateway.engine.freeze(name_of(&container), frozen).unwrap();
        let engine_id = gateway.engine.id_of(name_of(&container));
        let gateway = gateway.killed_and_started_with(&[], Some(backup)).await;
        pupil.gateway = gateway.addr;
        eventually("it is theirs again", || {
            let (mut pupil, container) = (pupil.clone(), container.clone());
            async move { opens(&mut pupil, &container).await == StatusCode::OK }
        })
        .await;
        assert_eq!(gateway.engine.id_of(name_of(&container)), engine_id);
        let status = pupil.get("/api/container/status").await.json();
        assert_eq!(status["container"]["id"], container["id"]);
        assert_eq!(status["container"]["host_port"], container["host_port"]);
        pupil.post("/api/container/remove", "").await;
        assert!(gateway.engine.all().is_empty());
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_container_that_a_start_may_still_have_in_hand_is_left_alone_for_a_minute() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let backup = tempfile::tempdir().unwrap();
    copied(&gateway, backup.path()).await;
    *gateway.engine.clock.lock().unwrap() = Some(gateway.clock.timestamp());
    let container = gateway.running_desktop(&mut pupil).await;
    let gateway = gateway.killed_and_started_with(&[], Some(backup)).await;
    let look = async || gateway.desktops.reconcile().await.unwrap();
    assert_eq!(look().await, Report::default());
    gateway.clock.advance(Duration::from_secs(40));
    assert_eq!(look().await, Report::default());
    assert_eq!(gateway.engine.all().len(), 1);
    gateway.clock.advance(Duration::from_secs(21));
    look().await;
    pupil.gateway = gateway.addr;
    eventually("it is theirs again", || {
        let (mut pupil, container) = (pupil.clone(), container.clone());
        async move { opens(&mut pupil, &container).await == StatusCode::OK }
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_whose_place_is_taken_meanwhile_is_not_taken_back() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let lost = gateway.running_desktop(&mut pupil).await;
    gateway.engine.hidden.store(true, Ordering::SeqCst);
    gateway.desktops.reconcile().await.unwrap();
    let new = gateway.running_desktop(&mut pupil).await;
    assert_ne!(new["id"], lost["id"]);
    gateway.engine.hidden.store(false, Ordering::SeqCst);
    gateway.desktops.reconcile().await.unwrap();
    let all = gateway.engine.all();
    let left: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, [name_of(&new)]);
    assert_eq!(opens(&mut pupil, &new).await, StatusCode::OK);
    gateway.stop().await;
}

#[tokio::test]
async fn desktops_outlive_a_gateway_that_was_shown_another_engine_for_a_while() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    gateway.engine.hidden.store(true, Ordering::SeqCst);
    gateway.desktops.reconcile().await.unwrap();
    let status = pupil.get("/api/container/status").await.json();
    assert_eq!(status["container"]["status"], "error", "{status}");
    assert_eq!(status["container"]["status_reason_code"], "disappeared");
    gateway.engine.hidden.store(false, Ordering::SeqCst);
    let report = gateway.desktops.reconcile().await.unwrap();
    assert_eq!((report.adopted, report.remains), (1, 0), "{report:?}");
    eventually("it is theirs again", || {
        let (mut pupil, container) = (pupil.clone(), container.clone());
        async move { opens(&mut pupil, &container).await == StatusCode::OK }
    })
    .await;
    gateway.stop().await;
}

/// Acts of a list, with what each is about and its state, in an order of their own.
fn table(repairs: &[Repair]) -> Vec<(String, String, String)> {
    let line = |repair: &Repair| {
        (
            repair.as_str().to_owned(),
            repair.what().to_owned(),
            repair.state().to_owned(),
        )
    };
    let mut table: Vec<_> = repairs.iter().map(line).collect();
    table.sort();
    table
}

#[tokio::test]
async fn a_look_at_what_does_not_agree_shows_all_of_it_and_changes_nothing() {
    let gateway = TestGateway::start().await;
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let mut desktops = Vec::new();
    for name in [
        "vanished", "frozen", "stopping", "stopped", "failed", "lost",
    ] {
        let mut pupil = gateway.program(name).await;
        desktops.push(gateway.running_desktop(&mut pupil).await);
    }
    let [vanished, frozen, stopping, stopped, failed, lost] = &desktops[..] else {
        panic!("six of them")
    };
    let engine = &gateway.engine;
    let moved = async |container: &Value, path: &[State]| {
        let mut from = State::Running;
        for to in path {
            let (id, change) = (id_of(container), Change::default());
            assert!(database.transition(id, from, *to, change).await.unwrap());
            from = *to;
        }
    };
    moved(stopping, &[State::Stopping]).await;
    moved(stopped, &[State::Stopping, State::Stopped]).await;
    moved(failed, &[State::Error]).await;
    moved(lost, &[State::Error]).await;
    database.delete_desktop(id_of(lost)).await.unwrap();
    engine.vanish(name_of(vanished));
    engine.freeze(name_of(frozen), true).unwrap();

    let line = |act: &str, container: &Value, state: &str| {
        let name = name_of(container).to_owned();
        (act.to_owned(), name, state.to_owned())
    };
    let mut expected = vec![
        line("note_end", vanished, "running"),
        line("note_nap", frozen, "running"),
        line("finish_stop", stopping, "stopping"),
        line("clear_remains", stopped, "stopped"),
        line("clear_remains", failed, "error"),
        line("adopt", lost, "running"),
    ];
    expected.sort();
    let contents = async || {
        let mut file = Vec::new();
        let now = deskgate::model::time::Timestamp::from_millis(0);
        database.export(&mut file, now).await.unwrap();
        String::from_utf8(file).unwrap()
    };
    let before = (contents().await, engine.all().len());
    for _ in 0..2 {
        let repairs = gateway.desktops.repairs().await.unwrap();
        assert_eq!(table(&repairs), expected);
    }
    assert!(contents().await == before.0, "rows are as they were");
    assert_eq!(engine.all().len(), before.1);

    // `deskgate cleanup`: all but what takes a gateway.
    for repair in gateway.desktops.repairs().await.unwrap() {
        if !repair.is_for_gateway() {
            let done = gateway.desktops.repair(&repair).await;
            assert!(done.unwrap(), "{repair:?}");
        }
    }
    let left = gateway.desktops.repairs().await.unwrap();
    assert_eq!(table(&left), [line("adopt", lost, "running")]);
    assert_eq!(row(&database, vanished).await.status, State::Error);
    assert_eq!(row(&database, frozen).await.status, State::Paused);
    assert_eq!(row(&database, stopping).await.status, State::Stopped);
    for (container, left) in [(stopping, true), (stopped, true), (failed, false)] {
        let found = engine.inspect(name_of(container)).await.unwrap();
        let state = found.map(|found| found.state);
        assert_eq!(state, left.then_some(ContainerState::Exited));
    }
    database.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_stop_that_does_not_end_keeps_no_pass_from_its_end() {
    let gateway = TestGateway::start().await;
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let (id, change) = (id_of(&container), Change::default());
    let (from, to) = (State::Running, State::Stopping);
    assert!(database.transition(id, from, to, change).await.unwrap());
    gateway.engine.endless.store(true, Ordering::SeqCst);
    let passes = async {
        for stopped in [1, 0] {
            let report = gateway.desktops.reconcile().await.unwrap();
            assert_eq!(report.stopped, stopped, "{report:?}");
        }
    };
    let passes = tokio::time::timeout(Duration::from_secs(10), passes);
    passes.await.expect("nothing waits for the stop");
    gateway.engine.endless.store(false, Ordering::SeqCst);
    eventually("it is stopped", || async {
        row(&database, &container).await.status == State::Stopped
    })
    .await;
    database.close().await;
    gateway.stop().await;
}
