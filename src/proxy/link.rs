//! Connections to desktops that carry one HTTP exchange after another, where a desktop allows it.
//!
//! KasmVNC answers one request per connection and says so; its connections end with their answer. Other
//! desktops keep theirs, and one page load then costs a handful of TLS handshakes instead of a hundred.
//! A link that rests does so for a few seconds only: websockify has a process for each.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::model::id::DesktopId;
use crate::stream::{DesktopStream, WorkerId};

/// How long a link may rest.
pub const REST: Duration = Duration::from_secs(3);
/// How many links of one worker to one desktop may rest.
const MAX_RESTING: usize = 32;

/// What a desktop is sent: the browser's body, or none.
pub type UpstreamBody = Either<Incoming, Empty<Bytes>>;

type Driven = Pin<Box<Connection<TokioIo<DesktopStream>, UpstreamBody>>>;
type Rests = HashMap<(WorkerId, DesktopId), Vec<Resting>>;

/// A connection to a desktop that is driven by whoever uses it.
pub struct Link {
    sender: SendRequest<UpstreamBody>,
    /// `None` once it has ended.
    connection: Option<Driven>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// A link over a fresh connection.
    ///
    /// # Errors
    /// Never in practice: nothing is sent yet.
    pub async fn over(stream: DesktopStream) -> hyper::Result<Self> {
        let (sender, connection) = Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self {
            sender,
            connection: Some(Box::pin(connection)),
        })
    }

    /// Moves the connection on. What goes wrong there reaches the exchange as well.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(cx).is_ready()
        {
            self.connection = None;
        }
    }

    /// Whether it is fit for another exchange.
    fn is_fit(&mut self) -> bool {
        // A desktop that has closed it in the meantime is noticed by this.
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Sends a request, and waits for the head of the answer.
    ///
    /// # Errors
    /// The connection broke, or what came is not HTTP.
    pub async fn send(
        &mut self,
        request: Request<UpstreamBody>,
    ) -> hyper::Result<Response<Incoming>> {
        poll_fn(|cx| {
            self.drive(cx);
            self.sender.poll_ready(cx)
        })
        .await?;
        let answer = self.sender.send_request(request);
        tokio::pin!(answer);
        poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        })
        .await
    }
}

/// The links that rest, of all workers: each is used again by its own worker only.
#[derive(Clone, Debug, Default)]
pub struct Links(Arc<Mutex<Rests>>);

#[derive(Debug)]
struct Resting {
    link: Link,
    since: Instant,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, Rests> {
        // The map is whole between any two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link that has rested and is still good.
    pub fn take(&self, worker: WorkerId, desktop: DesktopId) -> Option<Link> {
        loop {
            // The lock is not held while the link is looked at.
            let Resting { mut link, since } = self.lock().get_mut(&(worker, desktop))?.pop()?;
            if since.elapsed() < REST && link.is_fit() {
                return Some(link);
            }
        }
    }

    /// Lets a link rest, if it is fit for that.
    pub fn put(&self, worker: WorkerId, desktop: DesktopId, mut link: Link) {
        if !link.is_fit() {
            return;
        }
        let since = Instant::now();
        let mut links = self.lock();
        let resting = links.entry((worker, desktop)).or_default();
        if resting.len() < MAX_RESTING {
            resting.push(Resting { link, since });
        }
    }

    /// Closes what has rested for too long.
    pub fn sweep(&self) {
        self.lock().retain(|_, resting| {
            resting.retain(|link| link.since.elapsed() < REST);
            !resting.is_empty()
        });
    }
}

/// Polls a body that is fed by `link`.
pub fn poll_body(
    body: &mut Incoming,
    link: &mut Link,
    cx: &mut Context<'_>,
) -> Poll<Option<hyper::Result<hyper::body::Frame<Bytes>>>> {
    use hyper::body::Body as _;

    if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
        return Poll::Ready(frame);
    }
    // Only now does the connection know that somebody wants more.
    link.drive(cx);
    Poll::Ready(ready!(Pin::new(body).poll_frame(cx)))
}
