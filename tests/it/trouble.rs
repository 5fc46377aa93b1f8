//! Desktops that fail say why: the right word, a sentence, and what is behind it for whoever may read that.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bollard::errors::Error;
use deskgate::engine::{EngineError, PullFailure};
use deskgate::model::desktop::State;
use deskgate::model::user::{Identity, Role};
use deskgate::store::Database;
use deskgate::store::containers::Change;
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::browser::Browser;
use crate::support::fake_engine::{Ending, Trouble};
use crate::support::gateway::{TEMPLATE, TestGateway, eventually, identity};
use crate::support::socket::{Socket, next, open_all_events, open_events};

/// Starts a desktop and waits for what becomes of it.
async fn start(program: &mut Browser) -> Value {
    let prefer = [("prefer", "wait=20")];
    let path = "/api/container/start";
    let answer = program.send(Method::POST, path, &prefer, "").await;
    answer.json()["container"].clone()
}

async fn status(program: &mut Browser) -> Value {
    let status = program.get("/api/container/status").await;
    status.json()["container"].clone()
}

async fn first_event(mut socket: Socket<TcpStream>) -> Value {
    match next(&mut socket).await {
        Some(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("no event: {other:?}"),
    }
}

/// What an admin sees of the one desktop there is.
async fn overview(admin: &mut Browser) -> Value {
    let listed = admin.get("/api/admin/containers").await.json();
    assert_eq!(listed["total"], 1, "{listed}");
    listed["containers"][0].clone()
}

#[tokio::test]
async fn a_desktop_that_ends_at_its_start_says_what_it_wrote_last() {
    let gateway = TestGateway::start().await;
    *gateway.engine.log.lock().unwrap() =
        "\u{1b}[31mpassword {password}\r\ncannot <open> display\n".to_owned();
    *gateway.engine.stillborn.lock().unwrap() = Some(Ending {
        exit_code: 3,
        oom_killed: false,
    });
    let mut pupil = gateway.program("pupil").await;
    let mut admin = gateway.program_as("admin", Role::Admin).await;
    let failed = start(&mut pupil).await;
    assert_eq!(failed["status"], "error", "{failed}");
    assert_eq!(failed["status_reason_code"], "ended_starting");
    let detail = "exit code 3\npassword ***\ncannot <open> display";
    assert_eq!(failed["status_detail"], detail);
    assert_eq!(overview(&mut admin).await["status_detail"], detail);
    eventually("its container is gone", || async {
        gateway.engine.all().is_empty()
    })
    .await;

    let id = failed["id"].as_str().unwrap();
    let accept = [("accept", "text/html")];
    let path = format!("/desktop/{id}/");
    let page = pupil.send(Method::GET, &path, &accept, "").await;
    let text = page.text();
    assert!(text.contains("cannot &#60;open&#62; display"), "{text}");
    let mut other = gateway.program("other").await;
    let page = other.send(Method::GET, &path, &accept, "").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_that_ends_while_it_is_used_has_the_true_reason() {
    for (exit_code, oom_killed, reason) in [(137, true, "out_of_memory"), (139, false, "ended")] {
        let gateway = TestGateway::start().await;
        *gateway.engine.log.lock().unwrap() = "last words".to_owned();
        let mut pupil = gateway.program("pupil").await;
        let running = gateway.running_desktop(&mut pupil).await;
        let name = running["container_name"].as_str().unwrap();
        let ending = Ending {
            exit_code,
            oom_killed,
        };
        gateway.engine.end(name, ending);
        let report = gateway.desktops.reconcile().await.expect("a pass");
        assert_eq!(report.ended, 1);
        let ended = status(&mut pupil).await;
        assert_eq!(ended["status_reason_code"], reason);
        let detail = format!("exit code {exit_code}\nlast words");
        assert_eq!(ended["status_detail"], detail);
        gateway.stop().await;
    }
}

fn said(words: &str) -> Error {
    let error = words.to_owned();
    Error::DockerStreamError { error }
}

const PULLS: [(&str, Trouble); 4] = [
    ("pull_denied", || {
        EngineError::Pull(PullFailure::Denied, said("secret.registry"))
    }),
    ("image_missing", || {
        EngineError::Pull(PullFailure::Unknown, said("secret.registry"))
    }),
    ("pull_failed", || {
        EngineError::Pull(PullFailure::Other, said("secret.registry"))
    }),
    ("disk_full", || {
        EngineError::DiskFull(said("secret.registry"))
    }),
];

#[tokio::test]
async fn a_pull_that_fails_says_why_and_only_admins_read_the_engines_words() {
    let template = "id = \"desktop\"\nimage = \"bad/desktop:1\"\npreset = \"kasm\"";
    for (reason, trouble) in PULLS {
        let gateway = TestGateway::start_with(&[(TEMPLATE, template)]).await;
        *gateway.engine.pull_trouble.lock().unwrap() = Some(trouble);
        let mut pupil = gateway.program("pupil").await;
        let mut admin = gateway.program_as("admin", Role::Admin).await;
        let failed = start(&mut pupil).await;
        assert_eq!(failed["status"], "error", "{failed}");
        assert_eq!(failed["status_reason_code"], reason);
        assert_eq!(failed["status_detail"], Value::Null, "for admins only");
        let detail = overview(&mut admin).await["status_detail"].clone();
        assert!(
            detail.as_str().unwrap().contains("secret.registry"),
            "{detail}"
        );
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_admins_hear_the_detail_in_events() {
    let gateway = TestGateway::start().await;
    *gateway.engine.create_trouble.lock().unwrap() =
        Some(|| EngineError::DiskFull(said("write /x: no space left on device")));
    let mut pupil = gateway.program("pupil").await;
    let failed = start(&mut pupil).await;
    assert_eq!(failed["status_reason_code"], "disk_full");
    let german = [("accept-language", "de")];
    let path = "/api/container/status";
    let said = pupil.send(Method::GET, path, &german, "").await.json();
    let sentence = said["container"]["status_reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(sentence.contains("Speicherplatz"), "{sentence}");
    let session = gateway.session("pupil").await;
    let own = first_event(open_events(&gateway, &session).await).await;
    assert_eq!(own["container"]["status_detail"], Value::Null);
    let admin = Identity {
        role: Role::Admin,
        ..identity("admin")
    };
    let session = gateway.session_of(&admin).await;
    let all = first_event(open_all_events(&gateway, &session).await).await;
    let detail = all["container"]["status_detail"].as_str().unwrap();
    assert!(detail.contains("no space left on device"), "{detail}");
    // What was in the way is gone: the next start works.
    *gateway.engine.create_trouble.lock().unwrap() = None;
    gateway.running_desktop(&mut pupil).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_start_waits_for_an_engine_that_is_away_for_a_moment() {
    let gateway = TestGateway::start().await;
    *gateway.engine.create_trouble.lock().unwrap() =
        Some(|| EngineError::Timeout(Duration::from_secs(60)));
    let mut pupil = gateway.program("pupil").await;
    let mut other = gateway.program("other").await;
    for somebody in [&mut pupil, &mut other] {
        let started = somebody.post("/api/container/start", "").await;
        assert_eq!(started.status, StatusCode::CREATED);
    }
    let in_vain = || {
        let said = gateway.engine.said.lock().unwrap();
        said.iter().filter(|said| *said == "create in vain").count()
    };
    eventually("both are tried", || async { in_vain() >= 2 }).await;
    // Now it answers nothing at all.
    gateway.engine.down.store(true, Ordering::SeqCst);
    assert_eq!(status(&mut pupil).await["status"], "creating");
    let stopped = other.post("/api/container/stop", "").await;
    assert_eq!(stopped.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(stopped.header("retry-after").is_some());
    *gateway.engine.create_trouble.lock().unwrap() = None;
    gateway.engine.down.store(false, Ordering::SeqCst);
    eventually("it runs", || {
        let mut pupil = pupil.clone();
        async move { status(&mut pupil).await["status"] == "running" }
    })
    .await;
    eventually("the other one is stopped", || {
        let (mut other, desktops) = (other.clone(), gateway.desktops.clone());
        async move {
            desktops.reconcile().await.expect("a pass");
            status(&mut other).await["status"] == "stopped"
        }
    })
    .await;
    assert_eq!(gateway.engine.all().len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_container_that_outlives_its_failed_desktop_is_removed() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let running = gateway.running_desktop(&mut pupil).await;
    let id = running["id"].as_str().unwrap().parse().unwrap();
    // As it is when the engine went away between the failure and the removal.
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let change = Change::default();
    let failed = database.transition(id, State::Running, State::Error, change);
    assert!(failed.await.unwrap());
    database.close().await;
    assert_eq!(gateway.engine.all().len(), 1);
    let report = gateway.desktops.reconcile().await.expect("a pass");
    assert_eq!(report.remains, 1);
    assert_eq!(gateway.engine.all(), []);
    let report = gateway.desktops.reconcile().await.expect("a pass");
    assert_eq!(report.remains, 0);
    gateway.stop().await;
}
