//! So many units of one kind of work on one connection, and no more: what the counting of instructions puts on the
//! gateway (`scripts/instructions`).

use anyhow::bail;
use clap::ValueEnum;

use crate::drive::websocket::{self, KEY_EVENT, OPENING};
use crate::frame::Counter;
use crate::peer::{Door, Peer};
use crate::socket;

/// Bytes of the small answer.
const SMALL: usize = 1024;
/// Payload of a large frame.
const FRAME: usize = 16 * 1024;

/// How much of what, on whom.
#[derive(clap::Args)]
pub struct Options {
    /// The kind of work
    work: Work,
    /// How many units
    #[arg(long)]
    units: usize,
    #[command(flatten)]
    door: Door,
}

/// The kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    /// GET of 1 kB on a kept connection
    Request,
    /// 64 B WebSocket message there and back
    Echo,
    /// 16 kB frame from the desktop
    Frame,
}

/// Does the work. Whatever is not as it should be is an error.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let peer = Peer::new(&options.door)?;
    match options.work {
        Work::Request => requests(&peer, options.units).await,
        Work::Echo => echoes(&peer, options.units).await,
        Work::Frame => frames(&peer, options.units).await,
    }
}

async fn requests(peer: &Peer, units: usize) -> anyhow::Result<()> {
    let request = peer.get("small");
    let mut connection = peer.connect(socket::SMALL).await?;
    for _ in 0..units {
        connection.exchange(&request, SMALL, |_| ()).await?;
    }
    Ok(())
}

/// The messages are key events, so that the recognition of a person's input has its full work with them.
async fn echoes(peer: &Peer, units: usize) -> anyhow::Result<()> {
    let mut connection = peer.open("echo", socket::SMALL).await?;
    let mut counter = Counter::default();
    for opening in OPENING {
        let frame = websocket::masked(opening);
        websocket::round_trip(&mut connection, &mut counter, &frame).await?;
    }
    let message = websocket::masked(&KEY_EVENT.repeat(8));
    for _ in 0..units {
        websocket::round_trip(&mut connection, &mut counter, &message).await?;
    }
    Ok(())
}

/// They come as fast as the gateway takes them, so that its reads are always full.
async fn frames(peer: &Peer, units: usize) -> anyhow::Result<()> {
    let path = format!("pump?size={FRAME}&fps=0&frames={units}");
    let mut connection = peer.open(&path, socket::LARGE).await?;
    let mut counter = Counter::default();
    let (mut got, mut wrong) = (0, 0);
    loop {
        counter.feed(&connection.buffer, |size| {
            got += 1;
            wrong += usize::from(size != FRAME);
        })?;
        connection.buffer.clear();
        if wrong > 0 || got > units {
            bail!("{got} frames, {wrong} of the wrong size");
        }
        if got == units {
            return Ok(());
        }
        connection.buffer.reserve(socket::LARGE);
        connection.more().await?;
    }
}
