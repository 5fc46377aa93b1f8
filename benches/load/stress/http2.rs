//! HTTP/2 floods: frames that cost their sender little and a careless server much.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tokio::io::{AsyncRead, AsyncWriteExt as _, WriteHalf, split};

use deskgate::server::limits::CONNECTION_MEMORY;

use super::probe::Probe;
use super::{Trial, kb};
use crate::h2;
use crate::peer::Peer;
use crate::process::Processes;
use crate::socket::Socket;

/// Where the attacker comes from.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
const RECEIVE_BUFFER: u32 = 16 * 1024;
/// How long an attack may last, and how long its end is waited for.
const TIME: Duration = Duration::from_secs(6);
const END: Duration = Duration::from_secs(2);
/// An attacker whose connection is ended comes again at least so long.
const LEAST: Duration = Duration::from_millis(1500);
/// Frames are written so many bytes at a time.
const BURST: usize = 16 * 1024;
/// What others who are served meanwhile, their connections to the desktop and the allocator add.
const SLACK: u64 = 3 * 1024 * 1024;

/// HPACK's newest entry of the dynamic table, number 62.
const NEWEST: u8 = 0xbe;

/// Which floods.
#[derive(clap::Args)]
pub struct Options {
    /// The floods; without any, all
    #[arg(long, value_delimiter = ',')]
    floods: Vec<Flood>,
}

/// What is sent again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Flood {
    /// Requests that are taken back at once (CVE-2023-44487)
    RapidReset,
    /// Requests with a mistake that the gateway has to answer with a reset (CVE-2025-8671)
    MadeReset,
    /// PING, and the answers are not read (CVE-2019-9512)
    Ping,
    /// SETTINGS, and the answers are not read (CVE-2019-9515)
    Settings,
    /// A header block that never ends (CVE-2024-27316)
    Continuation,
    /// Windows that grow byte by byte
    WindowUpdate,
    /// Priorities of streams that do not exist (CVE-2019-9513)
    Priority,
    /// A body of empty frames (CVE-2019-9518)
    EmptyData,
    /// Small blocks that stand for large headers (CVE-2016-6581)
    HeaderBomb,
}

impl Flood {
    fn count(self) -> u32 {
        match self {
            Self::RapidReset | Self::MadeReset => 10_000,
            Self::HeaderBomb => 1000,
            Self::Continuation => 2000,
            _ => 200_000,
        }
    }

    /// Whether the answers are read while the flood lasts.
    fn reads(self) -> bool {
        !matches!(self, Self::Ping | Self::Settings)
    }

    fn first(self, peer: &Peer) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Continuation => {
                let block = h2::request(peer, "GET", "/healthz");
                h2::append(&mut out, (h2::HEADERS, h2::END_STREAM), 1, &block);
            }
            Self::EmptyData => {
                let block = h2::request(peer, "POST", &peer.path("small"));
                h2::append(&mut out, (h2::HEADERS, h2::END_HEADERS), 1, &block);
            }
            Self::HeaderBomb => {
                let mut block = h2::request(peer, "GET", "/healthz");
                // With incremental indexing: it is in the dynamic table from now on.
                h2::indexed(&mut block, "x-bomb", &"b".repeat(3900));
                let flags = h2::END_HEADERS | h2::END_STREAM;
                h2::append(&mut out, (h2::HEADERS, flags), 1, &block);
            }
            _ => {}
        }
        out
    }

    fn append(self, out: &mut Vec<u8>, peer: &Peer, n: u32) {
        let stream = 2 * n + 3;
        let whole = h2::END_HEADERS | h2::END_STREAM;
        match self {
            Self::RapidReset => {
                let block = h2::request(peer, "GET", &peer.path("small"));
                h2::append(out, (h2::HEADERS, whole), stream, &block);
                // CANCEL.
                h2::append(out, (h2::RST_STREAM, 0), stream, &8_u32.to_be_bytes());
            }
            Self::MadeReset => {
                let block = h2::request(peer, "GET", &peer.path("small"));
                h2::append(out, (h2::HEADERS, whole), stream, &block);
                // More than a window may be (RFC 9113, section 6.9.1).
                let most = 0x7fff_ffff_u32.to_be_bytes();
                h2::append(out, (h2::WINDOW_UPDATE, 0), stream, &most);
            }
            Self::Ping => h2::append(out, (h2::PING, 0), 0, &[1; 8]),
            Self::Settings => h2::append_settings(out, &[(h2::INITIAL_WINDOW_SIZE, 65_535 + n)]),
            Self::Continuation => {
                let mut block = Vec::new();
                h2::named(&mut block, "x-more", &"c".repeat(1000));
                h2::append(out, (h2::CONTINUATION, 0), 1, &block);
            }
            Self::WindowUpdate => h2::append(out, (h2::WINDOW_UPDATE, 0), 0, &1_u32.to_be_bytes()),
            Self::Priority => h2::append(out, (h2::PRIORITY, 0), stream, &[0, 0, 0, 0, 1]),
            Self::EmptyData => h2::append(out, (h2::DATA, 0), 1, &[]),
            Self::HeaderBomb => {
                let mut block = h2::request(peer, "GET", "/healthz");
                block.extend_from_slice(&[NEWEST; 200]);
                h2::append(out, (h2::HEADERS, whole), stream, &block);
            }
        }
    }
}

/// How connections came out of it.
#[derive(Default)]
struct Outcome {
    connections: u32,
    sent: u32,
    /// The whole flood could not be written in time.
    stalled: bool,
    goaway: Option<u32>,
    ended: bool,
}

/// Runs one flood after the other.
pub async fn run(trial: &mut Trial, options: &Options) -> anyhow::Result<()> {
    let floods = if options.floods.is_empty() {
        Flood::value_variants()
    } else {
        &options.floods
    };
    for &flood in floods {
        one(trial, flood).await?;
    }
    Ok(())
}

async fn one(trial: &mut Trial, flood: Flood) -> anyhow::Result<()> {
    let name = format!("{flood:?}");
    let process = Processes::only(std::iter::once(trial.pid));
    let (cpu, resident) = (process.cpu()?, trial.resident()?);
    let peer = trial.peer.from(ADDRESS).with_receive_buffer(RECEIVE_BUFFER);
    let probe = Probe::start(&trial.peer);
    let begin = Instant::now();
    let mut most = resident;
    let outcome = {
        let attack = attacks(&peer, flood);
        tokio::pin!(attack);
        loop {
            tokio::select! {
                outcome = &mut attack => break outcome?,
                () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(trial.resident()?),
            }
        }
    };
    let took = begin.elapsed();
    let cpu = Duration::from_nanos(process.cpu()?.since(cpu));
    let found = probe.found();
    drop(probe);
    let bound = CONNECTION_MEMORY + SLACK;
    trial.check(
        most - resident <= bound,
        format_args!(
            "http2: {name}: {} sent on {} connections in {:.1} s, {}; {:.0} ms of CPU, RSS grew by {:.0} kB (bound {})",
            outcome.sent,
            outcome.connections,
            took.as_secs_f64(),
            outcome.describe(),
            cpu.as_secs_f64() * 1000.0,
            kb(most, resident),
            bound / 1000
        ),
    );
    let limit = Duration::from_secs(1);
    trial.check(
        found.is_good(limit),
        format_args!("http2: {name}: others meanwhile: {found}"),
    );
    at_rest(trial, &name).await
}

/// The attacker has gone: the gateway must have nothing left to do.
async fn at_rest(trial: &mut Trial, name: &str) -> anyhow::Result<()> {
    let process = Processes::only(std::iter::once(trial.pid));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = process.cpu()?;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let busy = Duration::from_nanos(process.cpu()?.since(before)).as_millis();
    trial.check(
        busy < 100,
        format_args!("http2: {name}: {busy} ms of CPU in 400 ms afterwards"),
    );
    Ok(())
}

/// Attacks, and begins anew where the gateway makes short work of it.
async fn attacks(peer: &Peer, flood: Flood) -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    let mut all = Outcome::default();
    while begin.elapsed() < LEAST {
        let one = attack(peer, flood).await?;
        all = Outcome {
            connections: all.connections + 1,
            sent: all.sent + one.sent,
            ..one
        };
    }
    Ok(all)
}

async fn attack(peer: &Peer, flood: Flood) -> anyhow::Result<Outcome> {
    let (mut reader, mut writer) = split(h2::connect(peer, &[]).await?);
    let mut outcome = Outcome::default();
    let mut end = End::default();
    {
        let writing = tokio::time::timeout(TIME, write(&mut writer, peer, flood));
        let reading = async {
            if flood.reads() {
                end.read(&mut reader).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            written = writing => match written {
                Ok(sent) => outcome.sent = sent,
                Err(_) => outcome.stalled = true,
            },
            () = reading => {}
        }
    }
    // What was said before the end, if it has not been heard yet.
    let _ = tokio::time::timeout(END, end.read(&mut reader)).await;
    outcome.goaway = end.goaway;
    outcome.ended = end.ended;
    Ok(outcome)
}

/// Writes the flood, and returns how much of it went out.
async fn write(writer: &mut WriteHalf<Socket>, peer: &Peer, flood: Flood) -> u32 {
    let mut out = flood.first(peer);
    for n in 0..flood.count() {
        flood.append(&mut out, peer, n);
        if out.len() >= BURST || n + 1 == flood.count() {
            if writer.write_all(&out).await.is_err() || writer.flush().await.is_err() {
                return n;
            }
            out.clear();
            // The other futures of this thread have their turn.
            tokio::task::yield_now().await;
        }
    }
    flood.count()
}

/// What the gateway says in the end.
#[derive(Default)]
struct End {
    goaway: Option<u32>,
    ended: bool,
}

impl End {
    /// Reads to the end, if there is one.
    async fn read(&mut self, reader: &mut (impl AsyncRead + Unpin)) {
        while !self.ended {
            match h2::read(reader).await {
                Ok(Some(frame)) => self.goaway = frame.goaway().or(self.goaway),
                Ok(None) | Err(_) => self.ended = true,
            }
        }
    }
}

impl Outcome {
    fn describe(&self) -> String {
        let end = match (self.goaway, self.ended) {
            (Some(code), true) => format!("ended with GOAWAY {code}"),
            (Some(code), false) => format!("GOAWAY {code}"),
            (None, true) => "ended without a word".to_owned(),
            (None, false) => "survived".to_owned(),
        };
        if self.stalled {
            format!("{end}, stalled because nothing was read")
        } else {
            end
        }
    }
}
