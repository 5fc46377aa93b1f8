//! The load of the peer benchmark, of the stress runs, of the counting of instructions, of the starts and of the soak:
//! upstream stub, load driver, attacks, people, gateway and table in one program.
//!
//! `scripts/bench`, `scripts/stress`, `scripts/instructions`, `scripts/bench-start` and `scripts/soak` run it;
//! `docs/BENCHMARKS.md` tells the method. Nothing here knows which proxy stands between the driver and the stub, except
//! `gateway`, `start` and `soak`, which start ours.

mod drive;
mod exact;
mod frame;
mod gateway;
mod h2;
mod peer;
mod process;
mod soak;
mod socket;
mod start;
mod stress;
mod stub;
mod table;
mod tls;

use std::future::Future;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "load", about = "Load for the peer benchmark")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What `cargo bench` adds; without meaning here.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Answer as a desktop would, as cheaply as possible
    Stub(stub::Options),
    /// Put one kind of load on a proxy and print what it cost as one line of JSON
    Drive(drive::Options),
    /// Do so many units of one kind of work, and no more
    Exact(exact::Options),
    /// Attack Deskgate, and say whether it kept its promises
    Stress(stress::Options),
    /// Run Deskgate on an engine whose only desktop is the stub
    Gateway(gateway::Options),
    /// Start desktops at the real engine, and say how long that takes
    Start(start::Options),
    /// Bring people to a gateway for minutes, and say whether it is afterwards as it was before
    Soak(soak::Options),
    /// Make the certificate that all proxies present
    Certificate(tls::Options),
    /// Turn the driver's lines into the table of medians
    Table(table::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Stub(options) => on_one_thread(stub::run(options)),
        Command::Drive(options) => on_one_thread(drive::run(options)),
        Command::Exact(options) => on_one_thread(exact::run(options)),
        Command::Stress(options) => on_one_thread(stress::run(options)),
        Command::Gateway(options) => gateway::run(options),
        Command::Start(options) => on_one_thread(start::run(options)),
        Command::Soak(options) => on_one_thread(soak::run(options)),
        Command::Certificate(options) => tls::write_certificate(&options),
        Command::Table(options) => table::run(&options),
    }
}

/// Runs to the end on a runtime of one thread: load and stub are cheapest so, and share one core when pinned.
fn on_one_thread(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(future)
}
