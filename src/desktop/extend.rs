//! What is ahead of a desktop, and the wish to stay.

use std::sync::PoisonError;

use super::{Change, DesktopError, Desktops, schedule};
use crate::model::audit::{Action, Actor, Event};
use crate::model::desktop::Desktop;
use crate::model::reason::Reason;
use crate::model::time::Timestamp;

/// The stop that is ahead of a desktop if nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When, to the second.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// Whether it is so near that its user is warned.
    pub soon: bool,
}

impl Desktops {
    /// What is ahead of a desktop, if it is up and has a limit.
    #[must_use]
    pub fn planned(&self, desktop: &Desktop) -> Option<Planned> {
        if !desktop.status.is_up() {
            return None;
        }
        let (now, stop) = {
            let ages = self
                .inner
                .ages
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let now = self.now();
            let limits = self.limits_of(desktop);
            (now, schedule::next_stop(limits, &ages, desktop, now)?)
        };
        // One that is due waits for its warning.
        let grace = || {
            let warnings = &self.inner.warnings;
            let warnings = warnings.lock().unwrap_or_else(PoisonError::into_inner);
            warnings.grace(desktop.id, &stop, now.steady)
        };
        let left = if stop.left.is_zero() {
            grace()
        } else {
            stop.left
        };
        let millis = now.wall.after(left).millis();
        Some(Planned {
            at: Timestamp::from_millis((millis + 500).div_euclid(1000) * 1000),
            reason: stop.reason,
            soon: stop.is_soon(),
        })
    }

    /// Somebody wishes to stay: that is a sign of a person, and if the end of the lifetime is near, it extends
    /// that as far as the installation allows.
    ///
    /// # Errors
    /// The desktop is not up, or what is near is an end that cannot be put off.
    pub async fn extend(&self, desktop: &Desktop, by: &Actor) -> Result<Desktop, DesktopError> {
        let parts = &self.inner.parts;
        let near = self.planned(desktop).filter(|planned| planned.soon);
        let near = near.map(|planned| planned.reason);
        let may = parts.config.extend.is_some() && desktop.extensions < parts.config.extensions;
        let more = u32::from(near == Some(Reason::Lifetime) && may);
        let now = parts.clock.timestamp();
        let (id, times) = (desktop.id, desktop.extensions);
        // One who wishes twice at the same time is extended once.
        parts
            .database
            .extend_desktop(id, (times, more), now)
            .await?;
        let row = self.get(id).await?.ok_or(DesktopError::NotFound)?;
        if !row.status.is_up() {
            return Err(DesktopError::NotUp);
        }
        match near {
            Some(reason @ (Reason::Hours | Reason::TemplateGone)) => {
                return Err(DesktopError::Fixed(reason));
            }
            Some(reason @ Reason::Lifetime) if !may => return Err(DesktopError::Fixed(reason)),
            _ => {}
        }
        let event = Event::new(Action::Extend, by).reason(near.map_or("asked", Reason::as_str));
        self.note(&row, event);
        self.announce(Change::To(row.clone()));
        Ok(row)
    }
}
