//! From sockets to HTTP requests. Knows connections and their deadlines, and no routes: what a request
//! means is the business of the [`Handler`].

pub mod certificate;
mod connection;
pub mod listener;
pub mod signal;
pub mod tls;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::request::{ConnectionInfo, Request, Response};
use crate::tasks::Tasks;
use listener::Listener;
use tls::Acceptor;

/// Connections at the same time, tunnels included.
const MAX_CONNECTIONS: usize = 20_000;
/// Pause after `accept` failed, for instance because no file descriptor was left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(
        &self,
        connection: ConnectionInfo,
        request: Request,
    ) -> impl Future<Output = Response> + Send;
}

/// Accepts connections until the soft stop; then the listener is closed and connections finish.
pub fn spawn<H: Handler>(
    listener: Listener,
    acceptor: Option<Acceptor>,
    handler: Arc<H>,
    tasks: &Tasks,
) {
    let (soft, spawner) = (tasks.soft().clone(), tasks.clone());
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tasks.spawn("listener", async move {
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                biased;
                () = soft.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let info = ConnectionInfo { peer };
                    let work = connect(
                        socket,
                        info,
                        acceptor.clone(),
                        (handler.clone(), spawner.clone()),
                    );
                    spawner.spawn("connection", hold(permit, work));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
}

async fn hold(permit: OwnedSemaphorePermit, work: impl Future<Output = ()>) {
    work.await;
    drop(permit);
}

async fn connect<H: Handler>(
    socket: TcpStream,
    info: ConnectionInfo,
    acceptor: Option<Acceptor>,
    (handler, tasks): (Arc<H>, Tasks),
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "connection lost at once");
        return;
    }
    match acceptor {
        None => {
            connection::serve(socket, connection::Protocol::Http1, info, (handler, tasks)).await;
        }
        Some(acceptor) => match acceptor.handshake(socket).await {
            Ok((stream, protocol)) => {
                connection::serve(stream, protocol, info, (handler, tasks)).await;
            }
            Err(error) => tracing::debug!(client = %info.peer, %error, "TLS handshake failed"),
        },
    }
}
