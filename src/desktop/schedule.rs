//! When a desktop will be stopped by itself, and why: the shortest of its limits.

use std::time::Duration;

use super::ages::{Ages, Now};
use crate::config::DesktopConfig;
use crate::model::desktop::Desktop;
use crate::model::reason::Reason;

/// A stop that comes if nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Until then; nothing if it is due.
    pub left: Duration,
    /// Why.
    pub reason: Reason,
}

/// The next stop of a desktop that is up, if it has any limit.
#[must_use]
pub fn next_stop(config: &DesktopConfig, ages: &Ages, desktop: &Desktop, now: Now) -> Option<Stop> {
    let stop = |limit: Duration, age: Duration, reason| Stop {
        left: limit.saturating_sub(age),
        reason,
    };
    let lifetime = config.max_lifetime;
    let lifetime = lifetime.map(|limit| stop(limit, ages.life(desktop, now), Reason::Lifetime));
    let idle = config.idle_stop;
    let idle = idle.map(|limit| stop(limit, ages.idle(desktop, now), Reason::Idle));
    lifetime
        .into_iter()
        .chain(idle)
        .min_by_key(|stop| stop.left)
}
