//! The only way to start background work: every task has a name, a span and a place in the tracker,
//! and hears both stop signals.
//!
//! Soft stop asks to finish what was begun; hard stop drops the future where it stands.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// How long tasks may say goodbye after the drain deadline.
const GOODBYE: Duration = Duration::from_secs(2);

/// Spawns, names and tracks all tasks of one gateway; clones share the same tracker and tokens.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    soft: CancellationToken,
    closing: CancellationToken,
    hard: CancellationToken,
}

impl Tasks {
    /// An empty set of tasks whose stop has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future` as a task. It is dropped at the hard stop if it has not ended by then.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that may call tokio::spawn"
    )]
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(self.tracker.track_future(self.until_hard(name, future)));
    }

    /// The same on another runtime.
    pub fn spawn_on<F>(&self, runtime: &Handle, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        runtime.spawn(self.tracker.track_future(self.until_hard(name, future)));
    }

    fn until_hard(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let hard = self.hard.clone();
        let span = tracing::debug_span!(parent: None, "task", name);
        let task = async move {
            tokio::select! {
                biased;
                () = hard.cancelled() => {}
                () = future => {}
            }
        };
        task.instrument(span)
    }

    /// Runs `tick` every `period` until the soft stop; the first run is one period from now.
    pub fn every<F, Fut>(&self, name: &'static str, period: Duration, mut tick: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let soft = self.soft.clone();
        self.spawn(name, async move {
            loop {
                tokio::select! {
                    biased;
                    () = soft.cancelled() => return,
                    () = tokio::time::sleep(period) => tick().await,
                }
            }
        });
    }

    /// Runs `future` as a task that the soft stop drops.
    pub fn until_soft<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let soft = self.soft.clone();
        self.spawn(name, async move {
            tokio::select! {
                biased;
                () = soft.cancelled() => {}
                () = future => {}
            }
        });
    }

    /// How many are under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tracker.len()
    }

    /// Cancelled when the stop begins: finish requests, take no new ones.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when the drain deadline has passed: whatever still runs says goodbye now.
    #[must_use]
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Cancelled two seconds later: whatever still runs is dropped.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Soft stop, wait up to `drain` for every task to end, then hard stop and wait for the rest.
    /// Returns whether everything ended within the drain time.
    pub async fn stop(&self, drain: Duration) -> bool {
        self.soft.cancel();
        self.tracker.close();
        let drained = tokio::time::timeout(drain, self.tracker.wait())
            .await
            .is_ok();
        self.closing.cancel();
        // What has something to say to a peer is over by then, and the rest will never be.
        let _ = tokio::time::timeout(GOODBYE, self.tracker.wait()).await;
        self.hard.cancel();
        self.tracker.wait().await;
        drained
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn a_task_that_ignores_the_soft_stop_is_dropped_at_the_hard_stop() {
        let tasks = Tasks::new();
        tasks.spawn("stubborn", std::future::pending());
        assert!(!tasks.stop(Duration::from_millis(20)).await);
    }

    #[tokio::test]
    async fn a_task_that_listens_ends_within_the_drain_time() {
        let tasks = Tasks::new();
        let ended = Arc::new(AtomicBool::new(false));
        let (soft, flag) = (tasks.soft().clone(), ended.clone());
        tasks.spawn("polite", async move {
            soft.cancelled().await;
            flag.store(true, Ordering::SeqCst);
        });
        assert!(tasks.stop(Duration::from_secs(5)).await);
        assert!(ended.load(Ordering::SeqCst));
    }
}
