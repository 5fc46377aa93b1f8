//! Which running or paused desktops this gateway knows, and the way to each: the look-up of every request.
//!
//! An entry exists only while its desktop is up. Removing it cancels its token, which ends every
//! request and tunnel that goes through it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hyper::header::HeaderValue;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::sleep::Sleep;
use super::upstream::Upstream;
use crate::model::desktop::Activity;
use crate::model::id::{DesktopId, UserId};
use crate::model::template::Template;
use crate::model::time::Timestamp;

/// The first sign of a person after this long is written at once, so that other gateways know in time that
/// they are back. Milliseconds.
const QUIET: i64 = 2_000;

/// A desktop that is up.
#[derive(Debug)]
pub struct Entry {
    /// Its id.
    pub id: DesktopId,
    /// Whose it is.
    pub owner: UserId,
    /// What it was made from.
    pub template: Arc<Template>,
    /// The way to it.
    pub upstream: Upstream,
    /// The confining policy of its answers, once one was made.
    pub policy: OnceLock<HeaderValue>,
    /// Whether it does not know the user who only sees. It is not asked again: KasmVNC keeps out who fails five times.
    pub viewer_refused: AtomicBool,
    /// Cancelled when it stops running.
    pub gone: CancellationToken,
    streams: AtomicU32,
    last_accessed: AtomicI64,
    /// Zero: never.
    last_input: AtomicI64,
    /// Zero: never since this entry was made.
    last_used: AtomicI64,
    /// The value of `last_used` that the database has.
    saved_used: AtomicI64,
    unsaved: AtomicBool,
    /// Whether one of its streams was in no protocol that is known.
    unreadable: AtomicBool,
    /// Whether it is paused, and who waits for its wake.
    pub sleep: Sleep,
    bells: Bells,
}

/// How an entry calls for attention.
#[derive(Clone, Debug, Default)]
struct Bells {
    /// Activity should be written at once.
    urgent: Arc<Notify>,
    /// A paused desktop is wanted by a person.
    wanted: Option<mpsc::Sender<DesktopId>>,
}

impl Entry {
    /// A desktop that nobody has used yet.
    #[must_use]
    pub fn new(id: DesktopId, owner: UserId, template: Arc<Template>, upstream: Upstream) -> Self {
        Self {
            id,
            owner,
            template,
            upstream,
            policy: OnceLock::new(),
            viewer_refused: AtomicBool::new(false),
            gone: CancellationToken::new(),
            streams: AtomicU32::new(0),
            last_accessed: AtomicI64::new(0),
            last_input: AtomicI64::new(0),
            last_used: AtomicI64::new(0),
            saved_used: AtomicI64::new(0),
            unsaved: AtomicBool::new(false),
            unreadable: AtomicBool::new(false),
            sleep: Sleep::default(),
            bells: Bells::default(),
        }
    }

    /// A place for one more WebSocket, unless there are `limit` already.
    #[must_use]
    pub fn stream(entry: &Arc<Self>, limit: u32) -> Option<StreamPlace> {
        let one_more = |count: u32| (count < limit).then_some(count + 1);
        entry
            .streams
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(StreamPlace(entry.clone()))
    }

    /// Notes traffic from the browser. Costs two stores; the database hears of it in batches.
    pub fn touch(&self, now: Timestamp) {
        self.last_accessed.store(now.millis(), Ordering::Relaxed);
        self.unsaved.store(true, Ordering::Release);
    }

    /// Notes a key, a pointer or a clipboard of a person.
    pub fn input(&self, now: Timestamp) {
        self.last_input.store(now.millis(), Ordering::Relaxed);
        self.used(now);
    }

    /// Notes a sign of a person, or what has to count as one; it is traffic as well.
    pub fn used(&self, now: Timestamp) {
        // In one order with the pause, which looks here after it has said that the desktop is asleep.
        let before = self.last_used.swap(now.millis(), Ordering::SeqCst);
        self.touch(now);
        if now.millis().saturating_sub(before) >= QUIET {
            self.bells.urgent.notify_one();
        }
        if self.sleep.is_asleep() {
            self.call();
        }
    }

    /// Notes a stream in which nobody can tell what a person does; false if that was known of the desktop.
    #[must_use]
    pub fn is_first_unreadable(&self) -> bool {
        !self.unreadable.swap(true, Ordering::Relaxed)
    }

    /// Has a paused desktop woken soon, without waiting for it.
    pub fn call(&self) {
        if let Some(wanted) = &self.bells.wanted
            && self.sleep.call()
            && wanted.try_send(self.id).is_err()
        {
            self.sleep.answered();
        }
    }

    /// The last sign of a person that this gateway has seen.
    #[must_use]
    pub fn last_used(&self) -> Option<Timestamp> {
        let used = self.last_used.load(Ordering::SeqCst);
        (used != 0).then(|| Timestamp::from_millis(used))
    }

    /// What happened, if the database has not heard of it.
    fn take_unsaved(&self) -> Option<Activity> {
        self.unsaved.swap(false, Ordering::Acquire).then(|| {
            let time = |value: &AtomicI64| Timestamp::from_millis(value.load(Ordering::Relaxed));
            let input = time(&self.last_input);
            let used = time(&self.last_used);
            let saved = self.saved_used.swap(used.millis(), Ordering::Relaxed);
            Activity {
                desktop: self.id,
                accessed: time(&self.last_accessed),
                input: (input.millis() != 0).then_some(input),
                used: (used.millis() != saved).then_some(used),
            }
        })
    }

    /// Takes back that the database has heard of it.
    fn mark_unsaved(&self) {
        self.saved_used.store(0, Ordering::Relaxed);
        self.unsaved.store(true, Ordering::Release);
    }
}

/// The place of one WebSocket; given back on drop.
#[derive(Debug)]
pub struct StreamPlace(Arc<Entry>);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many paused desktops may be wanted at the same time; one more is heard at its next input.
const MAX_WANTED: usize = 1024;

/// The desktops that are up, by id.
#[derive(Debug)]
pub struct Directory {
    entries: Mutex<HashMap<DesktopId, Arc<Entry>>>,
    bells: Bells,
    wanted: Mutex<Option<mpsc::Receiver<DesktopId>>>,
}

impl Default for Directory {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WANTED);
        Self {
            entries: Mutex::default(),
            bells: Bells {
                urgent: Arc::default(),
                wanted: Some(sender),
            },
            wanted: Mutex::new(Some(receiver)),
        }
    }
}

impl Directory {
    fn entries(&self) -> MutexGuard<'_, HashMap<DesktopId, Arc<Entry>>> {
        // No code panics while it holds the lock, and a map is whole between any two calls anyway.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of a desktop that is known to run.
    #[must_use]
    pub fn get(&self, id: DesktopId) -> Option<Arc<Entry>> {
        self.entries().get(&id).cloned()
    }

    /// Adds an entry, or returns the one that is there.
    pub fn insert(&self, mut entry: Entry) -> Arc<Entry> {
        entry.bells = self.bells.clone();
        self.entries()
            .entry(entry.id)
            .or_insert_with(|| Arc::new(entry))
            .clone()
    }

    /// Removes an entry and ends everything that goes through it. Returns its unsaved activity.
    pub fn remove(&self, id: DesktopId) -> Option<Activity> {
        let entry = self.entries().remove(&id)?;
        entry.gone.cancel();
        entry.take_unsaved()
    }

    /// All entries.
    #[must_use]
    pub fn ids(&self) -> Vec<DesktopId> {
        self.entries().keys().copied().collect()
    }

    /// Returns when activity should be written at once.
    pub async fn urgent(&self) {
        self.bells.urgent.notified().await;
    }

    /// The paused desktops that are wanted, for the one task that wakes them.
    pub fn take_wanted(&self) -> Option<mpsc::Receiver<DesktopId>> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.take()
    }

    /// Keeps activity that could not be written for the next time.
    pub fn keep_unsaved(&self, seen: &[Activity]) {
        for activity in seen {
            if let Some(entry) = self.get(activity.desktop) {
                entry.mark_unsaved();
            }
        }
    }

    /// Activity that the database has not heard of.
    #[must_use]
    pub fn take_unsaved(&self) -> Vec<Activity> {
        self.entries()
            .values()
            .filter_map(|entry| entry.take_unsaved())
            .collect()
    }
}
