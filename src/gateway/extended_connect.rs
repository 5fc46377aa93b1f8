//! WebSocket over HTTP/2 (RFC 8441), translated to what HTTP/1.1 says for it: everything behind the
//! gateway's door knows one kind of handshake, and the answer is translated back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::ext::Protocol;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::{Method, StatusCode};

use crate::model::id::nonce;
use crate::request::{Request, Response};

/// Turns an extended CONNECT for `websocket` into the GET that asks for an upgrade. Says whether it was
/// one; a CONNECT for anything else is left alone, and refused like every CONNECT.
pub(super) fn translate(request: &mut Request) -> bool {
    let websocket = request
        .extensions()
        .get::<Protocol>()
        .is_some_and(|protocol| protocol.as_str() == "websocket");
    if request.method() != Method::CONNECT || !websocket {
        return false;
    }
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    // HTTP/2 needs no key; the desktop's HTTP/1.1 does (RFC 8441 section 5).
    if let Ok(key) = HeaderValue::try_from(STANDARD.encode(nonce())) {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    true
}

/// Turns the answer to a translated request back: 200 instead of 101, and nothing of one connection.
pub(super) fn translate_back(response: &mut Response) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    *response.status_mut() = StatusCode::OK;
    for name in [UPGRADE, CONNECTION, SEC_WEBSOCKET_ACCEPT] {
        response.headers_mut().remove(name);
    }
}
