//! Memory that a proxy keeps for WebSockets that say nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Options, websocket};
use crate::frame::Counter;
use crate::peer::{Connection, Peer};
use crate::process::Processes;
use crate::socket;

/// Connections opened before the first reading, for what a proxy sets up once.
const FIRST: usize = 8;
/// Connections that open, or move their bytes, at the same time.
const AT_ONCE: usize = 16;
/// Frames of 16 kB that come down each connection: 1 MB.
const FRAMES: usize = 64;
/// Messages of 1 kB that go up each connection: 64 kB.
const MESSAGES: usize = 64;
/// How long memory is given to settle.
const SETTLE: Duration = Duration::from_secs(3);

/// Opens the WebSockets, reads the memory, uses each of them, and reads the memory again.
pub async fn measure(
    options: &Options,
    peer: &Arc<Peer>,
    processes: &Processes,
) -> anyhow::Result<serde_json::Value> {
    let count = options
        .connections
        .unwrap_or(options.scenario.connections());
    let first = open(peer, FIRST).await?;
    tokio::time::sleep(SETTLE).await;
    let before = processes.memory()?;

    let connections = open(peer, count).await?;
    tokio::time::sleep(SETTLE).await;
    let fresh = processes.memory()?;

    let connections = use_all(connections).await?;
    tokio::time::sleep(SETTLE).await;
    let used = processes.memory()?;
    let kept = connections.len();
    drop((first, connections));

    let each = |after: u64, before: u64| -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "figures with three digits")]
        let (bytes, count) = (after.saturating_sub(before) as f64, count as f64);
        bytes / count / 1000.0
    };
    Ok(json!({
        "units": kept,
        "errors": count - kept,
        "fresh_kb": each(fresh.0, before.0),
        "used_kb": each(used.0, before.0),
        "fresh_rss_kb": each(fresh.1, before.1),
        "used_rss_kb": each(used.1, before.1),
        "connections": count,
    }))
}

async fn open(peer: &Arc<Peer>, count: usize) -> anyhow::Result<Vec<Connection>> {
    let path = format!("pump?size=16384&fps=0&frames={FRAMES}&wait=1");
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for _ in 0..count {
        let (peer, path, gate) = (Arc::clone(peer), path.clone(), Arc::clone(&gate));
        opening.spawn(async move {
            let _turn = gate.acquire().await?;
            peer.open(&path, socket::SMALL).await
        });
    }
    all(opening).await
}

async fn use_all(connections: Vec<Connection>) -> anyhow::Result<Vec<Connection>> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut moving = JoinSet::new();
    for mut connection in connections {
        let gate = Arc::clone(&gate);
        moving.spawn(async move {
            let _turn = gate.acquire().await?;
            let message = websocket::masked(&[3; 1000]);
            for _ in 0..MESSAGES {
                connection.send(&message).await?;
            }
            websocket::await_frames(&mut connection, &mut Counter::default(), FRAMES).await?;
            anyhow::Ok(connection)
        });
    }
    all(moving).await
}

async fn all(mut tasks: JoinSet<anyhow::Result<Connection>>) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(tasks.len());
    while let Some(done) = tasks.join_next().await {
        connections.push(done.context("a client panicked")??);
    }
    Ok(connections)
}
