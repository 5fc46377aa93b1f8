//! What rows and containers do not agree on, and what is done about each: first seen, then done, so that the loop in
//! [`super::reconcile`] and `deskgate cleanup` see the same, and a look alone changes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::pool::Member;
use super::stop::STOP_GRACE;
use super::trouble::Failure;
use super::{Change, DesktopError, Desktops};
use crate::config::Reach;
use crate::engine::spec::{
    LABEL_DESKTOP, LABEL_PORT, LABEL_TEMPLATE, LABEL_USER, container_name, reach_of,
};
use crate::engine::{Container, ContainerState, EngineError};
use crate::model::audit::Actor;
use crate::model::desktop::{Desktop, State};
use crate::model::id::{DesktopId, UserId};
use crate::model::reason::Reason;
use crate::store::containers::Change as RowChange;
use crate::store::starts::{Limits, Recorded};
use crate::telemetry::ErrorChain;

/// How a process ends that is asked to, or made to: in good order, by SIGKILL, by SIGTERM, or unknown to the engine.
const ENDED_BY_ENGINE: [i64; 4] = [0, 137, 143, 255];
/// How long a start may take to notice that its desktop was removed. A container without a row that is younger may be one
/// whose person does not want it any more, and is left alone until then.
const NOTICE: Duration = Duration::from_secs(60);
/// An adopted desktop is there already: it takes no room that somebody else could have.
const NO_LIMITS: Limits = Limits {
    per_user: u32::MAX,
    total: u32::MAX,
    queued: u32::MAX,
    memory: u64::MAX,
    free: None,
    rate: None,
};

/// Something that rows and containers do not agree on.
#[derive(Clone, Debug)]
pub enum Repair {
    /// A start that nobody is at goes on, with the container of the pool that it was given, if it was.
    ResumeStart(Desktop, Option<Container>),
    /// The container of a desktop that is up has ended or vanished.
    NoteEnd(Desktop),
    /// Somebody at the engine paused or woke a desktop.
    NoteNap(Desktop),
    /// A stop that nobody is at goes on.
    FinishStop(Desktop),
    /// A desktop has ended, and its container is left.
    ClearRemains(Desktop),
    /// A container runs that is somebody's desktop, and its row is lost, or says that it is gone.
    Adopt(Container, Box<Desktop>),
    /// A container that no row knows.
    RemoveOrphan(Container),
    /// A container that waits for somebody, and that no template wants any more.
    RemoveMember(Container),
    /// A network of a desktop that is gone.
    RemoveNetwork(String),
}

impl Repair {
    /// What it is counted and shown as.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ResumeStart(..) => "resume_start",
            Self::NoteEnd(_) => "note_end",
            Self::NoteNap(_) => "note_nap",
            Self::FinishStop(_) => "finish_stop",
            Self::ClearRemains(_) => "clear_remains",
            Self::Adopt(..) => "adopt",
            Self::RemoveOrphan(_) => "remove_orphan",
            Self::RemoveMember(_) => "remove_member",
            Self::RemoveNetwork(_) => "remove_network",
        }
    }

    /// What it is about: the name of a container or network.
    #[must_use]
    pub fn what(&self) -> &str {
        match self {
            Self::ResumeStart(row, _)
            | Self::NoteEnd(row)
            | Self::NoteNap(row)
            | Self::FinishStop(row)
            | Self::ClearRemains(row) => &row.container_name,
            Self::Adopt(container, _)
            | Self::RemoveOrphan(container)
            | Self::RemoveMember(container) => &container.name,
            Self::RemoveNetwork(name) => name,
        }
    }

    /// What it is like now: the state of the row, or of the container that has none.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match self {
            Self::ResumeStart(row, _)
            | Self::NoteEnd(row)
            | Self::NoteNap(row)
            | Self::FinishStop(row)
            | Self::ClearRemains(row) => row.status.as_str(),
            Self::Adopt(container, _)
            | Self::RemoveOrphan(container)
            | Self::RemoveMember(container) => container.state.as_str(),
            Self::RemoveNetwork(_) => "unused",
        }
    }

    /// Whether only a gateway does it, since a start goes on for as long as a desktop takes to answer.
    #[must_use]
    pub const fn is_for_gateway(&self) -> bool {
        matches!(self, Self::ResumeStart(..) | Self::Adopt(..))
    }
}

/// Containers as they were listed: by name, and those of the pool by the desktop that they will be.
pub(super) struct Seen<'a> {
    named: HashMap<&'a str, &'a Container>,
    waiting: HashMap<DesktopId, &'a Container>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(containers: &'a [Container], instance: &str) -> Self {
        let names = containers.iter().map(|found| (found.name.as_str(), found));
        let members = containers
            .iter()
            .filter_map(|found| Some((Member::read(found, instance)?.id, found)));
        Self {
            named: names.collect(),
            waiting: members.collect(),
        }
    }

    fn container(&self, row: &Desktop) -> Option<&'a Container> {
        self.named.get(row.container_name.as_str()).copied()
    }
}

impl Desktops {
    /// All that a pass would do, for whoever cleans up. Changes nothing.
    ///
    /// # Errors
    /// Engine or database do not answer.
    pub async fn repairs(&self) -> Result<Vec<Repair>, DesktopError> {
        let (containers, rows) = self.both_sides().await?;
        let mut repairs = self.compare(&containers, &rows).await?;
        let unwanted = self.unwanted_members(&containers).await?;
        let unwanted = containers.iter().filter(|one| unwanted.contains(&one.id));
        repairs.extend(unwanted.cloned().map(Repair::RemoveMember));
        let lost = self.lost_networks(&containers, &rows).await?;
        repairs.extend(lost.into_iter().map(|one| Repair::RemoveNetwork(one.name)));
        Ok(repairs)
    }

    /// Containers before rows: a row is written first, so every container listed has its row by then.
    pub(super) async fn both_sides(&self) -> Result<(Vec<Container>, Vec<Desktop>), DesktopError> {
        let parts = &self.inner.parts;
        let containers = parts.engine.list(&parts.instance).await?;
        let rows = parts.database.all_desktops(parts.engine.name()).await?;
        Ok((containers, rows))
    }

    /// What rows and containers do not agree on, apart from those of the pool.
    pub(super) async fn compare(
        &self,
        containers: &[Container],
        rows: &[Desktop],
    ) -> Result<Vec<Repair>, DesktopError> {
        let instance = &self.inner.parts.instance;
        let seen = Seen::of(containers, instance);
        let owned: HashSet<&str> = rows.iter().map(|row| row.container_name.as_str()).collect();
        let mut repairs = Vec::new();
        for row in rows {
            let back = match seen.container(row) {
                Some(found) if is_back(row, found) && !self.is_in_hand(row) => {
                    self.take_back(found, rows).await?
                }
                _ => None,
            };
            repairs.extend(back.or_else(|| self.disagreement(row, &seen)));
        }
        for found in containers {
            let is_owned = owned.contains(found.name.as_str());
            if is_owned || Member::read(found, instance).is_some() || self.is_being_made(found) {
                continue;
            }
            let back = self.take_back(found, rows).await?;
            repairs.push(back.unwrap_or_else(|| Repair::RemoveOrphan(found.clone())));
        }
        Ok(repairs)
    }

    /// Whether a start has a container in hand whose desktop was removed meanwhile, and is about to notice: here, or
    /// perhaps at another gateway.
    fn is_being_made(&self, found: &Container) -> bool {
        let id = found.labels.get(LABEL_DESKTOP);
        let id = id.and_then(|id| id.parse::<DesktopId>().ok());
        let here = id.is_some_and(|id| self.take_in_hand(id).is_none());
        let age = self.inner.parts.clock.timestamp();
        let age = found.made_at.map(|made_at| age.since(made_at));
        let young = age.is_some_and(|age| age < NOTICE) && self.read_desktop(found).is_some();
        here || young
    }

    /// What a row and its container do not agree on.
    pub(super) fn disagreement(&self, row: &Desktop, seen: &Seen<'_>) -> Option<Repair> {
        let (in_hand, container) = (self.is_in_hand(row), seen.container(row));
        let runs = container.is_some_and(|found| found.state.is_alive());
        let row = row.clone();
        match row.status {
            State::Running | State::Paused if !runs => Some(Repair::NoteEnd(row)),
            _ if in_hand => None,
            State::Queued | State::Creating | State::Starting => {
                let waiting = seen.waiting.get(&row.id).copied().cloned();
                Some(Repair::ResumeStart(row, waiting))
            }
            State::Running | State::Paused => {
                is_nap(&row, container).then_some(Repair::NoteNap(row))
            }
            State::Stopping => Some(Repair::FinishStop(row)),
            State::Stopped => runs.then_some(Repair::ClearRemains(row)),
            State::Error => container.is_some().then_some(Repair::ClearRemains(row)),
        }
    }

    /// Whether a container is a desktop that can have its row again: the database is an older one, or the gateway was
    /// shown another engine for a while. One that came from the pool does not say whose it was.
    async fn take_back(
        &self,
        found: &Container,
        rows: &[Desktop],
    ) -> Result<Option<Repair>, DesktopError> {
        let parts = &self.inner.parts;
        let Some(desktop) = self.read_desktop(found) else {
            return Ok(None);
        };
        let in_the_way = rows.iter().filter(|row| row.status.is_live()).any(|row| {
            let is_same = row.user_id == desktop.user_id && row.template == desktop.template;
            let same_port = row.host_port.is_some() && row.host_port == desktop.host_port;
            is_same || same_port || row.id == desktop.id
        });
        if in_the_way || parts.database.find_user(desktop.user_id).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(Repair::Adopt(found.clone(), Box::new(desktop))))
    }

    /// Reads the row of a desktop from the labels of its container.
    fn read_desktop(&self, found: &Container) -> Option<Desktop> {
        let parts = &self.inner.parts;
        let label = |name: &str| found.labels.get(name);
        let id: DesktopId = label(LABEL_DESKTOP)?.parse().ok()?;
        let user: UserId = label(LABEL_USER)?.parse().ok()?;
        let template = self.template(label(LABEL_TEMPLATE)?)?;
        let port: Option<u16> = label(LABEL_PORT).and_then(|port| port.parse().ok());
        let published = reach_of(template, parts.config.reach) == Reach::Port;
        let made_at = found.made_at.unwrap_or_else(|| parts.clock.timestamp());
        let is_whole = found.state.is_alive()
            && found.name == container_name(&parts.instance, id)
            && port.is_some() == published;
        is_whole.then(|| Desktop {
            status: State::Starting,
            container_id: Some(found.id.clone()),
            host_port: port,
            gateway: self.inner.leader.number(),
            ..Desktop::queued(template, id, user, found.name.clone(), made_at)
        })
    }

    /// Does one, after a second look. Returns whether there was still something to do.
    ///
    /// # Errors
    /// Engine or database do not answer, or refuse this one.
    pub async fn repair(&self, repair: &Repair) -> Result<bool, DesktopError> {
        // Boxed: a stop makes it large, and most passes repair nothing.
        unless_gone(Box::pin(self.repair_now(repair)).await)
    }

    async fn repair_now(&self, repair: &Repair) -> Result<bool, DesktopError> {
        match repair {
            Repair::ResumeStart(row, waiting) => self.resume(row, waiting.as_ref()).await,
            Repair::NoteEnd(row) => self.note_end(row).await,
            Repair::NoteNap(row) => self.note_nap(row).await,
            Repair::FinishStop(row) => {
                let reason = row.status_reason.as_deref();
                self.finish_stop(row, reason).await.map(|_| true)
            }
            Repair::ClearRemains(row) => self.clear_remains(row).await,
            Repair::Adopt(_, desktop) => self.adopt_lost(desktop).await,
            Repair::RemoveOrphan(container) => {
                tracing::warn!(container = %container.name, "removing a container that no desktop owns");
                self.inner.parts.engine.remove(&container.id).await?;
                Ok(true)
            }
            Repair::RemoveMember(container) => {
                let member = Member::read(container, &self.inner.parts.instance);
                let Some(member) = member else {
                    return Ok(false);
                };
                self.remove_member(&member).await?;
                Ok(true)
            }
            Repair::RemoveNetwork(name) => {
                tracing::warn!(network = %name, "removing a network that no desktop owns");
                self.inner.parts.engine.remove_network(name).await?;
                Ok(true)
            }
        }
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

    async fn resume(
        &self,
        row: &Desktop,
        waiting: Option<&Container>,
    ) -> Result<bool, DesktopError> {
        let instance = &self.inner.parts.instance;
        // It may have waited for long since somebody took it.
        let member = match waiting.and_then(|found| Member::read(found, instance)) {
            Some(member) if self.member_answers(&member).await? => Some(member),
            _ => None,
        };
        self.spawn_launch(row.clone(), member, None);
        Ok(true)
    }

    /// Gives a container that runs its row again. It counts as started when it answers.
    async fn adopt_lost(&self, desktop: &Desktop) -> Result<bool, DesktopError> {
        let parts = &self.inner.parts;
        let found = parts.engine.inspect(&desktop.container_name).await?;
        let alive = found.filter(|found| found.state.is_alive());
        let Some(alive) = alive.filter(|found| Some(&found.id) == desktop.container_id.as_ref())
        else {
            return Ok(false);
        };
        // Of a row that said that it is gone.
        parts.database.delete_desktop(desktop.id).await?;
        let memory = self.template(&desktop.template).map_or(0, |one| one.memory);
        let recorded = parts
            .database
            .record_start(desktop, parts.engine.name(), memory, NO_LIMITS)
            .await?;
        if recorded != Recorded::Yes {
            tracing::info!(desktop = %desktop.id, ?recorded, "a desktop without a row cannot be taken back");
            return Ok(false);
        }
        tracing::warn!(desktop = %desktop.id, container = %alive.name, "taking back a desktop that had lost its row");
        self.announce(Change::To(desktop.clone()));
        self.spawn_launch(desktop.clone(), None, None);
        Ok(true)
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

    fn is_in_hand(&self, row: &Desktop) -> bool {
        self.take_in_hand(row.id).is_none()
    }

    /// Records the end of a desktop whose container was not seen running, after a second look.
    pub(super) async fn note_end(&self, row: &Desktop) -> Result<bool, DesktopError> {
        let container = self.inner.parts.engine.inspect(&row.container_name).await?;
        let Some(container) = container else {
            tracing::warn!(desktop = %row.id, "the container of a desktop is gone");
            let failure = Failure::bare(Reason::Disappeared);
            self.fail_up(row.id, &failure).await;
            return Ok(true);
        };
        if container.state.is_alive() {
            return Ok(false);
        }
        let (exit_code, oom_killed) = (container.exit_code, container.oom_killed);
        tracing::warn!(desktop = %row.id, exit_code, oom_killed, "a desktop ended by itself");
        let code = exit_code.unwrap_or_default();
        let by_engine =
            self.inner.watch.has_gap() && !oom_killed && ENDED_BY_ENGINE.contains(&code);
        let by = Actor::system("reconciler");
        if by_engine {
            self.stop_up(row.id, &by, Reason::EngineRestarted).await?;
        } else if exit_code == Some(0) {
            // Its user logged out inside: that is a stop like any other.
            self.stop_up(row.id, &by, Reason::EndedInside).await?;
        } else {
            let failure = self.ending(row, &container, Reason::Ended).await;
            self.fail_up(row.id, &failure).await;
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
}

/// Whether row and container do not agree on who sleeps.
fn is_nap(row: &Desktop, container: Option<&Container>) -> bool {
    container.is_some_and(|found| {
        (row.status == State::Paused) != (found.state == ContainerState::Paused)
    })
}

/// Whether a container runs of which the row says that it is gone.
fn is_back(row: &Desktop, found: &Container) -> bool {
    let gone = row.status == State::Error
        && row.status_reason.as_deref() == Some(Reason::Disappeared.as_str());
    gone && found.state.is_alive()
}

/// A desktop that somebody removed while it was looked at needs no repair, and must not keep others from theirs.
fn unless_gone(done: Result<bool, DesktopError>) -> Result<bool, DesktopError> {
    match done {
        Err(DesktopError::NotFound) => Ok(false),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desktop_that_goes_meanwhile_ends_no_pass_and_an_engine_that_is_away_does() {
        assert!(matches!(unless_gone(Ok(true)), Ok(true)));
        assert!(matches!(
            unless_gone(Err(DesktopError::NotFound)),
            Ok(false)
        ));
        let away = EngineError::Timeout(Duration::from_secs(1));
        assert!(unless_gone(Err(away.into())).is_err());
        assert!(unless_gone(Err(EngineError::NotFound.into())).is_err());
    }
}
