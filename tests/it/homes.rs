//! Homes: a fresh start, what is kept of the old one, and who may remove it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deskgate::app::Core;
use deskgate::clock::SystemClock;
use deskgate::model::user::Role;
use deskgate::store::Database;
use deskgate::store::audit::Filter;
use hyper::{Method, StatusCode};

use crate::support::browser::Browser;
use crate::support::gateway::{TEMPLATE, TestGateway, eventually};
use crate::support::postgres::OwnDatabase;

const TWO: [(&str, &str); 2] = [
    (TEMPLATE, "id = 'a'\nimage = 'i'"),
    (TEMPLATE, "id = 'b'\nimage = 'i'\nhome = 'none'"),
];

fn home_in_use(gateway: &TestGateway) -> String {
    let spec = gateway.engine.specs().pop().expect("a container");
    spec.home.expect("a home").name
}

async fn admin(gateway: &TestGateway) -> Browser {
    gateway.program_as("boss", Role::Admin).await
}

#[tokio::test]
async fn a_reset_gives_a_new_home_and_keeps_the_old_one() {
    let gateway = TestGateway::start_with(&TWO).await;
    let mut pupil = gateway.program("pupil").await;
    let nothing = pupil
        .post("/api/container/reset", r#"{"template":"a"}"#)
        .await;
    assert_eq!(nothing.json()["container"], serde_json::Value::Null);
    let container = gateway.running_desktop(&mut pupil).await;
    let first = home_in_use(&gateway);
    let reset = pupil.post("/api/container/reset", "").await;
    assert_eq!(reset.status, StatusCode::OK, "{}", reset.text());
    assert_eq!(reset.json()["container"]["id"], container["id"]);
    let list = pupil.get("/api/container/list").await.json();
    assert_eq!(list["containers"].as_array().unwrap().len(), 0);
    gateway.running_desktop(&mut pupil).await;
    let second = home_in_use(&gateway);
    assert_eq!(second, format!("{first}.1"));
    assert!(gateway.engine.volumes.lock().unwrap().contains_key(&first));
    // Once more, by the template's name: the desktop runs, and goes.
    let reset = pupil
        .post("/api/container/reset", r#"{"template":"a"}"#)
        .await;
    assert_eq!(reset.status, StatusCode::OK);
    gateway.running_desktop(&mut pupil).await;
    assert_eq!(home_in_use(&gateway), format!("{first}.2"));
    let unknown = pupil
        .post("/api/container/reset", r#"{"template":"x"}"#)
        .await;
    assert_eq!(unknown.code(), "unknown_template");
    gateway.stop().await;
}

#[tokio::test]
async fn a_start_during_a_reset_does_not_keep_the_old_home() {
    let gateway = TestGateway::start_with(&TWO).await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    let first = home_in_use(&gateway);
    pupil.post("/api/container/remove", "").await;
    gateway.engine.unseeing.store(true, Ordering::SeqCst);
    let mut second_tab = pupil.clone();
    let reset = async {
        second_tab
            .post("/api/container/reset", r#"{"template":"a"}"#)
            .await
    };
    let start = async {
        gateway.running_desktop(&mut pupil).await;
        assert_eq!(home_in_use(&gateway), first, "it came before the reset");
        gateway.engine.unseeing.store(false, Ordering::SeqCst);
    };
    let (reset, ()) = tokio::join!(reset, start);
    assert_eq!(reset.status, StatusCode::OK, "{}", reset.text());
    assert_eq!(gateway.engine.all(), [], "nothing has the old home");
    gateway.running_desktop(&mut pupil).await;
    assert_eq!(home_in_use(&gateway), format!("{first}.1"));
    gateway.stop().await;
}

#[tokio::test]
async fn somebody_elses_desktop_cannot_be_reset() {
    let gateway = TestGateway::start_with(&TWO).await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let mut other = gateway.program("other").await;
    let body = format!(r#"{{"id":{}}}"#, container["id"]);
    let refused = other.post("/api/container/reset", &body).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    gateway.running_desktop(&mut pupil).await;
    gateway.stop().await;
}

#[tokio::test]
async fn admins_see_old_homes_and_remove_them_and_nothing_else() {
    let gateway = TestGateway::start_with(&TWO).await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    let first = home_in_use(&gateway);
    pupil.post("/api/container/reset", "").await;
    gateway.running_desktop(&mut pupil).await;
    let second = home_in_use(&gateway);
    let path = format!("/api/admin/homes/{first}");
    let refused = pupil.get("/api/admin/homes").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let refused = pupil.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let mut admin = admin(&gateway).await;
    let put = admin.send(Method::PUT, &path, &[], "").await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(put.header("allow"), Some("DELETE"));
    let list = admin.get("/api/admin/homes").await.json();
    assert_eq!(list["homes"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["homes"][0]["volume"], first.as_str());
    assert_eq!(list["homes"][0]["template"], "a");
    let in_use = format!("/api/admin/homes/{second}");
    let refused = admin.send(Method::DELETE, &in_use, &[], "").await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND, "the home in use");
    let removed = admin.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(removed.status, StatusCode::OK, "{}", removed.text());
    let volumes = gateway.engine.volumes.lock().unwrap().clone();
    assert!(!volumes.contains_key(&first) && volumes.contains_key(&second));
    let list = admin.get("/api/admin/homes").await.json();
    assert_eq!(list["homes"].as_array().unwrap().len(), 0);
    gateway.stop().await;
}

#[tokio::test]
async fn an_old_home_that_two_remove_is_one_entry_of_the_audit_log() {
    let gateway = TestGateway::start_with(&TWO).await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    let path = format!("/api/admin/homes/{}", home_in_use(&gateway));
    pupil.post("/api/container/reset", "").await;
    gateway.engine.unseeing.store(true, Ordering::SeqCst);
    let (mut one, mut other) = (admin(&gateway).await, admin(&gateway).await);
    let both_are_at_it = async {
        eventually("both are at it", || async {
            let said = gateway.engine.said.lock().unwrap();
            let removals = said.iter().filter(|word| word.starts_with("remove volume"));
            removals.count() == 2
        })
        .await;
        gateway.engine.unseeing.store(false, Ordering::SeqCst);
    };
    let (one, other, ()) = tokio::join!(
        one.send(Method::DELETE, &path, &[], ""),
        other.send(Method::DELETE, &path, &[], ""),
        both_are_at_it
    );
    assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK));
    // What is written behind it comes after both.
    pupil.post("/api/container/start", "").await;
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let count = async |action: &str| {
        let entries = database.list_audit(&Filter::default(), 100).await.unwrap();
        entries
            .iter()
            .filter(|entry| entry.action == action)
            .count()
    };
    eventually("the second start is in the audit log", || async {
        count("start").await == 2
    })
    .await;
    assert_eq!(count("home_removed").await, 1);
    database.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn old_homes_go_after_their_time() {
    let mut settings = TWO.to_vec();
    settings.push(("HOME_RETENTION", "2s"));
    let gateway = TestGateway::start_with(&settings).await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    let first = home_in_use(&gateway);
    pupil.post("/api/container/reset", "").await;
    gateway.running_desktop(&mut pupil).await;
    let second = home_in_use(&gateway);
    // What the gateway does now and then, done when the test wants it.
    let core = Core::with_engine(
        &gateway.config,
        Arc::new(SystemClock),
        gateway.engine.clone(),
    );
    let desktops = core.await.expect("a core").desktops;
    let has = |volume: &str| gateway.engine.volumes.lock().unwrap().contains_key(volume);
    desktops.remove_due_homes().await;
    assert!(has(&first), "it is too early");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    desktops.remove_due_homes().await;
    assert!(!has(&first) && has(&second));
    gateway.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_for_a_while_removes_no_home() {
    let mut settings = TWO.to_vec();
    settings.push(("HOME_RETENTION", "30d"));
    let gateway = TestGateway::start_with(&settings).await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    let first = home_in_use(&gateway);
    pupil.post("/api/container/reset", "").await;
    let look = async || {
        gateway.desktops.remove_ripe_homes().await;
        gateway.engine.volumes.lock().unwrap().contains_key(&first)
    };
    assert!(look().await, "it is too early");
    let ahead = 40 * 24;
    gateway.clock.jump(ahead);
    assert!(look().await, "it has only just come due");
    gateway.clock.advance(Duration::from_secs(5 * 3600));
    assert!(look().await, "somebody may set the clock right");
    gateway.clock.jump(-ahead);
    assert!(look().await);
    // What was seen before counts no more.
    gateway.clock.jump(ahead);
    assert!(look().await);
    gateway.clock.advance(Duration::from_secs(5 * 3600));
    assert!(look().await);
    gateway.clock.jump(-ahead);
    assert!(look().await);

    let day = Duration::from_secs(24 * 3600);
    gateway.clock.advance(31 * day);
    assert!(look().await);
    gateway.clock.advance(Duration::from_secs(6 * 3600));
    assert!(!look().await, "it has really had its time");
    gateway.stop().await;
}

#[tokio::test]
async fn old_homes_are_removed_by_the_gateway_that_leads_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let mut settings = TWO.to_vec();
    settings.extend([("HOME_RETENTION", "1s"), ("DATABASE_URL", own.url.as_str())]);
    let leader = TestGateway::start_with(&settings).await;
    eventually("it leads", || async {
        leader.desktops.leader().is_leading()
    })
    .await;
    let other = leader.another().await;
    let mut pupil = leader.program("pupil").await;
    leader.running_desktop(&mut pupil).await;
    let first = home_in_use(&leader);
    pupil.post("/api/container/reset", "").await;
    leader.clock.advance(Duration::from_secs(2));
    let look = async |gateway: &TestGateway| {
        for _ in 0..2 {
            gateway.desktops.remove_ripe_homes().await;
            leader.clock.advance(Duration::from_secs(1));
        }
        leader.engine.volumes.lock().unwrap().contains_key(&first)
    };
    assert!(look(&other).await, "it does not lead");
    assert!(!look(&leader).await);
    other.stop().await;
    leader.stop().await;
    own.drop().await;
}

#[tokio::test]
async fn a_fresh_start_passes_over_volumes_that_the_database_does_not_know() {
    let gateway = TestGateway::start_with(&TWO).await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    let first = home_in_use(&gateway);
    // Made after the backup from which the database is.
    for later in ["1", "2"] {
        let mut volumes = gateway.engine.volumes.lock().unwrap();
        volumes.insert(format!("{first}.{later}"), HashMap::new());
    }
    let reset = pupil.post("/api/container/reset", "").await;
    assert_eq!(reset.status, StatusCode::OK, "{}", reset.text());
    gateway.running_desktop(&mut pupil).await;
    assert_eq!(home_in_use(&gateway), format!("{first}.3"));
    pupil.post("/api/container/reset", "").await;
    gateway.running_desktop(&mut pupil).await;
    assert_eq!(home_in_use(&gateway), format!("{first}.4"));
    gateway.stop().await;
}
