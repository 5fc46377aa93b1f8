//! What the pages do for people: the start without a script, the language, and what a page that is open does to its
//! session.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::support::browser::{Answer, Browser};
use crate::support::gateway::TestGateway;
use crate::support::socket::{next, open_events};

const SESSION: &str = "__Host-Http-session";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A person who opens pages by clicking, in German.
async fn person(gateway: &TestGateway) -> Browser {
    let session = gateway.session("pupil").await;
    let browser = gateway.browser().with_cookie(SESSION, &session);
    let browser = browser.with("accept", "text/html,*/*");
    let browser = browser.with("accept-language", "de");
    browser.with("sec-fetch-dest", "document")
}

/// The token that a page carries in its forms.
fn token(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text
        .split_once("name=\"csrf_token\" value=\"")
        .unwrap_or_else(|| panic!("no form: {text}"));
    rest.split('"').next().unwrap().to_owned()
}

async fn open(browser: &mut Browser, token: &str, template: &str) -> Answer {
    let form = format!("csrf_token={token}&template={template}");
    browser.send(Method::POST, "/open", &[FORM], &form).await
}

#[tokio::test]
async fn a_start_needs_no_script_and_leads_to_the_desktop() {
    let gateway = TestGateway::start().await;
    let mut browser = person(&gateway).await;
    let token = token(&browser.get("/").await);
    let opened = open(&mut browser, &token, "desktop").await;
    assert_eq!(opened.status, StatusCode::SEE_OTHER, "{}", opened.text());
    let path = opened.header("location").unwrap().to_owned();
    assert!(path.starts_with("/desktop/"), "{path}");
    // The page has such a policy; a tab that had it as its opener is parted from it here.
    assert_eq!(opened.header("cross-origin-opener-policy"), None);
    let again = open(&mut browser, &token, "desktop").await;
    assert_eq!(again.header("location"), Some(&*path), "one desktop");

    let by_address = browser.get("/open").await;
    let (status, to) = (by_address.status, by_address.header("location"));
    assert_eq!((status, to), (StatusCode::SEE_OTHER, Some("/")));
    gateway.stop().await;
}

#[tokio::test]
async fn a_start_by_form_needs_the_token_of_the_page_and_a_person() {
    let gateway = TestGateway::start().await;
    let mut browser = person(&gateway).await;
    for wrong in ["", "AAAA"] {
        let refused = open(&mut browser, wrong, "desktop").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(refused.text().contains("csrf_token_missing"));
    }
    let stranger = open(&mut gateway.browser(), "x", "desktop").await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    let mut script = gateway
        .browser()
        .with_cookie(SESSION, browser.cookie(SESSION).unwrap())
        .with("accept", "text/html")
        .with("sec-fetch-dest", "empty");
    assert!(!script.get("/").await.text().contains("csrf"));
    assert!(gateway.engine.all().is_empty(), "nothing was started");
    gateway.stop().await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_the_language_of_the_page() {
    let gateway = TestGateway::start_with(&[("MAX_DESKTOPS", "1")]).await;
    let mut other = gateway.program("somebody else").await;
    gateway.running_desktop(&mut other).await;
    let mut browser = person(&gateway).await;
    let token = token(&browser.get("/").await);
    let full = open(&mut browser, &token, "desktop").await;
    assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);
    let text = full.text();
    assert!(text.contains("Im Moment ist kein Platz"), "{text}");
    let json = [("accept", "application/json"), ("x-csrf-token", &*token)];
    let mut script = gateway
        .browser()
        .with_cookie(SESSION, browser.cookie(SESSION).unwrap())
        .with("accept-language", "de");
    let problem = script
        .send(Method::POST, "/api/container/start", &json, "{}")
        .await;
    assert_eq!(problem.code(), "capacity_exhausted");
    let detail = problem.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("Im Moment"), "{detail}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_chosen_language_wins_and_only_a_visit_chooses() {
    let gateway = TestGateway::start().await;
    let mut browser = person(&gateway).await;
    assert!(browser.get("/").await.text().contains("lang=\"de\""));
    let chosen = browser.get("/language?set=en&to=%2Faccount").await;
    assert_eq!(chosen.status, StatusCode::SEE_OTHER);
    assert_eq!(chosen.header("location"), Some("/account"));
    let cookie = chosen.header("set-cookie").unwrap();
    for attribute in ["__Host-language=en", "Secure", "Path=/", "SameSite=Lax"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(browser.get("/").await.text().contains("<html lang=\"en\""));

    let away = browser.get("/language?set=de&to=https://evil.test/").await;
    assert_eq!(away.header("location"), Some("/"));
    let nothing = browser.get("/language?set=fr&to=/").await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
    let mut image = gateway.browser().with("sec-fetch-dest", "image");
    let asked = image.get("/language?set=en&to=/").await;
    assert_eq!(asked.header("set-cookie"), None);
    gateway.stop().await;
}

#[tokio::test]
async fn a_page_that_is_open_does_not_keep_its_session() {
    let gateway = TestGateway::start_with(&[("SESSION_IDLE", "10m")]).await;
    let session = gateway.session("pupil").await;
    let mut person = gateway.browser().with_cookie(SESSION, &session);
    let mut page = person.clone().with("x-background", "1");
    assert_eq!(person.get("/session").await.status, StatusCode::OK);
    for _ in 0..3 {
        gateway.clock.advance(Duration::from_secs(180));
        let polled = page.get("/api/container/list").await;
        assert_eq!(polled.status, StatusCode::OK);
        drop(open_events(&gateway, &session).await);
    }
    gateway.clock.advance(Duration::from_secs(180));
    let over = page.get("/api/container/list").await;
    assert_eq!(over.status, StatusCode::UNAUTHORIZED);

    let session = gateway.session("pupil").await;
    let mut person = gateway.browser().with_cookie(SESSION, &session);
    for _ in 0..4 {
        gateway.clock.advance(Duration::from_secs(180));
        assert_eq!(person.get("/session").await.status, StatusCode::OK);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_start_tells_its_steps() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let mut events = open_events(&gateway, &session).await;
    let mut program = gateway
        .browser()
        .with("authorization", &format!("Bearer {session}"));
    gateway.running_desktop(&mut program).await;
    let mut steps: Vec<Value> = Vec::new();
    while let Some(Ok(message)) = events.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let event: Value = serde_json::from_str(&text).unwrap();
        steps.push(event["progress"]["step"].clone());
        if event["container"]["status"] == "running" {
            break;
        }
    }
    steps.dedup();
    assert_eq!(steps.last(), Some(&Value::Null), "{steps:?}");
    assert!(steps.contains(&"creating".into()), "{steps:?}");
    assert!(steps.contains(&"starting".into()), "{steps:?}");
    let status = program.get("/api/container/status").await.json();
    assert_eq!(status["progress"], Value::Null);
    gateway.stop().await;
}

#[tokio::test]
async fn events_answer_pings_and_a_goodbye() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let mut socket = open_events(&gateway, &session).await;
    let ping = Message::Ping(Bytes::from_static(b"there?"));
    socket.send(ping).await.unwrap();
    assert_eq!(
        next(&mut socket).await,
        Some(Message::Pong(Bytes::from_static(b"there?")))
    );
    socket.close(None).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Close(None)));
    assert_eq!(next(&mut socket).await, None, "the connection has ended");
    gateway.stop().await;
}
