//! What people do, as the audit log tells it.

use deskgate::model::audit::Action;
use deskgate::store::Database;
use deskgate::store::audit::{Entry, Filter};
use hyper::StatusCode;

use crate::support::gateway::{TestGateway, eventually};

/// All entries, oldest first.
async fn log(gateway: &TestGateway) -> Vec<Entry> {
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let mut entries = database.list_audit(&Filter::default(), 1000).await.unwrap();
    database.close().await;
    entries.reverse();
    entries
}

/// The log once it has `count` entries.
pub async fn log_of(gateway: &TestGateway, count: usize) -> Vec<Entry> {
    eventually("the entries are written", || async {
        log(gateway).await.len() >= count
    })
    .await;
    log(gateway).await
}

pub fn words(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| {
            let reason = entry.reason.as_deref().unwrap_or("-");
            format!("{} {} {reason}", entry.action, entry.outcome)
        })
        .collect()
}

#[test]
fn the_documentation_lists_every_word() {
    let text = include_str!("../../docs/LOGGING.md");
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with("| `action` |"));
    let listed: Vec<&str> = line
        .expect("a line")
        .split('`')
        .skip(1)
        .step_by(2)
        .collect();
    let words = Action::ALL.iter().map(|action| action.as_str());
    for word in words {
        assert!(listed.contains(&word), "{word} is not in {listed:?}");
    }
}

#[tokio::test]
async fn what_becomes_of_a_token_and_what_it_does_is_told() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let wish = r#"{"name": "a", "scopes": ["desktops"]}"#;
    let token = pupil.post("/api/tokens", wish).await.json();
    let id = token["id"].as_str().unwrap().to_owned();
    let authorization = format!("Bearer {}", token["token"].as_str().unwrap());
    let mut program = gateway.browser().with("authorization", &authorization);
    program.post("/api/container/start", "").await;
    let path = format!("/api/tokens/{id}");
    pupil.send(hyper::Method::DELETE, &path, &[], "").await;
    let entries = log_of(&gateway, 3).await;
    assert_eq!(
        words(&entries),
        [
            "token_created success -",
            "start success -",
            "token_revoked success -",
        ]
    );
    for entry in [&entries[0], &entries[2]] {
        let object = (entry.object_kind.as_deref(), entry.object_id.as_deref());
        assert_eq!(object, (Some("token"), Some(&*id)), "{entry:?}");
        assert_eq!(entry.actor_kind, "user");
    }
    let start = &entries[1];
    assert_eq!(
        (&*start.actor_kind, &start.subject_id),
        ("token", &start.actor_id)
    );
    assert_eq!(start.details["token"], id.as_str());
    assert!(!format!("{entries:?}").contains("dgt_"), "{entries:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_day_of_a_pupil_is_told_with_actor_address_and_request() {
    let gateway = TestGateway::start().await;
    let mut browser = gateway.browser();
    let refused = browser.get("/authorize?state=made-up&code=x").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    browser.log_in("student", "/").await;
    let home = browser
        .send(
            hyper::Method::GET,
            "/",
            &[("sec-fetch-dest", "document"), ("accept", "text/html")],
            "",
        )
        .await;
    let text = home.text();
    let (_, rest) = text.split_once("csrf-token\" content=\"").expect("a token");
    let token = rest.split('"').next().unwrap().to_owned();
    let mut pupil = browser.with("x-csrf-token", &token);
    let container = gateway.running_desktop(&mut pupil).await;
    pupil.post("/api/container/stop", "").await;
    pupil.post("/api/container/remove", "").await;
    pupil.post("/logout", "").await;

    let entries = log_of(&gateway, 6).await;
    assert_eq!(
        words(&entries),
        [
            "login_failed refused login_expired",
            "login success -",
            "start success -",
            "stop success asked",
            "remove success asked",
            "logout success -",
        ]
    );
    let (failed, login) = (&entries[0], &entries[1]);
    assert_eq!(failed.actor_kind, "anonymous");
    assert_eq!(failed.actor_id, None);
    for entry in &entries {
        assert_eq!(entry.address.as_deref(), Some("127.0.0.1"), "{entry:?}");
        assert!(entry.request_id.is_some(), "{entry:?}");
    }
    for entry in &entries[1..] {
        assert_eq!(entry.actor_kind, "user");
        assert_eq!(entry.actor_id, login.actor_id);
        assert_eq!(entry.subject_id, login.actor_id);
        assert_eq!(entry.actor_name, entry.subject_name);
    }
    for entry in &entries[2..5] {
        assert_eq!(entry.object_kind.as_deref(), Some("desktop"));
        assert_eq!(entry.object_id.as_deref(), container["id"].as_str());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_happens_by_itself_is_told_as_well() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    gateway
        .engine
        .vanish(container["container_name"].as_str().unwrap());
    pupil.get("/api/container/status").await;
    let entries = log_of(&gateway, 2).await;
    assert_eq!(
        words(&entries),
        ["start success -", "desktop_failed failure disappeared"]
    );
    assert_eq!(entries[1].actor_kind, "system");
    assert_eq!(entries[1].subject_id, entries[0].subject_id);
    gateway.stop().await;
}

#[tokio::test]
async fn a_stop_that_is_asked_for_again_while_it_lasts_is_one_act() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let name = container["container_name"].as_str().unwrap().to_owned();
    *gateway.engine.immovable.lock().unwrap() = Some(name);
    for _ in 0..2 {
        let asked = pupil.post("/api/container/stop", "").await;
        assert_eq!(asked.status, StatusCode::SERVICE_UNAVAILABLE);
        let now = pupil.get("/api/container/status").await.json();
        assert_eq!(now["container"]["status"], "stopping", "{now}");
    }
    *gateway.engine.immovable.lock().unwrap() = None;
    for act in ["stop", "stop", "remove"] {
        let done = pupil.post(&format!("/api/container/{act}"), "").await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    }
    let entries = log_of(&gateway, 3).await;
    assert_eq!(
        words(&entries),
        [
            "start success -",
            "stop success asked",
            "remove success asked"
        ]
    );
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_done_last_is_written_before_the_stop() {
    let gateway = TestGateway::start().await;
    let config = gateway.config.database.clone();
    let mut pupil = gateway.program("pupil").await;
    let data = gateway.keep_data();
    pupil.post("/logout", "").await;
    gateway.stop().await;
    let database = Database::connect(&config).await.unwrap();
    let entries = database.list_audit(&Filter::default(), 10).await.unwrap();
    assert_eq!(words(&entries), ["logout success -"]);
    database.close().await;
    drop(data);
}
