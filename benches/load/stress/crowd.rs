//! More connections from one address than one address may have.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Trial;
use super::probe::Probe;
use crate::process;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// How many more come than may.
const MORE: usize = 300;
/// How long the gateway may take to send them away.
const SETTLE: Duration = Duration::from_secs(3);
/// Descriptors for whoever else connects meanwhile, and for the desktop's side.
const OTHERS: usize = 16;

/// What the gateway was told.
#[derive(clap::Args)]
pub struct Options {
    /// `MAX_CONNECTIONS_PER_CLIENT`
    #[arg(long, default_value_t = 2000)]
    limit: usize,
}

/// Connects, counts who was let in, leaves, and comes again.
pub async fn run(trial: &mut Trial, options: &Options) -> anyhow::Result<()> {
    let before = process::descriptors(trial.pid)?;
    let peer = trial.peer.from(ADDRESS);
    let probe = Probe::start(&trial.peer);
    let mut connections = Vec::new();
    for _ in 0..options.limit + MORE {
        connections.push(peer.tcp().await?);
    }
    tokio::time::sleep(SETTLE).await;
    let open = connections.iter().filter(|tcp| is_open(tcp)).count();
    let held = process::descriptors(trial.pid)?.saturating_sub(before);
    trial.check(
        open == options.limit && held <= open + OTHERS,
        format_args!(
            "crowd: of {} connections from one address {open} were let in ({held} descriptors; limit {})",
            connections.len(),
            options.limit
        ),
    );
    let found = probe.found();
    trial.check(
        found.is_good(Duration::from_secs(1)),
        format_args!("crowd: others meanwhile: {found}"),
    );
    drop((connections, probe));
    let after = trial
        .descriptors_at_most(before, Duration::from_secs(10))
        .await?;
    let again = peer.connect(crate::socket::SMALL).await;
    trial.check(
        again.is_ok() && after <= before,
        format_args!("crowd: gone, {after} descriptors (before {before}), and let in again"),
    );
    Ok(())
}

/// Whether the gateway has neither closed nor reset a connection.
fn is_open(tcp: &TcpStream) -> bool {
    let mut byte = [0];
    let read = tcp.try_read(&mut byte);
    matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
