//! Whether a desktop is asleep, as far as this gateway knows, and who is on the way to it. A desktop falls
//! asleep only while no request is under way; a request that finds it asleep waits for its wake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};

use super::directory::Entry;
use crate::model::time::Timestamp;

/// Wakes in a row by a WebSocket alone, without a sign of a person in between, that are had at once.
const VAIN_WAKES: u32 = 10;
/// After so many, one is had this often.
const VAIN_PAUSE: Duration = Duration::from_secs(600);

/// The sleep of one desktop.
#[derive(Debug, Default)]
pub struct Sleep {
    asleep: AtomicBool,
    /// Requests between their arrival and the end of their answer.
    under_way: AtomicU32,
    /// Whether somebody waits for the task that wakes.
    called: AtomicBool,
    vain_wakes: AtomicU32,
    last_vain: AtomicI64,
    /// Held by whoever changes it.
    turn: Mutex<()>,
    woken: Notify,
    /// When the database last said so.
    confirmed: AtomicI64,
}

impl Sleep {
    /// Whether it is paused.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst)
    }

    /// Whether requests are under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) > 0
    }

    /// Says that it is paused, or about to be: from now on requests wait for their turn.
    pub fn fall(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// Says that it goes on.
    pub fn rise(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        self.woken.notify_waiters();
    }

    /// The right to pause or wake it, one after the other.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Returns when somebody has woken it.
    pub async fn risen(&self) {
        let woken = self.woken.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        if self.is_asleep() {
            woken.await;
        }
    }

    /// Whether nobody has called yet.
    pub(super) fn call(&self) -> bool {
        !self.called.swap(true, Ordering::SeqCst)
    }

    /// The call was answered, well or not; another may come.
    pub(super) fn answered(&self) {
        self.called.store(false, Ordering::SeqCst);
    }

    /// A person is there: what a WebSocket did alone is forgiven.
    pub fn forgive(&self) {
        self.vain_wakes.store(0, Ordering::Relaxed);
    }

    /// Whether a WebSocket alone may wake it now. Counts.
    pub fn may_wake_alone(&self, now: Timestamp) -> bool {
        let wakes = self.vain_wakes.fetch_add(1, Ordering::Relaxed);
        let last = self.last_vain.load(Ordering::Relaxed);
        let allowed = wakes < VAIN_WAKES
            || now.millis().abs_diff(last) >= u64::try_from(VAIN_PAUSE.as_millis()).unwrap_or(0);
        if allowed {
            self.last_vain.store(now.millis(), Ordering::Relaxed);
        }
        allowed
    }

    /// Whether the database has not been asked for `span`; if so, it counts as asked now.
    pub fn is_unconfirmed(&self, now: Timestamp, span: Duration) -> bool {
        let last = self.confirmed.load(Ordering::Relaxed);
        let old = u128::from(now.millis().abs_diff(last)) >= span.as_millis();
        if old {
            self.confirmed.store(now.millis(), Ordering::Relaxed);
        }
        old
    }
}

/// Proof that a desktop is awake: while it exists, the desktop is not paused by us.
#[derive(Debug)]
pub struct Awake(Arc<Entry>);

impl Awake {
    /// Announces a request. Whether the desktop is awake has to be asked after that.
    pub(super) fn announce(entry: &Arc<Entry>) -> Self {
        entry.sleep.under_way.fetch_add(1, Ordering::SeqCst);
        Self(entry.clone())
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.sleep.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_websocket_alone_wakes_ten_times_and_then_every_ten_minutes() {
        let sleep = Sleep::default();
        let at = |seconds: i64| Timestamp::from_millis(1_700_000_000_000 + seconds * 1000);
        for n in 0..10 {
            assert!(sleep.may_wake_alone(at(60 * n)), "{n}");
        }
        assert!(!sleep.may_wake_alone(at(600)));
        assert!(!sleep.may_wake_alone(at(1139)));
        assert!(sleep.may_wake_alone(at(1140)));
        assert!(!sleep.may_wake_alone(at(1200)));
        sleep.forgive();
        assert!(sleep.may_wake_alone(at(1200)), "a person was there");
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_the_wake() {
        let sleep = Arc::new(Sleep::default());
        sleep.risen().await;
        sleep.fall();
        let other = sleep.clone();
        let (risen, ()) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(5), other.risen()),
            async { sleep.rise() }
        );
        assert!(risen.is_ok());
    }
}
