//! What the operating system says: the signals that ask for a stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the process is asked to stop, by SIGTERM or SIGINT.
pub async fn stop_requested() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
