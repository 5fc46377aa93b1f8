//! From sockets to HTTP requests. Knows connections, their limits and their deadlines, and no routes: what
//! a request means is the business of the [`Handler`].

pub mod certificate;
pub mod challenges;
mod connection;
mod large_heads;
pub mod limits;
pub mod listener;
pub mod per_client;
mod preface;
pub mod proxy_protocol;
pub mod redirect;
pub mod signal;
pub mod tls;
pub mod workers;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::request::client_addr::TrustedProxies;
use crate::request::{ConnectionInfo, Request, RequestIds, Response};
use crate::stream::{Place, Refusals, Scratch, Transport};
use crate::tasks::Tasks;
use connection::Protocol;
use limits::Limits;
use listener::Listener;
use tls::Acceptor;

/// Pause after `accept` failed, for instance because no file descriptor was left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a peer may leave what we sent unacknowledged, or its window shut (RFC 5482).
const PEER_SILENCE: Duration = Duration::from_secs(60);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(
        &self,
        connection: ConnectionInfo,
        request: Request,
    ) -> impl Future<Output = Response> + Send;
}

/// A way in: who may connect, and how they have to speak.
#[derive(Clone)]
pub struct Door {
    /// TLS, unless a balancer in front of us does it.
    pub acceptor: Option<Acceptor>,
    /// Balancers that open each connection with a PROXY header.
    pub proxy_protocol: Option<TrustedProxies>,
    /// How many may come.
    pub limits: Limits,
}

impl Door {
    /// Plain HTTP for anybody.
    #[must_use]
    pub fn plain(limits: Limits) -> Self {
        Self {
            acceptor: None,
            proxy_protocol: None,
            limits,
        }
    }
}

/// Accepts connections on each of the `runtimes` until the soft stop; then connections finish.
pub fn spawn<'a, H: Handler>(
    listener: Listener,
    door: &Door,
    handler: &Arc<H>,
    (tasks, runtimes): (&Tasks, impl Iterator<Item = &'a Handle>),
) {
    let listener = Arc::new(listener);
    for runtime in runtimes {
        let entrance = Entrance {
            door: door.clone(),
            handler: handler.clone(),
            tasks: tasks.clone(),
            scratch: Scratch::default(),
        };
        let listener = listener.clone();
        tasks.spawn_on(runtime, "listener", async move {
            match listener.register() {
                Ok(accepting) => entrance.accept(accepting).await,
                Err(error) => tracing::error!(%error, "a worker cannot listen"),
            }
        });
    }
}

/// A worker at a door.
struct Entrance<H> {
    door: Door,
    handler: Arc<H>,
    tasks: Tasks,
    scratch: Scratch,
}

impl<H: Handler> Entrance<H> {
    async fn accept(self, listener: TcpListener) {
        loop {
            let Some(place) = self.door.limits.place().await else {
                return;
            };
            let accepted = tokio::select! {
                biased;
                () = self.tasks.soft().cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            self.admit(accepted, place).await;
        }
        // Whoever stands in the queue of a socket that closes would be turned away.
        while let (Some(place), Some(accepted)) = (
            self.door.limits.place().now_or_never().flatten(),
            listener.accept().now_or_never(),
        ) {
            self.admit(accepted, place).await;
        }
    }

    async fn admit(
        &self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        place: OwnedSemaphorePermit,
    ) {
        match accepted {
            Ok((socket, peer)) => {
                let visit = Visit {
                    door: self.door.clone(),
                    handler: self.handler.clone(),
                    tasks: self.tasks.clone(),
                    scratch: self.scratch.clone(),
                };
                self.tasks.spawn("connection", async move {
                    if let Err(error) = visit.serve(socket, peer, place).await {
                        tracing::debug!(client = %peer, %error, "connection lost before its first request");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, from the socket to HTTP.
struct Visit<H> {
    door: Door,
    handler: Arc<H>,
    tasks: Tasks,
    scratch: Scratch,
}

impl<H: Handler> Visit<H> {
    async fn serve(
        self,
        mut socket: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> io::Result<()> {
        socket.set_nodelay(true)?;
        SockRef::from(&socket).set_tcp_user_timeout(Some(PEER_SILENCE))?;
        let peer = match &self.door.proxy_protocol {
            Some(trusted) if trusted.contains(peer.ip()) => {
                preface::read(&mut socket).await?.unwrap_or(peer)
            }
            _ => peer,
        };
        let Some(slot) = self.door.limits.admit(peer.ip()) else {
            return Err(io::Error::other("this client has too many connections"));
        };
        let (stream, protocol) = match &self.door.acceptor {
            None => (Transport::plain(socket), Protocol::Http1),
            Some(acceptor) => {
                let made = acceptor.handshake(socket, self.scratch.clone()).await?;
                let Some((stream, protocol)) = made else {
                    return Ok(());
                };
                (Transport::tls(stream), protocol)
            }
        };
        let info = ConnectionInfo {
            peer,
            scratch: self.scratch,
            ids: RequestIds::new(),
            crowded: false,
            refusals: Refusals::default(),
        };
        let rest = (self.handler, self.tasks, self.door.limits);
        // A WebSocket outlives its HTTP connection, and keeps these.
        let places = Place::new((place, slot));
        connection::serve((stream, places), protocol, info, rest).await;
        Ok(())
    }
}
