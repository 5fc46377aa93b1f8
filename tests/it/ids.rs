//! Ids of others and ids of nothing: for whoever is not allowed, no address tells the two apart, by its answer or by
//! the time that it takes. What takes time is the database, so the calls to it are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deskgate::model::user::Role;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use serde_json::json;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::browser::{Answer, Browser, ORIGIN};
use crate::support::gateway::TestGateway;

const UNKNOWN: &str = "01234567-89ab-4cde-8f01-23456789abcd";
/// How often each request is counted. Other work of the gateway adds calls now and then, and never takes any away.
const TIMES: usize = 12;

/// Counts the statements that sqlx logs, and hears nothing else.
#[derive(Clone, Debug, Default)]
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A request that names an id.
struct Asked {
    what: &'static str,
    method: Method,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

fn asked(what: &'static str, method: Method, path: String) -> Asked {
    Asked {
        what,
        method,
        path,
        headers: Vec::new(),
        body: String::new(),
    }
}

/// Every address that takes an id: of a desktop, a session or a token.
fn everything(desktop: &str, session: &str, token: &str) -> Vec<Asked> {
    let body = json!({ "id": desktop }).to_string();
    let upgrade = vec![
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("origin", ORIGIN),
    ];
    let desktop_at = |rest: &str| format!("/desktop/{desktop}/{rest}");
    let mut all = vec![
        asked("a page", Method::GET, desktop_at("")),
        asked("a file", Method::GET, desktop_at("app.js")),
        asked("a change", Method::POST, desktop_at("x")),
        asked(
            "status",
            Method::GET,
            format!("/api/container/status?id={desktop}"),
        ),
        asked(
            "a session",
            Method::DELETE,
            format!("/api/sessions/{session}"),
        ),
        asked("a token", Method::DELETE, format!("/api/tokens/{token}")),
        asked(
            "a pupil's desktop",
            Method::POST,
            format!("/api/teacher/containers/{desktop}/stop"),
        ),
    ];
    for (what, path) in [
        ("stop", "/api/container/stop"),
        ("remove", "/api/container/remove"),
        ("extend", "/api/container/extend"),
        ("reset", "/api/container/reset"),
    ] {
        let mut post = asked(what, Method::POST, path.to_owned());
        post.body.clone_from(&body);
        all.push(post);
    }
    let mut socket = asked("a WebSocket", Method::GET, desktop_at("websockify"));
    socket.headers = upgrade;
    all.push(socket);
    let mut person = asked("a visit", Method::GET, desktop_at(""));
    person.headers = vec![("accept", "text/html"), ("sec-fetch-dest", "document")];
    all.push(person);
    all
}

async fn ask(browser: &mut Browser, asked: &Asked) -> Answer {
    let method = asked.method.clone();
    browser
        .send(method, &asked.path, &asked.headers, &asked.body)
        .await
}

/// What is left of an answer without what differs between any two.
fn public(answer: &Answer) -> (StatusCode, String, HeaderMap) {
    let mut text = answer.text();
    // The request's id, in JSON and on a page.
    for before in ["urn:uuid:", "<dd><code>"] {
        if let Some(at) = text.rfind(before).map(|at| at + before.len()) {
            text.replace_range(at..at + UNKNOWN.len(), "");
        }
    }
    let mut headers = answer.headers.clone();
    headers.remove("date");
    (answer.status, text, headers)
}

#[tokio::test]
async fn an_id_of_somebody_else_and_one_of_nobody_cannot_be_told_apart() {
    let statements = Statements::default();
    let counted = tracing::subscriber::set_global_default(statements.clone()).is_ok();
    let gateway = TestGateway::start().await;
    let mut owner = gateway.program("owner").await;
    let running = gateway.running_desktop(&mut owner).await;
    let running = running["id"].as_str().unwrap();
    let session = owner.get("/session").await.json();
    let session = session["session"]["id"].as_str().unwrap();
    let mut other = gateway.program_as("other", Role::Teacher).await;
    other.get("/session").await;

    let token = owner.post("/api/tokens", r#"{"name": "a"}"#).await.json();
    let token = token["id"].as_str().unwrap();

    let compared = everything(running, session, token).into_iter();
    for (foreign, missing) in compared.zip(everything(UNKNOWN, UNKNOWN, UNKNOWN)) {
        let what = foreign.what;
        let (theirs, nobodys) = (
            ask(&mut other, &foreign).await,
            ask(&mut other, &missing).await,
        );
        assert_eq!(
            theirs.status,
            StatusCode::NOT_FOUND,
            "{what}: {}",
            theirs.text()
        );
        assert_eq!(public(&theirs), public(&nobodys), "{what}");
        let mut fewest = [usize::MAX; 2];
        for _ in 0..TIMES {
            for (asked, fewest) in [&foreign, &missing].into_iter().zip(&mut fewest) {
                let before = statements.0.load(Ordering::SeqCst);
                ask(&mut other, asked).await;
                *fewest = (*fewest).min(statements.0.load(Ordering::SeqCst) - before);
            }
        }
        println!("{what}: {fewest:?} statements");
        assert_eq!(fewest[0], fewest[1], "{what}");
        assert!(fewest[0] > 0 || !counted, "{what}: nothing was counted");
    }
    assert_eq!(owner.get("/session").await.status, StatusCode::OK);
    let page = owner.get(&format!("/desktop/{running}/")).await;
    assert_eq!(page.status, StatusCode::OK);
    gateway.stop().await;
}
