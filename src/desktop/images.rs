//! Images on the engine: which there are, and pulls that an admin asked for, which go on by themselves.

use std::sync::{MutexGuard, PoisonError};

use super::{DesktopError, Desktops};
use crate::engine::{Image, Percent, PullFailure};
use crate::model::time::Timestamp;
use crate::telemetry::ErrorChain;

/// Pulls under way at the same time.
const MAX_RUNNING: usize = 2;
/// Pulls that are remembered.
const MAX_PULLS: usize = 32;

/// A pull that an admin asked for.
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

/// The pulls of this gateway, the newest last.
#[derive(Debug, Default)]
pub(super) struct Pulls(Vec<(Pull, Percent)>);

impl Pulls {
    fn find_running(&self, image: &str) -> Option<&Pull> {
        let mut running = self.running();
        running.find(|pull| pull.image == image)
    }

    fn running(&self) -> impl Iterator<Item = &Pull> {
        let pulls = self.0.iter().map(|(pull, _)| pull);
        pulls.filter(|pull| pull.ended_at.is_none())
    }

    /// Notes a new pull; the oldest that has ended makes room for it.
    fn add(&mut self, pull: Pull, percent: Percent) {
        self.0.retain(|(old, _)| old.image != pull.image);
        if self.0.len() >= MAX_PULLS
            && let Some(oldest) = self.0.iter().position(|(old, _)| old.ended_at.is_some())
        {
            self.0.remove(oldest);
        }
        self.0.push((pull, percent));
    }

    fn end(&mut self, image: &str, outcome: Result<(), PullFailure>, now: Timestamp) {
        let found = self.0.iter_mut().find(|(pull, _)| pull.image == image);
        if let Some((pull, percent)) = found {
            pull.ended_at = Some(now);
            pull.progress = match outcome {
                Ok(()) => Progress::Done,
                Err(why) => Progress::Failed(percent.get(), why),
            };
        }
    }
}

impl Desktops {
    /// What the engine has.
    pub async fn images(&self) -> Result<Vec<Image>, DesktopError> {
        Ok(self.inner.parts.engine.images().await?)
    }

    /// Ids of the templates whose image has one of these names.
    #[must_use]
    pub fn templates_of(&self, names: &[String]) -> Vec<&str> {
        let templates = self.inner.templates.iter();
        let of_image = templates.filter(|template| names.contains(&template.image));
        of_image.map(|template| template.id.as_str()).collect()
    }

    fn pulls_now(&self) -> MutexGuard<'_, Pulls> {
        self.inner
            .pulls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Pulls that this gateway has under way or remembers, the newest first.
    #[must_use]
    pub fn pulls(&self) -> Vec<Pull> {
        let pulls = self.pulls_now();
        let now = |(pull, percent): &(Pull, Percent)| {
            let mut pull = pull.clone();
            if let Progress::Running(so_far) = &mut pull.progress {
                *so_far = percent.get();
            }
            pull
        };
        pulls.0.iter().rev().map(now).collect()
    }

    /// How far the pull of an image is, if one is under way here.
    #[must_use]
    pub fn pull_percent(&self, image: &str) -> Option<u8> {
        let pulls = self.pulls_now();
        let mut running = pulls.0.iter().filter(|(pull, _)| pull.ended_at.is_none());
        let found = running.find(|(pull, _)| pull.image == image);
        found.map(|(_, percent)| percent.get())
    }

    /// Begins to pull an image, or joins the pull of it that is under way. The flag says whether it is new.
    ///
    /// # Errors
    /// Too many are under way.
    pub fn pull(&self, image: &str) -> Result<(Pull, bool), DesktopError> {
        let (pull, percent) = {
            let mut pulls = self.pulls_now();
            if let Some(running) = pulls.find_running(image) {
                return Ok((running.clone(), false));
            }
            if pulls.running().count() >= MAX_RUNNING {
                return Err(DesktopError::TooManyPulls);
            }
            let pull = Pull {
                image: image.to_owned(),
                progress: Progress::Running(0),
                begun_at: self.inner.parts.clock.timestamp(),
                ended_at: None,
            };
            let percent = Percent::default();
            pulls.add(pull.clone(), percent.clone());
            (pull, percent)
        };
        let (desktops, image) = (self.clone(), pull.image.clone());
        self.inner.parts.tasks.spawn("pull", async move {
            let parts = &desktops.inner.parts;
            let soft = parts.tasks.soft();
            let pulled = tokio::select! {
                // The engine drops what has no listener; a later pull takes up what is there already.
                () = soft.cancelled() => return,
                pulled = parts.engine.pull(&image, &percent) => pulled,
            };
            match &pulled {
                Ok(()) => tracing::info!(image, "image pulled"),
                Err(error) => {
                    tracing::warn!(image, error = %ErrorChain(error), "an image could not be pulled");
                }
            }
            let now = parts.clock.timestamp();
            let outcome = pulled.map_err(|error| error.pull_failure());
            desktops.pulls_now().end(&image, outcome, now);
        });
        Ok((pull, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(image: usize) -> Pull {
        Pull {
            image: format!("image:{image}"),
            progress: Progress::Running(0),
            begun_at: Timestamp::default(),
            ended_at: None,
        }
    }

    #[test]
    fn only_so_many_pulls_are_remembered_and_those_under_way_always() {
        let mut pulls = Pulls::default();
        pulls.add(pull(0), Percent::default());
        for image in 1..3 * MAX_PULLS {
            pulls.add(pull(image), Percent::default());
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
}
