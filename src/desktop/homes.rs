//! Homes that outlive desktops: setting one aside for a fresh start, and removing what was set aside.
//!
//! A home is a volume. The labels of a volume cannot change, so that the database says which one is in use,
//! and since when another one is not.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{DesktopError, Desktops};
use crate::engine::EngineError;
use crate::engine::spec::home_name;
use crate::model::audit::{Action, Actor, Event, Object};
use crate::model::desktop::Desktop;
use crate::model::failpoint::Failpoint;
use crate::model::reason::Reason;
use crate::model::template::{Home, Template};
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::store::homes::OldHome;
use crate::telemetry::ErrorChain;

/// How long a home has to have been due before it goes by itself, at most: what goes then is gone for good, and the
/// clock may be wrong.
const SECOND_LOOK: Duration = Duration::from_secs(6 * 3600);
/// How many generations a fresh start passes over.
const MOST_SKIPPED: usize = 100;
/// What of its time that is where it is kept for less than four times as long.
const SHARE: u32 = 4;

/// Since when homes have been due, by the clock that nobody can set.
#[derive(Debug, Default)]
pub(super) struct Due(HashMap<String, Instant>);

impl Due {
    /// Takes in which homes are due now, and returns those that have been for `span`. One that is not due any more begins
    /// anew: the clock was put back.
    fn look(&mut self, due: Vec<OldHome>, now: Instant, span: Duration) -> Vec<OldHome> {
        let before = std::mem::take(&mut self.0);
        for home in &due {
            let since = before.get(&home.volume).copied().unwrap_or(now);
            self.0.insert(home.volume.clone(), since);
        }
        let is_ripe = |home: &OldHome| {
            let since = self.0.get(&home.volume);
            since.is_some_and(|since| now.saturating_duration_since(*since) >= span)
        };
        due.into_iter().filter(is_ripe).collect()
    }
}

impl Desktops {
    /// Gives `user` a fresh start with `template`: the home is set aside first, so that whatever starts from now on
    /// has a new one, and then the desktop that uses the old one is removed. Returns that desktop, if there was one.
    ///
    /// # Errors
    /// No such template, or engine or database do not answer. If the home was set aside by then, it stays so.
    pub async fn reset(
        &self,
        user: &User,
        template: &str,
        by: &Actor,
    ) -> Result<Option<Desktop>, DesktopError> {
        let template = self
            .template(template)
            .ok_or(DesktopError::UnknownTemplate)?;
        let set_aside = self.set_home_aside(user, template).await?;
        let event = Event::new(Action::Reset, by)
            .subject(user.id)
            .object(Object::Template(template.id.clone()));
        self.inner.parts.audit.record(match set_aside {
            Some(volume) => event.detail("volume", &volume),
            None => event,
        });
        self.reached(Failpoint::ResetAside).await;
        // Only now: a start reads which home is in use after its row is written, so that whoever has read the old
        // one is found here.
        match self.latest(user, Some(&template.id)).await? {
            Some(desktop) => match self.remove(desktop.id, by, Reason::Asked).await {
                // Somebody else has removed it meanwhile.
                Err(DesktopError::NotFound) => Ok(None),
                removed => removed.map(Some),
            },
            None => Ok(None),
        }
    }

    /// The volume that was in use, if there was one and nobody else has just set it aside.
    async fn set_home_aside(
        &self,
        user: &User,
        template: &Template,
    ) -> Result<Option<String>, DesktopError> {
        let parts = &self.inner.parts;
        if template.home == Home::None {
            return Ok(None);
        }
        let generation = parts
            .database
            .home_generation(user.id, &template.id)
            .await?;
        let volume = home_name(&parts.instance, user.id, &template.id, generation);
        if !parts.engine.has_volume(&volume).await? {
            return Ok(None);
        }
        let next = self.free_generation(user, template, generation).await?;
        let home = OldHome {
            volume,
            user_id: user.id,
            template: template.id.clone(),
            retired_at: parts.clock.timestamp(),
        };
        let engine = parts.engine.name();
        let done = parts
            .database
            .retire_home(&home, generation..next, engine)
            .await?;
        Ok(done.then_some(home.volume))
    }

    /// The next generation whose volume is not there yet. A database that was put back from a backup knows nothing of
    /// those that were made since, and what is in them is no fresh start.
    async fn free_generation(
        &self,
        user: &User,
        template: &Template,
        generation: i64,
    ) -> Result<i64, DesktopError> {
        let parts = &self.inner.parts;
        for next in (generation + 1..).take(MOST_SKIPPED) {
            let volume = home_name(&parts.instance, user.id, &template.id, next);
            if !parts.engine.has_volume(&volume).await? {
                return Ok(next);
            }
            tracing::warn!(volume, "a volume that no database knows is passed over");
        }
        Err(EngineError::NameTaken.into())
    }

    /// The homes that were set aside, oldest first.
    pub async fn old_homes(&self) -> Result<Vec<OldHome>, DesktopError> {
        self.old_homes_until(self.inner.parts.clock.timestamp())
            .await
    }

    async fn old_homes_until(&self, before: Timestamp) -> Result<Vec<OldHome>, DesktopError> {
        let parts = &self.inner.parts;
        Ok(parts
            .database
            .old_homes(parts.engine.name(), before)
            .await?)
    }

    /// Removes a home that was set aside, with all that is in it.
    ///
    /// # Errors
    /// [`DesktopError::NotFound`] for any other volume; the engine or the database do not answer.
    pub async fn remove_old_home(&self, volume: &str, by: &Actor) -> Result<OldHome, DesktopError> {
        let parts = &self.inner.parts;
        let found = parts.database.old_home(parts.engine.name(), volume).await?;
        let home = found.ok_or(DesktopError::NotFound)?;
        parts.engine.remove_volume(&home.volume).await?;
        if !parts.database.forget_old_home(&home.volume).await? {
            // Of two who remove it, one tells.
            return Ok(home);
        }
        let event = Event::new(Action::HomeRemoved, by)
            .subject(home.user_id)
            .detail("volume", &home.volume);
        parts.audit.record(event);
        tracing::info!(volume, "an old home was removed");
        Ok(home)
    }

    /// Those among the homes set aside that have been kept for `HOME_RETENTION`.
    pub async fn due_homes(&self) -> Result<Vec<OldHome>, DesktopError> {
        let parts = &self.inner.parts;
        let Some(retention) = parts.config.home_retention else {
            return Ok(Vec::new());
        };
        let kept = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let before = parts.clock.timestamp().millis().saturating_sub(kept);
        self.old_homes_until(Timestamp::from_millis(before)).await
    }

    /// Removes those, for somebody who has seen which they are.
    pub async fn remove_due_homes(&self) {
        let homes = self.looked_up_due_homes().await;
        self.remove_old_homes(homes).await;
    }

    /// Removes those that have been due for several hours of this process, if this gateway leads: a clock that is wrong for
    /// a while makes nothing older.
    pub async fn remove_ripe_homes(&self) {
        let homes = self.looked_up_due_homes().await;
        let parts = &self.inner.parts;
        let retention = parts.config.home_retention.unwrap_or_default();
        let span = (retention / SHARE).min(SECOND_LOOK);
        let now = parts.clock.instant();
        let homes = {
            let due = self.inner.due_homes.lock();
            let mut due = due.unwrap_or_else(PoisonError::into_inner);
            due.look(homes, now, span)
        };
        if self.inner.leader.is_leading() {
            self.remove_old_homes(homes).await;
        }
    }

    async fn looked_up_due_homes(&self) -> Vec<OldHome> {
        let homes = self.due_homes().await;
        homes.unwrap_or_else(|error| {
            tracing::warn!(error = %ErrorChain(&error), "old homes could not be looked up");
            Vec::new()
        })
    }

    /// Removes homes. One that is still mounted is tried again the next time.
    async fn remove_old_homes(&self, homes: Vec<OldHome>) {
        for home in homes {
            match self
                .remove_old_home(&home.volume, &Actor::system("homes"))
                .await
            {
                Ok(_) => {}
                Err(DesktopError::Engine(EngineError::Refused(error))) => {
                    tracing::debug!(volume = home.volume, error = %ErrorChain(&error), "an old home is still in use");
                }
                Err(error) => {
                    tracing::warn!(volume = home.volume, error = %ErrorChain(&error), "an old home could not be removed");
                    return;
                }
            }
        }
    }
}
