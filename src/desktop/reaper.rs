//! Pauses and ends what has had its time: desktops idle or alive for too long, containers stopped long ago.
//! `deskgate cleanup` is one pass of it.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::StreamExt;

use super::ages::Now;
use super::schedule::Stop;
use super::warnings::Step;
use super::{Change, DesktopError, Desktops, schedule};
use crate::config::DesktopConfig;
use crate::model::audit::{Action, Actor, Event};
use crate::model::desktop::Desktop;
use crate::model::id::DesktopId;
use crate::model::reason::Reason;
use crate::model::template::Template;
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
    /// Ends a look at it that its gateway did not end.
    EndLook,
    /// Removes the container and the row of a desktop that ended long ago.
    Remove,
}

impl ActKind {
    /// What it is counted as.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Stop(_) => "stop",
            Self::EndLook => "end_look",
            Self::Remove => "remove",
        }
    }
}

impl std::fmt::Display for ActKind {
    /// For the table and the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Pause => "pause".to_owned(),
            Self::Stop(reason) => format!("stop ({})", reason.as_str()),
            Self::EndLook => "end look".to_owned(),
            Self::Remove => "remove".to_owned(),
        };
        f.pad(&text)
    }
}

impl Desktops {
    /// What is due now, for somebody who waits for no warning.
    pub async fn due(&self) -> Result<Vec<Act>, DesktopError> {
        let due = |_: &Desktop, stop: Option<Stop>, _| match stop {
            Some(stop) if stop.left.is_zero() => Step::Stop,
            _ => Step::Wait,
        };
        self.look(due).await
    }

    /// What is due now. Users are warned of what will be, and told when it will not be.
    async fn due_or_warned(&self) -> Result<Vec<Act>, DesktopError> {
        self.look(|desktop, stop, now| {
            let warnings = &self.inner.warnings;
            let mut warnings = warnings.lock().unwrap_or_else(PoisonError::into_inner);
            let step = warnings.step(desktop.id, stop, now.steady);
            match step {
                Step::Warn => self.announce(Change::Warning(desktop.clone())),
                Step::CallOff => self.announce(Change::To(desktop.clone())),
                Step::Wait | Step::Stop => {}
            }
            step
        })
        .await
    }

    /// Looks at all desktops; `decide` says what to do about the next stop of each.
    async fn look(
        &self,
        decide: impl Fn(&Desktop, Option<Stop>, Now) -> Step,
    ) -> Result<Vec<Act>, DesktopError> {
        // Activity that is only in memory must not make a busy desktop look idle.
        self.flush_activity().await;
        let parts = &self.inner.parts;
        let rows = parts.database.all_desktops(parts.engine.name()).await?;
        let now = self.now();
        self.follow_naps(&rows);
        let mut plans = Vec::new();
        {
            let ages = &self.inner.ages;
            let mut ages = ages.lock().unwrap_or_else(PoisonError::into_inner);
            ages.look(&rows, now);
            for row in rows.iter().filter(|row| row.status.is_up()) {
                let stop = schedule::next_stop(self.limits_of(row), &ages, row, now);
                let pause = self.is_pause_due(row, ages.idle(row, now), ages.awake(row, now));
                plans.push((row, stop, pause));
            }
        }
        let act = |desktop: &Desktop, kind| Act {
            desktop: desktop.clone(),
            kind,
        };
        let mut acts = Vec::new();
        for (row, stop, pause) in plans {
            match (decide(row, stop, now), stop) {
                (Step::Stop, Some(stop)) => acts.push(act(row, ActKind::Stop(stop.reason))),
                _ if pause => acts.push(act(row, ActKind::Pause)),
                _ => {}
            }
        }
        let lost = rows.iter().filter(|row| Self::is_look_lost(row, now.wall));
        acts.extend(lost.map(|row| act(row, ActKind::EndLook)));
        let retention = parts.config.stopped_retention;
        let ended = rows.iter().filter(|row| !row.status.is_live());
        acts.extend(
            ended
                .filter(|row| row.stopped_at.unwrap_or(row.created_at).after(retention) <= now.wall)
                .map(|row| act(row, ActKind::Remove)),
        );
        self.forget_warnings(&rows);
        Ok(acts)
    }

    fn forget_warnings(&self, rows: &[Desktop]) {
        let up: HashSet<DesktopId> = rows
            .iter()
            .filter(|row| row.status.is_up())
            .map(|row| row.id)
            .collect();
        let warnings = &self.inner.warnings;
        let mut warnings = warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.keep(|id| up.contains(&id));
    }

    /// What limits a desktop.
    pub(super) fn limits_of(&self, desktop: &Desktop) -> (&DesktopConfig, Option<&Template>) {
        let template = self.template(&desktop.template).map(|template| &**template);
        (&self.inner.parts.config, template)
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
        self.inner.parts.metrics.reaped(act.kind.as_str(), 1);
        match act.kind {
            ActKind::Pause => self.pause_due(&act.desktop).await,
            ActKind::Stop(reason) => self.stop_due(&act.desktop, by, reason).await.map(drop),
            ActKind::EndLook => {
                self.end_lost_look(&act.desktop, by).await;
                Ok(())
            }
            ActKind::Remove => {
                if self.forget_ended(&act.desktop).await? {
                    let event = Event::new(Action::Remove, by).reason("retention");
                    self.note(&act.desktop, event);
                }
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

    /// Warns of what will be due, and does what is due if this gateway leads. What fails is tried again the next time.
    pub async fn reap(&self) {
        let acts = match self.due_or_warned().await {
            Ok(acts) => acts,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "the reaper cannot see what is due");
                return;
            }
        };
        if !self.inner.leader.is_leading() {
            return;
        }
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
