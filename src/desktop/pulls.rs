//! Pulls of images. Whoever wants an image that is on its way waits for the same pull: starts, the pool and admins. It goes on
//! when nobody waits any more, since the next start needs the image too.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::{DesktopError, Desktops};
use crate::engine::{EngineError, Percent, PullFailure};
use crate::model::desktop::Desktop;
use crate::model::failpoint::Failpoint;
use crate::model::template::Pull as Wish;
use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::telemetry::ErrorChain;

/// Pulls under way that admins may add to.
const MAX_RUNNING: usize = 2;
/// Pulls that are remembered.
const MAX_PULLS: usize = 32;
/// Pauses before a pull that broke off is begun again. The engine keeps the layers that were complete.
const RETRY_PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(45),
];
/// The same where an admin looks on, who wants to hear of it and can ask again.
const ADMIN_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// How often the rows of those who wait learn how far it is.
const TELL_PERIOD: Duration = Duration::from_secs(1);

/// A pull.
#[derive(Clone, Debug)]
pub struct Pull {
    /// Which image.
    pub image: String,
    /// How far it is.
    pub progress: Progress,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// How far a pull is, in percent of what the engine has said that there is to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Under way.
    Running(u8),
    /// The image is there.
    Done,
    /// It got that far, and this is why no further.
    Failed(u8, PullFailure),
}

/// How a pull ended; nothing while it is under way.
type Outcome = Option<Result<(), Arc<EngineError>>>;

#[derive(Clone, Debug)]
struct Known {
    pull: Pull,
    percent: Percent,
    outcome: watch::Receiver<Outcome>,
}

impl Known {
    /// Waits for its end. `None` when this gateway stops before that.
    async fn ended(&mut self) -> Option<Result<(), Arc<EngineError>>> {
        let outcome = self.outcome.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

/// The pulls of this gateway, the newest last.
#[derive(Debug, Default)]
pub(super) struct Pulls(Vec<Known>);

impl Pulls {
    fn find_running(&self, image: &str) -> Option<&Known> {
        self.running().find(|known| known.pull.image == image)
    }

    fn running(&self) -> impl Iterator<Item = &Known> {
        self.0.iter().filter(|known| known.pull.ended_at.is_none())
    }

    /// Notes a new pull; the oldest that has ended makes room for it.
    fn add(&mut self, new: Known) {
        self.0.retain(|old| old.pull.image != new.pull.image);
        if self.0.len() >= MAX_PULLS
            && let Some(oldest) = self.0.iter().position(|old| old.pull.ended_at.is_some())
        {
            self.0.remove(oldest);
        }
        self.0.push(new);
    }

    fn end(&mut self, image: &str, outcome: Result<(), PullFailure>, now: Timestamp) {
        let found = self.0.iter_mut().find(|known| known.pull.image == image);
        if let Some(known) = found {
            known.pull.ended_at = Some(now);
            known.pull.progress = match outcome {
                Ok(()) => Progress::Done,
                Err(why) => Progress::Failed(known.percent.get(), why),
            };
        }
    }
}

/// What became of waiting for an image.
pub(super) enum Waited {
    /// It is there.
    There,
    /// The start is not wanted any more, or this gateway stops.
    Overtaken,
}

impl Desktops {
    fn pulls_now(&self) -> MutexGuard<'_, Pulls> {
        // It is whole between any two calls.
        self.inner
            .pulls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Pulls that this gateway has under way or remembers, the newest first.
    #[must_use]
    pub fn pulls(&self) -> Vec<Pull> {
        let pulls = self.pulls_now();
        let now = |known: &Known| {
            let mut pull = known.pull.clone();
            if let Progress::Running(so_far) = &mut pull.progress {
                *so_far = known.percent.get();
            }
            pull
        };
        pulls.0.iter().rev().map(now).collect()
    }

    /// Begins to pull an image for an admin, or joins the pull of it that is under way. The flag says whether it is new.
    ///
    /// # Errors
    /// Too many are under way.
    pub fn pull(&self, image: &str) -> Result<(Pull, bool), DesktopError> {
        let pulls = self.pulls_now();
        if pulls.find_running(image).is_none() && pulls.running().count() >= MAX_RUNNING {
            return Err(DesktopError::TooManyPulls);
        }
        let (known, new) = self.join(pulls, image, &ADMIN_PAUSES);
        Ok((known.pull, new))
    }

    /// The pull of an image that is under way, or a new one with so many further attempts. There are never more than
    /// templates, beside those of admins.
    fn join(
        &self,
        mut pulls: MutexGuard<'_, Pulls>,
        image: &str,
        pauses: &'static [Duration],
    ) -> (Known, bool) {
        if let Some(running) = pulls.find_running(image) {
            return (running.clone(), false);
        }
        let (told, outcome) = watch::channel(None);
        let known = Known {
            pull: Pull {
                image: image.to_owned(),
                progress: Progress::Running(0),
                begun_at: self.inner.parts.clock.timestamp(),
                ended_at: None,
            },
            percent: Percent::default(),
            outcome,
        };
        pulls.add(known.clone());
        let (desktops, begun) = (self.clone(), known.clone());
        self.inner.parts.tasks.spawn("pull", async move {
            let Known { pull, percent, .. } = begun;
            let soft = desktops.inner.parts.tasks.soft();
            let pulled = tokio::select! {
                // The engine drops what has no listener; a later pull takes up what is there already.
                () = soft.cancelled() => return,
                pulled = desktops.see_pulled(&pull.image, &percent, pauses) => pulled,
            };
            let now = desktops.inner.parts.clock.timestamp();
            let is_there = pulled.is_ok();
            let outcome = pulled.as_ref().map_err(EngineError::pull_failure).copied();
            desktops.pulls_now().end(&pull.image, outcome, now);
            // Nobody may be left to hear of it.
            let _ = told.send(Some(pulled.map_err(Arc::new)));
            if is_there {
                // The pool may have waited for it.
                desktops.inner.pool.bell.notify_one();
            }
        });
        (known, true)
    }

    /// Pulls an image, again where that may help, and has the rows of those who wait tell how far it is.
    async fn see_pulled(
        &self,
        image: &str,
        percent: &Percent,
        pauses: &[Duration],
    ) -> Result<(), EngineError> {
        tracing::info!(image, "pulling image");
        let pulling = async {
            for pause in pauses {
                match self.inner.parts.engine.pull(image, percent).await {
                    Err(error) if may_pass(&error) => {
                        tracing::warn!(image, error = %ErrorChain(&error), pause = pause.as_secs(), "a pull broke off and is begun again");
                    }
                    ended => return ended,
                }
                tokio::time::sleep(*pause).await;
            }
            self.inner.parts.engine.pull(image, percent).await
        };
        let telling = async {
            let mut told = 0;
            loop {
                tokio::time::sleep(TELL_PERIOD).await;
                let now = percent.get();
                if now != told && self.tell_percent(image, now).await.is_ok() {
                    told = now;
                }
            }
        };
        let pulled = tokio::select! {
            pulled = pulling => pulled,
            never = telling => never,
        };
        match &pulled {
            Ok(()) => tracing::info!(image, "image pulled"),
            Err(error) => {
                tracing::warn!(image, error = %ErrorChain(error), "an image could not be pulled");
            }
        }
        pulled
    }

    async fn tell_percent(&self, image: &str, percent: u8) -> Result<(), StoreError> {
        let parts = &self.inner.parts;
        let name = parts.engine.name();
        let told = parts.database.note_pull(name, image, percent).await;
        if let Err(error) = &told {
            tracing::debug!(error = %ErrorChain(error), "those who wait for an image are not told");
        }
        told
    }

    /// Whether an image has to be pulled, or may be, before a container is made of it.
    ///
    /// # Errors
    /// It is not there, and must not be pulled.
    pub(super) async fn wants_pull(&self, image: &str, wish: Wish) -> Result<bool, EngineError> {
        let is_there = self.inner.parts.engine.has_image(image).await?;
        match wish {
            Wish::Never if !is_there => Err(EngineError::ImageMissing),
            Wish::Missing => Ok(!is_there),
            Wish::Always => Ok(true),
            Wish::Never => Ok(false),
        }
    }

    /// Joins the pull of an image that a template wants.
    async fn pull_wanted(&self, image: &str) -> Result<(Known, bool), EngineError> {
        let is_there = self.inner.parts.engine.has_image(image).await?;
        // For news of an image that is at hand, nobody is kept waiting through a registry's bad hour.
        let pauses: &[Duration] = if is_there { &[] } else { &RETRY_PAUSES };
        let (known, _) = self.join(self.pulls_now(), image, pauses);
        Ok((known, is_there))
    }

    /// Has a start wait for its image, which its row tells.
    pub(super) async fn wait_for_image(&self, desktop: &Desktop) -> Result<Waited, DesktopError> {
        let database = &self.inner.parts.database;
        let mut changes = self.changes();
        let (mut known, is_there) = self.pull_wanted(&desktop.image_name).await?;
        let id = desktop.id;
        if !database.await_pull(id, Some(known.percent.get())).await? {
            return Ok(Waited::Overtaken);
        }
        self.reached(Failpoint::PullAwaited).await;
        let outcome = loop {
            let is_over = tokio::select! {
                outcome = known.ended() => match outcome {
                    Some(outcome) => break outcome,
                    None => true,
                },
                change = changes.recv() => match change {
                    Ok(change) => change.desktop().id == id && !change.desktop().status.is_launching(),
                    Err(RecvError::Lagged(_)) => {
                        let row = database.find_desktop(id).await?;
                        row.is_none_or(|row| !row.status.is_launching())
                    }
                    Err(RecvError::Closed) => true,
                },
            };
            if is_over {
                return Ok(Waited::Overtaken);
            }
        };
        match outcome {
            Err(error) if !is_there => return Err(DesktopError::Pull(error)),
            Err(_) => {
                tracing::warn!(
                    image = desktop.image_name,
                    "not pulled, the image at hand is used"
                );
            }
            Ok(()) => {}
        }
        if database.await_pull(id, None).await? {
            Ok(Waited::There)
        } else {
            Ok(Waited::Overtaken)
        }
    }

    /// Sees to the image of containers that nobody waits for yet. `false` while it is on its way.
    pub(super) async fn image_for_pool(
        &self,
        image: &str,
        wish: Wish,
    ) -> Result<bool, DesktopError> {
        if !self.wants_pull(image, wish).await? {
            return Ok(true);
        }
        let (mut known, is_there) = self.pull_wanted(image).await?;
        if !is_there {
            return Ok(false);
        }
        // It takes a moment to hear that there is nothing new, and the image at hand will do if not.
        let _ = known.ended().await;
        Ok(true)
    }
}

/// Whether a pull that ended like this may go well a moment later.
fn may_pass(error: &EngineError) -> bool {
    error.is_away()
        || matches!(
            error,
            EngineError::Pull(PullFailure::Registry | PullFailure::Stalled, _)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(image: usize) -> Known {
        Known {
            pull: Pull {
                image: format!("image:{image}"),
                progress: Progress::Running(0),
                begun_at: Timestamp::default(),
                ended_at: None,
            },
            percent: Percent::default(),
            outcome: watch::channel(None).1,
        }
    }

    #[test]
    fn only_so_many_pulls_are_remembered_and_those_under_way_always() {
        let mut pulls = Pulls::default();
        pulls.add(pull(0));
        for image in 1..3 * MAX_PULLS {
            pulls.add(pull(image));
            let outcome = if image % 2 == 0 {
                Ok(())
            } else {
                Err(PullFailure::Other)
            };
            pulls.end(&format!("image:{image}"), outcome, Timestamp::default());
        }
        assert_eq!(pulls.0.len(), MAX_PULLS);
        assert!(pulls.find_running("image:0").is_some());
        assert_eq!(pulls.running().count(), 1);
    }

    #[test]
    fn what_will_not_change_is_not_tried_again() {
        let said = |failure| {
            let error = String::new();
            EngineError::Pull(failure, bollard::errors::Error::DockerStreamError { error })
        };
        assert!(may_pass(&said(PullFailure::Registry)) && may_pass(&said(PullFailure::Stalled)));
        assert!(may_pass(&EngineError::Timeout(TELL_PERIOD)));
        for failure in [
            PullFailure::Denied,
            PullFailure::Unknown,
            PullFailure::Other,
        ] {
            assert!(!may_pass(&said(failure)));
        }
    }
}
