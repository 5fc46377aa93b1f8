//! When a desktop will be stopped by itself, and why: the first of its limits.

use std::time::Duration;

use super::ages::{Ages, Now};
use crate::config::DesktopConfig;
use crate::model::desktop::Desktop;
use crate::model::hours::Door;
use crate::model::reason::Reason;
use crate::model::template::Template;

/// A stop that comes if nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Until then; nothing if it is due.
    pub left: Duration,
    /// Why.
    pub reason: Reason,
    /// How long before it its user is warned.
    pub warning: Duration,
}

impl Stop {
    /// Whether it is time to warn of it.
    #[must_use]
    pub fn is_soon(&self) -> bool {
        self.left <= self.warning
    }
}

/// The next stop of a desktop that is up, if it has any limit. Without a template there is no way to it any more.
#[must_use]
pub fn next_stop(
    (config, template): (&DesktopConfig, Option<&Template>),
    ages: &Ages,
    desktop: &Desktop,
    now: Now,
) -> Option<Stop> {
    let idle = config.idle_stop.map(|limit| Stop {
        left: limit.saturating_sub(ages.idle(desktop, now)),
        reason: Reason::Idle,
        warning: config.warning(limit),
    });
    let lifetime = config.max_lifetime.map(|limit| {
        let longer = config.extend.unwrap_or_default();
        let whole = limit.saturating_add(longer.saturating_mul(desktop.extensions));
        Stop {
            left: whole.saturating_sub(ages.life(desktop, now)),
            reason: Reason::Lifetime,
            warning: config.warning(limit),
        }
    });
    let gone = template.is_none().then_some(Stop {
        left: Duration::ZERO,
        reason: Reason::TemplateGone,
        warning: config.warn,
    });
    let hours = template.and_then(|template| template.hours.as_ref());
    let closing = match hours.map(|hours| hours.at(now.wall)) {
        Some(Door::Open(Some(end))) => Some(end.since(now.wall)),
        Some(Door::Closed(_)) => Some(Duration::ZERO),
        _ => None,
    };
    let closing = closing.map(|left| Stop {
        left,
        reason: Reason::Hours,
        warning: config.warn,
    });
    let limits = lifetime.into_iter().chain(closing).chain(idle);
    let stops = gone.into_iter().chain(limits);
    // The first of those that are equal.
    stops.min_by_key(|stop| stop.left)
}
