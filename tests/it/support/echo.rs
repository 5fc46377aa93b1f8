//! A WebSocket echo server as the Autobahn test suite wants one: messages come back, and who breaks the rules is
//! told so by a close code. The rules themselves are tungstenite's.

use std::io;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Largest message and frame, bytes.
pub const LIMIT: usize = 16 * 1024 * 1024;

/// Serves a connection behind its 101.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> io::Result<()> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT));
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    while let Some(next) = socket.next().await {
        let sent = match next {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).await,
            // The library answers a ping and a close by itself.
            Ok(_) => Ok(()),
            Err(error) => {
                if let Some(code) = code(&error) {
                    let reason = "".into();
                    let _ = socket.close(Some(CloseFrame { code, reason })).await;
                }
                break;
            }
        };
        if sent.is_err() {
            break;
        }
    }
    let stream = socket.get_mut();
    stream.shutdown().await?;
    // What lies unread when a socket closes would take back what was sent last.
    let mut rest = [0; 4096];
    let drained = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), drained).await;
    Ok(())
}

/// The close code for a mistake of the client's (RFC 6455, section 7.4.1).
fn code(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Capacity(_) => Some(CloseCode::Size),
        _ => None,
    }
}
