//! WebSockets through the proxy, against a desktop that keeps all of KasmVNC's rules.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::{Method, StatusCode};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::browser::{Browser, HOST, ORIGIN};
use crate::support::fake_desktop::{FakeDesktop, GREETING, SERVER_FRAME_LIMIT};
use crate::support::gateway::{PATIENCE, TEMPLATE, TestGateway, eventually};

type Headers<'a> = &'a [(&'static str, &'a str)];

struct Setting {
    gateway: TestGateway,
    pupil: Browser,
    desktop: Arc<FakeDesktop>,
    session: String,
    path: String,
}

async fn setting() -> Setting {
    setting_with(&[]).await
}

async fn setting_with(settings: &[(&str, &str)]) -> Setting {
    let gateway = TestGateway::start_with(settings).await;
    let session = gateway.session("pupil").await;
    let mut pupil = gateway
        .browser()
        .with("authorization", &format!("Bearer {session}"));
    let container = gateway.running_desktop(&mut pupil).await;
    let desktop = gateway.desktop(&container);
    let path = format!("/desktop/{}/websockify", container["id"].as_str().unwrap());
    Setting {
        gateway,
        pupil,
        desktop,
        session,
        path,
    }
}

/// Opens a WebSocket with these headers; `Err` is the status that was answered instead.
async fn open(
    setting: &Setting,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocketStream<TcpStream>, StatusCode> {
    let mut request = format!("ws://{HOST}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let socket = TcpStream::connect(setting.gateway.addr).await.unwrap();
    match tokio_tungstenite::client_async(request, socket).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status()),
        Err(other) => panic!("{other}"),
    }
}

async fn open_as_pupil(setting: &Setting) -> WebSocketStream<TcpStream> {
    let cookie = format!("__Host-Http-session={}", setting.session);
    let headers = [
        ("origin", ORIGIN),
        ("sec-websocket-protocol", "binary"),
        ("cookie", cookie.as_str()),
    ];
    open(setting, &setting.path, &headers)
        .await
        .expect("it opens")
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<Message> {
    tokio::time::timeout(PATIENCE, socket.next())
        .await
        .expect("in time")?
        .ok()
}

#[tokio::test]
async fn frames_cross_untouched_and_the_bytes_behind_the_101_come_first() {
    let setting = setting().await;
    let mut socket = open_as_pupil(&setting).await;
    assert_eq!(next(&mut socket).await, Some(Message::binary(GREETING)));
    for size in [1, 125, 126, 60_000, 65_535] {
        let sent = vec![7; size];
        socket.send(Message::binary(sent.clone())).await.unwrap();
        let mut back = Vec::new();
        while back.len() < size {
            let Some(Message::Binary(part)) = next(&mut socket).await else {
                panic!("a frame of {size} bytes comes back");
            };
            assert!(part.len() <= SERVER_FRAME_LIMIT);
            back.extend_from_slice(&part);
        }
        assert_eq!(back, sent);
    }
    let frames: Vec<usize> = setting
        .desktop
        .client_frames()
        .iter()
        .map(|frame| frame.payload.len())
        .collect();
    assert_eq!(frames, [1, 125, 126, 60_000, 65_535], "one to one");
    assert_eq!(setting.desktop.violations(), Vec::<String>::new());
    let seen = setting.desktop.requests().pop().unwrap();
    assert_eq!(seen.header("Origin"), Some(ORIGIN));
    assert_eq!(seen.header("Sec-WebSocket-Protocol"), Some("binary"));
    assert!(!seen.has_header("cookie") && !seen.text().contains(&setting.session));
    setting.gateway.stop().await;
}

#[tokio::test]
async fn a_frame_that_the_desktop_refuses_ends_the_stream_and_nothing_else() {
    let template = "id = 'desktop'\nimage = 'i'\nmax_message = 'none'";
    let setting = setting_with(&[(TEMPLATE, template)]).await;
    let mut socket = open_as_pupil(&setting).await;
    let mut other = open_as_pupil(&setting).await;
    assert!(next(&mut socket).await.is_some() && next(&mut other).await.is_some());
    socket.send(Message::binary(vec![1; 70_000])).await.unwrap();
    while let Some(message) = next(&mut socket).await {
        assert!(!matches!(message, Message::Binary(_)), "nothing comes back");
    }
    assert!(
        setting
            .desktop
            .violations()
            .iter()
            .any(|rule| rule.starts_with("frame-too-long"))
    );
    other.send(Message::binary(vec![2])).await.unwrap();
    assert_eq!(next(&mut other).await, Some(Message::binary(vec![2])));
    setting.gateway.stop().await;
}

#[tokio::test]
async fn a_frame_that_kasmvnc_would_refuse_ends_the_stream_with_a_reason() {
    let setting = setting().await;
    let mut socket = open_as_pupil(&setting).await;
    assert!(next(&mut socket).await.is_some());
    socket.send(Message::binary(vec![1; 65_536])).await.unwrap();
    let mut code = None;
    while let Some(message) = next(&mut socket).await {
        if let Message::Close(frame) = message {
            code = frame.map(|frame| u16::from(frame.code));
        }
    }
    assert_eq!(code, Some(1009));
    setting.gateway.stop().await;
}

#[tokio::test]
async fn a_handshake_needs_a_session_our_origin_and_the_right_owner() {
    let setting = setting().await;
    let cookie = format!("__Host-Http-session={}", setting.session);
    let other = format!(
        "__Host-Http-session={}",
        setting.gateway.session("other").await
    );
    let before = setting.desktop.connections();
    let protocol = ("sec-websocket-protocol", "binary");
    let cases: [(&str, Headers<'_>, StatusCode); 6] = [
        (
            "no session",
            &[("origin", ORIGIN), protocol],
            StatusCode::UNAUTHORIZED,
        ),
        (
            "no origin",
            &[("cookie", &cookie), protocol],
            StatusCode::FORBIDDEN,
        ),
        (
            "null origin",
            &[("cookie", &cookie), ("origin", "null"), protocol],
            StatusCode::FORBIDDEN,
        ),
        (
            "foreign origin",
            &[
                ("cookie", &cookie),
                ("origin", "https://evil.test"),
                protocol,
            ],
            StatusCode::FORBIDDEN,
        ),
        (
            "somebody else",
            &[("cookie", &other), ("origin", ORIGIN), protocol],
            StatusCode::NOT_FOUND,
        ),
        (
            "version 12",
            &[
                ("cookie", &cookie),
                ("origin", ORIGIN),
                ("sec-websocket-version", "12"),
            ],
            StatusCode::BAD_REQUEST,
        ),
    ];
    for (what, headers, expected) in cases {
        assert_eq!(
            open(&setting, &setting.path, headers).await.err(),
            Some(expected),
            "{what}"
        );
    }
    assert_eq!(
        setting.desktop.connections(),
        before,
        "none of them reached the desktop"
    );
    // What KasmVNC answers when the browser offers no subprotocol: no WebSocket, so none from us.
    let no_protocol = [("cookie", cookie.as_str()), ("origin", ORIGIN)];
    assert_eq!(
        open(&setting, &setting.path, &no_protocol).await.err(),
        Some(StatusCode::BAD_GATEWAY)
    );
    setting.gateway.stop().await;
}

#[tokio::test]
async fn logout_and_stop_cut_an_open_stream_within_a_second() {
    for by_logout in [true, false] {
        let mut setting = setting().await;
        let mut socket = open_as_pupil(&setting).await;
        assert!(next(&mut socket).await.is_some());
        let path = if by_logout {
            "/logout"
        } else {
            "/api/container/stop"
        };
        let begun = tokio::time::Instant::now();
        assert_eq!(setting.pupil.post(path, "").await.status, StatusCode::OK);
        while next(&mut socket).await.is_some() {}
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{path} took {:?}",
            begun.elapsed()
        );
        let desktop = setting.desktop.clone();
        eventually("the desktop's side is closed too", || {
            let open = desktop.open_websockets();
            async move { open == 0 }
        })
        .await;
        setting.gateway.stop().await;
    }
}

#[tokio::test]
async fn a_desktop_that_dies_ends_its_streams_and_answers_again_later() {
    let mut setting = setting().await;
    let mut socket = open_as_pupil(&setting).await;
    assert!(next(&mut socket).await.is_some());
    setting.desktop.kill_streams();
    while next(&mut socket).await.is_some() {}
    let page = setting.path.replace("websockify", "");
    assert_eq!(setting.pupil.get(&page).await.status, StatusCode::OK);
    setting.gateway.stop().await;
}

#[tokio::test]
async fn a_browser_that_leaves_frees_the_desktops_side() {
    let setting = setting().await;
    for _ in 0..20 {
        drop(open_as_pupil(&setting).await);
    }
    let desktop = setting.desktop.clone();
    eventually("all streams are closed", || {
        let open = desktop.open_connections();
        async move { open == 0 }
    })
    .await;
    setting.gateway.stop().await;
}

#[tokio::test]
async fn events_tell_of_each_change_of_ones_own_desktops() {
    let mut setting = setting().await;
    let cookie = format!("__Host-Http-session={}", setting.session);
    let headers = [("origin", ORIGIN), ("cookie", cookie.as_str())];
    let mut events = open(&setting, "/api/container/events", &headers)
        .await
        .expect("events");
    let status = |message: Option<Message>| {
        let text = message.expect("an event").into_text().expect("text");
        let event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        event["container"]["status"]
            .as_str()
            .expect("a status")
            .to_owned()
    };
    assert_eq!(status(next(&mut events).await), "running");
    let mut stranger = setting.gateway.program("stranger").await;
    setting.gateway.running_desktop(&mut stranger).await;
    setting.pupil.post("/api/container/stop", "").await;
    assert_eq!(status(next(&mut events).await), "stopping");
    assert_eq!(status(next(&mut events).await), "stopped");
    setting.pupil.post("/api/container/remove", "").await;
    let removed = next(&mut events).await.unwrap().into_text().unwrap();
    assert!(removed.contains("\"type\":\"removed\""), "{removed}");
    setting.pupil.send(Method::POST, "/logout", &[], "").await;
    assert!(matches!(
        next(&mut events).await,
        Some(Message::Close(_)) | None
    ));
    setting.gateway.stop().await;
}
