//! WebSockets of the API: the answer to a handshake, and how they are served and closed. The origin was checked by the
//! gateway.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::SinkExt as _;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::respond::error::HttpError;
use crate::stream::{BrowserStream, Place};
use crate::tasks::Tasks;

/// Largest message that anybody may send here, bytes: nothing that is sent says anything.
const MAX_SENT: usize = 4096;

/// How long a goodbye may take to somebody who does not read.
const GOODBYE: Duration = Duration::from_secs(10);

/// What carries a WebSocket.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// Our side of a WebSocket.
pub(super) type Socket = WebSocketStream<Box<dyn Carrier>>;

/// Accepts a handshake, and has `serve` speak as a task named `name` once it is through.
///
/// # Errors
/// It is no handshake for a WebSocket.
pub(super) fn accept<F>(
    tasks: &Tasks,
    name: &'static str,
    mut request: Request,
    serve: impl FnOnce(Socket) -> F + Send + 'static,
) -> Result<Response, HttpError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let accept = accept_key(request.headers())?;
    let upgrade = hyper::upgrade::on(&mut request);
    tasks.spawn(name, async move {
        if let Ok(upgraded) = upgrade.await {
            let (carrier, early, _place) = release(upgraded);
            let limits = WebSocketConfig::default()
                .max_message_size(Some(MAX_SENT))
                .max_frame_size(Some(MAX_SENT));
            let limits = Some(limits);
            serve(WebSocketStream::from_partially_read(carrier, early, Role::Server, limits).await)
                .await;
        }
    });
    let headers = [
        (UPGRADE, "websocket".to_owned()),
        (CONNECTION, "Upgrade".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// What carries the WebSocket, what came on it already, and its place under the server's limits: over HTTP/1.1 the
/// connection itself, without the guard of requests, which lets nothing through any more; over HTTP/2 a stream.
fn release(upgraded: Upgraded) -> (Box<dyn Carrier>, Vec<u8>, Option<Place>) {
    match upgraded.downcast::<TokioIo<BrowserStream>>() {
        Ok(parts) => {
            let (connection, place, held) = parts.io.into_inner().into_parts();
            let early = [&parts.read_buf[..], &held].concat();
            (Box::new(connection), early, Some(place))
        }
        Err(stream) => (Box::new(TokioIo::new(stream)), Vec::new(), None),
    }
}

/// Says goodbye, or answers one.
pub(super) async fn close(socket: &mut Socket, code: CloseCode) {
    let frame = CloseFrame {
        code,
        reason: "".into(),
    };
    let goodbye = async {
        // Whoever said it first gets the answer that the library has ready.
        if socket.close(Some(frame)).await.is_err() {
            socket.flush().await
        } else {
            Ok(())
        }
    };
    // The other side may be gone already.
    let _ = timeout(GOODBYE, goodbye).await;
}

/// The answer to the browser's key (RFC 6455 section 4.2.2).
fn accept_key(headers: &HeaderMap) -> Result<String, HttpError> {
    let is = |name, value: &str| {
        headers
            .get(name)
            .is_some_and(|sent| sent.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    if !is("upgrade", "websocket") || !is("sec-websocket-version", "13") {
        return Err(HttpError::Malformed(
            "this address speaks WebSocket version 13 only",
        ));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let key = key.ok_or(HttpError::Malformed("the WebSocket key is missing"))?;
    Ok(derive_accept_key(key.as_bytes()))
}
