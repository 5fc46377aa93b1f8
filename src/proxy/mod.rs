//! The data plane: carries requests, answers and WebSocket streams between a browser and the desktop
//! that a [`DesktopGrant`] names. Towards the browser it is plain hyper's, towards the desktop our own; a
//! stream after 101 is spliced.

mod answer;
pub mod confine;
pub mod frames;
mod framing;
pub mod headers;
pub mod input;
mod link;
mod links;
pub mod rewrite;
pub mod target;
mod tunnel;
mod upgrade;
mod upstream;

use std::sync::Arc;

use hyper::header::HeaderName;
use hyper::http;

use crate::authz::grant::DesktopGrant;
use crate::clock::Clock;
use crate::desktop::Awake;
use crate::desktop::upstream::{DialError, Dialer};
use crate::request::{Request, RequestContext, Response};
use crate::tasks::Tasks;
use crate::telemetry::metrics::Metrics;
use confine::Confinement;
use links::Links;
use target::{BadTarget, Target};
pub use upgrade::socket;

const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// How often resting connections are looked at.
pub const SWEEP_PERIOD: std::time::Duration = std::time::Duration::from_secs(1);

/// Why a request could not be carried.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The path is not one that a desktop may be asked for.
    #[error(transparent)]
    Target(#[from] BadTarget),
    /// The template keeps browsers away from this path.
    #[error("the template denies this path")]
    Denied,
    /// A service worker would outlive the desktop and see its successors.
    #[error("service workers are refused")]
    ServiceWorker,
    /// The WebSocket handshake of the browser is wrong.
    #[error("the WebSocket handshake is wrong: {0}")]
    Handshake(&'static str),
    /// No connection to the desktop.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The desktop broke off before its answer began.
    #[error("the desktop broke off")]
    Broken(#[source] std::io::Error),
    /// The desktop's answer is not HTTP.
    #[error("the desktop's answer cannot be read")]
    Upstream(#[source] answer::BadAnswer),
    /// The desktop did not begin to answer.
    #[error("the desktop did not answer in time")]
    Timeout,
    /// The desktop does not take our password.
    #[error("the desktop refuses our credentials")]
    Unauthorized,
    /// The desktop did something that it may not, or that makes no sense.
    #[error("the desktop's answer is not acceptable: {0}")]
    Unacceptable(&'static str),
    /// As many WebSockets lead to the desktop as may.
    #[error("too many WebSockets lead to the desktop")]
    TooManyStreams,
    /// Session or desktop ended meanwhile.
    #[error("the grant was withdrawn")]
    Revoked,
    /// An answer could not be put together.
    #[error("the answer cannot be put together")]
    Http(#[from] http::Error),
}

impl ProxyError {
    /// Whose fault it is, in a word.
    #[must_use]
    pub const fn side(&self) -> &'static str {
        match self {
            Self::Target(_)
            | Self::Denied
            | Self::ServiceWorker
            | Self::Handshake(_)
            | Self::TooManyStreams => "browser",
            Self::Dial(_)
            | Self::Broken(_)
            | Self::Upstream(_)
            | Self::Timeout
            | Self::Unauthorized
            | Self::Unacceptable(_) => "desktop",
            Self::Revoked | Self::Http(_) => "gateway",
        }
    }
}

/// What a [`Proxy`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// Opens connections to desktops.
    pub dialer: Dialer,
    /// Runs connections and tunnels.
    pub tasks: Tasks,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub metrics: Metrics,
    /// WebSockets to one desktop at the same time.
    pub max_streams: u32,
}

/// Carries requests to desktops.
#[derive(Clone, Debug)]
pub struct Proxy {
    dialer: Dialer,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    confinement: Confinement,
    links: Links,
    max_streams: u32,
}

impl Proxy {
    /// A proxy whose answers are confined like this.
    #[must_use]
    pub fn new(parts: Parts, confinement: Confinement) -> Self {
        let Parts {
            dialer,
            tasks,
            clock,
            metrics,
            max_streams,
        } = parts;
        Self {
            dialer,
            tasks,
            clock,
            metrics,
            confinement,
            links: Links::default(),
            max_streams,
        }
    }

    /// Closes connections to desktops that have rested for too long. To be called every [`SWEEP_PERIOD`].
    pub fn sweep(&self) {
        self.links.sweep();
    }

    /// Carries one request, whose path below `/desktop/<id>` is `rest`, to a desktop that is awake.
    ///
    /// # Errors
    /// Before anything reached the desktop: a path or handshake that is refused, no connection. After that:
    /// an answer that did not come, came too late or is not passed on. A body that breaks off later is cut off
    /// towards the browser as well, never ended as if it were whole.
    pub async fn forward(
        &self,
        (grant, awake): (DesktopGrant, Awake),
        context: &RequestContext,
        rest: &str,
        request: Request,
    ) -> Result<Response, ProxyError> {
        let target = Target::parse(rest, request.uri().query())?;
        let template = &grant.desktop().template;
        let socket = upgrade::is_wanted(request.headers());
        let path = target.decoded_path();
        if !template.allows_path(path) || (socket && !template.allows_socket(path)) {
            return Err(ProxyError::Denied);
        }
        if request.headers().contains_key(SERVICE_WORKER) {
            return Err(ProxyError::ServiceWorker);
        }
        grant.touch(self.clock.timestamp());
        let target = target.below(grant.desktop().upstream.prefix.as_deref())?;
        if socket {
            self.upgrade((grant, awake), context, &target, request)
                .await
        } else {
            self.exchange((grant, awake), context, &target, request)
                .await
        }
    }
}
