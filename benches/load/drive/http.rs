//! Loads of plain requests.

use std::time::{Duration, Instant};

use anyhow::bail;
use rustls::HandshakeKind;
use tokio::io::AsyncWriteExt as _;

use super::meter::Meter;
use crate::peer::{Connection, Peer};
use crate::socket;
use crate::tls;

/// Bytes of the small answer.
const SMALL: usize = 1024;

/// One request after the other on one connection.
pub async fn requests(peer: &Peer, meter: &Meter) -> anyhow::Result<()> {
    let request = peer.get("small");
    let mut connection = peer.connect(socket::SMALL).await?;
    loop {
        let begin = Instant::now();
        connection.exchange(&request, SMALL, |_| ()).await?;
        meter.took(begin.elapsed());
    }
}

/// One big answer after the other; counts bytes.
pub async fn bodies(peer: &Peer, meter: &Meter, mb: u32) -> anyhow::Result<()> {
    let request = peer.get(&format!("big?mb={mb}"));
    let len = usize::try_from(mb)? * 1_000_000;
    let mut connection = peer.connect(socket::LARGE).await?;
    loop {
        let begin = Instant::now();
        connection
            .exchange(&request, len, |taken| meter.add(taken as u64))
            .await?;
        meter.sample(begin.elapsed());
    }
}

/// One connection after the other, each with a full handshake and one request.
pub async fn connections(peer: &Peer, meter: &Meter) -> anyhow::Result<()> {
    let request = peer.get("small");
    loop {
        let begin = Instant::now();
        let mut connection = peer.connect(socket::SMALL).await?;
        connection.exchange(&request, SMALL, |_| ()).await?;
        meter.took(begin.elapsed());
        close(connection).await;
    }
}

/// The same with resumed handshakes; the first one, which gets the ticket, does not count.
pub async fn resumptions(peer: &Peer, meter: &Meter) -> anyhow::Result<()> {
    let request = peer.get("small");
    let config = tls::client(true)?;
    let mut first = true;
    loop {
        let begin = Instant::now();
        let mut connection = peer.connect_with(&config, socket::SMALL).await?;
        connection.exchange(&request, SMALL, |_| ()).await?;
        if !first {
            if connection.handshake() != Some(HandshakeKind::Resumed) {
                bail!("the session was not resumed");
            }
            meter.took(begin.elapsed());
        }
        first = false;
        close(connection).await;
    }
}

/// Requests at times fixed beforehand, this client's share of them.
///
/// The time of a request that was due while the one before was still under way begins when it was due, so that a
/// stall counts for all that it delayed. Otherwise it begins when it is sent: the timer's own lateness is not the
/// proxy's.
pub async fn at_rate(
    peer: &Peer,
    meter: &Meter,
    rate: u32,
    (index, connections): (usize, usize),
) -> anyhow::Result<()> {
    let request = peer.get("small");
    let mut connection = peer.connect(socket::SMALL).await?;
    let period = Duration::from_secs(1) * u32::try_from(connections)? / rate;
    let mut due = Instant::now() + period * u32::try_from(index)? / u32::try_from(connections)?;
    loop {
        let mut begin = due;
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
            begin = Instant::now();
        }
        connection.exchange(&request, SMALL, |_| ()).await?;
        meter.took(begin.elapsed());
        due += period;
    }
}

/// Says goodbye as a browser does: `close_notify`, then FIN. What comes back no longer matters.
async fn close(mut connection: Connection) {
    let _ = connection.socket.shutdown().await;
}
