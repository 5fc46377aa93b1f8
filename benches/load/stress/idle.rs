//! Many WebSockets that say nothing for a while: none may be lost, and each may cost only so much.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::probe::Probe;
use super::{Trial, kb};
use crate::drive::websocket;
use crate::frame::Counter;
use crate::peer::Connection;
use crate::process;
use crate::socket;

/// Connections that open, or speak, at the same time.
const AT_ONCE: usize = 32;
/// Connections that come from one address, so that no limit for an address is in the way.
const PER_ADDRESS: usize = 1000;
/// How long memory is given to settle.
const SETTLE: Duration = Duration::from_secs(2);
/// How much more than the first crowd a second one may take. What the first one took, the allocator keeps for it, in
/// arenas that do not fill evenly; if it were lost, it would be another 1.
const SECOND: f64 = 0.35;

/// How many and for how long.
#[derive(clap::Args)]
pub struct Options {
    /// WebSockets
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// Seconds in which they say nothing
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Most memory for each, kB
    #[arg(long, default_value_t = 40.0)]
    limit: f64,
}

/// Opens them, waits, has each of them echo, and closes them.
pub async fn run(trial: &mut Trial, options: &Options) -> anyhow::Result<()> {
    let count = options.connections;
    drop(open(trial, AT_ONCE).await?);
    trial.descriptors_at_most(0, SETTLE).await?;
    let (fds, memory) = (process::descriptors(trial.pid)?, trial.proportional()?);

    let begin = Instant::now();
    let connections = open(trial, count).await?;
    let opening = begin.elapsed();
    let probe = Probe::start(&trial.peer);
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let (held_fds, held) = (process::descriptors(trial.pid)?, trial.proportional()?);
    let found = probe.found();
    drop(probe);

    let alive = speak(connections).await?;
    let kept = alive.len();
    trial.check(
        kept == count,
        format_args!(
            "idle: {kept} of {count} WebSockets (opened in {:.0} s) still echo after {} s; {} descriptors",
            opening.as_secs_f64(),
            options.seconds,
            held_fds - fds
        ),
    );
    #[expect(clippy::cast_precision_loss, reason = "figures with three digits")]
    let each = kb(held, memory) / count as f64;
    trial.check(
        each <= options.limit,
        format_args!(
            "idle: {each:.1} kB of memory for each (PSS grew by {:.1} MB; limit {} kB)",
            kb(held, memory) / 1000.0,
            options.limit
        ),
    );
    trial.check(
        found.is_good(Duration::from_secs(1)),
        format_args!("idle: others meanwhile: {found}"),
    );
    drop(alive);
    closed(trial, count, (fds, memory, held)).await
}

/// Judges what is left after the end, and whether it serves those who come next.
async fn closed(
    trial: &mut Trial,
    count: usize,
    (fds, memory, held): (usize, u64, u64),
) -> anyhow::Result<()> {
    let after = trial
        .descriptors_at_most(fds, Duration::from_secs(15))
        .await?;
    trial.check(
        after <= fds,
        format_args!("idle: {after} descriptors after all are closed (before {fds})"),
    );
    tokio::time::sleep(SETTLE).await;
    let rest = trial.proportional()?;
    let again = open(trial, count).await?;
    tokio::time::sleep(SETTLE).await;
    let second = kb(trial.proportional()?, held);
    drop(again);
    let first = kb(held, memory);
    trial.check(
        second <= SECOND * first,
        format_args!(
            "idle: of {:.1} MB that the process had grown by, it kept {:.1} MB; as many again took {:.1} MB more",
            first / 1000.0,
            kb(rest, memory) / 1000.0,
            second / 1000.0
        ),
    );
    Ok(())
}

async fn open(trial: &Trial, count: usize) -> anyhow::Result<Vec<Connection>> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for index in 0..count {
        let last = u8::try_from(10 + index / PER_ADDRESS).context("too many")?;
        let peer = trial.peer.from(Ipv4Addr::new(127, 0, 1, last));
        let gate = Arc::clone(&gate);
        opening.spawn(async move {
            let _turn = gate.acquire().await?;
            peer.open("echo", socket::TINY).await
        });
    }
    let mut connections = Vec::with_capacity(count);
    while let Some(done) = opening.join_next().await {
        connections.push(done.context("a client panicked")??);
    }
    Ok(connections)
}

/// Has each echo once, and returns those that did.
async fn speak(connections: Vec<Connection>) -> anyhow::Result<Vec<Connection>> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut speaking = JoinSet::new();
    for mut connection in connections {
        let gate = Arc::clone(&gate);
        speaking.spawn(async move {
            let _turn = gate.acquire().await?;
            let message = websocket::masked(&[7; 64]);
            let mut counter = Counter::default();
            websocket::round_trip(&mut connection, &mut counter, &message).await?;
            anyhow::Ok(connection)
        });
    }
    let mut alive = Vec::new();
    while let Some(done) = speaking.join_next().await {
        alive.extend(done.context("a client panicked")?.ok());
    }
    Ok(alive)
}
