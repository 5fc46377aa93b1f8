//! Images that have to be pulled first: one pull for everybody who waits, seen by all of them, begun again where it broke off.

use bollard::errors::Error;
use deskgate::engine::{EngineError, PullFailure};
use deskgate::model::user::Role;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::browser::Browser;
use crate::support::gateway::{TEMPLATE, TestGateway, eventually};
use crate::support::socket::{next, open_events};

const IMAGE: &str = "good/desktop:1";

async fn start_with(settings: &[(&str, &str)]) -> TestGateway {
    let far = (TEMPLATE, "id = 'far'\nimage = 'good/desktop:1'");
    let near = (TEMPLATE, "id = 'near'\nimage = 'i'");
    TestGateway::start_with(&[settings, &[far, near]].concat()).await
}

async fn start(pupil: &mut Browser, template: &str) {
    let body = json!({ "template": template }).to_string();
    let started = pupil.post("/api/container/start", &body).await;
    assert_eq!(started.status, StatusCode::CREATED, "{}", started.text());
}

async fn becomes(pupil: &Browser, what: &str, like: impl Fn(&Value) -> bool) {
    eventually(what, || {
        let (mut pupil, like) = (pupil.clone(), &like);
        async move { like(&pupil.get("/api/container/status").await.json()) }
    })
    .await;
}

fn at_forty(status: &Value) -> bool {
    status["progress"] == json!({ "step": "pulling", "percent": 40 })
}

fn runs(status: &Value) -> bool {
    status["container"]["status"] == "running"
}

fn pulls(gateway: &TestGateway) -> usize {
    let said = gateway.engine.said.lock().unwrap();
    said.iter()
        .filter(|said| **said == format!("pull {IMAGE}"))
        .count()
}

#[tokio::test]
async fn everybody_waits_for_one_pull_and_keeps_nobody_else_waiting() {
    let gateway = start_with(&[("PARALLEL_STARTS", "1")]).await;
    let mut pupils = Vec::new();
    for name in ["one", "two", "three"] {
        let mut pupil = gateway.program(name).await;
        start(&mut pupil, "far").await;
        pupils.push(pupil);
    }
    for pupil in &pupils {
        becomes(pupil, "all see how far it is", at_forty).await;
    }
    let mut admin = gateway.program_as("admin", Role::Admin).await;
    let wanted = json!({ "image": IMAGE }).to_string();
    let joined = admin.post("/api/admin/images/pull", &wanted).await;
    assert_eq!(joined.json()["pull"]["state"], "running");
    // They have no turn while they wait.
    let mut other = gateway.program("other").await;
    start(&mut other, "near").await;
    becomes(&other, "another image needs no waiting", runs).await;

    let stopped = pupils[0].post("/api/container/stop", "").await.json();
    assert_eq!(stopped["container"]["status"], "stopped");
    becomes(&pupils[1], "a cancelled start takes nothing away", at_forty).await;
    gateway.engine.pull_on.notify_one();
    for pupil in &pupils[1..] {
        becomes(pupil, "those who stayed have a desktop", runs).await;
    }
    assert_eq!(pulls(&gateway), 1);
    assert_eq!(gateway.engine.all().len(), 3, "none for who left");
    gateway.stop().await;
}

#[tokio::test]
async fn a_pull_that_breaks_off_is_begun_again_and_told_in_events() {
    let gateway = start_with(&[]).await;
    *gateway.engine.pull_trouble.lock().unwrap() = Some(|| {
        let error = "dial tcp: i/o timeout".to_owned();
        EngineError::Pull(PullFailure::Registry, Error::DockerStreamError { error })
    });
    let session = gateway.session("pupil").await;
    let mut socket = open_events(&gateway, &session).await;
    let mut pupil = gateway.program("pupil").await;
    start(&mut pupil, "far").await;
    eventually("it is tried", || async { pulls(&gateway) == 1 }).await;
    *gateway.engine.pull_trouble.lock().unwrap() = None;
    loop {
        let Some(Message::Text(text)) = next(&mut socket).await else {
            panic!("an event")
        };
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(event["container"]["status"], "error", "{event}");
        if at_forty(&event) {
            break;
        }
    }
    assert_eq!(pulls(&gateway), 2);
    gateway.engine.pull_on.notify_one();
    becomes(&pupil, "it runs after all", runs).await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_pool_shares_the_pull_of_a_start() {
    let far = "id = 'kept'\nimage = 'good/desktop:1'\nhome = 'none'\nwarm = 1";
    let gateway = TestGateway::start_with(&[(TEMPLATE, far)]).await;
    eventually("the pool wants the image", || async {
        gateway.desktops.fill_pool().await.unwrap();
        pulls(&gateway) == 1
    })
    .await;
    let mut pupil = gateway.program("pupil").await;
    start(&mut pupil, "kept").await;
    becomes(&pupil, "the start waits for it too", at_forty).await;
    assert_eq!(gateway.engine.all(), []);
    gateway.engine.pull_on.notify_one();
    becomes(&pupil, "it runs", runs).await;
    eventually("the pool is filled", || async {
        gateway.desktops.fill_pool().await.unwrap();
        gateway.engine.all().len() == 2
    })
    .await;
    assert_eq!(pulls(&gateway), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_gateway_that_is_killed_in_the_middle_leaves_the_start_to_the_next() {
    let gateway = start_with(&[]).await;
    let mut pupil = gateway.program("pupil").await;
    start(&mut pupil, "far").await;
    becomes(&pupil, "it waits for its image", at_forty).await;
    let gateway = gateway.killed_and_started_again().await;
    pupil.gateway = gateway.addr;
    eventually("the next gateway pulls", || async { pulls(&gateway) == 2 }).await;
    gateway.engine.pull_on.notify_one();
    becomes(&pupil, "it runs", runs).await;
    gateway.stop().await;
}
