//! A desktop's WebSocket as a browser opens it, and what a client says in it (RFC 6143).

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::browser::{HOST, ORIGIN};
use super::gateway::{PATIENCE, TestGateway};

pub type Socket<S> = WebSocketStream<S>;

/// The first words of a client: version, no security, shared, one of `KasmVNC`'s encodings.
const OPENING: [&[u8]; 3] = [
    b"RFB 003.008\n",
    &[1, 1],
    &[2, 0, 0, 1, 0xff, 0xff, 0xfb, 0xfe],
];
/// A key that goes down.
pub const KEY: &[u8] = &[4, 1, 0, 0, 0, 0, 0, 0x61];
/// A request for the picture, which clients send by themselves.
pub const UPDATE: &[u8] = &[3, 0, 0, 0, 0, 0, 0, 10, 0, 10];

pub async fn open_h1(gateway: &TestGateway, path: &str, session: &str) -> Socket<TcpStream> {
    open(gateway, path, session, Some("binary")).await
}

/// The events of a session's user; they speak no subprotocol.
pub async fn open_events(gateway: &TestGateway, session: &str) -> Socket<TcpStream> {
    open(gateway, "/api/container/events", session, None).await
}

/// A teacher's look at a desktop.
pub async fn open_look(gateway: &TestGateway, path: &str, session: &str) -> Socket<TcpStream> {
    open(gateway, path, session, None).await
}

/// The events of everybody's desktops, for an admin.
pub async fn open_all_events(gateway: &TestGateway, session: &str) -> Socket<TcpStream> {
    open(gateway, "/api/container/events?all=1", session, None).await
}

async fn open(
    gateway: &TestGateway,
    path: &str,
    session: &str,
    protocol: Option<&str>,
) -> Socket<TcpStream> {
    let mut request = format!("ws://{HOST}{path}").into_client_request().unwrap();
    for (name, value) in [
        ("origin", Some(ORIGIN.to_owned())),
        ("sec-websocket-protocol", protocol.map(str::to_owned)),
        ("cookie", Some(format!("__Host-Http-session={session}"))),
    ] {
        if let Some(value) = value {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    let socket = TcpStream::connect(gateway.addr).await.unwrap();
    tokio_tungstenite::client_async(request, socket)
        .await
        .expect("it opens")
        .0
}

/// The same, as far as a VNC client is when it shows the picture.
pub async fn open_vnc(gateway: &TestGateway, id: &str, session: &str) -> Socket<TcpStream> {
    let path = format!("/desktop/{id}/websockify");
    let mut socket = open_h1(gateway, &path, session).await;
    assert!(next(&mut socket).await.is_some(), "the greeting");
    for words in OPENING {
        say(&mut socket, words).await;
    }
    socket
}

/// Sends a message and waits until the desktop's echo is back.
pub async fn say(socket: &mut Socket<TcpStream>, bytes: &[u8]) {
    socket.send(Message::binary(bytes.to_vec())).await.unwrap();
    assert_eq!(next(socket).await, Some(Message::binary(bytes.to_vec())));
}

/// A client of selkies at a desktop that is an echo server, as far as it is when it shows the picture.
pub async fn open_selkies(gateway: &TestGateway, id: &str, session: &str) -> Socket<TcpStream> {
    let path = format!("/desktop/{id}/websockets");
    let mut socket = open_h1(gateway, &path, session).await;
    for words in ["_gz,1", r#"SETTINGS,{"framerate":60}"#, "cr", "START_VIDEO"] {
        tell(&mut socket, words).await;
    }
    socket
}

/// Sends text and waits until the desktop's echo is back.
pub async fn tell(socket: &mut Socket<TcpStream>, words: &str) {
    socket.send(Message::text(words)).await.unwrap();
    assert_eq!(next(socket).await, Some(Message::text(words)));
}

pub async fn next<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
) -> Option<Message> {
    tokio::time::timeout(PATIENCE, socket.next())
        .await
        .expect("in time")?
        .ok()
}

/// The close code that comes next, within a second.
pub async fn close_code<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
) -> Option<CloseCode> {
    let closed = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1), closed)
        .await
        .expect("within a second")
}
