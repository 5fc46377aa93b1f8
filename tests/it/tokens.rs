//! API tokens: what they open, what they do not, and that their end is the end of everything under them.

use std::sync::Arc;
use std::time::Duration;

use deskgate::audit::Audit;
use deskgate::authn::api_tokens::{ApiTokens, MAX_PER_USER, Wish};
use deskgate::clock::{Clock, SystemClock};
use deskgate::model::audit::Actor;
use deskgate::model::id::TokenId;
use deskgate::model::user::{Identity, Role};
use deskgate::store::Database;
use deskgate::telemetry::metrics::Metrics;
use futures_util::StreamExt;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::browser::{Answer, Browser, HOST, ORIGIN};
use crate::support::gateway::{PATIENCE, TestGateway};

const EVENTS: &str = "/api/container/events";
const UNKNOWN: &str = "01234567-89ab-4cde-8f01-23456789abcd";

/// Makes a token as a person does, and returns the answer.
async fn made(person: &mut Browser, body: Value) -> Value {
    let answer = person.post("/api/tokens", &body.to_string()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()
}

fn secret(token: &Value) -> &str {
    token["token"].as_str().expect("a secret")
}

fn bearer(gateway: &TestGateway, token: &Value) -> Browser {
    let value = format!("Bearer {}", secret(token));
    gateway.browser().with("authorization", &value)
}

/// The database as another process has it.
async fn beside(gateway: &TestGateway) -> (Database, ApiTokens) {
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let clock = Arc::new(SystemClock);
    let audit = Audit::new(database.clone(), clock.clone(), Metrics::default());
    let tokens = ApiTokens::new(database.clone(), clock, audit);
    (database, tokens)
}

fn identity(name: &str, role: Role) -> Identity {
    Identity {
        issuer: "https://id.test".into(),
        subject: name.into(),
        username: name.into(),
        name: None,
        email: None,
        role,
        groups: Vec::new(),
    }
}

async fn open(
    gateway: &TestGateway,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocketStream<TcpStream>, StatusCode> {
    let mut request = format!("ws://{HOST}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let socket = TcpStream::connect(gateway.addr).await.unwrap();
    match tokio_tungstenite::client_async(request, socket).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status()),
        Err(other) => panic!("{other}"),
    }
}

/// Reads until the gateway says goodbye.
async fn close_code(socket: &mut WebSocketStream<TcpStream>) -> Option<CloseCode> {
    let reading = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                return frame.map(|frame| frame.code);
            }
        }
        None
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("in time")
}

fn refused(answer: &Answer) -> (StatusCode, String) {
    (answer.status, answer.code())
}

#[tokio::test]
async fn a_token_is_made_shown_once_used_listed_and_revoked() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let token = made(
        &mut pupil,
        json!({"name": " my script ", "expires_in": "30d"}),
    )
    .await;
    assert!(secret(&token).starts_with("dgt_"), "{token}");
    assert_eq!(token["name"], "my script");
    assert_eq!(
        token["scopes"],
        json!(["read"]),
        "the least, if nothing is said"
    );
    assert!(token["expires_at"].is_string() && token["last_used"].is_null());

    let by_id = gateway.browser().with("x-session-id", secret(&token));
    for mut program in [bearer(&gateway, &token), by_id] {
        let session = program.get("/session").await;
        assert_eq!(session.status, StatusCode::OK, "{}", session.text());
        let session = session.json();
        assert_eq!(session["user"]["username"], "pupil");
        assert_eq!(session["session"], Value::Null);
        assert_eq!(session["token"]["id"], token["id"]);
        assert_eq!(session["token"]["scopes"], json!(["read"]));
        assert_eq!(program.get("/api/templates").await.status, StatusCode::OK);
    }
    let listed = pupil.get("/api/tokens").await;
    assert!(!listed.text().contains("dgt_"), "{}", listed.text());
    let listed = listed.json()["tokens"].clone();
    assert_eq!(listed[0]["id"], token["id"]);
    assert!(listed[0]["last_used"].is_string(), "{listed}");
    assert_eq!(pupil.get("/session").await.json().get("token"), None);

    let path = format!("/api/tokens/{}", token["id"].as_str().unwrap());
    let mut other = gateway.program("other").await;
    assert_eq!(other.get("/api/tokens").await.json(), json!({"tokens": []}));
    for nowhere in [&*path, &format!("/api/tokens/{UNKNOWN}"), "/api/tokens/x"] {
        let answer = other.send(Method::DELETE, nowhere, &[], "").await;
        assert_eq!(
            refused(&answer),
            (StatusCode::NOT_FOUND, "not_found".into())
        );
    }
    let mut program = bearer(&gateway, &token);
    assert_eq!(program.get("/session").await.status, StatusCode::OK);
    let gone = pupil.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text());
    let answer = program.get("/session").await;
    assert_eq!(
        refused(&answer),
        (StatusCode::UNAUTHORIZED, "token_invalid".into())
    );
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let again = pupil.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    gateway.stop().await;
}

#[tokio::test]
async fn a_scope_opens_what_it_names_and_nothing_else() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let token = made(&mut pupil, json!({"name": "a", "scopes": ["read"]})).await;
    let mut reader = bearer(&gateway, &token);
    let token = made(&mut pupil, json!({"name": "b", "scopes": ["desktops"]})).await;
    let mut worker = bearer(&gateway, &token);

    let answer = reader.post("/api/container/start", "").await;
    assert_eq!(
        refused(&answer),
        (StatusCode::FORBIDDEN, "scope_missing".into())
    );
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains("`desktops`")
    );
    let container = gateway.running_desktop(&mut worker).await;
    assert_eq!(
        container["session_id"],
        Value::Null,
        "no session started it"
    );
    let id = container["id"].as_str().unwrap();
    let desktop = format!("/desktop/{id}/");
    assert_eq!(worker.get(&desktop).await.status, StatusCode::OK);
    let answer = reader.get(&desktop).await;
    assert_eq!(
        refused(&answer),
        (StatusCode::FORBIDDEN, "scope_missing".into())
    );
    for program in [&mut reader, &mut worker] {
        let list = program.get("/api/container/list").await;
        assert_eq!(list.json()["containers"][0]["id"], id);
    }
    for path in ["/api/container/stop", "/api/container/remove"] {
        assert_eq!(reader.post(path, "").await.status, StatusCode::FORBIDDEN);
        assert_eq!(worker.post(path, "").await.status, StatusCode::OK);
    }
    for program in [&mut reader, &mut worker] {
        let admin = program.get("/api/admin/users").await;
        assert_eq!(
            refused(&admin),
            (StatusCode::FORBIDDEN, "scope_missing".into())
        );
        assert!(admin.json()["detail"].as_str().unwrap().contains("`admin`"));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_token_does_nothing_that_only_a_person_may() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let all = json!({"name": "a", "scopes": ["read", "desktops"]});
    let token = made(&mut pupil, all).await;
    let mut program = bearer(&gateway, &token);
    let own = format!("/api/tokens/{}", token["id"].as_str().unwrap());
    for (method, path, body) in [
        (Method::GET, "/api/tokens", ""),
        (Method::POST, "/api/tokens", r#"{"name": "b"}"#),
        (Method::DELETE, &own, ""),
        (Method::GET, "/api/sessions", ""),
        (Method::POST, "/logout", ""),
        (Method::GET, "/", ""),
    ] {
        let answer = program.send(method, path, &[], body).await;
        assert_eq!(
            refused(&answer),
            (StatusCode::FORBIDDEN, "session_required".into()),
            "{path}"
        );
    }
    assert_eq!(
        pupil.get("/session").await.status,
        StatusCode::OK,
        "nobody signed them out"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn no_page_of_a_browser_can_use_a_token() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let all = json!({"name": "a", "scopes": ["read", "desktops"]});
    let token = made(&mut pupil, all).await;
    let mut program = bearer(&gateway, &token);
    let id = gateway.running_desktop(&mut program).await["id"].clone();
    let desktop = format!("/desktop/{}/", id.as_str().unwrap());
    let from = format!("{ORIGIN}{desktop}");
    for path in ["/api/container/list", &desktop, "/session"] {
        for marks in [
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "cors"),
            ][..],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-dest", "empty")],
            &[("sec-fetch-user", "?1")],
            &[("referer", from.as_str())],
            &[("referer", "https://elsewhere.test/")],
            &[("origin", ORIGIN)],
            &[("origin", "null")],
        ] {
            let answer = program.send(Method::GET, path, marks, "").await;
            let expected = (StatusCode::FORBIDDEN, "token_in_browser".to_owned());
            assert_eq!(refused(&answer), expected, "{path} {marks:?}");
        }
        // Node's fetch says so much of itself, and no more.
        let node = [("sec-fetch-mode", "cors"), ("accept-language", "*")];
        let answer = program.send(Method::GET, path, &node, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
    // A person's own session is not concerned.
    let mark = [("sec-fetch-site", "same-origin")];
    let answer = pupil
        .send(Method::GET, "/api/container/list", &mark, "")
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    // No page can set a header of a WebSocket, and each needs our origin.
    let authorization = format!("Bearer {}", secret(&token));
    let mut headers = vec![("authorization", &*authorization)];
    assert_eq!(
        open(&gateway, EVENTS, &headers).await.err(),
        Some(StatusCode::FORBIDDEN)
    );
    headers.push(("origin", ORIGIN));
    assert!(open(&gateway, EVENTS, &headers).await.is_ok());
    headers.push(("sec-fetch-site", "same-origin"));
    assert_eq!(
        open(&gateway, EVENTS, &headers).await.err(),
        Some(StatusCode::FORBIDDEN)
    );
    gateway.stop().await;
}

#[tokio::test]
async fn the_end_of_a_token_ends_its_streams() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let websockify = format!("/desktop/{}/websockify", container["id"].as_str().unwrap());
    let mut opened = Vec::new();
    for wish in [
        json!({"name": "here", "scopes": ["desktops"]}),
        json!({"name": "elsewhere", "scopes": ["desktops"]}),
        json!({"name": "short", "scopes": ["desktops"], "expires_in": "5s"}),
    ] {
        let token = made(&mut pupil, wish).await;
        let authorization = format!("Bearer {}", secret(&token));
        let headers = [
            ("authorization", &*authorization),
            ("origin", ORIGIN),
            ("sec-websocket-protocol", "binary"),
        ];
        let picture = open(&gateway, &websockify, &headers).await;
        let events = open(&gateway, EVENTS, &headers[..2]).await;
        let streams = [picture.expect("a picture"), events.expect("events")];
        opened.push((token, streams));
    }
    let id = |token: &Value| token["id"].as_str().unwrap().to_owned();
    let begun = Instant::now();
    let path = format!("/api/tokens/{}", id(&opened[0].0));
    pupil.send(Method::DELETE, &path, &[], "").await;
    let (database, tokens) = beside(&gateway).await;
    let elsewhere: TokenId = id(&opened[1].0).parse().unwrap();
    let by = Actor::operator();
    assert!(tokens.revoke(elsewhere, None, &by).await.unwrap());
    for (number, (token, streams)) in opened.iter_mut().enumerate() {
        for stream in streams {
            assert_eq!(close_code(stream).await, Some(CloseCode::Policy));
        }
        // A second until it is noticed, and what a busy machine takes.
        let in_time = begun.elapsed() < Duration::from_secs(4);
        assert!(in_time || number == 2, "{:?}", begun.elapsed());
        let answer = bearer(&gateway, token).get("/session").await;
        assert_eq!(refused(&answer).1, "token_invalid");
    }
    database.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_new_role_and_a_lock_count_within_a_second_or_two() {
    let gateway = TestGateway::start().await;
    let (database, tokens) = beside(&gateway).await;
    let now = || SystemClock.timestamp();
    let admin = identity("boss", Role::Admin);
    let user = database.upsert_user(&admin, now()).await.unwrap();
    let wish = Wish {
        name: "a".into(),
        scopes: deskgate::model::scope::Scopes::from_words("read admin"),
        lifetime: None,
    };
    let (token, _) = tokens
        .create(&user, &wish, &Actor::operator())
        .await
        .unwrap();
    let authorization = format!("Bearer {}", token.expose());
    let mut program = gateway.browser().with("authorization", &authorization);
    assert_eq!(
        program.get("/session").await.json()["user"]["role"],
        "admin"
    );
    let headers = [("authorization", &*authorization), ("origin", ORIGIN)];
    let mut events = open(&gateway, EVENTS, &headers).await.expect("events");

    database
        .upsert_user(&identity("boss", Role::Student), now())
        .await
        .unwrap();
    assert_eq!(close_code(&mut events).await, Some(CloseCode::Policy));
    assert_eq!(
        program.get("/session").await.json()["user"]["role"],
        "student"
    );

    let mut events = open(&gateway, EVENTS, &headers).await.expect("events");
    database.lock_user(user.id, now()).await.unwrap();
    assert_eq!(close_code(&mut events).await, Some(CloseCode::Policy));
    assert_eq!(
        program.get("/session").await.status,
        StatusCode::UNAUTHORIZED
    );
    database.upsert_user(&admin, now()).await.unwrap();
    assert_eq!(
        program.get("/session").await.status,
        StatusCode::OK,
        "signed in again"
    );
    database.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn wishes_that_cannot_be_granted_are_refused_with_a_reason() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let long = "x".repeat(65);
    for (body, status, code) in [
        (json!({}), 400, "invalid_name"),
        (json!({"name": "  "}), 400, "invalid_name"),
        (json!({"name": long}), 400, "invalid_name"),
        (json!({"name": "a\u{7}"}), 400, "invalid_name"),
        (json!({"name": "a", "scopes": []}), 400, "invalid_scope"),
        (
            json!({"name": "a", "scopes": ["all"]}),
            400,
            "invalid_scope",
        ),
        (
            json!({"name": "a", "scopes": ["admin"]}),
            403,
            "scope_not_allowed",
        ),
        (
            json!({"name": "a", "expires_in": "soon"}),
            400,
            "invalid_duration",
        ),
        (
            json!({"name": "a", "expires_in": "0s"}),
            400,
            "invalid_duration",
        ),
        (
            json!({"name": "a", "expires_in": "3651d"}),
            400,
            "invalid_duration",
        ),
        (json!({"name": "a", "scope": "read"}), 400, "invalid_json"),
    ] {
        let answer = pupil.post("/api/tokens", &body.to_string()).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (status, code),
            "{body}"
        );
    }
    let put = pupil.send(Method::PUT, "/api/tokens", &[], "").await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(put.header("allow"), Some("GET, HEAD, POST"));
    let get = pupil.get(&format!("/api/tokens/{UNKNOWN}")).await;
    assert_eq!(get.header("allow"), Some("DELETE"));
    for number in 0..MAX_PER_USER {
        made(&mut pupil, json!({"name": number.to_string()})).await;
    }
    let answer = pupil.post("/api/tokens", r#"{"name": "one more"}"#).await;
    assert_eq!(
        refused(&answer),
        (StatusCode::CONFLICT, "too_many_tokens".into())
    );
    made(
        &mut gateway.program("other").await,
        json!({"name": "theirs"}),
    )
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_account_page_lists_ones_own_tokens_and_no_secret() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    made(
        &mut gateway.program("pupil").await,
        json!({"name": "<i>mine"}),
    )
    .await;
    made(
        &mut gateway.program("other").await,
        json!({"name": "theirs"}),
    )
    .await;
    let visit = [("sec-fetch-dest", "document"), ("accept", "text/html")];
    let mut person = gateway
        .browser()
        .with_cookie("__Host-Http-session", &session);
    let page = person.send(Method::GET, "/account", &visit, "").await;
    assert_eq!(page.status, StatusCode::OK);
    let text = page.text();
    assert!(
        text.contains("&#60;i&#62;mine") && !text.contains("theirs"),
        "{text}"
    );
    assert!(!text.contains("dgt_"), "{text}");
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_no_token_opens_nothing() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let token = made(&mut pupil, json!({"name": "a"})).await;
    let good = secret(&token);
    for wrong in [
        "dgt_",
        &good[..52],
        &format!("{good}x"),
        &good.to_uppercase(),
        &good.replacen("dgt_", "dgu_", 1),
    ] {
        for (name, value) in [
            ("authorization", format!("Bearer {wrong}")),
            ("x-session-id", wrong.to_owned()),
        ] {
            let answer = gateway.browser().with(name, &value).get("/session").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        }
    }
    let mut cookie = gateway.browser().with_cookie("__Host-Http-session", good);
    assert_eq!(
        cookie.get("/session").await.status,
        StatusCode::UNAUTHORIZED,
        "not as a cookie"
    );
    let cookie = format!("Bearer {}", gateway.session("pupil").await);
    let forged = [("x-csrf-token", ""), ("authorization", &*cookie)];
    let answer = gateway
        .browser()
        .send(Method::POST, "/api/tokens", &forged, r#"{"name":"b"}"#)
        .await;
    assert_eq!(
        answer.status,
        StatusCode::CREATED,
        "a session by header makes one"
    );
    let mut by_cookie = gateway
        .browser()
        .with_cookie("__Host-Http-session", &cookie["Bearer ".len()..]);
    let answer = by_cookie.post("/api/tokens", r#"{"name":"c"}"#).await;
    assert_eq!(
        refused(&answer),
        (StatusCode::FORBIDDEN, "csrf_token_missing".into())
    );
    gateway.stop().await;
}
