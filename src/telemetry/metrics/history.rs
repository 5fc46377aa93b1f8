//! The last half hour of what is counted, in memory: for people who look at a page, where there is no Prometheus or
//! nobody wants to open it. It is of this process alone, and a bounded number of samples.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::labels::{DirectionLabel, OutcomeLabel, PoolLabels};
use super::{Metrics, TO_BROWSER, TO_DESKTOP};
use crate::model::time::Timestamp;

/// How often a sample is taken.
pub const PERIOD: Duration = Duration::from_secs(10);
/// Samples that are kept: half an hour of them.
const SAMPLES: usize = 180;
/// Starts whose times are kept.
const STARTS: usize = 200;

/// What was counted up to one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The moment.
    pub at: Timestamp,
    /// Starts that ended in a running desktop.
    pub starts: u64,
    /// Starts that failed.
    pub failures: u64,
    /// Tunnels that are open.
    pub tunnels: i64,
    /// Bytes of tunnels to desktops.
    pub to_desktop: u64,
    /// Bytes of tunnels to browsers.
    pub to_browser: u64,
}

/// How long the last starts took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartTimes {
    /// Half of them took no longer.
    pub p50: Duration,
    /// Nineteen of twenty took no longer.
    pub p95: Duration,
    /// So many starts.
    pub count: usize,
}

/// What is kept; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    samples: Arc<Mutex<VecDeque<Sample>>>,
    starts: Arc<Mutex<VecDeque<Duration>>>,
}

fn push<T>(list: &Mutex<VecDeque<T>>, most: usize, value: T) {
    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
    while list.len() >= most {
        list.pop_front();
    }
    list.push_back(value);
}

fn all<T: Clone>(list: &Mutex<VecDeque<T>>) -> Vec<T> {
    let list = list.lock().unwrap_or_else(PoisonError::into_inner);
    list.iter().cloned().collect()
}

impl History {
    pub(super) fn start_took(&self, took: Duration) {
        push(&self.starts, STARTS, took);
    }
}

impl Metrics {
    /// What is counted now.
    #[must_use]
    pub fn counted(&self, at: Timestamp) -> Sample {
        let starts = |outcome| self.starts.get_or_create(&OutcomeLabel { outcome }).get();
        let bytes = |direction| {
            let counter = self
                .tunnel_bytes
                .get_or_create(&DirectionLabel { direction });
            counter.get()
        };
        Sample {
            at,
            starts: starts("running"),
            failures: starts("error"),
            tunnels: self.tunnels.get(),
            to_desktop: bytes(TO_DESKTOP),
            to_browser: bytes(TO_BROWSER),
        }
    }

    /// Keeps what is counted now.
    pub fn keep_sample(&self, at: Timestamp) {
        push(&self.history.samples, SAMPLES, self.counted(at));
    }

    /// What was kept, oldest first.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        all(&self.history.samples)
    }

    /// How long the last starts took; `None` if there was none.
    #[must_use]
    pub fn start_times(&self) -> Option<StartTimes> {
        let mut times = all(&self.history.starts);
        times.sort_unstable();
        // The smallest of which at least so many in a hundred are no larger.
        let percentile = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100);
            times.get(rank.checked_sub(1)?).copied()
        };
        Some(StartTimes {
            p50: percentile(50)?,
            p95: percentile(95)?,
            count: times.len(),
        })
    }

    /// How many containers of a template wait, and how many soon will.
    #[must_use]
    pub fn pool_of(&self, template: &str) -> (i64, i64) {
        let count = |state| {
            let template = template.to_owned();
            let labels = PoolLabels { template, state };
            self.pool.get_or_create(&labels).get()
        };
        (count("ready"), count("warming"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_bounded_and_in_order() {
        let metrics = Metrics::default();
        let tunnel = metrics.tunnel();
        for second in 0..500 {
            tunnel.up(3);
            metrics.keep_sample(Timestamp::from_millis(second * 1000));
        }
        let samples = metrics.samples();
        assert_eq!(samples.len(), SAMPLES);
        let (first, last) = (samples[0], samples[SAMPLES - 1]);
        assert_eq!(first.at.millis(), 320_000);
        assert_eq!((last.at.millis(), last.tunnels), (499_000, 1));
        assert_eq!(last.to_desktop, 1500);
        assert_eq!(metrics.counted(Timestamp::default()).to_desktop, 1500);
    }

    #[test]
    fn percentiles_are_of_the_last_starts() {
        let metrics = Metrics::default();
        assert_eq!(metrics.start_times(), None);
        let second = Duration::from_secs(1);
        metrics.started(second);
        let one = metrics.start_times().expect("a start");
        assert_eq!((one.p50, one.p95, one.count), (second, second, 1));
        for number in (1..=200).rev() {
            metrics.started(Duration::from_millis(number));
        }
        let times = metrics.start_times().expect("starts");
        assert_eq!(times.count, STARTS, "the first is forgotten");
        assert_eq!(times.p50, Duration::from_millis(100));
        assert_eq!(times.p95, Duration::from_millis(190));
    }

    #[test]
    fn a_pool_is_as_it_was_told() {
        let metrics = Metrics::default();
        metrics.pool("exam", 3, 1);
        assert_eq!(metrics.pool_of("exam"), (3, 1));
        assert_eq!(metrics.pool_of("other"), (0, 0));
    }
}
