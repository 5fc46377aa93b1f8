//! Brings rows and containers together again after whatever happened: a killed gateway, a restarted
//! engine, a container removed behind our back. Runs at start, on a timer and on engine events.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;

use super::pool::{Member, members};
use super::stop::STOP_GRACE;
use super::trouble::Failure;
use super::{Change, DesktopError, Desktops};
use crate::engine::spec::shared_network;
use crate::engine::{Container, ContainerState, EngineError};
use crate::model::audit::Actor;
use crate::model::desktop::{Desktop, State};
use crate::model::id::DesktopId;
use crate::model::reason::Reason;
use crate::store::containers::Change as RowChange;
use crate::telemetry::ErrorChain;
use crate::telemetry::metrics::Metrics;

/// How often rows and containers are compared when nothing happens.
pub const PERIOD: Duration = Duration::from_secs(30);
/// How often a gateway that does not lead looks which containers are ready for its people.
const FOLLOW_PERIOD: Duration = Duration::from_secs(5);
/// Pause before listening to the engine again after its connection ended.
const LISTEN_PAUSE: Duration = Duration::from_secs(2);

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
    fn count(self, metrics: &Metrics) {
        for (act, times) in [
            ("resume_start", self.resumed),
            ("note_end", self.ended),
            ("finish_stop", self.stopped),
            ("note_nap", self.naps),
            ("clear_remains", self.remains),
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
        let entries = self.inner.directory.ids();
        let (containers, rows) = self.both_sides().await?;
        let by_name: HashMap<&str, &Container> = containers
            .iter()
            .map(|container| (container.name.as_str(), container))
            .collect();
        let mut waiting: HashMap<DesktopId, Member> = members(&containers, &parts.instance)
            .into_iter()
            .map(|member| (member.id, member))
            .collect();
        let mut report = Report::default();
        for row in &rows {
            let found = (
                by_name.get(row.container_name.as_str()).copied(),
                waiting.remove(&row.id),
            );
            self.compare(row, found, &mut report).await?;
        }
        for orphan in self.without_row(&containers, &rows) {
            tracing::warn!(container = %orphan.name, "removing a container that no desktop owns");
            match self.remove_orphan(orphan).await? {
                Some(()) => report.orphans += 1,
                None => report.refused += 1,
            }
        }
        let tidied = self.tidy_pool(&containers, &rows).await?;
        report.pool = tidied.removed;
        report.refused += tidied.refused;
        for network in self.lost_networks(&containers, &rows).await? {
            tracing::warn!(network = %network.name, "removing a network that no desktop owns");
            match self.remove_lost_network(&network.name).await? {
                Some(()) => report.networks += 1,
                None => report.refused += 1,
            }
        }
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

    /// Containers of this installation that no row knows, for whoever cleans up while no gateway runs.
    ///
    /// # Errors
    /// Engine or database do not answer.
    pub async fn orphans(&self) -> Result<Vec<Container>, DesktopError> {
        let (containers, rows) = self.both_sides().await?;
        let unwanted = self.unwanted_members(&containers).await?;
        let unwanted = containers.iter().filter(|seen| unwanted.contains(&seen.id));
        let orphans = self.without_row(&containers, &rows).chain(unwanted);
        Ok(orphans.cloned().collect())
    }

    /// Removes one of them; `None` if the engine refused it.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn remove_orphan(&self, orphan: &Container) -> Result<Option<()>, DesktopError> {
        let removed = self.inner.parts.engine.remove(&orphan.id).await;
        let removed = removed.map_err(DesktopError::from);
        self.unless_refused(&orphan.name, removed).await
    }

    /// Passes on what was done. What the engine refuses for `this` container or network alone is logged and `None`:
    /// all others are not to wait for it.
    ///
    /// # Errors
    /// Whatever else went wrong; the engine does not answer.
    pub async fn unless_refused<T>(
        &self,
        this: &str,
        done: Result<T, DesktopError>,
    ) -> Result<Option<T>, DesktopError> {
        let error = match done {
            Ok(done) => return Ok(Some(done)),
            Err(DesktopError::Engine(error)) => error,
            Err(error) => return Err(error),
        };
        let engine = &self.inner.parts.engine;
        let is_there = match error {
            // A container that cannot be ended, or an engine that hangs.
            EngineError::Timeout(_) => engine.ping().await.is_ok(),
            _ => !error.is_away(),
        };
        if !is_there {
            return Err(error.into());
        }
        tracing::warn!(this, error = %ErrorChain(&error), "the engine refuses this one; the others go on");
        Ok(None)
    }

    /// Containers before rows: a row is written first, so every container listed has its row by then.
    pub(super) async fn both_sides(&self) -> Result<(Vec<Container>, Vec<Desktop>), DesktopError> {
        let parts = &self.inner.parts;
        let containers = parts.engine.list(&parts.instance).await?;
        let rows = parts.database.all_desktops(parts.engine.name()).await?;
        Ok((containers, rows))
    }

    /// Compares a row with what the engine has of it. What goes wrong with this one alone keeps no other from its turn.
    async fn compare(
        &self,
        row: &Desktop,
        found: (Option<&Container>, Option<Member>),
        report: &mut Report,
    ) -> Result<(), DesktopError> {
        let compared = unless_gone(self.reconcile_one(row, found, report).await);
        let compared = self.unless_refused(&row.container_name, compared).await?;
        report.refused += usize::from(compared.is_none());
        Ok(())
    }

    async fn reconcile_one(
        &self,
        row: &Desktop,
        (container, member): (Option<&Container>, Option<Member>),
        report: &mut Report,
    ) -> Result<(), DesktopError> {
        let in_hand = self.is_in_hand(row);
        match row.status {
            State::Queued | State::Creating | State::Starting if !in_hand => {
                if !self.take_up(row).await? {
                    return Ok(());
                }
                report.resumed += 1;
                // It may have waited for long since somebody took it.
                let member = match member {
                    Some(member) if self.member_answers(&member).await? => Some(member),
                    _ => None,
                };
                self.spawn_launch(row.clone(), member, None);
            }
            State::Running | State::Paused => {
                let runs = container.is_some_and(|found| found.state.is_alive());
                if !runs {
                    report.ended += usize::from(self.note_end(row).await?);
                } else if !in_hand && is_nap(row, container) {
                    report.naps += usize::from(self.note_nap(row).await?);
                }
            }
            State::Stopping if !in_hand => {
                if !self.take_up(row).await? {
                    return Ok(());
                }
                report.stopped += 1;
                self.finish_stop(row, row.status_reason.as_deref()).await?;
            }
            State::Stopped | State::Error if !in_hand && container.is_some() => {
                report.remains += usize::from(self.clear_remains(row).await?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends what still runs although its desktop has ended, and removes what is left of one that failed, after a second
    /// look: whoever recorded that end died, or did not reach the engine.
    async fn clear_remains(&self, row: &Desktop) -> Result<bool, DesktopError> {
        let engine = &self.inner.parts.engine;
        let name = &row.container_name;
        let Some(found) = engine.inspect(name).await? else {
            return Ok(false);
        };
        if row.status == State::Error {
            tracing::warn!(desktop = %row.id, container = %name, "removing what is left of a failed desktop");
            engine.remove(name).await?;
        } else if found.state.is_alive() {
            tracing::warn!(desktop = %row.id, container = %name, "stopping a container whose desktop has ended");
            let template = self.template(&row.template);
            let grace = template.map_or(STOP_GRACE, |template| template.stop.timeout);
            engine.stop(name, grace).await?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Containers that belong to no row, and do not wait for one either.
    fn without_row<'a>(
        &self,
        containers: &'a [Container],
        rows: &'a [Desktop],
    ) -> impl Iterator<Item = &'a Container> {
        let owned: HashSet<&str> = rows.iter().map(|row| row.container_name.as_str()).collect();
        let instance = self.inner.parts.instance.clone();
        containers.iter().filter(move |container| {
            !owned.contains(container.name.as_str()) && Member::read(container, &instance).is_none()
        })
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

    fn is_in_hand(&self, row: &Desktop) -> bool {
        self.take_in_hand(row.id).is_none()
    }

    /// Records the end of a desktop whose container was not seen running, after a second look.
    pub(super) async fn note_end(&self, row: &Desktop) -> Result<bool, DesktopError> {
        let container = self.inner.parts.engine.inspect(&row.container_name).await?;
        let Some(container) = container else {
            tracing::warn!(desktop = %row.id, "the container of a desktop is gone");
            self.fail(row.id, &Failure::bare(Reason::Disappeared)).await;
            return Ok(true);
        };
        if container.state.is_alive() {
            return Ok(false);
        }
        let (exit_code, oom_killed) = (container.exit_code, container.oom_killed);
        tracing::warn!(desktop = %row.id, exit_code, oom_killed, "a desktop ended by itself");
        if exit_code == Some(0) {
            // Its user logged out inside: that is a stop like any other.
            let by = Actor::system("reconciler");
            self.stop(row.id, &by, Reason::EndedInside).await?;
        } else {
            let failure = self.ending(row, &container, Reason::Ended).await;
            self.fail(row.id, &failure).await;
        }
        Ok(true)
    }

    /// Takes a pause or wake behind our back for ours, after a second look: what is frozen is woken by its next
    /// request, and what goes on may be paused again. Returns whether there was one.
    async fn note_nap(&self, row: &Desktop) -> Result<bool, DesktopError> {
        let parts = &self.inner.parts;
        let Some(_in_hand) = self.take_in_hand(row.id) else {
            return Ok(false);
        };
        let container = parts.engine.inspect(&row.container_name).await?;
        let to = match (row.status, container.map(|found| found.state)) {
            (State::Running, Some(ContainerState::Paused)) => State::Paused,
            (State::Paused, Some(ContainerState::Running)) => State::Running,
            _ => return Ok(false),
        };
        let change = RowChange::default();
        if !parts
            .database
            .transition(row.id, row.status, to, change)
            .await?
        {
            return Ok(false);
        }
        tracing::info!(desktop = %row.id, to = to.as_str(), "paused or woken at the engine");
        if let Some(row) = self.get(row.id).await? {
            self.announce(Change::To(row));
        }
        Ok(true)
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
            }
        });
    }

    async fn reconcile_forever(&self) {
        let mut healthy = true;
        loop {
            match self.pass().await {
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
                // Either the timer or an event that may have changed something; both lead to a full pass.
                _ = tokio::time::timeout(pause, self.next_end()) => {}
            }
        }
    }

    async fn pass(&self) -> Result<(), DesktopError> {
        if self.inner.leader.is_leading() {
            self.prepare_and_reconcile().await?;
            return Ok(());
        }
        let entries = self.inner.directory.ids();
        let (containers, rows) = self.both_sides().await?;
        self.drop_stale_entries(&entries, &rows);
        self.follow_naps(&rows);
        self.finish_own(&containers, &rows).await?;
        self.see_pool(&containers, &rows).await
    }

    /// Takes up what this gateway itself began and had to leave, because engine or database were away: nobody else does
    /// while it lives.
    async fn finish_own(
        &self,
        containers: &[Container],
        rows: &[Desktop],
    ) -> Result<(), DesktopError> {
        let parts = &self.inner.parts;
        let own = self.inner.leader.number();
        let mut report = Report::default();
        for row in rows.iter().filter(|row| row.gateway == own) {
            if row.status.is_launching() || row.status == State::Stopping {
                let mut waiting = members(containers, &parts.instance).into_iter();
                let member = waiting.find(|member| member.id == row.id);
                self.compare(row, (None, member), &mut report).await?;
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

    /// Returns when a container of ours has ended, been paused or woken, perhaps behind our back.
    async fn next_end(&self) {
        let parts = &self.inner.parts;
        if let Ok(mut events) = parts.engine.events(&parts.instance).await {
            while let Some(event) = events.next().await {
                if matches!(
                    event.action.as_str(),
                    "die" | "destroy" | "oom" | "pause" | "unpause"
                ) {
                    return;
                }
            }
        }
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

/// Whether row and container do not agree on who sleeps.
fn is_nap(row: &Desktop, container: Option<&Container>) -> bool {
    container.is_some_and(|found| {
        (row.status == State::Paused) != (found.state == ContainerState::Paused)
    })
}

/// A desktop that somebody removed while it was looked at needs no comparison, and must not keep others from theirs.
fn unless_gone(compared: Result<(), DesktopError>) -> Result<(), DesktopError> {
    match compared {
        Err(DesktopError::NotFound) => Ok(()),
        compared => compared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desktop_that_goes_meanwhile_ends_no_pass_and_an_engine_that_is_away_does() {
        assert!(unless_gone(Ok(())).is_ok());
        assert!(unless_gone(Err(DesktopError::NotFound)).is_ok());
        let away = EngineError::Timeout(Duration::from_secs(1));
        assert!(unless_gone(Err(away.into())).is_err());
        assert!(unless_gone(Err(EngineError::NotFound.into())).is_err());
    }
}
