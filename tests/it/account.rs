//! Where somebody is signed in, and the end of that: `/api/sessions` and the account page.

use std::time::Instant;

use deskgate::store::Database;
use deskgate::store::audit::Filter;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::browser::{Answer, Browser};
use crate::support::gateway::{TestGateway, eventually};
use crate::support::socket::{close_code, next, open_h1};

const SESSION: &str = "__Host-Http-session";
const FIREFOX: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0";
const SAFARI: &str = "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.7 Mobile/15E148 Safari/604.1";
const UNKNOWN: &str = "01234567-89ab-4cde-8f01-23456789abcd";

async fn signed_in(gateway: &TestGateway, agent: &str) -> Browser {
    let mut browser = gateway.browser().with("user-agent", agent);
    let done = browser.log_in("student", "/").await;
    assert_eq!(done.status, StatusCode::FOUND, "{}", done.text());
    browser
}

/// The same person as a program, which needs no token for changes.
fn program(gateway: &TestGateway, browser: &Browser) -> Browser {
    let session = browser.cookie(SESSION).expect("a session");
    gateway.browser().with("x-session-id", session)
}

async fn delete(program: &mut Browser, path: &str) -> Answer {
    program.send(Method::DELETE, path, &[], "").await
}

async fn id_of(program: &mut Browser) -> String {
    let session = program.get("/session").await.json();
    session["session"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn devices_are_listed_and_signed_out_one_by_one() {
    let gateway = TestGateway::start_with(&[("DESKTOP_ON_LOGOUT", "stop")]).await;
    let at_school = signed_in(&gateway, FIREFOX).await;
    let at_home = signed_in(&gateway, SAFARI).await;
    let (mut school, mut home) = (program(&gateway, &at_school), program(&gateway, &at_home));
    let container = gateway.running_desktop(&mut home).await;
    let path = format!("/desktop/{}/websockify", container["id"].as_str().unwrap());
    let mut socket = open_h1(&gateway, &path, at_home.cookie(SESSION).unwrap()).await;
    assert!(next(&mut socket).await.is_some());

    let listed = school.get("/api/sessions").await.json();
    let sessions = listed["sessions"].as_array().unwrap();
    let by_device = |device: &str| -> Value {
        let found = sessions.iter().find(|session| session["device"] == device);
        found.unwrap_or_else(|| panic!("{listed}")).clone()
    };
    assert_eq!(sessions.len(), 2);
    let (here, there) = (by_device("Firefox on Windows"), by_device("Safari on iPad"));
    assert_eq!(
        (&here["current"], &there["current"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(here["id"], id_of(&mut school).await.as_str());
    for key in ["address", "login_address"] {
        assert_eq!(there[key], "127.0.0.1");
    }
    for key in ["created_at", "last_seen", "expires_at"] {
        assert!(there[key].is_string(), "{there}");
    }

    let begun = Instant::now();
    let there = there["id"].as_str().unwrap();
    let ended = delete(&mut school, &format!("/api/sessions/{there}")).await;
    assert_eq!(
        (ended.status, ended.json()),
        (StatusCode::OK, json!({ "ended": [there] }))
    );
    assert_eq!(close_code(&mut socket).await.map(u16::from), Some(1008));
    println!("a sign-out was felt after {:?}", begun.elapsed());
    assert_eq!(home.get("/session").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(school.get("/session").await.status, StatusCode::OK);
    eventually("its desktop is stopped", || {
        let mut school = school.clone();
        async move {
            let status = school.get("/api/container/status").await.json();
            status["container"]["status"] == "stopped"
        }
    })
    .await;
    let again = delete(&mut school, &format!("/api/sessions/{there}")).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    eventually("the audit log tells it", || async {
        let database = Database::connect(&gateway.config.database).await.unwrap();
        let entries = database.list_audit(&Filter::default(), 100).await.unwrap();
        database.close().await;
        let mut entries = entries.iter();
        entries.any(|entry| {
            entry.action == "session_ended" && entry.object_id.as_deref() == Some(there)
        })
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn everywhere_is_everywhere_and_only_oneself() {
    let gateway = TestGateway::start().await;
    let mut devices = Vec::new();
    for _ in 0..3 {
        let session = gateway.session("pupil").await;
        devices.push(gateway.browser().with("x-session-id", &session));
    }
    let mut other = gateway.program("other").await;
    let [mut first, mut second, mut third]: [Browser; 3] = devices.try_into().unwrap();
    let foreign = id_of(&mut other).await;
    for id in [&*foreign, UNKNOWN, "x", "%2e%2e"] {
        let answer = delete(&mut first, &format!("/api/sessions/{id}")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::NOT_FOUND, "not_found"),
            "{id}"
        );
    }
    let wrong = delete(&mut first, "/api/sessions?keep=other").await;
    assert_eq!(
        (wrong.status, wrong.code().as_str()),
        (StatusCode::BAD_REQUEST, "invalid_query")
    );
    assert_eq!(second.get("/session").await.status, StatusCode::OK);

    let others = delete(&mut first, "/api/sessions?keep=current")
        .await
        .json();
    assert_eq!(others["ended"].as_array().unwrap().len(), 2);
    assert_eq!(first.get("/session").await.status, StatusCode::OK);
    for gone in [&mut second, &mut third] {
        assert_eq!(gone.get("/session").await.status, StatusCode::UNAUTHORIZED);
    }
    let all = delete(&mut first, "/api/sessions").await.json();
    assert_eq!(all["ended"].as_array().unwrap().len(), 1);
    assert_eq!(first.get("/session").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(other.get("/session").await.status, StatusCode::OK);
    for (path, allowed) in [
        ("/api/sessions", "GET, HEAD, DELETE"),
        (&format!("/api/sessions/{UNKNOWN}"), "DELETE"),
    ] {
        let answer = other.post(path, "").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_goes_with_its_person_through_a_new_login() {
    let gateway = TestGateway::start_with(&[("DESKTOP_ON_LOGOUT", "stop")]).await;
    let browser = gateway.browser();
    // Begun in a second tab before the first one was through.
    let mut second_tab = browser.clone();
    let begin = second_tab.get("/login").await;
    let mut first_tab = browser;
    first_tab.log_in("student", "/").await;
    let mut old = program(&gateway, &first_tab);
    gateway.running_desktop(&mut old).await;
    let old_id = id_of(&mut old).await;

    let session = first_tab.cookie(SESSION).unwrap().to_owned();
    let mut second_tab = second_tab.with_cookie(SESSION, &session);
    let address = begin.header("location").unwrap();
    let callback = crate::support::browser::at_provider(address, "student").await;
    second_tab.get(&callback[url::Position::BeforePath..]).await;
    assert_eq!(old.get("/session").await.status, StatusCode::UNAUTHORIZED);
    let mut new = program(&gateway, &second_tab);
    let new_id = id_of(&mut new).await;
    assert_ne!(new_id, old_id);
    let status = new.get("/api/container/status").await.json();
    assert_eq!(status["container"]["status"], "running", "it goes on");
    assert_eq!(status["container"]["session_id"], new_id.as_str());
    gateway.stop().await;
}

#[tokio::test]
async fn the_account_page_shows_devices_and_changes_need_its_token() {
    let gateway = TestGateway::start().await;
    let mut browser = signed_in(&gateway, FIREFOX)
        .await
        .with("accept", "text/html")
        .with("accept-language", "de");
    let visit = [("sec-fetch-dest", "document")];
    let page = browser.send(Method::GET, "/account", &visit, "").await;
    assert_eq!(page.status, StatusCode::OK);
    let text = page.text();
    assert!(
        text.contains("Firefox auf Windows") && text.contains("dieses Gerät"),
        "{text}"
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let (_, rest) = text.split_once("csrf-token\" content=\"").expect("a token");
    let token = rest.split('"').next().unwrap();

    let fetched = [("sec-fetch-dest", "empty")];
    let fetched = browser.send(Method::GET, "/account", &fetched, "").await;
    assert!(!fetched.text().contains("csrf-token"));

    let mut cookie_only = gateway
        .browser()
        .with_cookie(SESSION, browser.cookie(SESSION).unwrap());
    let refused = delete(&mut cookie_only, "/api/sessions").await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::FORBIDDEN, "csrf_token_missing")
    );
    let mut with_token = cookie_only.with("x-csrf-token", token);
    assert_eq!(
        delete(&mut with_token, "/api/sessions").await.status,
        StatusCode::OK
    );

    let out = browser.send(Method::GET, "/account", &visit, "").await;
    assert_eq!(out.status, StatusCode::FOUND);
    assert_eq!(out.header("location"), Some("/login?return_to=%2Faccount"));
    let script = gateway.browser().get("/account").await;
    assert_eq!(script.status, StatusCode::UNAUTHORIZED);
    gateway.stop().await;
}
