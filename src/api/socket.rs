//! WebSockets of the API: the answer to a handshake, and how they are served and closed. The origin was checked by the
//! gateway.

use axum::extract::Request;
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::respond::error::HttpError;
use crate::tasks::Tasks;

/// Largest message that anybody may send here, bytes: nothing that is sent says anything.
const MAX_SENT: usize = 4096;

/// Our side of a WebSocket.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

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
            let limits = WebSocketConfig::default()
                .max_message_size(Some(MAX_SENT))
                .max_frame_size(Some(MAX_SENT));
            let io = TokioIo::new(upgraded);
            serve(WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await).await;
        }
    });
    let headers = [
        (UPGRADE, "websocket".to_owned()),
        (CONNECTION, "Upgrade".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// Says goodbye.
pub(super) async fn close(socket: &mut Socket, code: CloseCode) {
    let frame = CloseFrame {
        code,
        reason: "".into(),
    };
    // The other side may be gone already.
    let _ = socket.close(Some(frame)).await;
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
