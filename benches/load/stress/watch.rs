//! A live picture, watched frame by frame, and `/healthz`, while another program attacks.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::Trial;
use super::probe::Probe;
use crate::frame::Counter;
use crate::socket;

/// How the picture is watched.
#[derive(clap::Args)]
pub struct Options {
    /// Frames a second
    #[arg(long, default_value_t = 60)]
    fps: u32,
    /// Bytes of a frame
    #[arg(long, default_value_t = 16384)]
    size: usize,
    /// Longest time that is watched; the command is ended then
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Longest time between two frames, ms
    #[arg(long, default_value_t = 500)]
    gap: u64,
    /// Longest time that /healthz may take on a new connection, ms
    #[arg(long, default_value_t = 1000)]
    answer: u64,
    /// Name in the verdict
    #[arg(long, default_value = "a quiet gateway")]
    label: String,
    /// Where the command's output goes
    #[arg(long)]
    log: Option<PathBuf>,
    /// The attack; without one, the time is spent in peace
    #[arg(last = true)]
    command: Vec<String>,
}

/// The picture so far.
struct Picture {
    frames: u32,
    gap: Duration,
    took: Duration,
}

/// Watches as long as the command runs.
pub async fn run(trial: &mut Trial, options: &Options) -> anyhow::Result<()> {
    let path = format!("pump?size={}&fps={}", options.size, options.fps);
    let mut connection = trial.peer.open(&path, socket::LARGE).await?;
    let mut counter = Counter::default();
    let mut attack = Attack::begin(options)?;
    let probe = Probe::start(&trial.peer);

    let begin = Instant::now();
    let mut last = begin;
    let mut picture = Picture {
        frames: 0,
        gap: Duration::ZERO,
        took: Duration::ZERO,
    };
    while begin.elapsed() < Duration::from_secs(options.seconds) && !attack.is_over()? {
        let (frames, gap) = (&mut picture.frames, &mut picture.gap);
        counter.feed(&connection.buffer, |_| {
            *frames += 1;
            *gap = (*gap).max(last.elapsed());
            last = Instant::now();
        })?;
        connection.buffer.clear();
        // A picture that stands still is found out by its gap, not by waiting for ever.
        if let Ok(more) = tokio::time::timeout(Duration::from_secs(1), connection.more()).await {
            more.context("the picture")?;
        }
        picture.gap = picture.gap.max(last.elapsed());
    }
    picture.took = begin.elapsed();
    attack.end()?;
    judge(trial, options, &picture, &probe);
    Ok(())
}

fn judge(trial: &mut Trial, options: &Options, picture: &Picture, probe: &Probe) {
    let expected = picture.took.as_secs_f64() * f64::from(options.fps);
    let share = f64::from(picture.frames) / expected * 100.0;
    let gap = picture.gap.as_millis();
    let name = &options.label;
    trial.check(
        share >= 95.0 && gap < u128::from(options.gap),
        format_args!(
            "{name}: {share:.1} % of {} frames/s for {:.0} s, longest gap {gap} ms (limit {})",
            options.fps,
            picture.took.as_secs_f64(),
            options.gap
        ),
    );
    let found = probe.found();
    let limit = Duration::from_millis(options.answer);
    trial.check(
        found.is_good(limit),
        format_args!("{name}: {found} (limit {})", options.answer),
    );
}

/// The program that attacks, which is ended with us.
struct Attack(Option<Child>);

impl Attack {
    fn begin(options: &Options) -> anyhow::Result<Self> {
        let Some((program, arguments)) = options.command.split_first() else {
            return Ok(Self(None));
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        if let Some(path) = &options.log {
            let log = File::create(path).context("no log")?;
            command.stdout(log.try_clone()?).stderr(log);
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self(Some(child)))
    }

    fn is_over(&mut self) -> anyhow::Result<bool> {
        match &mut self.0 {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(false),
        }
    }

    /// Ends it; whoever attacked badly has not attacked.
    fn end(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.0.take() else {
            return Ok(());
        };
        if let Some(status) = child.try_wait()? {
            if status.code().is_none_or(|code| code > 1) {
                bail!("the attack itself failed: {status}");
            }
        } else {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
