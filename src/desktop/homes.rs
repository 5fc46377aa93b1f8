//! Homes that outlive desktops: setting one aside for a fresh start, and removing what was set aside.
//!
//! A home is a volume. The labels of a volume cannot change, so that the database says which one is in use,
//! and since when another one is not.

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
        let home = OldHome {
            volume,
            user_id: user.id,
            template: template.id.clone(),
            retired_at: parts.clock.timestamp(),
        };
        let engine = parts.engine.name();
        let done = parts
            .database
            .retire_home(&home, generation, engine)
            .await?;
        Ok(done.then_some(home.volume))
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

    /// Removes those. One that is still mounted is tried again the next time.
    pub async fn remove_due_homes(&self) {
        let homes = match self.due_homes().await {
            Ok(homes) => homes,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "old homes could not be looked up");
                return;
            }
        };
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
