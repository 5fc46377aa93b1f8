//! That somebody looks at a desktop, and that the desktop shows it: before they see anything, and for as long as they do.
//! What they see is no business of this file.
//!
//! A look is held in the desktop's row and runs out by itself. Whoever ends one takes the notice from the screen first and
//! gives the row back then, so that no notice of a later look is taken away by the end of an earlier one.

use std::time::Duration;

use super::{Change, DesktopError, Desktops};
use crate::engine::EngineError;
use crate::model::audit::{Action, Actor, Event, Outcome};
use crate::model::desktop::{Desktop, State, Watched};
use crate::model::id::DesktopId;
use crate::model::notice::LookState;
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::store::StoreError;
use crate::store::looks::Taken;
use crate::telemetry::ErrorChain;

/// How long a desktop may take to show the notice, or to take it away.
const NOTICE_LIMIT: Duration = Duration::from_secs(5);
/// How long a look holds that nobody goes on with. Longer than a notice takes and a turn of [`HOLD_PERIOD`] together.
const HOLD: Duration = Duration::from_secs(40);
/// How often whoever looks says that they still do.
pub const HOLD_PERIOD: Duration = Duration::from_secs(15);

/// Why nobody may look at a desktop now.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Its template has no way to show it.
    #[error("the template has no notice")]
    NoNotice,
    /// The notice was not shown.
    #[error("the notice ended with {0:?}")]
    NotShown(Option<i64>),
    /// The notice could not be run.
    #[error("the notice could not be run")]
    NotRun(#[source] EngineError),
    /// Somebody looks at it.
    #[error("somebody looks at the desktop already")]
    Watched,
    /// The teacher looks at another one.
    #[error("the teacher looks at another desktop")]
    Elsewhere,
}

/// A look that has begun. It has to be ended.
#[derive(Debug)]
pub struct Look {
    desktop: Desktop,
    watched: Watched,
    by: Actor,
    since: Timestamp,
}

impl Desktops {
    /// Who looks at a desktop at this moment.
    #[must_use]
    pub fn watcher<'a>(&self, desktop: &'a Desktop) -> Option<&'a str> {
        desktop.watcher(self.inner.parts.clock.timestamp())
    }

    /// Whether somebody could look at desktops of this template.
    ///
    /// # Errors
    /// They have no way to show it.
    pub fn can_be_looked_at(&self, desktop: &Desktop) -> Result<(), LookError> {
        let template = self.template(&desktop.template);
        let notice = template.and_then(|template| template.notice.as_ref());
        notice.map(drop).ok_or(LookError::NoNotice)
    }

    /// Shows in a desktop that somebody looks at it, and notes who. This is when they may begin.
    ///
    /// # Errors
    /// The desktop does not run, or does not show it; somebody looks at it, or they look at another.
    pub async fn begin_look(
        &self,
        desktop: &Desktop,
        (teacher, by): (&User, &Actor),
    ) -> Result<Look, DesktopError> {
        self.can_be_looked_at(desktop)?;
        let since = self.inner.parts.clock.timestamp();
        let watched = Watched {
            by: Some(teacher.id),
            name: teacher.identity.display_name().to_owned(),
            until: since.after(HOLD),
        };
        let taken = self.inner.parts.database.begin_look(desktop.id, &watched);
        match taken.await? {
            Taken::Yes => {}
            Taken::Elsewhere => return Err(LookError::Elsewhere.into()),
            Taken::NotFree => {
                let row = self.get(desktop.id).await?.ok_or(DesktopError::NotFound)?;
                return Err(match row.status {
                    State::Running => LookError::Watched.into(),
                    _ => DesktopError::NotUp,
                });
            }
        }
        let mut look = Look {
            desktop: desktop.clone(),
            watched,
            by: by.clone(),
            since,
        };
        if let Err(error) = self
            .show(&look.desktop, &look.watched, LookState::Begin)
            .await
        {
            let event = Event::new(Action::Look, by);
            self.note(desktop, event.outcome(Outcome::Failure, "not_shown"));
            tracing::warn!(desktop = %desktop.id, error = %ErrorChain(&error), "a desktop does not show that it is looked at");
            self.give_back(&look.desktop, &mut look.watched).await;
            return Err(error.into());
        }
        self.note(desktop, Event::new(Action::Look, by));
        if let Ok(Some(row)) = self.inner.parts.database.find_desktop(desktop.id).await {
            self.announce(Change::To(row));
        }
        Ok(look)
    }

    /// Says that a look goes on; `false` when it was taken for over meanwhile.
    pub async fn hold_look(&self, look: &mut Look) -> Result<bool, DesktopError> {
        Ok(self.hold(look.desktop.id, &mut look.watched).await?)
    }

    /// Ends a look, whose teacher sees nothing any more: `why` in a word.
    pub async fn end_look(&self, mut look: Look, why: &'static str) {
        let seconds = self
            .inner
            .parts
            .clock
            .timestamp()
            .since(look.since)
            .as_secs();
        let event = Event::new(Action::LookEnded, &look.by).reason(why);
        self.note(&look.desktop, event.detail("seconds", &seconds.to_string()));
        self.give_back(&look.desktop, &mut look.watched).await;
    }

    /// Ends a look whose gateway is gone, and takes away the notice of one that ended while its desktop slept.
    pub(super) async fn end_lost_look(&self, desktop: &Desktop, by: &Actor) {
        let Some(mut watched) = desktop.watched.clone() else {
            return;
        };
        if let Some(teacher) = watched.by {
            let event = Event::new(Action::LookEnded, by).reason("gateway_lost");
            self.note(desktop, event.detail("teacher", &teacher.to_string()));
        }
        self.give_back(desktop, &mut watched).await;
    }

    /// Whether a look at a running desktop is over without an end.
    pub(super) fn is_look_lost(desktop: &Desktop, now: Timestamp) -> bool {
        let watched = desktop.watched.as_ref();
        desktop.status == State::Running && watched.is_some_and(|watched| watched.until <= now)
    }

    /// Takes the notice away, and then the name from the row; nothing, if the look is somebody else's to end by now. In a
    /// frozen desktop nothing can be taken away: that is done when it is awake again.
    async fn give_back(&self, desktop: &Desktop, watched: &mut Watched) {
        let id = desktop.id;
        if let Err(error) = self.try_give_back(desktop, watched).await {
            // It runs out, and then whoever leads ends it.
            tracing::warn!(desktop = %id, error = %ErrorChain(&error), "the end of a look could not be recorded");
        }
        if let Ok(Some(row)) = self.inner.parts.database.find_desktop(id).await {
            self.announce(Change::To(row));
        }
    }

    async fn try_give_back(
        &self,
        desktop: &Desktop,
        watched: &mut Watched,
    ) -> Result<(), StoreError> {
        let (id, database) = (desktop.id, &self.inner.parts.database);
        // From here on nobody else ends it, or begins another, for as long as this takes.
        if !self.hold(id, watched).await? {
            return Ok(());
        }
        let row = database.find_desktop(id).await?;
        if row.is_some_and(|row| row.status == State::Paused) {
            database.park_look(id, watched).await?;
            return Ok(());
        }
        if let Err(error) = self.show(desktop, watched, LookState::End).await {
            tracing::warn!(desktop = %id, error = %ErrorChain(&error), "a notice could not be taken away");
        }
        database.end_look(id, watched).await?;
        Ok(())
    }

    async fn hold(&self, id: DesktopId, watched: &mut Watched) -> Result<bool, StoreError> {
        let parts = &self.inner.parts;
        let until = parts.clock.timestamp().after(HOLD);
        let held = parts.database.hold_look(id, watched, until).await?;
        if held {
            watched.until = until;
        }
        Ok(held)
    }

    async fn show(
        &self,
        desktop: &Desktop,
        watched: &Watched,
        state: LookState,
    ) -> Result<(), LookError> {
        let template = self.template(&desktop.template);
        let notice = template.and_then(|template| template.notice.as_ref());
        let notice = notice.ok_or(LookError::NoNotice)?;
        let command = notice.command(state, &watched.name);
        let engine = &self.inner.parts.engine;
        let code = engine.exec(&desktop.container_name, &command, NOTICE_LIMIT);
        match code.await {
            Ok(Some(0)) => Ok(()),
            Ok(code) => Err(LookError::NotShown(code)),
            Err(error) => Err(LookError::NotRun(error)),
        }
    }
}
