//! What a template says about the way to a desktop, each against a desktop that is strict about just that.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::browser::{Browser, HOST, ORIGIN};
use crate::support::fake_desktop::{FakeDesktop, FakeOptions, GREETING};
use crate::support::gateway::{PATIENCE, TEMPLATE, TestGateway, own_ports};

/// A gateway with one template, its pupil, and the pupil's running desktop.
struct Place {
    gateway: TestGateway,
    pupil: Browser,
    container: Value,
    desktop: Arc<FakeDesktop>,
    root: String,
    session: String,
}

impl Place {
    async fn new(template: &str, fake: FakeOptions) -> Self {
        let gateway = TestGateway::start_with(&[(TEMPLATE, template)]).await;
        *gateway.engine.fakes.lock().unwrap() = fake;
        let session = gateway.session("pupil").await;
        let mut pupil = gateway
            .browser()
            .with("authorization", &format!("Bearer {session}"));
        let container = gateway.running_desktop(&mut pupil).await;
        let desktop = gateway.desktop(&container);
        let root = format!("/desktop/{}", container["id"].as_str().unwrap());
        Self {
            gateway,
            pupil,
            container,
            desktop,
            root,
            session,
        }
    }

    /// Opens a WebSocket below the desktop's path; `Err` is the status that was answered instead.
    async fn socket(&self, rest: &str) -> Result<WebSocketStream<TcpStream>, StatusCode> {
        let address = format!("ws://{HOST}{}{rest}", self.root);
        let mut request = address.into_client_request().unwrap();
        let bearer = format!("Bearer {}", self.session);
        for (name, value) in [
            ("origin", ORIGIN),
            ("sec-websocket-protocol", "binary"),
            ("authorization", &bearer),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let socket = TcpStream::connect(self.gateway.addr).await.unwrap();
        match tokio_tungstenite::client_async(request, socket).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(answer)) => Err(answer.status()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn greeted(&self, rest: &str) -> WebSocketStream<TcpStream> {
        let mut socket = self.socket(rest).await.expect("it opens");
        let first = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        assert_eq!(first.unwrap().unwrap(), Message::binary(GREETING));
        socket
    }

    async fn page(&mut self, rest: &str) -> StatusCode {
        self.pupil.get(&format!("{}{rest}", self.root)).await.status
    }

    /// Ends it all; the desktop must have seen nothing that it does not like.
    async fn done(self) {
        assert_eq!(self.desktop.violations(), Vec::<String>::new());
        self.gateway.stop().await;
    }
}

#[tokio::test]
async fn selkies_works_by_its_template_alone() {
    let strict = FakeOptions {
        tls: false,
        same_origin: true,
        socket_path: Some("/api/websockets".into()),
        health: Some("/api/health".into()),
        ..FakeOptions::default()
    };
    let mut place = Place::new("id = 's'\npreset = 'selkies'\nimage = 'i'", strict).await;
    assert_eq!(place.page("/app.js").await, StatusCode::OK);
    let visit = [("accept", "text/html"), ("sec-fetch-dest", "document")];
    let root = format!("{}/", place.root);
    let page = place.pupil.send(Method::GET, &root, &visit, "").await;
    assert_eq!(page.status, StatusCode::OK, "no redirection to an entry");
    drop(place.greeted("/api/websockets").await);
    for closed in ["/api/files/x", "/api/switch", "/api/tokens"] {
        assert_eq!(place.page(closed).await, StatusCode::NOT_FOUND, "{closed}");
    }
    assert_eq!(place.desktop.api_calls(), Vec::<String>::new());
    let spec = place.gateway.engine.specs().pop().unwrap();
    assert!(spec.env.contains(&"CUSTOM_USER=desktop".to_owned()));
    place.done().await;
}

#[tokio::test]
async fn a_desktop_that_keeps_its_prefix_is_told_it_and_asked_below_it() {
    let template =
        "id = 'k'\nimage = 'i'\nprefix = 'keep'\nprefix_env = { SUBFOLDER = '{prefix}/' }";
    let mut place = Place::new(template, FakeOptions::default()).await;
    assert_eq!(place.page("/app.js").await, StatusCode::OK);
    assert_eq!(place.page("/api/get_users").await, StatusCode::NOT_FOUND);
    let page = place
        .pupil
        .get(&format!("{}/redirect-self", place.root))
        .await;
    let inside = format!("{}/dir/", place.root);
    assert_eq!(page.header("location"), Some(inside.as_str()));
    drop(place.greeted("/websockify").await);
    for seen in place.desktop.requests() {
        assert!(seen.target.starts_with(&place.root), "{}", seen.target);
    }
    let long = format!("/{}", "x".repeat(1000));
    assert_eq!(place.page(&long).await, StatusCode::URI_TOO_LONG);
    place.done().await;
}

#[tokio::test]
async fn a_desktop_that_knows_its_own_address_only_sees_that_as_host_and_origin() {
    let host = format!("127.0.0.1:{}", own_ports());
    let strict = FakeOptions {
        host: Some(host.clone()),
        same_origin: true,
        ..FakeOptions::default()
    };
    let template = "id = 'h'\nimage = 'i'\nhost_header = 'upstream'\norigin = 'rewrite'";
    let settings = [
        (TEMPLATE, template),
        ("PORT_RANGE", &format!("{0}-{0}", own_ports())),
    ];
    let gateway = TestGateway::start_with(&settings).await;
    *gateway.engine.fakes.lock().unwrap() = strict;
    let session = gateway.session("pupil").await;
    let mut pupil = gateway
        .browser()
        .with("authorization", &format!("Bearer {session}"));
    let container = gateway.running_desktop(&mut pupil).await;
    let mut place = Place {
        desktop: gateway.desktop(&container),
        root: format!("/desktop/{}", container["id"].as_str().unwrap()),
        gateway,
        pupil,
        container,
        session,
    };
    assert_eq!(place.page("/app.js").await, StatusCode::OK);
    let page = place
        .pupil
        .get(&format!("{}/redirect-self", place.root))
        .await;
    let inside = format!("{}/dir/", place.root);
    assert_eq!(page.header("location"), Some(inside.as_str()));
    drop(place.greeted("/websockify").await);
    let seen = place.desktop.requests().pop().unwrap();
    assert_eq!(seen.header("Origin"), Some(&*format!("https://{host}")));
    assert_eq!(seen.header("X-Forwarded-Host"), Some(HOST));
    place.done().await;
}

#[tokio::test]
async fn only_the_named_paths_are_opened_as_websockets() {
    let strict = FakeOptions {
        socket_path: Some("/websockify".into()),
        ..FakeOptions::default()
    };
    let template = "id = 'w'\nimage = 'i'\nws_paths = ['/websockify']";
    let place = Place::new(template, strict).await;
    drop(place.greeted("/websockify").await);
    for other in ["/", "/websockify/", "/other"] {
        let refused = place.socket(other).await.err();
        assert_eq!(refused, Some(StatusCode::NOT_FOUND), "{other}");
    }
    place.done().await;
}

#[tokio::test]
async fn readiness_is_what_the_template_takes_for_it() {
    let strict = FakeOptions {
        health: Some("/health".into()),
        ..FakeOptions::default()
    };
    // The root answers 503 until somebody has asked for the health.
    let template =
        "id = 'r'\nimage = 'i'\nready = { path = '/health', auth = false, expect = 200 }";
    let mut place = Place::new(template, strict.clone()).await;
    assert_eq!(place.page("/").await, StatusCode::OK);
    place.done().await;
    let template = "id = 'r'\nimage = 'i'\nready = { timeout = '1s' }";
    let gateway = TestGateway::start_with(&[(TEMPLATE, template)]).await;
    *gateway.engine.fakes.lock().unwrap() = strict;
    let mut pupil = gateway.program("pupil").await;
    let wait = [("prefer", "wait=20")];
    let started = pupil
        .send(Method::POST, "/api/container/start", &wait, "")
        .await;
    assert_eq!(started.json()["container"]["status"], "error");
    gateway.stop().await;
}

#[tokio::test]
async fn a_frame_longer_than_the_desktop_takes_is_answered_by_a_close() {
    let template = "id = 'm'\nimage = 'i'\nmax_message = 1000";
    let place = Place::new(template, FakeOptions::default()).await;
    let mut socket = place.greeted("/websockify").await;
    socket.send(Message::binary(vec![7; 1000])).await.unwrap();
    let back = socket.next().await.unwrap().unwrap();
    assert_eq!(back, Message::binary(vec![7; 1000]));
    socket.send(Message::binary(vec![7; 1001])).await.unwrap();
    let ended = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| u16::from(frame.code)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    let code = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(code, Some(1009));
    place.gateway.stop().await;
}

#[tokio::test]
async fn headers_of_answers_are_changed_and_the_confinement_stays() {
    let template = "id = 'a'\nimage = 'i'\n[headers]\nset = { Cache-Control = 'no-store', Content-Type = 'text/plain' }\nremove = ['Cross-Origin-Embedder-Policy']";
    let mut place = Place::new(template, FakeOptions::default()).await;
    let page = place.pupil.get(&format!("{}/app.js", place.root)).await;
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("content-type"), Some("text/plain"));
    assert_eq!(page.header("cross-origin-embedder-policy"), None);
    assert_eq!(
        page.header("cross-origin-opener-policy"),
        Some("same-origin")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("sandbox "), "{policy}");
    place.done().await;
}

#[tokio::test]
async fn a_pinned_desktop_may_not_change_its_certificate() {
    let template = "id = 'p'\nimage = 'i'\ntls_verify = 'pin'";
    let mut place = Place::new(template, FakeOptions::default()).await;
    assert_eq!(place.page("/app.js").await, StatusCode::OK);
    // Another desktop appears at the address, with the same password and a certificate of its own.
    let name = place.container["container_name"].as_str().unwrap();
    let addr = place.desktop.addr();
    let password = place.gateway.engine.password(name);
    drop(place.desktop);
    let impostor = place
        .gateway
        .engine
        .replace(name, addr.port(), password)
        .await;
    let page = place.pupil.get(&format!("{}/app.js", place.root)).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert_eq!(page.code(), "desktop_failed");
    assert_eq!(impostor.requests().len(), 0, "it was told nothing");
    // The next gateway knows it too.
    let gateway = place.gateway.killed_and_started_again().await;
    let mut pupil = gateway.browser();
    pupil = pupil.with("authorization", &format!("Bearer {}", place.session));
    let page = pupil.get(&format!("{}/app.js", place.root)).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert_eq!(impostor.requests().len(), 0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_without_the_outside_is_reached_without_a_published_port() {
    let template = format!(
        "id = 'n'\nimage = 'i'\nnetwork = 'none'\nport = {}",
        own_ports() + 20
    );
    let mut place = Place::new(&template, FakeOptions::default()).await;
    assert_eq!(place.container["host_port"], Value::Null);
    assert_eq!(place.page("/app.js").await, StatusCode::OK);
    place.done().await;
}

#[tokio::test]
async fn a_stop_runs_what_the_template_wants_beforehand_and_gives_it_its_time() {
    let template = "id = 'e'\nimage = 'i'\nstop = { timeout = '25s', pre_stop = ['save', 'all'] }";
    let mut place = Place::new(template, FakeOptions::default()).await;
    let stopped = place.pupil.post("/api/container/stop", "").await;
    assert_eq!(stopped.json()["container"]["status"], "stopped");
    let said = place.gateway.engine.said.lock().unwrap().clone();
    assert_eq!(said, ["exec save all", "stop after 25 s"]);
    place.done().await;
}

#[tokio::test]
async fn what_is_to_be_run_before_a_stop_is_run_in_a_frozen_desktop_too() {
    let template = "id = 'e'\nimage = 'i'\nstop = { timeout = '25s', pre_stop = ['save', 'all'] }";
    let mut place = Place::new(template, FakeOptions::default()).await;
    let name = place.container["container_name"].as_str().unwrap();
    place.gateway.engine.freeze(name, true).unwrap();
    let stopped = place.pupil.post("/api/container/stop", "").await;
    assert_eq!(stopped.json()["container"]["status"], "stopped");
    let said = place.gateway.engine.said.lock().unwrap().clone();
    assert_eq!(said, ["exec save all", "stop after 25 s"]);
    place.done().await;
}

#[tokio::test]
async fn a_tag_that_moves_is_followed_and_a_failed_pull_is_survived() {
    let template = "id = 'u'\nimage = 'moves:latest'\npull = 'always'";
    let place = Place::new(template, FakeOptions::default()).await;
    let said = place.gateway.engine.said.lock().unwrap().clone();
    assert_eq!(said, ["pull moves:latest"]);
    place.done().await;
}

#[tokio::test]
async fn texts_are_in_the_readers_language_and_templates_are_for_those_they_name() {
    let gateway = TestGateway::start_with(&[
        (
            TEMPLATE,
            "id = 'a'\nimage = 'i'\ntitle = { de = 'Büro', en = 'Office' }\nusers = ['mia']",
        ),
        (TEMPLATE, "id = 'b'\nimage = 'i'\ngroups = ['klasse.8a']"),
    ])
    .await;
    let mut mia = gateway.program("mia").await;
    for (language, title) in [("de-DE,de;q=0.9", "Büro"), ("en", "Office")] {
        let asked = [("accept-language", language)];
        let list = mia.send(Method::GET, "/api/templates", &asked, "").await;
        let list = list.json();
        assert_eq!(list["templates"].as_array().unwrap().len(), 1, "{list}");
        assert_eq!(list["templates"][0]["title"], title);
    }
    let mut ben = gateway.program("ben").await;
    let refused = ben
        .post("/api/container/start", r#"{"template":"a"}"#)
        .await;
    assert_eq!(refused.code(), "template_not_allowed");
    gateway.stop().await;
}
