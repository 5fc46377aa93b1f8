//! Attacks on the gateway, each of which says by itself whether the gateway kept its promises.
//!
//! Every check prints one line that begins with `pass` or `FAIL`, with the figures; the exit status is 1 if any
//! failed. `scripts/stress` starts what is needed and runs them.

mod crowd;
mod http2;
mod idle;
mod probe;
mod slow;
mod upgrades;
mod watch;

use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;

use crate::peer::{Door, Peer};
use crate::process;

/// Which attack, on whom.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    door: Door,
    /// The gateway's process
    #[arg(long)]
    pid: u32,
    #[command(subcommand)]
    attack: Attack,
}

#[derive(Subcommand)]
enum Attack {
    /// Watch a live picture and /healthz while a command attacks
    Watch(watch::Options),
    /// Come with more connections than one address may have
    Crowd(crowd::Options),
    /// Hold many silent WebSockets
    Idle(idle::Options),
    /// Fail to open many WebSockets
    Upgrades(upgrades::Options),
    /// Read slowly or not at all what comes fast
    Slow,
    /// Send HTTP/2 that no browser sends
    Http2(http2::Options),
}

/// The gateway under attack, and what has been found so far.
pub struct Trial {
    /// How to reach it.
    pub peer: Peer,
    /// Its process.
    pub pid: u32,
    failed: usize,
}

impl Trial {
    /// Prints the verdict on one promise.
    pub fn check(&mut self, good: bool, what: impl std::fmt::Display) {
        println!("{} {what}", if good { "pass" } else { "FAIL" });
        if !good {
            self.failed += 1;
        }
    }

    /// Resident memory of the gateway, bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        process::resident(self.pid)
    }

    /// Proportional set size of the gateway, bytes.
    pub fn proportional(&self) -> anyhow::Result<u64> {
        let process = process::Processes::only(std::iter::once(self.pid));
        Ok(process.memory()?.0)
    }

    /// Waits until the gateway has at most so many open file descriptors, and returns how many it has.
    pub async fn descriptors_at_most(
        &self,
        wanted: usize,
        patience: Duration,
    ) -> anyhow::Result<usize> {
        let begin = std::time::Instant::now();
        loop {
            let now = process::descriptors(self.pid)?;
            if now <= wanted || begin.elapsed() > patience {
                return Ok(now);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Runs the attack.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut trial = Trial {
        peer: Peer::new(&options.door)?,
        pid: options.pid,
        failed: 0,
    };
    match options.attack {
        Attack::Watch(options) => watch::run(&mut trial, &options).await,
        Attack::Crowd(options) => crowd::run(&mut trial, &options).await,
        Attack::Idle(options) => idle::run(&mut trial, &options).await,
        Attack::Upgrades(options) => upgrades::run(&mut trial, &options).await,
        Attack::Slow => slow::run(&mut trial).await,
        Attack::Http2(options) => http2::run(&mut trial, &options).await,
    }?;
    if trial.failed > 0 {
        bail!("{} checks failed", trial.failed);
    }
    Ok(())
}

/// Bytes as kB with a sign.
pub fn kb(after: u64, before: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "figures with three digits")]
    let (after, before) = (after as f64, before as f64);
    (after - before) / 1000.0
}
