//! One connection: HTTP/1.1 or HTTP/2 as agreed, with our own deadlines for the first request and for
//! idleness, because hyper leaves some silent connections open for ever.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Handler;
use super::large_heads::LargeHeads;
use super::limits::{Limits, Requests};
use crate::request::{Body, BoxError, ConnectionInfo};
use crate::stream::{Guarded, Place};
use crate::tasks::Tasks;

/// From the connection to the end of the first request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// During a stop: from then to the first request of a connection that has had none.
const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// Without a request in progress.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Largest head of an HTTP/1.1 request, bytes, without the cookies that the guard takes out.
const MAX_HEAD: usize = 32 * 1024;
/// Largest head of an HTTP/2 request, bytes as RFC 9113 section 6.5.2 counts them. The library answers to a
/// larger one without clearing the cookies that made it large: 180 of 4 KiB in today's browsers.
const MAX_HEAD_LIST: u32 = 1024 * 1024;
/// Requests at the same time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// Requests of an HTTP/2 connection that may be taken back before they were looked at, and that may be
/// refused for what they are, before the connection ends ("rapid reset").
const MAX_RESETS: usize = 32;
/// What one HTTP/2 stream may have queued, bytes.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Silence after which an HTTP/2 peer is asked whether it still exists, and how long it may take.
const H2_PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Requests in progress on one connection, and when the last one ended.
#[derive(Debug)]
struct Progress {
    /// Those of all connections.
    all: Requests,
    active: AtomicUsize,
    begun: AtomicBool,
    first: Notify,
    /// When the connection began, and how many milliseconds later a request last began or ended.
    since: Instant,
    changed: AtomicU64,
}

impl Progress {
    fn new(all: Requests) -> Self {
        Self {
            all,
            active: AtomicUsize::new(0),
            begun: AtomicBool::new(false),
            first: Notify::new(),
            since: Instant::now(),
            changed: AtomicU64::new(0),
        }
    }

    fn begin(self: &Arc<Self>) -> InProgress {
        self.active.fetch_add(1, Ordering::Relaxed);
        if !self.begun.swap(true, Ordering::Relaxed) {
            self.first.notify_one();
        }
        InProgress {
            counted: self.all.begin(),
            progress: self.clone(),
        }
    }

    fn end(&self) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.changed.store(now, Ordering::Relaxed);
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns once there has been a request.
    async fn has_begun(&self) {
        while !self.begun.load(Ordering::Relaxed) {
            self.first.notified().await;
        }
    }

    /// Returns once no request has been in progress for as long as is allowed. Requests do not wake it: it
    /// looks when the time would be over if there had been none.
    async fn idle(&self) {
        loop {
            let limit = if self.begun.load(Ordering::Relaxed) {
                IDLE_TIMEOUT
            } else {
                HEADER_TIMEOUT
            };
            let changed = Duration::from_millis(self.changed.load(Ordering::Relaxed));
            let mut due = self.since + changed + limit;
            if self.active.load(Ordering::Relaxed) > 0 {
                due = Instant::now() + limit;
            } else if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

/// A request in progress; ends when its answer's body has been sent or dropped.
#[derive(Debug)]
struct InProgress {
    progress: Arc<Progress>,
    /// Whether it is one of those that may be under way.
    counted: bool,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if self.counted {
            self.progress.all.end();
        }
        self.progress.end();
    }
}

/// Serves a connection until it ends, is idle for too long, or the stop begins and its requests are done.
pub(super) async fn serve<S, H>(
    (stream, place): (S, Place),
    protocol: Protocol,
    info: ConnectionInfo,
    (handler, tasks, limits): (Arc<H>, Tasks, Limits),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let progress = Arc::new(Progress::new(limits.requests()));
    let service = |info: ConnectionInfo| {
        let progress = progress.clone();
        service_fn(move |request: hyper::Request<Incoming>| {
            let (handler, mut info) = (handler.clone(), info.clone());
            let in_progress = progress.begin();
            info.crowded = !in_progress.counted;
            async move {
                let response = handler.handle(info, request).await;
                Ok::<_, Infallible>(response.map(|body| TrackedBody {
                    body,
                    _in_progress: in_progress,
                }))
            }
        })
    };
    match protocol {
        Protocol::Http1 => {
            let stream = Guarded::new(stream, place);
            let info = ConnectionInfo {
                refusals: stream.refusals(),
                ..info
            };
            // How long a head may take and how many fields it may have is watched by the guard.
            let connection = hyper::server::conn::http1::Builder::new()
                .header_read_timeout(None)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service(info))
                .with_upgrades();
            drive(
                connection,
                hyper::server::conn::http1::UpgradeableConnection::graceful_shutdown,
                &progress,
                &tasks,
            )
            .await;
        }
        Protocol::Http2 => {
            let stream = LargeHeads::counted(stream, limits.large_heads());
            let connection = http2(TokioIo::new(stream), service(info));
            drive(
                connection,
                hyper::server::conn::http2::Connection::graceful_shutdown,
                &progress,
                &tasks,
            )
            .await;
        }
    }
}

fn http2<I, S>(io: I, service: S) -> hyper::server::conn::http2::Connection<I, S, TokioExecutor>
where
    I: Read + Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = TrackedBody, Error = Infallible>,
    S::Future: Send + 'static,
    S::ResBody: Send + 'static,
{
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING.0)
        .keep_alive_timeout(H2_PING.1)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .enable_connect_protocol()
        .max_header_list_size(MAX_HEAD_LIST)
        .serve_connection(io, service)
}

/// Drives a connection. After a graceful shutdown it still finishes what is in progress.
async fn drive<C>(
    connection: C,
    shut_down: impl Fn(Pin<&mut C>),
    progress: &Progress,
    tasks: &Tasks,
) where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = progress.idle() => {
            shut_down(connection.as_mut());
            // Nothing is in progress, so only the goodbye is left to send.
            tokio::time::timeout(Duration::from_secs(1), connection).await.unwrap_or(Ok(()))
        }
        () = tasks.soft().cancelled() => {
            // The library would close a connection at once that has not asked for anything yet; whoever
            // has just connected is still answered.
            let first = tokio::time::timeout(FIRST_REQUEST, progress.has_begun());
            tokio::select! {
                result = connection.as_mut() => result,
                _ = first => {
                    shut_down(connection.as_mut());
                    connection.await
                }
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = %crate::telemetry::ErrorChain(&error), "connection ended");
    }
}

/// A body that ties a request's end to the end of its answer.
struct TrackedBody {
    body: Body,
    _in_progress: InProgress,
}

impl hyper::body::Body for TrackedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Response;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use crate::request::{Request, RequestIds, body};
    use crate::stream::{Refusals, Scratch};
    use crate::telemetry::metrics::InFlight;

    struct Hello;

    impl Handler for Hello {
        async fn handle(&self, _: ConnectionInfo, _: Request) -> crate::request::Response {
            Response::new(body::full("hello"))
        }
    }

    /// Sends `bytes` and then nothing, and says after how many seconds the connection was closed. Time
    /// is the test's own.
    async fn closed_after(protocol: Protocol, bytes: &[u8]) -> u64 {
        let (mut client, server): (DuplexStream, DuplexStream) = tokio::io::duplex(64 * 1024);
        let tasks = Tasks::new();
        let info = ConnectionInfo {
            peer: ([127, 0, 0, 1], 1).into(),
            scratch: Scratch::default(),
            ids: RequestIds::new(),
            crowded: false,
            refusals: Refusals::default(),
        };
        let (handler, spawner) = (Arc::new(Hello), tasks.clone());
        let limits = Limits::new(1, 1, Requests::new(1, InFlight::default()));
        tasks.spawn(
            "connection",
            serve(
                (server, Place::new(())),
                protocol,
                info,
                (handler, spawner, limits),
            ),
        );
        client.write_all(bytes).await.unwrap();
        let begun = Instant::now();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_ask_is_closed() {
        let first = HEADER_TIMEOUT.as_secs();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        for (what, protocol, bytes) in [
            ("nothing", Protocol::Http1, &b""[..]),
            (
                "half a head",
                Protocol::Http1,
                b"GET / HTTP/1.1\r\nHost: x\r\n",
            ),
            ("nothing", Protocol::Http2, b""),
            ("half a preface", Protocol::Http2, b"PRI * HT"),
            ("a preface only", Protocol::Http2, preface),
        ] {
            let seconds = closed_after(protocol, bytes).await;
            let expected = first..=first + H2_PING.0.as_secs() + H2_PING.1.as_secs();
            assert!(
                expected.contains(&seconds),
                "{what} on {protocol:?}: {seconds} s"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_after_its_last_answer() {
        let seconds = closed_after(Protocol::Http1, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(
            (HEADER_TIMEOUT.as_secs()..=IDLE_TIMEOUT.as_secs() + 1).contains(&seconds),
            "{seconds} s"
        );
    }
}
