//! The stub's WebSockets: echo, pump and silence.

use std::time::{Duration, Instant};

use anyhow::bail;
use aws_lc_rs::digest;
use base64::Engine as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};

use super::{parameter, path_of};
use crate::frame;
use crate::socket::Socket;

/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Frames flat out are written so many bytes at a time.
const BURST: usize = 128 * 1024;
/// The longest message that is echoed.
const MAX_MESSAGE: usize = 1024 * 1024;

/// What a pump sends.
struct Pump {
    size: usize,
    /// Frames per second; 0 is flat out.
    fps: usize,
    /// Frames to send; `None` is for ever.
    frames: Option<usize>,
    /// Thousandths of a period.
    phase: usize,
    wait: bool,
}

/// `Sec-WebSocket-Accept` for a key.
pub fn accept(key: &str) -> String {
    let text = format!("{key}{GUID}");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::prelude::BASE64_STANDARD.encode(hash)
}

/// Serves an upgraded connection; `early` holds what was read behind the head.
pub async fn serve(
    socket: Socket,
    target: &str,
    early: Vec<u8>,
    begin: Instant,
) -> anyhow::Result<()> {
    let path = path_of(target);
    if path.ends_with("/echo") {
        return echo(socket, early).await;
    }
    let (reader, writer) = split(socket);
    if !path.ends_with("/pump") {
        return drain(reader, writer).await;
    }
    let pump = Pump {
        size: parameter(target, "size").unwrap_or(16 * 1024),
        fps: parameter(target, "fps").unwrap_or(60),
        frames: parameter(target, "frames"),
        phase: parameter(target, "phase").unwrap_or(0),
        wait: parameter(target, "wait") == Some(1),
    };
    // A client that has gone ends the pump.
    let (go, gone) = tokio::sync::oneshot::channel();
    tokio::select! {
        result = async {
            if pump.wait {
                gone.await?;
            }
            send(writer, &pump, begin).await
        } => result,
        result = watch(reader, go) => result,
    }
}

/// Reads to the end and says so when the first bytes arrive.
async fn watch(
    mut reader: ReadHalf<Socket>,
    go: tokio::sync::oneshot::Sender<()>,
) -> anyhow::Result<()> {
    let mut go = Some(go);
    let mut bytes = vec![0; 4096];
    while reader.read(&mut bytes).await? > 0 {
        if let Some(go) = go.take() {
            let _ = go.send(());
        }
    }
    Ok(())
}

/// Reads to the end. The writer must not be dropped before.
async fn drain(mut reader: ReadHalf<Socket>, writer: WriteHalf<Socket>) -> anyhow::Result<()> {
    let mut bytes = [0; 512];
    while reader.read(&mut bytes).await? > 0 {}
    drop(writer);
    Ok(())
}

async fn echo(mut socket: Socket, mut buffer: Vec<u8>) -> anyhow::Result<()> {
    let mut out = Vec::new();
    loop {
        while let Some(head) = frame::head(&buffer)? {
            if head.payload > MAX_MESSAGE {
                bail!("the message is too long");
            }
            let end = head.len + head.payload;
            let Some(payload) = buffer.get_mut(head.len..end) else {
                break;
            };
            if let Some(key) = head.mask {
                frame::unmask(payload, key);
            }
            frame::append(&mut out, head.opcode, payload, false);
            buffer.drain(..end);
            if head.opcode == frame::CLOSE {
                socket.write_all(&out).await?;
                socket.shutdown().await?;
                return Ok(());
            }
        }
        if !out.is_empty() {
            socket.write_all(&out).await?;
            socket.flush().await?;
            out.clear();
        }
        if socket.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn send(mut writer: WriteHalf<Socket>, pump: &Pump, begin: Instant) -> anyhow::Result<()> {
    let payload: Vec<u8> = (0..pump.size).map(|at| at.to_le_bytes()[0]).collect();
    let mut one = Vec::with_capacity(pump.size + 14);
    frame::append(&mut one, frame::BINARY, &payload, false);
    let mut left = pump.frames.unwrap_or(usize::MAX);
    if pump.fps == 0 {
        let per_burst = (BURST / one.len()).max(1);
        let burst = one.repeat(per_burst);
        while left > 0 {
            let now = per_burst.min(left);
            writer.write_all(&burst[..now * one.len()]).await?;
            left -= now;
        }
    } else {
        let period = Duration::from_secs(1) / u32::try_from(pump.fps)?;
        let mut beats =
            tokio::time::interval_at(first_beat(begin, period, pump.phase).into(), period);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        while left > 0 {
            beats.tick().await;
            writer.write_all(&one).await?;
            writer.flush().await?;
            left -= 1;
        }
    }
    writer.flush().await?;
    // Whoever asked for a number of frames gets silence afterwards, until they leave.
    std::future::pending().await
}

/// The next beat of a clock that all pumps share, moved by a phase, so that their frames are spread evenly.
fn first_beat(begin: Instant, period: Duration, phase: usize) -> Instant {
    let shift = period * u32::try_from(phase % 1000).unwrap_or(0) / 1000;
    let mut beat = begin + shift;
    let late = Instant::now().saturating_duration_since(beat);
    let periods = late.as_nanos() / period.as_nanos() + 1;
    beat += period * u32::try_from(periods).unwrap_or(u32::MAX);
    beat
}
