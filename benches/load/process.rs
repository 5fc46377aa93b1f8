//! What the proxy's processes have used so far, from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Nanoseconds of one clock tick in `/proc/PID/stat`; Linux shows 100 ticks a second on every machine.
const TICK: u64 = 10_000_000;
/// How far the two accounts may differ before a thread must have ended in between.
const TICK_SLACK: u64 = 6 * TICK;

/// The processes of a proxy: those named, and their descendants at the time of the call.
#[derive(Clone, Debug)]
pub struct Processes(Vec<u32>);

/// A reading of CPU time, user and system together.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// Sum over living threads, exact.
    threads: u64,
    /// Sum over processes with their ended threads, in ticks.
    ticks: u64,
}

impl Cpu {
    /// Nanoseconds since an earlier reading.
    ///
    /// The exact account loses what threads used that have ended since; where it lags behind the coarse one, the
    /// coarse one is taken.
    pub fn since(self, earlier: Self) -> u64 {
        let exact = self.threads.saturating_sub(earlier.threads);
        let coarse = self.ticks.saturating_sub(earlier.ticks);
        if coarse > exact + exact / 20 + TICK_SLACK {
            coarse
        } else {
            exact
        }
    }
}

impl Processes {
    /// Finds the descendants of `roots`.
    pub fn with_children(roots: &[u32]) -> anyhow::Result<Self> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc").context("no /proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if let Some(fields) = stat(pid)
                && let Some(parent) = fields.first().and_then(|field| field.parse::<u32>().ok())
            {
                parents.push((pid, parent));
            }
        }
        let mut all: BTreeSet<u32> = roots.iter().copied().collect();
        loop {
            let before = all.len();
            for &(pid, parent) in &parents {
                if all.contains(&parent) {
                    all.insert(pid);
                }
            }
            if all.len() == before {
                break;
            }
        }
        Ok(Self(all.into_iter().collect()))
    }

    /// Takes these processes alone.
    pub fn only(pids: impl Iterator<Item = u32>) -> Self {
        Self(pids.collect())
    }

    /// CPU time until now.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        let (mut threads, mut ticks) = (0, 0);
        for &pid in &self.0 {
            let fields = stat(pid).with_context(|| format!("process {pid} has ended"))?;
            // Fields 14 and 15 of the file; the first one here is field 4.
            for at in [10, 11] {
                ticks += TICK * number(fields.get(at));
            }
            threads += thread_time(pid).unwrap_or(0);
        }
        Ok(Cpu { threads, ticks })
    }

    /// Proportional set size and resident set size in bytes.
    pub fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let (mut pss, mut rss) = (0, 0);
        for &pid in &self.0 {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            for line in text.lines() {
                let mut words = line.split_whitespace();
                match words.next() {
                    Some("Pss:") => pss += 1024 * number(words.next()),
                    Some("Rss:") => rss += 1024 * number(words.next()),
                    _ => {}
                }
            }
        }
        Ok((pss, rss))
    }
}

/// Resident memory of one process in bytes; cheap enough to be read often.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/statm");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(4096 * number(text.split_whitespace().nth(1)))
}

/// Open file descriptors of one process.
pub fn descriptors(pid: u32) -> anyhow::Result<usize> {
    let path = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(entries.count())
}

/// Seconds of CPU time that all cores together have spent at work, whoever did it.
pub fn machine_busy() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(|word| number(Some(word)))
        .collect();
    // user, nice, system, then idle and iowait, then interrupts and soft interrupts, then steal.
    let ticks: u64 = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|&at| fields.get(at))
        .sum();
    Ok(Duration::from_nanos(ticks * TICK).as_secs_f64())
}

fn number(text: Option<impl AsRef<str>>) -> u64 {
    text.and_then(|text| text.as_ref().parse().ok())
        .unwrap_or(0)
}

/// The fields of `/proc/PID/stat` from the parent's id on; those before may contain spaces.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().skip(1).map(str::to_owned).collect())
}

/// Nanoseconds that the threads of a process have run.
fn thread_time(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let path = entry.ok()?.path().join("schedstat");
        // A thread may end between the listing and the reading.
        if let Ok(text) = fs::read_to_string(path) {
            sum += number(text.split_whitespace().next());
        }
    }
    Some(sum)
}
