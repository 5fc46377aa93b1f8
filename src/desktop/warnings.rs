//! Whose users have been warned of which stop, and since when. Nobody is stopped unwarned: not after a gateway
//! was away, and not because a clock was set.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::schedule::Stop;
use crate::model::id::DesktopId;
use crate::model::reason::Reason;

/// The warnings that are out.
#[derive(Debug, Default)]
pub struct Warnings(HashMap<DesktopId, (Reason, Instant)>);

/// What to do about a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet, or nothing more.
    Wait,
    /// Warn of it.
    Warn,
    /// Say that it does not come.
    CallOff,
    /// Do it.
    Stop,
}

impl Warnings {
    /// What to do about the next stop of a desktop. One that is due waits for its warning to have been out for
    /// half its time.
    pub fn step(&mut self, id: DesktopId, stop: Option<Stop>, now: Instant) -> Step {
        let Some(stop) = stop.filter(Stop::is_soon) else {
            let warned = self.0.remove(&id).is_some();
            return if warned { Step::CallOff } else { Step::Wait };
        };
        match self.0.get(&id) {
            Some((reason, since)) if *reason == stop.reason => {
                let known = now.saturating_duration_since(*since) >= stop.warning / 2;
                if known && stop.left.is_zero() {
                    Step::Stop
                } else {
                    Step::Wait
                }
            }
            _ => {
                self.0.insert(id, (stop.reason, now));
                Step::Warn
            }
        }
    }

    /// How long a stop that is due waits for its warning to have been out for long enough.
    #[must_use]
    pub fn grace(&self, id: DesktopId, stop: &Stop, now: Instant) -> Duration {
        let out = self.0.get(&id).filter(|(reason, _)| *reason == stop.reason);
        let known = out.map_or(Duration::ZERO, |(_, since)| {
            now.saturating_duration_since(*since)
        });
        (stop.warning / 2).saturating_sub(known)
    }

    /// Forgets desktops that are not up any more.
    pub fn keep(&mut self, is_up: impl Fn(DesktopId) -> bool) {
        self.0.retain(|id, _| is_up(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn stop(left: Duration, reason: Reason) -> Stop {
        Stop {
            left,
            reason,
            warning: 5 * MINUTE,
        }
    }

    #[test]
    fn a_stop_is_warned_of_once_and_called_off_once() {
        let (mut warnings, id, now) = (Warnings::default(), DesktopId::random(), Instant::now());
        let mut step = |stop: Option<Stop>, now| warnings.step(id, stop, now);
        assert_eq!(step(Some(stop(6 * MINUTE, Reason::Idle)), now), Step::Wait);
        assert_eq!(step(Some(stop(5 * MINUTE, Reason::Idle)), now), Step::Warn);
        assert_eq!(
            step(Some(stop(MINUTE, Reason::Idle)), now + 4 * MINUTE),
            Step::Wait
        );
        assert_eq!(
            step(Some(stop(60 * MINUTE, Reason::Idle)), now),
            Step::CallOff
        );
        assert_eq!(step(None, now), Step::Wait);
        assert_eq!(step(Some(stop(MINUTE, Reason::Idle)), now), Step::Warn);
        assert_eq!(step(Some(stop(MINUTE, Reason::Hours)), now), Step::Warn);
        assert_eq!(
            step(Some(stop(Duration::ZERO, Reason::Hours)), now + 5 * MINUTE),
            Step::Stop
        );
    }

    #[test]
    fn nobody_is_stopped_unwarned() {
        let (mut warnings, id, now) = (Warnings::default(), DesktopId::random(), Instant::now());
        let due = Some(stop(Duration::ZERO, Reason::Lifetime));
        let grace = |warnings: &Warnings, at| {
            let due = stop(Duration::ZERO, Reason::Lifetime);
            warnings.grace(id, &due, at)
        };
        assert_eq!(grace(&warnings, now), 5 * MINUTE / 2);
        assert_eq!(warnings.step(id, due, now), Step::Warn);
        assert_eq!(grace(&warnings, now + MINUTE), 3 * MINUTE / 2);
        assert_eq!(grace(&warnings, now + 3 * MINUTE), Duration::ZERO);
        assert_eq!(warnings.step(id, due, now + 2 * MINUTE), Step::Wait);
        assert_eq!(warnings.step(id, due, now + 3 * MINUTE), Step::Stop);
        warnings.keep(|_| false);
        assert_eq!(warnings.step(id, due, now + 3 * MINUTE), Step::Warn);
    }
}
