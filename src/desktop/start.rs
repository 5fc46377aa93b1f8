//! A start asked for: who may have one more, and the row that records the intent. What follows is
//! [`super::launch`].

use std::time::Duration;

use super::pool::Member;
use super::{Change, DesktopError, Desktops, ports};
use crate::config::Reach;
use crate::engine::spec::{container_name, reach_of};
use crate::model::audit::{Action, Actor, Event, Outcome};
use crate::model::desktop::{Desktop, State};
use crate::model::failpoint::Failpoint;
use crate::model::hours::Door;
use crate::model::id::{DesktopId, SessionId, UserId};
use crate::model::template::Template;
use crate::model::user::User;
use crate::rate::TooOften;
use crate::store::StoreError;
use crate::store::starts::{Limits, Recorded};

/// How long a start waits for a container that is only handed over.
const HAND_OVER: Duration = Duration::from_millis(500);
/// How many ports are proposed to the database before a start gives up.
pub(super) const PORT_ATTEMPTS: usize = 64;

/// The session that a desktop belongs to: that of whoever starts it, if it is theirs. The end of a teacher's session must
/// not end the desktops of their class.
fn session_of(user: &User, by: &Actor) -> Option<SessionId> {
    by.session.filter(|_| by.user == Some(user.id))
}

impl Desktops {
    /// Starts a desktop of `template` (the user's first one if none is named) for `user`, or returns the
    /// live one. The flag says whether it is new. The desktop comes up in the background.
    ///
    /// # Errors
    /// The template is unknown, not for this user or closed, a quota or rate is used up, the last desktop is still stopping,
    /// no port is free, or engine or database do not answer. In none of these cases is a row left behind.
    pub async fn start(
        &self,
        user: &User,
        by: &Actor,
        template: Option<&str>,
    ) -> Result<(Desktop, bool), DesktopError> {
        let template = match template {
            Some(id) => self.template(id).ok_or(DesktopError::UnknownTemplate)?,
            None => self
                .templates_for(user)
                .next()
                .ok_or(DesktopError::TemplateNotAllowed)?,
        };
        if !user.may_start(template) {
            return Err(DesktopError::TemplateNotAllowed);
        }
        if let Some(live) = self.live(user, template).await? {
            return Ok((live, false));
        }
        let now = self.inner.parts.clock.timestamp();
        if let Some(hours) = &template.hours
            && let Door::Closed(opens) = hours.at(now)
        {
            return Err(DesktopError::Closed(opens.map(|at| hours.local(at))));
        }
        // A start that cannot succeed is refused before it leaves a row behind.
        self.inner.parts.engine.ping().await?;
        let turn = self.inner.pace.turn(user.id).await;
        if let Some(live) = self.live(user, template).await? {
            return Ok((live, false));
        }
        turn.count()
            .map_err(|refused| self.too_many(user, by, refused))?;
        let recorded = self.record(user, by, template).await;
        let recorded = recorded.map_err(|error| match error {
            DesktopError::StartRate(refused) => self.too_many(user, by, refused),
            error => error,
        });
        let Some((desktop, member)) = recorded? else {
            let live = self.live(user, template).await?;
            return live
                .map(|desktop| (desktop, false))
                .ok_or(DesktopError::StillStopping);
        };
        tracing::info!(desktop = %desktop.id, user = %user.id, template = %template.id, "desktop requested");
        self.reached(match member {
            Some(_) => Failpoint::WarmRecorded,
            None => Failpoint::StartRecorded,
        })
        .await;
        self.note(
            &desktop,
            Event::new(Action::Start, by).detail("template", &template.id),
        );
        self.announce(Change::To(desktop.clone()));
        if template.warm > 0 {
            self.inner
                .parts
                .metrics
                .pool_start(&template.id, member.is_some());
        }
        let is_warm = member.is_some();
        self.spawn_launch(desktop.clone(), member, by.request);
        if !is_warm {
            return Ok((desktop, true));
        }
        // What is only handed over is up before anybody could ask for it.
        let up = self.wait_launched(desktop.id, HAND_OVER).await?;
        Ok((up.unwrap_or(desktop), true))
    }

    /// Notes that a user makes desktops faster than they may.
    fn too_many(&self, user: &User, by: &Actor, refused: TooOften) -> DesktopError {
        self.inner.parts.metrics.rate_limited("start");
        if self.inner.pace.is_news(user.id) {
            let event = Event::new(Action::RateLimited, by).outcome(Outcome::Refused, "start");
            self.inner.parts.audit.record(event.subject(user.id));
        }
        DesktopError::StartRate(refused)
    }

    async fn live(
        &self,
        user: &User,
        template: &Template,
    ) -> Result<Option<Desktop>, DesktopError> {
        let latest = self
            .inner
            .parts
            .database
            .find_latest_desktop(user.id, Some(&template.id))
            .await?;
        match latest {
            Some(desktop) if desktop.status == State::Stopping => Err(DesktopError::StillStopping),
            Some(desktop) if desktop.status.is_live() => Ok(Some(desktop)),
            _ => Ok(None),
        }
    }

    /// Writes the intent, with a container of the pool if there is one. `None` when another start of the same desktop
    /// was first.
    async fn record(
        &self,
        user: &User,
        by: &Actor,
        template: &Template,
    ) -> Result<Option<(Desktop, Option<Member>)>, DesktopError> {
        while let Some((member, answered)) = self.take_member(template).await? {
            let mut desktop = self.intent(template, member.id, user.id);
            desktop.session_id = session_of(user, by);
            desktop.host_port = member.host_port;
            // It needs no turn at the engine, and no memory that its container does not have.
            desktop.status = State::Creating;
            desktop.container_id = Some(member.container.clone());
            match self.record_row(&desktop, template, None).await {
                Ok(Recorded::Yes) => return Ok(Some((desktop, Some(member)))),
                Ok(Recorded::IdTaken | Recorded::PortTaken) => {}
                other => {
                    self.inner.pool.add(&member, Some(answered));
                    return other.map(|_| None);
                }
            }
        }
        let mut desktop = self.intent(template, DesktopId::random(), user.id);
        desktop.session_id = session_of(user, by);
        for port in self.proposals(&desktop, template).await? {
            desktop.host_port = port;
            match self.record_cold(&desktop, template).await? {
                Recorded::Yes => return Ok(Some((desktop, None))),
                Recorded::PortTaken => {}
                _ => return Ok(None),
            }
        }
        Err(DesktopError::NoPort)
    }

    /// Writes the row of a desktop whose container is to be made, if this machine has the memory: the pool gives way first,
    /// as far as it has to.
    async fn record_cold(
        &self,
        desktop: &Desktop,
        template: &Template,
    ) -> Result<Recorded, DesktopError> {
        loop {
            // Anew each time: a member that is gone has given its memory back.
            let free = self.free_memory().await;
            match self.record_row(desktop, template, free).await? {
                Recorded::FreeMemory(missing) if self.take_memory_back(missing).await? => {}
                Recorded::FreeMemory(missing) => {
                    tracing::warn!(template = %template.id, free, missing, "a start is refused for want of memory");
                    return Err(DesktopError::NoMemory);
                }
                other => return Ok(other),
            }
        }
    }

    /// The row of a desktop that nobody has started yet.
    pub(super) fn intent(&self, template: &Template, id: DesktopId, user: UserId) -> Desktop {
        let parts = &self.inner.parts;
        let (name, now) = (container_name(&parts.instance, id), parts.clock.timestamp());
        Desktop {
            gateway: self.inner.leader.number(),
            ..Desktop::queued(template, id, user, name, now)
        }
    }

    /// The ports to try for a new desktop, in order; the pool gives one back when no other is left.
    async fn proposals(
        &self,
        desktop: &Desktop,
        template: &Template,
    ) -> Result<Vec<Option<u16>>, DesktopError> {
        if reach_of(template, self.inner.parts.config.reach) == Reach::Network {
            return Ok(vec![None]);
        }
        let mut free = self.free_ports(desktop.id).await?;
        if free.is_empty() {
            free.extend(self.take_port_back().await?);
        }
        free.truncate(PORT_ATTEMPTS);
        Ok(free.into_iter().map(Some).collect())
    }

    /// Writes a row if there is room for it, within `free` bytes of this machine's memory if they count.
    async fn record_row(
        &self,
        desktop: &Desktop,
        template: &Template,
        free: Option<i64>,
    ) -> Result<Recorded, DesktopError> {
        let parts = &self.inner.parts;
        let waits = desktop.status == State::Queued;
        let limits = Limits {
            per_user: parts.config.max_per_user,
            total: parts.config.max_total,
            queued: if waits {
                parts.config.max_queued
            } else {
                u32::MAX
            },
            memory: parts.config.max_memory.unwrap_or(u64::MAX),
            free,
            rate: Some(parts.config.start_rate),
        };
        let recorded = parts
            .database
            .record_start(desktop, parts.engine.name(), template.memory, limits)
            .await?;
        match recorded {
            // At other gateways, of which this one knows nothing.
            Recorded::TooOften(after) => Err(DesktopError::StartRate(TooOften { after })),
            Recorded::UserQuota => Err(DesktopError::UserQuota(limits.per_user)),
            Recorded::TotalQuota => Err(DesktopError::TotalQuota(limits.total)),
            Recorded::QueueFull => {
                let waiting = usize::try_from(limits.queued).unwrap_or(usize::MAX);
                Err(DesktopError::QueueFull(self.inner.queue.place(waiting)))
            }
            Recorded::Memory => Err(DesktopError::NoMemory),
            Recorded::StarterGone => Err(DesktopError::StarterGone),
            other => Ok(other),
        }
    }

    pub(super) async fn free_ports(&self, id: DesktopId) -> Result<Vec<u16>, StoreError> {
        let parts = &self.inner.parts;
        let mut used = parts.database.ports_in_use(parts.engine.name()).await?;
        used.extend(self.inner.pool.ports());
        // Any number that differs between starts will do to spread them over the range.
        let seed = id
            .to_string()
            .bytes()
            .fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
        Ok(ports::candidates(&parts.config.ports, &used, seed))
    }
}
