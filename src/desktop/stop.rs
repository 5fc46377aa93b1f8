//! The end of a desktop: asked for, suffered, or cleaned up. Streams are cut first, so that nobody
//! types into a desktop that is going away.

use std::time::Duration;

use super::trouble::Failure;
use super::{Change, DesktopError, Desktops};
use crate::engine::EngineError;
use crate::model::audit::{Action, Actor, Event, Outcome};
use crate::model::desktop::{Desktop, State};
use crate::model::failpoint::Failpoint;
use crate::model::id::{DesktopId, RequestId};
use crate::model::reason::Reason;
use crate::model::template::Template;
use crate::store::containers::Change as RowChange;
use crate::telemetry::ErrorChain;

/// How long a container may take to end before it is killed, when its template is no longer known.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(10);
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
        why: Reason,
    ) -> Result<Desktop, DesktopError> {
        let change = RowChange {
            reason: Some(why.as_str()),
            ..RowChange::default()
        };
        self.stop_with(id, by, change).await
    }

    /// Stops a desktop that was seen to have ended by itself. A stop that somebody has asked for meanwhile stays theirs.
    pub(super) async fn stop_up(
        &self,
        id: DesktopId,
        by: &Actor,
        why: Reason,
    ) -> Result<Desktop, DesktopError> {
        let change = RowChange {
            reason: Some(why.as_str()),
            only_up: true,
            ..RowChange::default()
        };
        self.stop_with(id, by, change).await
    }

    /// Stops a desktop whose time is over, unless somebody has used it since it was read.
    pub(super) async fn stop_due(
        &self,
        seen: &Desktop,
        by: &Actor,
        reason: Reason,
    ) -> Result<Desktop, DesktopError> {
        let idle = reason == Reason::Idle;
        let used = seen.last_used.unwrap_or(seen.created_at);
        let entry = self.inner.directory.get(seen.id).filter(|_| idle);
        if entry.is_some_and(|entry| entry.last_used() > Some(used)) {
            return Ok(seen.clone());
        }
        let change = RowChange {
            reason: Some(reason.as_str()),
            unless_used_after: idle.then_some(used),
            unless_extended_beyond: (reason == Reason::Lifetime).then_some(seen.extensions),
            ..RowChange::default()
        };
        self.stop_with(seen.id, by, change).await
    }

    async fn stop_with(
        &self,
        id: DesktopId,
        by: &Actor,
        change: RowChange<'static>,
    ) -> Result<Desktop, DesktopError> {
        let (desktops, by) = (self.clone(), by.clone());
        self.see_through(
            "stop",
            async move { desktops.stop_now(id, &by, change).await },
        )
        .await
    }

    async fn stop_now(
        &self,
        id: DesktopId,
        by: &Actor,
        change: RowChange<'static>,
    ) -> Result<Desktop, DesktopError> {
        // The reconciler leaves it alone meanwhile. A start that has it in hand is overtaken.
        let _in_hand = self.take_in_hand(id);
        let reason = change.reason;
        let change = RowChange {
            gateway: self.inner.leader.number(),
            ..change
        };
        let (desktop, is_news) = self.move_to(id, State::Stopping, change).await?;
        if desktop.status != State::Stopping {
            return Ok(desktop);
        }
        // What was done is that the desktop was ended for its user; its container follows, sooner or later. Whoever asks
        // again meanwhile, as a page does whose connection broke, ends nothing and helps to finish.
        if is_news {
            if let Some(reason) = reason.and_then(Reason::from_word) {
                self.inner.parts.metrics.desktop_ended(reason);
            }
            let event = Event::new(Action::Stop, by).reason(reason.unwrap_or_default());
            self.note(&desktop, event);
        }
        let reason = desktop.status_reason.as_deref();
        self.reached(Failpoint::StopRecorded).await;
        let stopped = self.finish_stop(&desktop, reason).await;
        if stopped.is_err() {
            // The reconciler asks the engine every few seconds from now on, until it answers.
            self.inner.leader.bell.notify_one();
        }
        let stopped = stopped?;
        tracing::info!(desktop = %id, reason, "desktop stopped");
        Ok(stopped)
    }

    /// The second half of a stop: ends the container of a desktop that is `stopping`, and records it.
    pub(super) async fn finish_stop(
        &self,
        desktop: &Desktop,
        reason: Option<&str>,
    ) -> Result<Desktop, DesktopError> {
        let parts = &self.inner.parts;
        let template = self.template(&desktop.template);
        let grace = template.map_or(STOP_GRACE, |template| template.stop.timeout);
        if let Some(template) = template.filter(|template| !template.stop.pre_stop.is_empty()) {
            self.before_stop(desktop, template).await;
        }
        parts.engine.stop(&desktop.container_name, grace).await?;
        self.reached(Failpoint::StopEnded).await;
        let change = RowChange {
            reason,
            stopped_at: Some(parts.clock.timestamp()),
            ..RowChange::default()
        };
        let (stopped, _) = self.move_to(desktop.id, State::Stopped, change).await?;
        Ok(stopped)
    }

    /// Lets the container prepare for its end. It ends all the same if that fails.
    async fn before_stop(&self, desktop: &Desktop, template: &Template) {
        let engine = &self.inner.parts.engine;
        let Template { stop, .. } = template;
        let name = &desktop.container_name;
        let run = || engine.exec(name, &stop.pre_stop, stop.timeout);
        let mut ran = run().await;
        // In a frozen container no command runs.
        if matches!(ran, Err(EngineError::Refused(_))) && engine.unpause(name).await.is_ok() {
            ran = run().await;
        }
        match ran {
            Ok(Some(0)) | Err(EngineError::NotFound) => {}
            Ok(code) => tracing::warn!(desktop = %desktop.id, code, "pre_stop failed"),
            Err(error) => {
                tracing::warn!(desktop = %desktop.id, error = %ErrorChain(&error), "pre_stop could not be run");
            }
        }
    }

    /// Stops a desktop, removes its container and forgets it. Its home stays.
    ///
    /// # Errors
    /// As for [`Self::stop`]; a desktop whose container could not be removed stays listed as stopped.
    pub async fn remove(
        &self,
        id: DesktopId,
        by: &Actor,
        why: Reason,
    ) -> Result<Desktop, DesktopError> {
        let (desktops, by) = (self.clone(), by.clone());
        self.see_through("remove", async move {
            let change = RowChange {
                reason: Some(why.as_str()),
                ..RowChange::default()
            };
            let desktop = desktops.stop_now(id, &by, change).await?;
            desktops.reached(Failpoint::RemoveStopped).await;
            if desktops.forget_ended(&desktop).await? {
                let event = Event::new(Action::Remove, &by).reason(why.as_str());
                desktops.note(&desktop, event);
                tracing::info!(desktop = %id, "desktop removed");
            }
            Ok(desktop)
        })
        .await
    }

    /// Does `work` to its end, also when the caller loses patience.
    pub(super) async fn see_through<F>(
        &self,
        name: &'static str,
        work: F,
    ) -> Result<Desktop, DesktopError>
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

    /// Removes the container and the row of a desktop that has ended. `false` when somebody else was first.
    pub(super) async fn forget_ended(&self, desktop: &Desktop) -> Result<bool, DesktopError> {
        self.inner
            .parts
            .engine
            .remove(&desktop.container_name)
            .await?;
        self.reached(Failpoint::RemoveRow).await;
        let is_gone = self.inner.parts.database.delete_desktop(desktop.id).await?;
        if is_gone {
            self.reached(Failpoint::RemoveDone).await;
            self.announce(Change::Removed(desktop.clone()));
        }
        Ok(is_gone)
    }

    /// Records that a desktop that was up ended otherwise than asked, and removes what is left of it. One that somebody
    /// is stopping ends as they asked.
    pub(super) async fn fail_up(&self, id: DesktopId, failure: &Failure) {
        let change = RowChange {
            only_up: true,
            ..RowChange::default()
        };
        self.fail_with(id, failure, change, None).await;
    }

    /// The same for a start of this gateway that came to nothing. Somebody else may have taken it up meanwhile, while this
    /// gateway stood still or had no database, and then it is theirs.
    pub(super) async fn fail_start(
        &self,
        id: DesktopId,
        failure: &Failure,
        request: Option<RequestId>,
    ) {
        let change = RowChange {
            gateway: self.inner.leader.number(),
            only_own_start: true,
            ..RowChange::default()
        };
        self.fail_with(id, failure, change, request).await;
    }

    async fn fail_with(
        &self,
        id: DesktopId,
        failure: &Failure,
        change: RowChange<'_>,
        request: Option<RequestId>,
    ) {
        let reason = failure.reason;
        let change = RowChange {
            reason: Some(reason.as_str()),
            detail: failure.detail.as_deref(),
            stopped_at: Some(self.inner.parts.clock.timestamp()),
            ..change
        };
        match self.move_to(id, State::Error, change).await {
            Ok((desktop, false)) => {
                tracing::info!(desktop = %id, status = desktop.status.as_str(), "somebody else has this desktop");
            }
            Ok((desktop, true)) => {
                self.inner.parts.metrics.desktop_ended(reason);
                let by = Actor {
                    request,
                    ..Actor::system("desktops")
                };
                let event = Event::new(Action::DesktopFailed, &by);
                self.note(&desktop, event.outcome(Outcome::Failure, reason.as_str()));
                self.reached(Failpoint::FailRecorded).await;
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

    /// Moves a desktop to `to` from wherever it is, cutting its streams. A desktop that may not go there, is there already,
    /// or was used meanwhile if the change minds, is returned unchanged, with `false`.
    pub(super) async fn move_to(
        &self,
        id: DesktopId,
        to: State,
        change: RowChange<'_>,
    ) -> Result<(Desktop, bool), DesktopError> {
        let database = &self.inner.parts.database;
        for _ in 0..ATTEMPTS {
            let mut desktop = database
                .find_desktop(id)
                .await?
                .ok_or(DesktopError::NotFound)?;
            if !desktop.status.may_become(to) || change.is_defeated_by(&desktop) {
                return Ok((desktop, false));
            }
            if database.transition(id, desktop.status, to, change).await? {
                if let Some(seen) = self.inner.directory.remove(id) {
                    database.touch_desktops(&[seen]).await?;
                }
                desktop = database
                    .find_desktop(id)
                    .await?
                    .ok_or(DesktopError::NotFound)?;
                self.announce(Change::To(desktop.clone()));
                return Ok((desktop, true));
            }
        }
        Err(DesktopError::NotFound)
    }
}
