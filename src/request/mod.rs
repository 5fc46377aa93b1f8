//! Facts about a request that every layer may read: who is connected, which request this is,
//! which language the person reads, and the body type that all layers speak.

pub mod body;
pub mod lang;

use std::net::SocketAddr;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::Version;
use hyper::header::{ACCEPT, ACCEPT_LANGUAGE};

use crate::model::id::RequestId;
use lang::Lang;

pub use body::{Body, BoxError};

/// A request as the gateway handles it.
pub type Request = hyper::Request<hyper::body::Incoming>;
/// A response as the gateway gives it.
pub type Response = hyper::Response<UnsyncBoxBody<bytes::Bytes, BoxError>>;

/// What is known of a connection before its first request.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionInfo {
    /// The other end of the socket.
    pub peer: SocketAddr,
}

/// What is known of a request before anybody looks at its path.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Names this request in logs and in answers.
    pub id: RequestId,
    /// The version of HTTP that the browser speaks.
    pub version: Version,
    /// Who asks.
    pub client: SocketAddr,
    /// The language to answer a person in.
    pub lang: Lang,
    /// Whether the asker would rather read a page than JSON.
    pub wants_page: bool,
}

impl RequestContext {
    /// Reads the facts from the connection and the head of the request.
    #[must_use]
    pub fn new<B>(connection: ConnectionInfo, request: &hyper::Request<B>) -> Self {
        let headers = request.headers();
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            id: RequestId::random(),
            version: request.version(),
            client: connection.peer,
            lang: Lang::from_accept_language(text(ACCEPT_LANGUAGE)),
            wants_page: text(ACCEPT).is_some_and(|accept| accept.contains("text/html")),
        }
    }
}
