//! Starts that wait for their turn at the engine. It is nearly serial, so that more than a few at a time
//! would only wait inside it, where nobody sees how long. Here they wait in order, in a place that can be told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::{Change, DesktopError, Desktops};
use crate::model::desktop::{Desktop, State};
use crate::telemetry::ErrorChain;

/// How long one turn is thought to take before the first has been measured.
const FIRST_GUESS: Duration = Duration::from_secs(3);
/// Weight of the past in the measured length of a turn, of [`WEIGHT`] + 1 parts.
const WEIGHT: u64 = 3;

/// The turns of one gateway, first come, first served.
#[derive(Debug)]
pub(super) struct StartQueue {
    slots: Semaphore,
    width: u32,
    /// Mean length of a turn, milliseconds.
    pace: AtomicU64,
}

/// Where a start stands among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePlace {
    /// 1: the next one.
    pub position: usize,
    /// When its turn will come, as far as that can be told.
    pub estimate: Duration,
}

/// One turn at the engine; over on drop.
pub(super) struct Turn<'a> {
    queue: &'a StartQueue,
    begun: Instant,
    /// Its length says how long turns take.
    counts: bool,
    _slot: SemaphorePermit<'a>,
}

impl Turn<'_> {
    /// Gives it back before anything was done with it.
    pub(super) fn give_back(mut self) {
        self.counts = false;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.counts {
            return;
        }
        let took = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mean = |pace: u64| Some((pace * WEIGHT + took.min(600_000)) / (WEIGHT + 1));
        // The closure always returns a value, so this cannot fail.
        let _ = self
            .queue
            .pace
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, mean);
    }
}

impl StartQueue {
    /// As many turns at a time as `width`.
    pub(super) fn new(width: u32) -> Self {
        let guess = u64::try_from(FIRST_GUESS.as_millis()).unwrap_or(u64::MAX);
        Self {
            slots: Semaphore::new(usize::try_from(width).unwrap_or(usize::MAX)),
            width,
            pace: AtomicU64::new(guess),
        }
    }

    /// Waits for a turn. Whoever came first has it first.
    pub(super) async fn turn(&self) -> Option<Turn<'_>> {
        let slot = self.slots.acquire().await.ok()?;
        Some(Turn {
            queue: self,
            begun: Instant::now(),
            counts: true,
            _slot: slot,
        })
    }

    /// A turn that nobody waits for.
    pub(super) fn turn_if_free(&self) -> Option<Turn<'_>> {
        let slot = self.slots.try_acquire().ok()?;
        Some(Turn {
            queue: self,
            begun: Instant::now(),
            counts: true,
            _slot: slot,
        })
    }

    /// The place with `before` starts before it.
    pub(super) fn place(&self, before: usize) -> QueuePlace {
        let pace = Duration::from_millis(self.pace.load(Ordering::Relaxed));
        let rounds = u32::try_from(before).unwrap_or(u32::MAX) / self.width + 1;
        QueuePlace {
            position: before + 1,
            estimate: pace.saturating_mul(rounds),
        }
    }
}

impl Desktops {
    /// Where a desktop stands among those that wait for their turn, over all gateways. `None` when it waits no
    /// more.
    pub async fn queue_place(&self, desktop: &Desktop) -> Result<Option<QueuePlace>, DesktopError> {
        if desktop.status != State::Queued {
            return Ok(None);
        }
        let parts = &self.inner.parts;
        let name = parts.engine.name();
        let waiting = parts.database.queued_desktops(name).await?;
        let before = waiting.iter().position(|other| other.id == desktop.id);
        Ok(before.map(|before| self.inner.queue.place(before)))
    }

    /// Tells those who wait that they have moved on, and where they are: if each of those who listen looked for that, they
    /// would look at the whole queue as often as it is long.
    pub(super) async fn announce_queue(&self) {
        let parts = &self.inner.parts;
        let waiting = match parts.database.queued_desktops(parts.engine.name()).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::debug!(error = %ErrorChain(&error), "those who wait are unknown");
                return;
            }
        };
        for (before, desktop) in waiting.into_iter().enumerate() {
            let place = self.inner.queue.place(before);
            self.announce(Change::Moved(desktop, place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_says_how_many_are_before_and_learns_how_long_turns_take() {
        let queue = StartQueue::new(2);
        assert_eq!(queue.place(0).position, 1);
        assert_eq!(queue.place(1).estimate, FIRST_GUESS, "in the first round");
        assert_eq!(queue.place(2).estimate, FIRST_GUESS * 2);
        for _ in 0..40 {
            let turn = queue.turn().await.expect("a turn");
            tokio::time::advance(Duration::from_secs(1)).await;
            drop(turn);
        }
        queue.turn().await.expect("a turn").give_back();
        let learnt = queue.place(5).estimate.as_millis();
        assert!((3000..3050).contains(&learnt), "{learnt} ms");
    }

    #[tokio::test]
    async fn turns_are_bounded_and_in_order() {
        let queue = std::sync::Arc::new(StartQueue::new(1));
        let first = queue.turn().await.expect("a turn");
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..5 {
            let (queue, told) = (queue.clone(), told.clone());
            waiting.spawn(async move {
                let _turn = queue.turn().await;
                let _ = told.send(number);
            });
            tokio::task::yield_now().await;
        }
        assert!(heard.try_recv().is_err(), "nobody before the first is done");
        drop(first);
        waiting.join_all().await;
        let order: Vec<i32> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }
}
