//! What desktops take of their host. The engine is asked while somebody looks and not otherwise, a few desktops at a
//! time, and not more often than is worth looking at.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::sync::Mutex;

use super::Desktops;
use crate::engine::Stats;
use crate::model::desktop::Desktop;
use crate::model::id::DesktopId;

/// How long an answer of the engine is good.
const FRESH: Duration = Duration::from_secs(4);
/// How long one is kept to count the next one's CPU from.
const KEPT: Duration = Duration::from_secs(60);
/// Questions to the engine at the same time.
const PARALLEL: usize = 6;
/// Desktops that one look asks about.
const MOST: usize = 100;
/// How long one look may take; what has not come then is left out.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a desktop takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Of one core, between this look and the last one; `None` at the first one.
    pub cpu_percent: Option<f64>,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of memory that it may have.
    pub memory_limit: Option<u64>,
}

/// The last looks. Whoever holds the lock is the only one who asks the engine.
#[derive(Debug, Default)]
pub(super) struct Usages(Mutex<HashMap<DesktopId, Seen>>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    cpu: Duration,
    usage: Usage,
}

impl Seen {
    fn new(stats: Stats, before: Option<&Self>, at: Instant) -> Self {
        let share = before.and_then(|before| {
            let passed = at.saturating_duration_since(before.at).as_secs_f64();
            // A container that was started anew counts from the beginning.
            let spent = stats.cpu.checked_sub(before.cpu)?.as_secs_f64();
            (passed > 0.0).then(|| 100.0 * spent / passed)
        });
        Self {
            at,
            cpu: stats.cpu,
            usage: Usage {
                cpu_percent: share.map(|percent| (percent * 10.0).round() / 10.0),
                memory: stats.memory,
                memory_limit: stats.memory_limit,
            },
        }
    }
}

impl Desktops {
    /// What each of these desktops takes, as far as they are up and the engine says so in time. Of more than a
    /// hundred only the first ones are looked at.
    pub async fn usage(
        &self,
        desktops: impl IntoIterator<Item = &Desktop>,
    ) -> HashMap<DesktopId, Usage> {
        let up = desktops.into_iter().filter(|one| one.status.is_up());
        let up: Vec<&Desktop> = up.take(MOST).collect();
        let mut seen = self.inner.usages.0.lock().await;
        let now = Instant::now();
        seen.retain(|_, seen| now.duration_since(seen.at) < KEPT);
        let is_fresh = |seen: &HashMap<_, Seen>, id| {
            let at = seen.get(id).map(|seen| seen.at);
            at.is_some_and(|at| now.duration_since(at) < FRESH)
        };
        let due = up.iter().filter(|one| !is_fresh(&seen, &one.id));
        let due: Vec<_> = due
            .map(|one| (one.id, one.container_name.clone()))
            .collect();
        let answers = stream::iter(due).map(|(id, container)| {
            let engine = self.inner.parts.engine.clone();
            async move {
                let stats = engine.stats(&container).await.ok()?;
                Some((id, stats, Instant::now()))
            }
        });
        let mut answers = answers.buffer_unordered(PARALLEL);
        let gather = async {
            while let Some(answer) = answers.next().await {
                let Some((id, stats, at)) = answer else {
                    continue;
                };
                let new = Seen::new(stats, seen.get(&id), at);
                seen.insert(id, new);
            }
        };
        // Whatever came in time is there.
        let _ = tokio::time::timeout(PATIENCE, gather).await;
        let known = up
            .iter()
            .filter_map(|one| Some((one.id, seen.get(&one.id)?.usage)));
        known.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(cpu_millis: u64) -> Stats {
        Stats {
            cpu: Duration::from_millis(cpu_millis),
            memory: 5,
            memory_limit: None,
        }
    }

    #[test]
    fn cpu_is_counted_between_two_looks() {
        let begun = Instant::now();
        let first = Seen::new(stats(1000), None, begun);
        assert_eq!(first.usage.cpu_percent, None);
        let later = begun + Duration::from_secs(5);
        let second = Seen::new(stats(3500), Some(&first), later);
        assert_eq!(second.usage.cpu_percent, Some(50.0));
        let again = Seen::new(stats(10), Some(&second), later + FRESH);
        assert_eq!(again.usage.cpu_percent, None, "it was started anew");
        let same = Seen::new(stats(3600), Some(&second), later);
        assert_eq!(same.usage.cpu_percent, None, "no time has passed");
    }
}
