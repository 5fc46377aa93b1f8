//! Counts units, errors and latencies while they count.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::process::{Cpu, Processes};

/// What all clients of a run count into.
#[derive(Default)]
pub struct Meter {
    units: AtomicU64,
    errors: AtomicU64,
    error: Mutex<Option<String>>,
    counting: AtomicBool,
    /// Tenths of a microsecond.
    latencies: Mutex<Vec<u32>>,
}

/// The state when counting began.
pub struct Before {
    units: u64,
    cpu: Cpu,
    at: Instant,
}

/// What happened while it counted.
pub struct Taken {
    /// Units done.
    pub units: u64,
    /// Errors, those of the warm-up too.
    pub errors: u64,
    /// One of them.
    pub error: Option<String>,
    /// Nanoseconds of CPU time.
    pub cpu: u64,
    /// Time that passed.
    pub wall: Duration,
    /// Median latency in microseconds.
    pub p50: Option<f64>,
    /// 99th percentile in microseconds.
    pub p99: Option<f64>,
}

impl Meter {
    /// Counts units.
    pub fn add(&self, units: u64) {
        self.units.fetch_add(units, Relaxed);
    }

    /// Counts one unit that took so long.
    pub fn took(&self, time: Duration) {
        self.add(1);
        self.sample(time);
    }

    /// Notes a time that is not a unit's.
    pub fn sample(&self, time: Duration) {
        if self.counting.load(Relaxed) {
            let tenths = u32::try_from(time.as_nanos() / 100).unwrap_or(u32::MAX);
            self.latencies
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(tenths);
        }
    }

    /// Counts an error and keeps the last one's text.
    pub fn failed(&self, error: &anyhow::Error) {
        self.errors.fetch_add(1, Relaxed);
        let mut last = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(format!("{error:#}"));
    }

    /// From here on it counts.
    pub fn begin(&self, processes: &Processes) -> anyhow::Result<Before> {
        self.counting.store(true, Relaxed);
        Ok(Before {
            units: self.units.load(Relaxed),
            cpu: processes.cpu()?,
            at: Instant::now(),
        })
    }

    /// Until here it counted.
    pub fn end(&self, processes: &Processes, before: &Before) -> anyhow::Result<Taken> {
        let units = self.units.load(Relaxed) - before.units;
        let cpu = processes.cpu()?.since(before.cpu);
        let wall = before.at.elapsed();
        self.counting.store(false, Relaxed);
        let mut latencies = std::mem::take(
            &mut *self
                .latencies
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        latencies.sort_unstable();
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Taken {
            units,
            errors: self.errors.load(Relaxed),
            error: error.take(),
            cpu,
            wall,
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
        })
    }
}

/// Nearest rank, in microseconds.
fn percentile(sorted: &[u32], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|&tenths| f64::from(tenths) / 10.0)
}
