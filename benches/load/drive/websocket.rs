//! Loads of WebSocket frames.

use std::time::Instant;

use anyhow::bail;

use super::meter::Meter;
use crate::frame::{self, Counter};
use crate::peer::{Connection, Peer};
use crate::socket;

/// How a desktop's client begins: RFB version, security type None, `ClientInit` (RFC 6143, section 7.1 and 7.3.1).
pub const OPENING: [&[u8]; 3] = [b"RFB 003.008\n", &[1], &[1]];
/// `KeyEvent`, key down, the letter a (RFC 6143, section 7.5.4). Eight of them make a message of 64 B.
pub const KEY_EVENT: [u8; 8] = [4, 1, 0, 0, 0, 0, 0, 0x61];

/// Messages of 64 B there and back, one at a time. They are key events, so that a proxy that recognises a person's
/// input has its full work with them.
pub async fn echo(peer: &Peer, meter: &Meter) -> anyhow::Result<()> {
    let mut connection = peer.open("echo", socket::SMALL).await?;
    let mut counter = Counter::default();
    for opening in OPENING {
        round_trip(&mut connection, &mut counter, &masked(opening)).await?;
    }
    let message = masked(&KEY_EVENT.repeat(8));
    loop {
        let begin = Instant::now();
        round_trip(&mut connection, &mut counter, &message).await?;
        meter.took(begin.elapsed());
    }
}

/// Frames as fast as they come; counts payload bytes.
pub async fn flood(peer: &Peer, meter: &Meter, size: usize) -> anyhow::Result<()> {
    let path = format!("pump?size={size}&fps=0");
    let mut connection = peer.open(&path, socket::LARGE).await?;
    let mut counter = Counter::default();
    receive(&mut connection, &mut counter, |got| {
        meter.add(got as u64);
        got == size
    })
    .await
}

/// Frames at a fixed rate. What is noted as latency is the time from frame to frame.
pub async fn paced(
    peer: &Peer,
    meter: &Meter,
    (size, fps, phase): (usize, u32, usize),
) -> anyhow::Result<()> {
    let path = format!("pump?size={size}&fps={fps}&phase={phase}");
    let mut connection = peer.open(&path, socket::LARGE).await?;
    let mut counter = Counter::default();
    let mut last: Option<Instant> = None;
    receive(&mut connection, &mut counter, |got| {
        meter.add(1);
        let now = Instant::now();
        if let Some(last) = last.replace(now) {
            meter.sample(now - last);
        }
        got == size
    })
    .await
}

/// Lets frames come for ever; `frame` says whether one is as it should be.
async fn receive(
    connection: &mut Connection,
    counter: &mut Counter,
    mut frame: impl FnMut(usize) -> bool,
) -> anyhow::Result<()> {
    let mut good = true;
    loop {
        counter.feed(&connection.buffer, |size| good &= frame(size))?;
        if !good {
            bail!("a frame has the wrong size");
        }
        connection.buffer.clear();
        connection.buffer.reserve(socket::LARGE);
        connection.more().await?;
    }
}

/// Sends a frame and waits for one.
pub async fn round_trip(
    connection: &mut Connection,
    counter: &mut Counter,
    frame: &[u8],
) -> anyhow::Result<()> {
    connection.send(frame).await?;
    await_frames(connection, counter, 1).await
}

/// Waits for so many frames.
pub async fn await_frames(
    connection: &mut Connection,
    counter: &mut Counter,
    wanted: usize,
) -> anyhow::Result<()> {
    let mut got = 0;
    loop {
        counter.feed(&connection.buffer, |_| got += 1)?;
        connection.buffer.clear();
        if got >= wanted {
            return Ok(());
        }
        connection.more().await?;
    }
}

/// A binary frame as a client sends it.
pub fn masked(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    frame::append(&mut out, frame::BINARY, payload, true);
    out
}
