//! Pause and wake. The row says first what is going to be, then the engine does it; a gateway that dies in
//! between leaves something that the reconciler or the next request puts right.
//!
//! What wakes: a person's input in an open stream, a request, a new WebSocket. What does not: whatever else comes
//! through an open stream. It stays open meanwhile, and its desktop is merely silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::directory::Entry;
use super::sleep::Awake;
use super::{Change, DesktopError, Desktops};
use crate::engine::EngineError;
use crate::model::desktop::{Desktop, State};
use crate::model::failpoint::Failpoint;
use crate::model::id::DesktopId;
use crate::model::time::Timestamp;
use crate::store::containers::Change as RowChange;
use crate::telemetry::ErrorChain;

/// How long a request waits for a wake. It takes milliseconds.
pub const WAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a desktop stays awake at least; a WebSocket alone keeps it so no longer.
const GRACE: Duration = Duration::from_secs(30);
/// How old the knowledge that a desktop is awake may be, where another gateway may have paused it.
const CONFIRM: Duration = Duration::from_secs(2);
/// Pause after a wake that failed, before input calls for another.
const RETRY: Duration = Duration::from_secs(1);

/// Who wants a desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who opens a page.
    Person,
    /// A request.
    Request,
    /// A WebSocket, which a tab that nobody looks at opens again by itself.
    WebSocket,
}

impl Desktops {
    /// Makes sure that a desktop is awake, and keeps it so while the answer exists. Everybody who wants a
    /// paused one waits for the same wake, which goes on when they lose patience.
    ///
    /// # Errors
    /// The engine or the database fails or takes too long; the desktop has been stopped meanwhile; or a WebSocket
    /// has woken it alone too often.
    pub async fn awake(&self, entry: &Arc<Entry>, caller: Caller) -> Result<Awake, DesktopError> {
        let awake = Awake::announce(entry);
        if caller != Caller::WebSocket {
            entry.sleep.forgive();
        }
        self.confirm(entry).await?;
        if !entry.sleep.is_asleep() {
            return Ok(awake);
        }
        let now = self.inner.parts.clock.timestamp();
        if caller == Caller::WebSocket && !entry.sleep.may_wake_alone(now) {
            return tokio::time::timeout(WAKE_TIMEOUT, entry.sleep.risen())
                .await
                .map(|()| awake)
                .map_err(|_| DesktopError::Asleep);
        }
        let (desktops, id) = (self.clone(), entry.id);
        let wake = self.see_through("wake", async move { desktops.wake(id).await });
        match tokio::time::timeout(WAKE_TIMEOUT, wake).await {
            Ok(woken) => woken.map(|_| awake),
            Err(_) => Err(EngineError::Timeout(WAKE_TIMEOUT).into()),
        }
    }

    /// Asks the database now and then whether another gateway has paused a desktop that is awake here.
    async fn confirm(&self, entry: &Entry) -> Result<(), DesktopError> {
        let parts = &self.inner.parts;
        if parts.config.idle_pause.is_none() || entry.sleep.is_asleep() {
            return Ok(());
        }
        if entry.sleep.is_unconfirmed(parts.clock.timestamp(), CONFIRM) {
            let row = parts.database.find_desktop(entry.id).await?;
            if row.is_some_and(|row| row.status == State::Paused) {
                entry.sleep.fall();
            }
        }
        Ok(())
    }

    /// Wakes a desktop that is paused.
    async fn wake(&self, id: DesktopId) -> Result<Desktop, DesktopError> {
        let entry = self.inner.directory.get(id).ok_or(DesktopError::NotFound)?;
        let _turn = entry.sleep.turn().await;
        let row = self.get(id).await?.ok_or(DesktopError::NotFound)?;
        if !entry.sleep.is_asleep() {
            return Ok(row);
        }
        let _in_hand = self.take_in_hand(id);
        let begun = Instant::now();
        let outcome = self.wake_row(&row).await;
        self.inner
            .parts
            .metrics
            .woken(begun.elapsed(), outcome.is_ok());
        let desktop = outcome?;
        entry.sleep.rise();
        tracing::info!(desktop = %id, seconds = begun.elapsed().as_secs_f64(), "desktop woken");
        self.announce(Change::To(desktop.clone()));
        Ok(desktop)
    }

    async fn wake_row(&self, row: &Desktop) -> Result<Desktop, DesktopError> {
        let parts = &self.inner.parts;
        let change = RowChange::default();
        match row.status {
            State::Paused => {
                // One who was faster wants the same.
                parts
                    .database
                    .transition(row.id, State::Paused, State::Running, change)
                    .await?;
            }
            // Another gateway is waking it: to do it twice does no harm.
            State::Running => {}
            _ => return Err(DesktopError::NotFound),
        }
        self.reached(Failpoint::WakeRecorded).await;
        if let Err(error) = parts.engine.unpause(&row.container_name).await {
            let back = parts
                .database
                .transition(row.id, State::Running, State::Paused, change);
            back.await?;
            // It may have ended while it slept.
            let _ = self.note_end(row).await;
            return Err(error.into());
        }
        self.get(row.id).await?.ok_or(DesktopError::NotFound)
    }

    /// Pauses a desktop that nobody has used since it was read, and that no request is under way to.
    pub(super) async fn pause_due(&self, seen: &Desktop) -> Result<(), DesktopError> {
        let parts = &self.inner.parts;
        let Some(_in_hand) = self.take_in_hand(seen.id) else {
            return Ok(());
        };
        let used = seen.last_used.unwrap_or(seen.created_at);
        let entry = self.inner.directory.get(seen.id);
        let turn = match &entry {
            Some(entry) => Some((entry, entry.sleep.turn().await)),
            None => None,
        };
        if let Some((entry, _)) = &turn {
            // Said before it is looked: a request that comes now waits, one that came before is seen.
            entry.sleep.fall();
            if entry.sleep.is_busy() || entry.last_used() > Some(used) {
                entry.sleep.rise();
                return Ok(());
            }
        }
        let paused = self.pause_row(seen, used).await;
        match &turn {
            Some((entry, _)) if !matches!(paused, Ok(true)) => entry.sleep.rise(),
            _ => {}
        }
        if paused? {
            parts.metrics.paused();
            tracing::info!(desktop = %seen.id, "desktop paused");
            if let Some(row) = self.get(seen.id).await? {
                self.announce(Change::To(row));
            }
        }
        Ok(())
    }

    /// Whether it is paused then.
    async fn pause_row(&self, seen: &Desktop, used: Timestamp) -> Result<bool, DesktopError> {
        let parts = &self.inner.parts;
        let change = RowChange {
            unless_used_after: Some(used),
            ..RowChange::default()
        };
        let paused = parts
            .database
            .transition(seen.id, State::Running, State::Paused, change);
        if !paused.await? {
            return Ok(false);
        }
        self.reached(Failpoint::PauseRecorded).await;
        if let Err(error) = parts.engine.pause(&seen.container_name).await {
            let back = RowChange::default();
            parts
                .database
                .transition(seen.id, State::Paused, State::Running, back)
                .await?;
            return Err(error.into());
        }
        Ok(true)
    }

    /// Whether it is time to pause a desktop that has been idle and awake for so long.
    pub(super) fn is_pause_due(&self, desktop: &Desktop, idle: Duration, awake: Duration) -> bool {
        let limit = self.inner.parts.config.idle_pause;
        desktop.status == State::Running
            && limit.is_some_and(|limit| idle >= limit && awake >= GRACE.min(limit))
    }

    /// Wakes what a person's input calls for, until the soft stop.
    pub fn spawn_waker(&self) {
        let Some(mut wanted) = self.inner.directory.take_wanted() else {
            return;
        };
        let desktops = self.clone();
        let tasks = &self.inner.parts.tasks;
        let (soft, spawner) = (tasks.soft().clone(), tasks.clone());
        tasks.spawn("waker", async move {
            loop {
                let id = tokio::select! {
                    () = soft.cancelled() => return,
                    id = wanted.recv() => id,
                };
                let Some(id) = id else { return };
                let desktops = desktops.clone();
                spawner.spawn("wake", async move { desktops.answer_call(id).await });
            }
        });
    }

    async fn answer_call(&self, id: DesktopId) {
        let Some(entry) = self.inner.directory.get(id) else {
            return;
        };
        entry.sleep.forgive();
        if let Err(error) = self.wake(id).await {
            tracing::warn!(desktop = %id, error = %ErrorChain(&error), "a desktop could not be woken");
            tokio::time::sleep(RETRY).await;
        }
        entry.sleep.answered();
    }

    /// Has desktops woken that are paused although a person uses them.
    pub(super) fn call_for(&self, paused: &[DesktopId]) {
        let entries = paused.iter().filter_map(|id| self.inner.directory.get(*id));
        for entry in entries {
            entry.sleep.fall();
            entry.call();
        }
    }

    /// Takes over what other gateways, or somebody at the engine, did: which entries are asleep.
    pub(super) fn follow_naps(&self, rows: &[Desktop]) {
        for entry in self.take_over_naps(rows) {
            if entry.sleep.is_asleep() && entry.sleep.is_busy() {
                entry.call();
            }
        }
    }

    /// The same without waking what is wanted: a WebSocket that waits until somebody else wakes a desktop wants it, too.
    pub(super) fn take_over_naps(&self, rows: &[Desktop]) -> Vec<Arc<Entry>> {
        let mut seen = Vec::new();
        for row in rows.iter().filter(|row| row.status.is_up()) {
            let Some(entry) = self.inner.directory.get(row.id) else {
                continue;
            };
            let Some(_in_hand) = self.take_in_hand(row.id) else {
                continue;
            };
            match (row.status == State::Paused, entry.sleep.is_asleep()) {
                (true, false) => entry.sleep.fall(),
                (false, true) => entry.sleep.rise(),
                _ => {}
            }
            seen.push(entry);
        }
        seen
    }
}
