//! A door in front of the engine, for a gateway that is not to have its socket: who has that is root on the machine.
//! `deskgate engine-filter` listens on a socket of its own and lets through what a gateway of this configuration asks,
//! with bodies as this configuration makes them (`rules`), about containers, networks and volumes of this installation
//! (`forward`). It is the same program with the same settings, so that the two cannot disagree.

mod call;
mod container;
mod forward;
mod refusal;
mod rules;

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::config::FilterConfig;
use crate::tasks::Tasks;
use crate::telemetry::ErrorChain;
use forward::Filter;
use rules::Rules;

/// Questions at the same time; a gateway asks far fewer.
const MAX_CONNECTIONS: usize = 512;
/// How long a head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause when a connection could not be accepted, for want of files for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Who may ask: the socket's owner and group.
const SOCKET_MODE: u32 = 0o660;

/// Listens on a socket of its own, which goes with it.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Listens at `path`. What an earlier filter left there is replaced.
    ///
    /// # Errors
    /// Something else is at `path`, somebody listens there, or it cannot be made.
    pub async fn open(path: &Path) -> io::Result<Self> {
        if let Ok(found) = std::fs::symlink_metadata(path) {
            let is_left = found.file_type().is_socket() && UnixStream::connect(path).await.is_err();
            if !is_left {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
        let path = path.to_owned();
        Ok(Self { listener, path })
    }

    /// Answers until the soft stop. `engine` is the engine's socket.
    pub async fn serve(self, config: FilterConfig, engine: PathBuf, tasks: Tasks) {
        let filter = Arc::new(Filter::new(Rules::new(config), engine, tasks.clone()));
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let soft = tasks.soft().clone();
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                () = soft.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let filter = filter.clone();
            tasks.spawn("engine question", async move {
                let _place = place;
                answer(stream, filter).await;
            });
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // What stays is replaced by the next one.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One connection is one question: what a client library thinks of a connection that it uses again is then of no matter.
async fn answer(stream: UnixStream, filter: Arc<Filter>) {
    let service = service_fn(move |request| {
        let filter = filter.clone();
        async move { filter.answer(request).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(error = %ErrorChain(&error), "a question to the engine ended early");
    }
}
