//! The driver: one kind of load on one proxy, and what it cost the proxy's processes.
//!
//! The load is closed-loop except for `paced`, where the stub sets the pace, and `latency`, which has a fixed rate.
//! Nothing counts until the warm-up is over; then units and CPU time are read twice, `--seconds` apart.

mod http;
mod idle;
mod meter;
pub mod websocket;

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;
use tokio::task::JoinSet;

use crate::peer::{Door, Peer};
use crate::process::{self, Cpu, Processes};
use meter::Meter;

/// Which load, on whom.
#[derive(clap::Args, Clone)]
pub struct Options {
    /// The kind of load
    scenario: Scenario,
    #[command(flatten)]
    door: Door,
    /// The proxy's processes; their children count too
    #[arg(long, value_delimiter = ',', required = true)]
    pid: Vec<u32>,
    /// Processes that belong to the benchmark but are not the proxy's, such as the stub
    #[arg(long, value_delimiter = ',')]
    besides: Vec<u32>,
    /// Seconds that count
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Seconds before
    #[arg(long, default_value_t = 0.7)]
    warm_up: f64,
    /// Connections; each kind of load has its own default
    #[arg(long)]
    connections: Option<usize>,
    /// Payload bytes of a frame
    #[arg(long, default_value_t = 16384)]
    size: usize,
    /// Frames a second on each connection
    #[arg(long, default_value_t = 60)]
    fps: u32,
    /// Requests a second in total
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// MB of a body
    #[arg(long, default_value_t = 10)]
    mb: u32,
    /// Name of the proxy, repeated in the output
    #[arg(long, default_value = "")]
    peer: String,
    /// Name of the measurement, repeated in the output
    #[arg(long)]
    label: Option<String>,
}

/// The kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// GET of 1 kB on kept connections
    Request,
    /// GET of big bodies on kept connections
    Body,
    /// A new connection with a full handshake for each request
    Connect,
    /// A new connection with a resumed handshake for each request
    Resume,
    /// 64 B WebSocket messages there and back
    Echo,
    /// WebSocket frames as fast as they go
    Flood,
    /// WebSocket frames at a fixed rate
    Paced,
    /// Memory of silent WebSockets
    Idle,
    /// GET of 1 kB at a fixed rate
    Latency,
}

impl Scenario {
    fn connections(self) -> usize {
        match self {
            Self::Request => 32,
            Self::Body | Self::Flood => 4,
            Self::Connect | Self::Resume => 8,
            Self::Echo => 1,
            Self::Paced => 10,
            Self::Idle => 1000,
            Self::Latency => 16,
        }
    }

    /// What CPU time is given per, and in which unit; `scale` turns nanoseconds per counted unit into it.
    fn unit(self) -> (&'static str, f64) {
        match self {
            Self::Request | Self::Latency => ("µs/request", 1e-3),
            // Bytes are counted: ns per byte are ms per MB.
            Self::Body | Self::Flood => ("ms/MB", 1.0),
            Self::Connect | Self::Resume => ("µs/connection", 1e-3),
            Self::Echo => ("µs/echo", 1e-3),
            Self::Paced => ("µs/frame", 1e-3),
            Self::Idle => ("kB/connection", 1.0),
        }
    }
}

/// Runs the load and prints its line.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let processes = Processes::with_children(&options.pid)?;
    let peer = Arc::new(Peer::new(&options.door)?);
    let mut line = if options.scenario == Scenario::Idle {
        idle::measure(&options, &peer, &processes).await?
    } else {
        measure(&options, &peer, &processes).await?
    };
    let label = options
        .label
        .clone()
        .unwrap_or_else(|| format!("{:?}", options.scenario).to_lowercase());
    line["peer"] = json!(options.peer);
    line["label"] = json!(label);
    line["unit"] = json!(options.scenario.unit().0);
    println!("{line}");
    Ok(())
}

async fn measure(
    options: &Options,
    peer: &Arc<Peer>,
    processes: &Processes,
) -> anyhow::Result<serde_json::Value> {
    let meter = Arc::new(Meter::default());
    let connections = options
        .connections
        .unwrap_or(options.scenario.connections());
    let mut clients = JoinSet::new();
    for index in 0..connections {
        clients.spawn(client(
            options.clone(),
            Arc::clone(peer),
            Arc::clone(&meter),
            (index, connections),
        ));
    }
    tokio::time::sleep(Duration::from_secs_f64(options.warm_up)).await;
    let others = Others::new(options)?;
    let before = meter.begin(processes)?;
    tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await;
    let taken = meter.end(processes, &before)?;
    let (load, others) = others.share(taken.cpu, taken.wall)?;
    clients.shutdown().await;

    let (_, scale) = options.scenario.unit();
    let units = taken.units;
    #[expect(clippy::cast_precision_loss, reason = "figures with three digits")]
    let cost = taken.cpu as f64 * scale / units.max(1) as f64;
    #[expect(clippy::cast_precision_loss, reason = "figures with three digits")]
    let busy = taken.cpu as f64 / taken.wall.as_nanos() as f64;
    Ok(json!({
        "units": units,
        "errors": taken.errors,
        "error": taken.error,
        "cost": if units == 0 { None } else { Some(cost) },
        "cpu_ns": taken.cpu,
        "busy": busy,
        "load": load,
        "others": others,
        "seconds": taken.wall.as_secs_f64(),
        "p50_us": taken.p50,
        "p99_us": taken.p99,
        "connections": connections,
    }))
}

/// What the rest of the machine does meanwhile: work of others makes ours dearer.
struct Others {
    machine: f64,
    ours: Processes,
    cpu: Cpu,
}

impl Others {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let ours = Processes::only(
            [std::process::id()]
                .into_iter()
                .chain(options.besides.clone()),
        );
        Ok(Self {
            machine: process::machine_busy()?,
            cpu: ours.cpu()?,
            ours,
        })
    }

    /// How many cores the load and the rest of the machine kept busy, next to the proxy with its nanoseconds.
    fn share(&self, proxy: u64, wall: Duration) -> anyhow::Result<(f64, f64)> {
        let load = Duration::from_nanos(self.ours.cpu()?.since(self.cpu)).as_secs_f64();
        let rest = process::machine_busy()?
            - self.machine
            - load
            - Duration::from_nanos(proxy).as_secs_f64();
        let wall = wall.as_secs_f64();
        Ok((load / wall, (rest / wall).max(0.0)))
    }
}

/// One client, which begins anew after an error.
async fn client(
    options: Options,
    peer: Arc<Peer>,
    meter: Arc<Meter>,
    (index, connections): (usize, usize),
) {
    loop {
        let result = match options.scenario {
            Scenario::Request => http::requests(&peer, &meter).await,
            Scenario::Body => http::bodies(&peer, &meter, options.mb).await,
            Scenario::Connect => http::connections(&peer, &meter).await,
            Scenario::Resume => http::resumptions(&peer, &meter).await,
            Scenario::Latency => {
                http::at_rate(&peer, &meter, options.rate, (index, connections)).await
            }
            Scenario::Echo => websocket::echo(&peer, &meter).await,
            Scenario::Flood => websocket::flood(&peer, &meter, options.size).await,
            Scenario::Paced => {
                let phase = index * 1000 / connections;
                websocket::paced(&peer, &meter, (options.size, options.fps, phase)).await
            }
            Scenario::Idle => Ok(()),
        };
        if let Err(error) = result {
            meter.failed(&error);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
