//! A template that is taken out of the file while its desktops run: they are shown with what is the matter, ended after
//! a warning, and found again if the template comes back in time.

use std::time::Duration;

use futures_util::StreamExt;
use hyper::StatusCode;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::support::browser::Browser;
use crate::support::gateway::{PATIENCE, TEMPLATE, TestGateway};
use crate::support::socket::open_events;

const MINUTE: Duration = Duration::from_secs(60);
const OLD: (&str, &str) = (TEMPLATE, "id = 'old'\nimage = 'i'\ntitle = 'Old one'");
const NEW: (&str, &str) = (TEMPLATE, "id = 'new'\nimage = 'i'");
const ONE_EACH: (&str, &str) = ("MAX_DESKTOPS_PER_USER", "1");

fn program(gateway: &TestGateway, session: &str) -> Browser {
    let bearer = format!("Bearer {session}");
    gateway.browser().with("authorization", &bearer)
}

/// Somebody who opens pages by clicking.
fn person(gateway: &TestGateway, session: &str) -> Browser {
    let browser = gateway.browser();
    let browser = browser.with_cookie("__Host-Http-session", session);
    let browser = browser.with("accept", "text/html,*/*");
    let browser = browser.with("accept-language", "en");
    browser.with("sec-fetch-dest", "document")
}

/// A gateway without the template of the desktop that runs.
async fn without_template() -> (TestGateway, String, Value) {
    let gateway = TestGateway::start_with(&[OLD, NEW, ONE_EACH]).await;
    let session = gateway.session("pupil").await;
    let mut pupil = program(&gateway, &session);
    let container = gateway.running_desktop(&mut pupil).await;
    assert_eq!(container["template"], "old");
    let settings = [NEW, ONE_EACH];
    let gateway = gateway.killed_and_started_with(&settings, None).await;
    (gateway, session, container)
}

async fn status(pupil: &mut Browser) -> Value {
    pupil.get("/api/container/status").await.json()["container"].clone()
}

#[tokio::test]
async fn a_desktop_without_its_template_is_shown_with_the_reason() {
    let (gateway, session, container) = without_template().await;
    let mut pupil = program(&gateway, &session);
    let list = pupil.get("/api/container/list").await.json();
    let listed = &list["containers"][0];
    assert_eq!(
        (&listed["id"], &listed["template"]),
        (&container["id"], &"old".into())
    );
    assert_eq!(listed["status"], "running");
    assert_eq!(listed["stops_because"], "template_gone");
    assert!(listed["stops_at"].is_string() && listed["stops_soon"] == true);
    let path = format!("/desktop/{}/", container["id"].as_str().unwrap());
    let answer = pupil.get(&path).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.code(), "desktop_not_running");
    let stay = pupil.post("/api/container/extend", "").await;
    assert_eq!(stay.code(), "not_extendable");

    let mut person = person(&gateway, &session);
    let home = person.get("/").await.text();
    let card = home.find("data-template=\"old\"").expect("a card");
    assert!(card < home.find("data-template=\"new\"").unwrap(), "first");
    let card = &home[card..];
    assert!(card.contains(">old</h2>"), "{card}");
    assert!(
        card.contains("This kind of desktop is no longer offered."),
        "{card}"
    );
    let page = person.get(&path).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    let page = page.text();
    assert!(
        page.contains("This desktop cannot be opened any more"),
        "{page}"
    );
    assert!(
        page.contains("data-status=\"error\""),
        "nobody waits for it"
    );
    assert!(!page.contains("data-testid=\"again\""), "{page}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_without_its_template_is_ended_after_a_warning_and_frees_its_place() {
    let (gateway, session, container) = without_template().await;
    let mut pupil = program(&gateway, &session);
    let mut events = open_events(&gateway, &session).await;
    gateway.desktops.reap().await;
    let warned = async {
        loop {
            if let Some(Ok(Message::Text(text))) = events.next().await {
                let event: Value = serde_json::from_str(&text).unwrap();
                if event["type"] == "warning" {
                    return event;
                }
            }
        }
    };
    let warning = tokio::time::timeout(PATIENCE, warned)
        .await
        .expect("it comes");
    assert_eq!(warning["reason"], "template_gone");
    assert_eq!(warning["container"]["id"], container["id"]);
    let new = r#"{"template":"new"}"#;
    let full = pupil.post("/api/container/start", new).await;
    assert_eq!(full.code(), "quota_exceeded");
    gateway.clock.advance(MINUTE);
    gateway.desktops.reap().await;
    assert_eq!(status(&mut pupil).await["status"], "running");
    gateway.clock.advance(2 * MINUTE);
    gateway.desktops.reap().await;
    let ended = status(&mut pupil).await;
    assert_eq!(ended["status"], "stopped");
    assert_eq!(ended["status_reason_code"], "template_gone");
    let started = pupil.post("/api/container/start", new).await;
    assert_eq!(started.status, StatusCode::CREATED, "{}", started.text());
    gateway.stop().await;
}

#[tokio::test]
async fn a_template_that_comes_back_in_time_has_its_desktops_again() {
    let (gateway, session, container) = without_template().await;
    gateway.desktops.reap().await;
    gateway.clock.advance(MINUTE);
    let settings = [OLD, NEW, ONE_EACH];
    let gateway = gateway.killed_and_started_with(&settings, None).await;
    gateway.clock.advance(5 * MINUTE);
    gateway.desktops.reap().await;
    let mut pupil = program(&gateway, &session);
    let back = status(&mut pupil).await;
    assert_eq!(
        (&back["status"], &back["stops_at"]),
        (&"running".into(), &Value::Null)
    );
    let path = format!("/desktop/{}/app.js", container["id"].as_str().unwrap());
    assert_eq!(pupil.get(&path).await.status, StatusCode::OK);
    gateway.stop().await;
}
