//! Clients that ask for much and take little: what they leave lying must not fill the gateway's memory.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use super::probe::Probe;
use super::{Trial, kb};
use crate::h2;
use crate::peer::Peer;
use crate::process;
use crate::socket::{self, Socket};

/// Clients of each kind.
const CLIENTS: usize = 20;
/// Streams of the HTTP/2 connection.
const STREAMS: u32 = 100;
/// How long they do not read.
const TIME: Duration = Duration::from_secs(6);
/// The slow ones take so much a second.
const SIP: usize = 1000;
/// Kernel memory that a client's system offers, so that nearly all has to wait at the gateway.
const RECEIVE_BUFFER: u32 = 8 * 1024;
/// What a tunnel keeps for a browser that does not read: one read from the desktop (64 kB), encrypted, in a buffer
/// that may have room for as much again, and a record of the desktop's that is not whole (16 kB and its overhead).
const TUNNEL_MEMORY: u64 = 2 * 66 * 1024 + 17 * 1024;
/// An ordinary request's buffers in hyper and ours, towards both sides (64 kB and growing by doubling).
const EXCHANGE_MEMORY: u64 = 4 * 64 * 1024;
/// A stream of an HTTP/2 connection: what it may have queued (64 kB), and what was read for it meanwhile (64 kB).
const STREAM_MEMORY: u64 = 2 * 64 * 1024;
/// The same of a WebSocket: hyper keeps a write of 64 kB that is under way and two more in a channel, and the tunnel
/// one and a record of the desktop's that is not whole.
const H2_TUNNEL_MEMORY: u64 = 4 * 64 * 1024 + 17 * 1024;
/// What the allocator and others who are served meanwhile add, once for each kind.
const SLACK: u64 = 3 * 1024 * 1024;

/// Runs one kind after the other.
pub async fn run(trial: &mut Trial) -> anyhow::Result<()> {
    // What a worker sets up once has to be there before the first reading.
    let peer = trial.peer.with_receive_buffer(RECEIVE_BUFFER);
    drop(tunnels(&peer, 2).await?);
    drop(bodies(&peer, 2).await?);
    tokio::time::sleep(Duration::from_secs(1)).await;

    let clients = u64::try_from(CLIENTS)?;
    let mut before = Before::new(trial)?;
    let held = tunnels(&peer, CLIENTS).await?;
    let what = "WebSockets, half of them at 1 kB/s, half not at all";
    before
        .judge(trial, (what, clients, TUNNEL_MEMORY), held)
        .await?;

    before = Before::new(trial)?;
    let held = bodies(&peer, CLIENTS).await?;
    let what = "downloads over HTTP/1.1, not read";
    before
        .judge(trial, (what, clients, EXCHANGE_MEMORY), held)
        .await?;

    before = Before::new(trial)?;
    let held = streams(&peer, STREAMS, false).await?;
    let what = "downloads over one HTTP/2 connection, windows shut";
    before
        .judge(trial, (what, STREAMS.into(), STREAM_MEMORY), held)
        .await?;

    before = Before::new(trial)?;
    let held = streams(&peer, STREAMS, true).await?;
    let what = "WebSockets over one HTTP/2 connection, windows shut";
    before
        .judge(trial, (what, STREAMS.into(), H2_TUNNEL_MEMORY), held)
        .await
}

/// The state before a kind begins.
struct Before {
    resident: u64,
    descriptors: usize,
}

impl Before {
    fn new(trial: &Trial) -> anyhow::Result<Self> {
        Ok(Self {
            resident: trial.resident()?,
            descriptors: process::descriptors(trial.pid)?,
        })
    }

    /// Waits, and judges what the gateway holds meanwhile and afterwards. `held` keeps the clients.
    async fn judge<T>(
        self,
        trial: &mut Trial,
        (what, count, each): (&str, u64, u64),
        held: T,
    ) -> anyhow::Result<()> {
        let probe = Probe::start(&trial.peer);
        let (begin, mut most) = (Instant::now(), self.resident);
        while begin.elapsed() < TIME {
            tokio::time::sleep(Duration::from_millis(50)).await;
            most = most.max(trial.resident()?);
        }
        let found = probe.found();
        let open = process::descriptors(trial.pid)?.saturating_sub(self.descriptors);
        drop((held, probe));
        let bound = count * each + SLACK;
        trial.check(
            most - self.resident <= bound,
            format_args!(
                "slow: {count} {what} ({open} descriptors): RSS grew by {:.0} kB (bound {count} x {} + {} kB)",
                kb(most, self.resident),
                each / 1000,
                SLACK / 1000
            ),
        );
        trial.check(
            found.is_good(Duration::from_secs(1)),
            format_args!("slow: others meanwhile: {found}"),
        );
        let after = trial
            .descriptors_at_most(self.descriptors, Duration::from_secs(15))
            .await?;
        trial.check(
            after <= self.descriptors,
            format_args!(
                "slow: {after} descriptors when they are gone (before {})",
                self.descriptors
            ),
        );
        Ok(())
    }
}

/// WebSockets with a picture that comes as fast as it goes; the set reads the slow ones.
async fn tunnels(peer: &Peer, count: usize) -> anyhow::Result<JoinSet<()>> {
    let mut clients = JoinSet::new();
    for index in 0..count {
        let mut connection = peer.open("pump?size=65536&fps=0", socket::TINY).await?;
        clients.spawn(async move {
            let reads = index % 2 == 0;
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                connection.buffer.clear();
                connection.buffer.reserve(SIP);
                if reads && connection.more().await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(clients)
}

/// Downloads of which nothing but the head is read.
async fn bodies(peer: &Peer, count: usize) -> anyhow::Result<Vec<crate::peer::Connection>> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut connection = peer.connect(socket::TINY).await?;
        connection.send(&peer.get("big?mb=1000")).await?;
        connection.head().await.context("a download")?;
        clients.push(connection);
    }
    Ok(clients)
}

/// One HTTP/2 connection with streams whose windows stay shut.
async fn streams(peer: &Peer, count: u32, websockets: bool) -> anyhow::Result<Socket> {
    let mut socket = h2::connect(peer, &[(h2::INITIAL_WINDOW_SIZE, 0)]).await?;
    let mut out = Vec::new();
    for index in 0..count {
        let (block, flags) = if websockets {
            let path = peer.path("pump?size=65536&fps=0");
            (h2::websocket(peer, &path), h2::END_HEADERS)
        } else {
            let block = h2::request(peer, "GET", &peer.path("big?mb=1000"));
            (block, h2::END_HEADERS | h2::END_STREAM)
        };
        h2::append(&mut out, (h2::HEADERS, flags), 2 * index + 1, &block);
    }
    socket.write_all(&out).await?;
    socket.flush().await?;
    // Each answer's head comes; then nothing more can.
    let mut answers = 0;
    while answers < count {
        let frame = tokio::time::timeout(Duration::from_secs(20), h2::read(&mut socket)).await;
        let frame = frame
            .with_context(|| format!("{answers} of {count} answers"))??
            .context("the gateway ended the connection")?;
        if frame.kind == h2::HEADERS {
            anyhow::ensure!(frame.is_ok(), "not 200: {:?}", frame.payload);
            answers += 1;
        }
    }
    Ok(socket)
}
