//! Pauses and ends what has had its time: desktops idle or alive for too long, containers stopped long ago.
//! `deskgate cleanup` is one pass of it.

use std::sync::PoisonError;
use std::time::Duration;

use futures_util::StreamExt;

use super::ages::Now;
use super::{DesktopError, Desktops, schedule};
use crate::model::audit::{Action, Actor, Event};
use crate::model::desktop::{Desktop, State};
use crate::model::reason::Reason;
use crate::telemetry::ErrorChain;

/// How often the reaper looks, at most: more often where desktops may be idle for less than four times that.
pub const PERIOD: Duration = Duration::from_secs(10);
/// Desktops that are stopped at the same time.
const PARALLEL_ACTS: usize = 8;

/// Something the reaper does, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// To which desktop.
    pub desktop: Desktop,
    /// What.
    pub kind: ActKind,
}

/// What the reaper does to a desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActKind {
    /// Pauses it.
    Pause,
    /// Stops it.
    Stop(Reason),
    /// Removes the container and the row of a desktop that ended long ago.
    Remove,
}

impl std::fmt::Display for ActKind {
    /// For the table and the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Pause => "pause".to_owned(),
            Self::Stop(reason) => format!("stop ({})", reason.as_str()),
            Self::Remove => "remove".to_owned(),
        };
        f.pad(&text)
    }
}

impl Desktops {
    /// What is due now.
    pub async fn due(&self) -> Result<Vec<Act>, DesktopError> {
        // Activity that is only in memory must not make a busy desktop look idle.
        self.flush_activity().await;
        let parts = &self.inner.parts;
        let rows = parts.database.all_desktops(parts.engine.name()).await?;
        let now = self.now();
        let mut ages = self
            .inner
            .ages
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ages.look(&rows, now);
        self.follow_naps(&rows);
        let config = &parts.config;
        let due = |desktop: Desktop| {
            let kind = match desktop.status {
                State::Running | State::Paused => {
                    let stop = schedule::next_stop(config, &ages, &desktop, now)
                        .filter(|stop| stop.left.is_zero())
                        .map(|stop| ActKind::Stop(stop.reason));
                    let (idle, awake) = (ages.idle(&desktop, now), ages.awake(&desktop, now));
                    let pause = self.is_pause_due(&desktop, idle, awake);
                    stop.or(pause.then_some(ActKind::Pause))
                }
                State::Stopped | State::Error => {
                    let ended = desktop.stopped_at.unwrap_or(desktop.created_at);
                    let over = ended.after(config.stopped_retention) <= now.wall;
                    over.then_some(ActKind::Remove)
                }
                _ => None,
            };
            kind.map(|kind| Act { desktop, kind })
        };
        Ok(rows.into_iter().filter_map(due).collect())
    }

    /// What both clocks say.
    pub(super) fn now(&self) -> Now {
        let clock = &self.inner.parts.clock;
        Now {
            wall: clock.timestamp(),
            steady: clock.instant(),
        }
    }

    /// Does one act, for the reaper or for whoever runs `cleanup`; a stop only if nobody has used the desktop
    /// since it was found due.
    pub async fn act(&self, act: &Act, by: &Actor) -> Result<(), DesktopError> {
        tracing::info!(desktop = %act.desktop.id, act = %act.kind, "reaping");
        match act.kind {
            ActKind::Pause => self.pause_due(&act.desktop).await,
            ActKind::Stop(reason) => self.stop_due(&act.desktop, by, reason).await.map(drop),
            ActKind::Remove => {
                self.forget_ended(&act.desktop).await?;
                let event = Event::new(Action::Remove, by).reason("retention");
                self.note(&act.desktop, event);
                Ok(())
            }
        }
    }

    /// Looks every few seconds, until the soft stop.
    pub fn spawn_reaper(&self) {
        let desktops = self.clone();
        let period = self.inner.parts.config.share_of_limits(PERIOD);
        self.inner.parts.tasks.every("reaper", period, move || {
            let desktops = desktops.clone();
            async move { desktops.reap().await }
        });
    }

    /// Does what is due. What fails is tried again the next time.
    pub async fn reap(&self) {
        let acts = match self.due().await {
            Ok(acts) => acts,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "the reaper cannot see what is due");
                return;
            }
        };
        let by = &Actor::system("reaper");
        let all = futures_util::stream::iter(acts);
        all.for_each_concurrent(PARALLEL_ACTS, |act| async move {
            if let Err(error) = self.act(&act, by).await {
                tracing::warn!(desktop = %act.desktop.id, error = %ErrorChain(&error), "reaping failed");
            }
        })
        .await;
    }
}
