//! Brings rows and containers together again after whatever happened: a killed gateway, a restarted
//! engine, a container removed behind our back. Runs at start, on a timer and on engine events.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::Notify;

use super::repair::{Repair, Seen};
use super::{DesktopError, Desktops};
use crate::engine::Container;
use crate::engine::spec::shared_network;
use crate::model::desktop::{Desktop, State};
use crate::model::id::DesktopId;
use crate::telemetry::ErrorChain;
use crate::telemetry::metrics::Metrics;

/// How often rows and containers are compared when nothing happens.
pub const PERIOD: Duration = Duration::from_secs(30);
/// How often a gateway that does not lead looks which containers are ready for its people.
const FOLLOW_PERIOD: Duration = Duration::from_secs(5);
/// Pause before listening to the engine again after its connection ended.
const LISTEN_PAUSE: Duration = Duration::from_secs(2);
/// How long more events are waited for after one: a class that leaves is one pass, not thirty.
const GATHER: Duration = Duration::from_millis(300);
/// What happens to a container that a row may have to follow.
const STIRRING: [&str; 5] = ["die", "destroy", "oom", "pause", "unpause"];

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Starts that were taken up again.
    pub resumed: usize,
    /// Desktops whose container had ended or vanished.
    pub ended: usize,
    /// Stops that were finished.
    pub stopped: usize,
    /// Desktops that somebody at the engine paused or woke.
    pub naps: usize,
    /// Containers that were left of desktops that had ended.
    pub remains: usize,
    /// Containers that run and had lost their row.
    pub adopted: usize,
    /// Containers that no row knows, removed.
    pub orphans: usize,
    /// Networks of desktops that are gone, removed.
    pub networks: usize,
    /// Containers that waited for somebody and that nobody wants any more, removed.
    pub pool: usize,
    /// What could not be done, because the engine refused it for that one container or network.
    pub refused: usize,
}

impl Report {
    const fn add(&mut self, repair: &Repair) {
        let count = match repair {
            Repair::ResumeStart(..) => &mut self.resumed,
            Repair::NoteEnd(_) => &mut self.ended,
            Repair::NoteNap(_) => &mut self.naps,
            Repair::FinishStop(_) => &mut self.stopped,
            Repair::ClearRemains(_) => &mut self.remains,
            Repair::Adopt(..) => &mut self.adopted,
            Repair::RemoveOrphan(_) => &mut self.orphans,
            Repair::RemoveMember(_) => &mut self.pool,
            Repair::RemoveNetwork(_) => &mut self.networks,
        };
        *count += 1;
    }

    fn count(self, metrics: &Metrics) {
        for (act, times) in [
            ("resume_start", self.resumed),
            ("note_end", self.ended),
            ("finish_stop", self.stopped),
            ("note_nap", self.naps),
            ("clear_remains", self.remains),
            ("adopt", self.adopted),
            ("remove_orphan", self.orphans),
            ("remove_network", self.networks),
            ("remove_member", self.pool),
        ] {
            metrics.reaped(act, times);
        }
    }
}

impl Desktops {
    /// One pass. Does nothing to containers of other installations.
    ///
    /// # Errors
    /// Engine or database do not answer. What was done up to then stays done; the next pass does the rest.
    pub async fn reconcile(&self) -> Result<Report, DesktopError> {
        let parts = &self.inner.parts;
        let breaks = self.inner.watch.breaks();
        let entries = self.inner.directory.ids();
        let (containers, rows) = self.both_sides().await?;
        let mut report = Report::default();
        for repair in self.compare(&containers, &rows).await? {
            self.mend(repair, &mut report).await?;
        }
        let tidied = self.tidy_pool(&containers, &rows).await?;
        report.pool = tidied.removed;
        report.refused += tidied.refused;
        for network in self.lost_networks(&containers, &rows).await? {
            self.mend(Repair::RemoveNetwork(network.name), &mut report)
                .await?;
        }
        self.inner.watch.seen_all_since(breaks);
        self.inner.pool.bell.notify_one();
        self.drop_stale_entries(&entries, &rows);
        if report.naps > 0 {
            let rows = parts.database.all_desktops(parts.engine.name()).await?;
            self.follow_naps(&rows);
        }
        if report != Report::default() {
            report.count(&parts.metrics);
            tracing::info!(?report, "rows and containers reconciled");
        }
        Ok(report)
    }

    /// Does one, or leaves it to the gateway that is at it. What goes wrong with this one alone keeps no other from its
    /// turn.
    async fn mend(&self, repair: Repair, report: &mut Report) -> Result<(), DesktopError> {
        if let Repair::ResumeStart(row, _) | Repair::FinishStop(row) = &repair
            && !self.take_up(row).await?
        {
            return Ok(());
        }
        let done = match &repair {
            // It takes as long as a container takes to end, and nobody else is to wait for that.
            Repair::FinishStop(row) => Ok(self.spawn_finish(row)),
            repair => self.repair(repair).await,
        };
        match self.unless_refused(repair.what(), done).await? {
            Some(true) => report.add(&repair),
            Some(false) => {}
            None => report.refused += 1,
        }
        Ok(())
    }

    fn spawn_finish(&self, row: &Desktop) -> bool {
        let Some(in_hand) = self.take_in_hand(row.id) else {
            return false;
        };
        let (desktops, repair) = (self.clone(), Repair::FinishStop(row.clone()));
        self.inner.parts.tasks.spawn("finish_stop", async move {
            let _in_hand = in_hand;
            if let Err(error) = desktops.repair(&repair).await {
                tracing::warn!(this = repair.what(), error = %ErrorChain(&error), "a stop cannot be finished yet");
            }
        });
        true
    }

    /// Goes on with what another gateway began, if that one does not live any more.
    async fn take_up(&self, row: &Desktop) -> Result<bool, DesktopError> {
        let leader = &self.inner.leader;
        if row.gateway == leader.number() {
            // Whoever had it in hand may have come to the end of it since the row was read.
            let now = self.get(row.id).await?;
            return Ok(now.is_some_and(|now| now.status == row.status));
        }
        let database = &self.inner.parts.database;
        Ok(leader.is_free(row.gateway) && database.take_up(row, leader.number()).await?)
    }

    /// Ends streams of desktops that another gateway has stopped or removed. `entries` were there before `rows` were
    /// read: an entry is only made of a row.
    pub(super) fn drop_stale_entries(&self, entries: &[DesktopId], rows: &[Desktop]) {
        for id in entries {
            let row = rows.iter().find(|row| row.id == *id);
            if row.is_none_or(|row| !row.status.is_up() && row.status != State::Starting) {
                self.inner.directory.remove(*id);
            }
        }
    }

    /// Reconciles at once, then on engine events and every [`PERIOD`], until the soft stop. A gateway that does not
    /// lead only takes note.
    pub fn spawn_reconciler(&self) {
        let desktops = self.clone();
        self.inner.parts.tasks.spawn("reconciler", async move {
            let soft = desktops.inner.parts.tasks.soft().clone();
            tokio::select! {
                () = soft.cancelled() => {}
                () = desktops.reconcile_forever() => {}
                () = desktops.listen_forever() => {}
            }
        });
    }

    async fn reconcile_forever(&self) {
        let mut healthy = true;
        loop {
            let passed = self.pass().await;
            self.inner.leader.note_pass(&passed);
            match passed {
                Ok(()) if healthy => {}
                Ok(()) => {
                    healthy = true;
                    tracing::info!("the container engine answers again");
                }
                Err(error) if healthy => {
                    healthy = false;
                    tracing::error!(error = %ErrorChain(&error), "rows and containers cannot be compared");
                }
                // Said once; the same words every two seconds would hide everything else.
                Err(error) => tracing::debug!(error = %ErrorChain(&error), "still no comparison"),
            }
            let follows_pool = self.keeps_pool() && !self.inner.leader.is_leading();
            let pause = match healthy {
                true if follows_pool => FOLLOW_PERIOD,
                true => PERIOD,
                false => LISTEN_PAUSE,
            };
            tokio::select! {
                () = self.inner.leader.bell.notified() => {}
                // Any of them may have changed something; all lead to a full pass.
                () = self.inner.watch.bell.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn pass(&self) -> Result<(), DesktopError> {
        if self.inner.leader.is_leading() {
            self.prepare_and_reconcile().await?;
            return Ok(());
        }
        let breaks = self.inner.watch.breaks();
        let entries = self.inner.directory.ids();
        let (containers, rows) = self.both_sides().await?;
        self.drop_stale_entries(&entries, &rows);
        self.follow_naps(&rows);
        let seen = Seen::of(&containers, &self.inner.parts.instance);
        self.finish_own(&seen, &rows).await?;
        // The gateway that leads records what ended.
        if all_run(&containers, &rows) {
            self.inner.watch.seen_all_since(breaks);
        }
        self.see_pool(&containers, &rows).await
    }

    /// Takes up what this gateway itself began and had to leave, because engine or database were away: nobody else does
    /// while it lives.
    async fn finish_own(&self, seen: &Seen<'_>, rows: &[Desktop]) -> Result<(), DesktopError> {
        let parts = &self.inner.parts;
        let own = self.inner.leader.number();
        let mut report = Report::default();
        for row in rows.iter().filter(|row| row.gateway == own) {
            let is_begun = row.status.is_launching() || row.status == State::Stopping;
            if let Some(repair) = self.disagreement(row, seen).filter(|_| is_begun) {
                self.mend(repair, &mut report).await?;
            }
        }
        report.count(&parts.metrics);
        Ok(())
    }

    /// Makes the networks that desktops share well before the first start: a network that appears makes
    /// browsers on the same machine drop their connections.
    async fn prepare_and_reconcile(&self) -> Result<Report, DesktopError> {
        let parts = &self.inner.parts;
        let shares = parts.config.subnets.is_none();
        for template in self.inner.templates.iter().filter(|_| shares) {
            let network = shared_network(&parts.instance, template.network);
            parts.engine.prepare(&network, &parts.instance).await?;
        }
        self.reconcile().await
    }

    /// Rings when a container of ours has ended, been paused or woken, perhaps behind our back, also during a pass.
    async fn listen_forever(&self) {
        let parts = &self.inner.parts;
        let mut is_again = false;
        loop {
            if let Ok(mut events) = parts.engine.events(&parts.instance).await {
                // What happened while nobody listened is seen by a look; the gateway begins with one.
                if std::mem::replace(&mut is_again, true) {
                    self.inner.watch.bell.notify_one();
                }
                while let Some(event) = events.next().await {
                    if STIRRING.contains(&event.action.as_str()) {
                        self.inner.watch.bell.notify_one();
                    }
                }
                self.inner.watch.broke();
            }
            tokio::time::sleep(LISTEN_PAUSE).await;
        }
    }
}

/// Whether the engine was watched all the time: what ended while it was away was ended by it, most likely.
#[derive(Debug)]
pub(super) struct Watch {
    /// How often its events broke off.
    breaks: AtomicU64,
    /// How many of those came before the last complete look.
    seen: AtomicU64,
    /// Something happened to a container.
    bell: Notify,
}

impl Default for Watch {
    /// Nothing has been seen yet.
    fn default() -> Self {
        Self {
            breaks: AtomicU64::new(1),
            seen: AtomicU64::new(0),
            bell: Notify::new(),
        }
    }
}

impl Watch {
    fn breaks(&self) -> u64 {
        self.breaks.load(Ordering::Acquire)
    }

    fn broke(&self) {
        self.breaks.fetch_add(1, Ordering::AcqRel);
    }

    fn seen_all_since(&self, breaks: u64) {
        self.seen.store(breaks, Ordering::Release);
    }

    /// Whether the engine may have ended containers that nobody has looked at since.
    pub(super) fn has_gap(&self) -> bool {
        self.seen.load(Ordering::Acquire) != self.breaks()
    }
}

/// Whether every desktop that is up has a container that runs.
fn all_run(containers: &[Container], rows: &[Desktop]) -> bool {
    let alive: HashSet<&str> = containers
        .iter()
        .filter(|container| container.state.is_alive())
        .map(|container| container.name.as_str())
        .collect();
    let mut up = rows.iter().filter(|row| row.status.is_up());
    up.all(|row| alive.contains(row.container_name.as_str()))
}
