//! Ends what has had its time: desktops idle or alive for too long, and containers stopped long ago.
//! `deskgate cleanup` is one pass of it.

use std::time::Duration;

use super::{DesktopError, Desktops};
use crate::model::audit::{Action, Actor, Event, StopReason};
use crate::model::desktop::{Desktop, State};
use crate::model::time::Timestamp;

/// How often the reaper looks.
pub const PERIOD: Duration = Duration::from_secs(30);

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
    /// Stops it: nobody used it for too long.
    StopIdle,
    /// Stops it: it is too old.
    StopOld,
    /// Removes the container and the row of a desktop that ended long ago.
    Remove,
}

impl ActKind {
    /// For the table and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StopIdle => "stop (idle)",
            Self::StopOld => "stop (lifetime)",
            Self::Remove => "remove",
        }
    }
}

impl Desktops {
    /// What is due now.
    pub async fn due(&self) -> Result<Vec<Act>, DesktopError> {
        // Activity that is only in memory must not make a busy desktop look idle.
        self.flush_activity().await;
        let parts = &self.inner.parts;
        let now = parts.clock.timestamp();
        let rows = parts.database.all_desktops(parts.engine.name()).await?;
        Ok(rows
            .into_iter()
            .filter_map(|desktop| {
                self.due_act(&desktop, now)
                    .map(|kind| Act { desktop, kind })
            })
            .collect())
    }

    fn due_act(&self, desktop: &Desktop, now: Timestamp) -> Option<ActKind> {
        let config = &self.inner.parts.config;
        let over = |since: Timestamp, limit: Option<Duration>| {
            limit.is_some_and(|limit| since.after(limit) <= now)
        };
        let started = desktop.started_at.unwrap_or(desktop.created_at);
        match desktop.status {
            State::Running | State::Paused => {
                let used = desktop.last_accessed.map_or(started, |at| at.max(started));
                if over(started, config.max_lifetime) {
                    Some(ActKind::StopOld)
                } else if over(used, config.idle_stop) {
                    Some(ActKind::StopIdle)
                } else {
                    None
                }
            }
            State::Stopped | State::Error => {
                let ended = desktop.stopped_at.unwrap_or(desktop.created_at);
                over(ended, Some(config.stopped_retention)).then_some(ActKind::Remove)
            }
            _ => None,
        }
    }

    /// Does one act, for the reaper or for whoever runs `cleanup`.
    pub async fn act(&self, act: &Act, by: &Actor) -> Result<(), DesktopError> {
        tracing::info!(desktop = %act.desktop.id, act = act.kind.as_str(), "reaping");
        let id = act.desktop.id;
        match act.kind {
            ActKind::StopIdle => drop(self.stop(id, by, StopReason::Idle).await?),
            ActKind::StopOld => drop(self.stop(id, by, StopReason::Lifetime).await?),
            ActKind::Remove => {
                self.forget_ended(&act.desktop).await?;
                self.note(
                    &act.desktop,
                    Event::new(Action::Remove, by).reason("retention"),
                );
            }
        }
        Ok(())
    }
}
