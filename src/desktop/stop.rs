//! The end of a desktop: asked for, suffered, or cleaned up. Streams are cut first, so that nobody
//! types into a desktop that is going away.

use std::time::Duration;

use super::{Change, DesktopError, Desktops};
use crate::model::audit::{Action, Actor, Event, Outcome, StopReason};
use crate::model::desktop::{Desktop, State};
use crate::model::id::DesktopId;
use crate::store::containers::Change as RowChange;
use crate::telemetry::ErrorChain;

/// How long a container may take to end before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How often a change of state is tried again when somebody else changes the same desktop.
const ATTEMPTS: usize = 8;

impl Desktops {
    /// Stops a desktop and returns it as it is then; an ended one stays as it is. The work goes on when
    /// the caller loses patience.
    ///
    /// # Errors
    /// No such desktop, or the engine does not answer: then the desktop stays `stopping`, its streams are cut,
    /// and the reconciler finishes the stop as soon as it can.
    pub async fn stop(
        &self,
        id: DesktopId,
        by: &Actor,
        why: StopReason,
    ) -> Result<Desktop, DesktopError> {
        let (desktops, by) = (self.clone(), by.clone());
        self.see_through("stop", async move { desktops.stop_now(id, &by, why).await })
            .await
    }

    async fn stop_now(
        &self,
        id: DesktopId,
        by: &Actor,
        why: StopReason,
    ) -> Result<Desktop, DesktopError> {
        let reason = why.text();
        // The reconciler leaves it alone meanwhile. A start that has it in hand is overtaken.
        let _in_hand = self.take_in_hand(id);
        let change = || RowChange {
            reason,
            ..RowChange::default()
        };
        let desktop = self.move_to(id, State::Stopping, change).await?;
        if desktop.status != State::Stopping {
            return Ok(desktop);
        }
        // What was done is that the desktop was ended for its user; its container follows, sooner or later.
        self.note(&desktop, Event::new(Action::Stop, by).reason(why.as_str()));
        let desktop = self.finish_stop(&desktop, reason).await?;
        tracing::info!(desktop = %id, reason, "desktop stopped");
        Ok(desktop)
    }

    /// The second half of a stop: ends the container of a desktop that is `stopping`, and records it.
    pub(super) async fn finish_stop(
        &self,
        desktop: &Desktop,
        reason: Option<&str>,
    ) -> Result<Desktop, DesktopError> {
        let parts = &self.inner.parts;
        parts
            .engine
            .stop(&desktop.container_name, STOP_GRACE)
            .await?;
        let now = parts.clock.timestamp();
        let change = || RowChange {
            reason,
            stopped_at: Some(now),
            ..RowChange::default()
        };
        self.move_to(desktop.id, State::Stopped, change).await
    }

    /// Stops a desktop, removes its container and forgets it. Its home stays.
    ///
    /// # Errors
    /// As for [`Self::stop`]; a desktop whose container could not be removed stays listed as stopped.
    pub async fn remove(
        &self,
        id: DesktopId,
        by: &Actor,
        why: StopReason,
    ) -> Result<Desktop, DesktopError> {
        let (desktops, by) = (self.clone(), by.clone());
        self.see_through("remove", async move {
            let desktop = desktops.stop_now(id, &by, why).await?;
            desktops.forget_ended(&desktop).await?;
            desktops.note(
                &desktop,
                Event::new(Action::Remove, &by).reason(why.as_str()),
            );
            tracing::info!(desktop = %id, "desktop removed");
            Ok(desktop)
        })
        .await
    }

    /// Does `work` to its end, also when the caller loses patience.
    async fn see_through<F>(&self, name: &'static str, work: F) -> Result<Desktop, DesktopError>
    where
        F: Future<Output = Result<Desktop, DesktopError>> + Send + 'static,
    {
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.inner.parts.tasks.spawn(name, async move {
            // Nobody may be left to hear of it; it is done all the same.
            let _ = done.send(work.await);
        });
        outcome.await.unwrap_or(Err(DesktopError::NotFound))
    }

    /// Removes the container and the row of a desktop that has ended.
    pub(super) async fn forget_ended(&self, desktop: &Desktop) -> Result<(), DesktopError> {
        self.inner
            .parts
            .engine
            .remove(&desktop.container_name)
            .await?;
        if self.inner.parts.database.delete_desktop(desktop.id).await? {
            self.announce(Change::Removed(desktop.clone()));
        }
        Ok(())
    }

    /// Records that a desktop ended otherwise than asked, and removes what is left of it.
    pub(super) async fn fail(&self, id: DesktopId, reason: &str) {
        let now = self.inner.parts.clock.timestamp();
        let change = || RowChange {
            reason: Some(reason),
            stopped_at: Some(now),
            ..RowChange::default()
        };
        match self.move_to(id, State::Error, change).await {
            Ok(desktop) => {
                let event = Event::new(Action::DesktopFailed, &Actor::system("desktops"));
                let event = event.outcome(Outcome::Failure, "ended");
                self.note(&desktop, event.detail("text", reason));
                if let Err(error) = self
                    .inner
                    .parts
                    .engine
                    .remove(&desktop.container_name)
                    .await
                {
                    tracing::warn!(desktop = %id, error = %ErrorChain(&error), "a failed container could not be removed");
                }
            }
            Err(error) => {
                tracing::error!(desktop = %id, error = %ErrorChain(&error), "a failed desktop could not be recorded");
            }
        }
    }

    /// Moves a desktop to `to` from wherever it is, cutting its streams. A desktop that may not go there
    /// is returned unchanged.
    pub(super) async fn move_to<'a>(
        &self,
        id: DesktopId,
        to: State,
        change: impl Fn() -> RowChange<'a>,
    ) -> Result<Desktop, DesktopError> {
        let database = &self.inner.parts.database;
        for _ in 0..ATTEMPTS {
            let mut desktop = database
                .find_desktop(id)
                .await?
                .ok_or(DesktopError::NotFound)?;
            if !desktop.status.may_become(to) {
                return Ok(desktop);
            }
            if database
                .transition(id, desktop.status, to, change())
                .await?
            {
                if let Some(seen) = self.inner.directory.remove(id) {
                    database.touch_desktops(&[seen]).await?;
                }
                desktop = database
                    .find_desktop(id)
                    .await?
                    .ok_or(DesktopError::NotFound)?;
                self.announce(Change::To(desktop.clone()));
                return Ok(desktop);
            }
        }
        Err(DesktopError::NotFound)
    }
}
