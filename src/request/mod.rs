//! Facts about a request that every layer may read: who is connected, which request this is,
//! which language the person reads, and the body type that all layers speak.

pub mod body;
pub mod client_addr;
pub mod lang;
pub mod ranges;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_body_util::combinators::UnsyncBoxBody;
use hyper::Version;
use hyper::header::{ACCEPT, HeaderName};
use tracing::Span;

use crate::model::id::RequestId;
use crate::stream::{Refusals, Scratch};
use client_addr::TrustedProxies;
use lang::Lang;

pub use body::{Body, BoxError};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A request as the gateway handles it.
pub type Request = hyper::Request<hyper::body::Incoming>;
/// A response as the gateway gives it.
pub type Response = hyper::Response<UnsyncBoxBody<bytes::Bytes, BoxError>>;

/// What is known of a connection before its first request.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The other end: of the socket, or as a trusted balancer's PROXY header says.
    pub peer: SocketAddr,
    /// The buffers of the worker that serves it.
    pub scratch: Scratch,
    /// Names its requests.
    pub ids: RequestIds,
    /// Whether more requests are under way than may be, so that this one should be refused.
    pub crowded: bool,
    /// Why a strict reader refused what the next request stands for, once it has.
    pub refusals: Refusals,
}

/// The ids of one connection's requests: random in front, counted behind, so that no request asks the
/// operating system for random bytes. They name requests in logs and protect nothing.
#[derive(Clone, Debug)]
pub struct RequestIds(Arc<(RequestId, AtomicU32)>);

impl RequestIds {
    /// For a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new((RequestId::random(), AtomicU32::new(0))))
    }

    /// The next request's.
    #[must_use]
    pub fn next(&self) -> RequestId {
        let (first, count) = &*self.0;
        first.plus(count.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

/// What is known of a request before anybody looks at its path.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Names this request in logs and in answers.
    pub id: RequestId,
    /// The version of HTTP that the browser speaks.
    pub version: Version,
    /// Who asks; trusted balancers in between are left out.
    pub client: IpAddr,
    /// The buffers of the worker that serves the connection.
    pub scratch: Scratch,
    /// The language to answer a person in.
    pub lang: Lang,
    /// Whether the asker would rather read a page than JSON.
    pub wants_page: bool,
    /// Origin of the portal, if the host that was asked is not the portal's; empty otherwise.
    pub home: String,
}

impl RequestContext {
    /// Reads the facts from the connection and the head of the request.
    #[must_use]
    pub fn new<B>(
        connection: &ConnectionInfo,
        trusted: &TrustedProxies,
        request: &hyper::Request<B>,
    ) -> Self {
        let headers = request.headers();
        let peer = connection.peer.ip();
        let client = if trusted.contains(peer.to_canonical()) {
            trusted.client(peer, headers.get_all(X_FORWARDED_FOR).iter())
        } else {
            peer.to_canonical()
        };
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            id: connection.ids.next(),
            version: request.version(),
            client,
            scratch: connection.scratch.clone(),
            lang: Lang::of(headers),
            wants_page: text(ACCEPT).is_some_and(|accept| accept.contains("text/html")),
            home: String::new(),
        }
    }

    /// What brings the id into the lines of all that the request sets off, in tasks and at the engine too. Of the highest
    /// level, so that no filter lets a line through without it.
    #[must_use]
    pub fn span(&self) -> Span {
        tracing::error_span!("request", request_id = %self.id)
    }
}
