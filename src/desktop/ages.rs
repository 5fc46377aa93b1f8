//! How long desktops have been idle, and how long they have lived, whatever becomes of the clock of the wall:
//! that one is believed when a desktop is first seen, and a clock that nobody can set counts from there.
//!
//! So a clock that is put forward by a day makes nothing a day older, and a machine that slept over night
//! wakes up with its desktops.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::desktop::{Desktop, State};
use crate::model::id::DesktopId;
use crate::model::time::Timestamp;

/// What both clocks say.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The clock of the wall.
    pub wall: Timestamp,
    /// The clock that nobody can set.
    pub steady: Instant,
}

/// The ages of all live desktops.
#[derive(Debug, Default)]
pub struct Ages {
    seen: HashMap<DesktopId, Seen>,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    used: Age,
    life: Age,
    /// Since when it has not been paused.
    awake: Option<Instant>,
}

/// The time since a recorded moment.
#[derive(Clone, Copy, Debug)]
struct Age {
    mark: Timestamp,
    since: Instant,
    before: Duration,
}

impl Age {
    fn first(mark: Timestamp, now: Now) -> Self {
        Self {
            mark,
            since: now.steady,
            before: now.wall.since(mark),
        }
    }

    /// The age of a moment that has moved on since `looked` is not more than the time since then.
    fn follow(&mut self, mark: Timestamp, now: Now, looked: Instant) {
        if self.mark != mark {
            let most = now.steady.saturating_duration_since(looked);
            *self = Self::first(mark, now);
            self.before = self.before.min(most);
        }
    }

    fn at(&self, now: Instant) -> Duration {
        self.before + now.saturating_duration_since(self.since)
    }
}

/// When idleness begins to count.
fn used(desktop: &Desktop) -> Timestamp {
    let started = born(desktop);
    desktop.last_used.map_or(started, |used| used.max(started))
}

fn born(desktop: &Desktop) -> Timestamp {
    desktop.started_at.unwrap_or(desktop.created_at)
}

impl Ages {
    /// Takes in how the desktops are recorded now; forgets those that are not among them.
    pub fn look(&mut self, desktops: &[Desktop], now: Now) {
        let looked = self.looked.replace(now.steady).unwrap_or(now.steady);
        let mut before = std::mem::take(&mut self.seen);
        for desktop in desktops.iter().filter(|desktop| desktop.status.is_up()) {
            let mut seen = before.remove(&desktop.id).unwrap_or_else(|| Seen {
                used: Age::first(used(desktop), now),
                life: Age::first(born(desktop), now),
                awake: None,
            });
            seen.used.follow(used(desktop), now, looked);
            seen.life.follow(born(desktop), now, looked);
            seen.awake = match seen.awake {
                _ if desktop.status == State::Paused => None,
                None => Some(now.steady),
                since => since,
            };
            self.seen.insert(desktop.id, seen);
        }
    }

    /// How long no person has used it.
    #[must_use]
    pub fn idle(&self, desktop: &Desktop, now: Now) -> Duration {
        let Some(seen) = self.seen.get(&desktop.id) else {
            return now.wall.since(used(desktop));
        };
        let mut age = seen.used;
        age.follow(used(desktop), now, self.looked.unwrap_or(now.steady));
        age.at(now.steady)
    }

    /// How long it has lived.
    #[must_use]
    pub fn life(&self, desktop: &Desktop, now: Now) -> Duration {
        let known = self.seen.get(&desktop.id);
        known.map_or_else(
            || now.wall.since(born(desktop)),
            |seen| seen.life.at(now.steady),
        )
    }

    /// How long it has been seen awake.
    #[must_use]
    pub fn awake(&self, desktop: &Desktop, now: Now) -> Duration {
        let since = self.seen.get(&desktop.id).and_then(|seen| seen.awake);
        since.map_or(Duration::ZERO, |since| {
            now.steady.saturating_duration_since(since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::UserId;

    const HOUR: Duration = Duration::from_secs(3600);

    fn desktop(status: State, started: i64, used: Option<i64>) -> Desktop {
        Desktop {
            id: DesktopId::random(),
            user_id: UserId::random(),
            session_id: None,
            container_id: None,
            container_name: "c".into(),
            image_name: "i".into(),
            template: "t".into(),
            status,
            status_reason: None,
            status_detail: None,
            pull_percent: None,
            host_port: None,
            container_port: 6901,
            created_at: Timestamp::from_millis(started),
            started_at: Some(Timestamp::from_millis(started)),
            stopped_at: None,
            last_accessed: None,
            last_input: None,
            last_used: used.map(Timestamp::from_millis),
            extensions: 0,
            gateway: None,
            watched: None,
        }
    }

    /// Both clocks, after `passed`, the one on the wall put forward by `jump` milliseconds.
    fn clocks(start: Now, passed: Duration, jump: i64) -> Now {
        let wall = start.wall.after(passed).millis() + jump;
        Now {
            wall: Timestamp::from_millis(wall),
            steady: start.steady + passed,
        }
    }

    fn start() -> Now {
        Now {
            wall: Timestamp::from_millis(1_000_000_000_000),
            steady: Instant::now(),
        }
    }

    #[test]
    fn the_wall_clock_counts_at_first_sight_and_never_again() {
        let start = start();
        let used = start.wall.before(2 * HOUR).millis();
        let row = desktop(State::Running, used, Some(used));
        for jump in [0, 86_400_000, -86_400_000] {
            let mut ages = Ages::default();
            ages.look(std::slice::from_ref(&row), start);
            let later = clocks(start, HOUR, jump);
            ages.look(std::slice::from_ref(&row), later);
            assert_eq!(ages.idle(&row, later), 3 * HOUR, "{jump}");
            assert_eq!(ages.life(&row, later), 3 * HOUR, "{jump}");
        }
    }

    #[test]
    fn what_has_moved_on_is_not_older_than_the_last_look() {
        let start = start();
        let used = start.wall.before(HOUR).millis();
        let mut row = desktop(State::Running, used, None);
        let mut ages = Ages::default();
        ages.look(std::slice::from_ref(&row), start);
        // Used, then the clock was put forward by a day.
        row.last_used = Some(start.wall.after(Duration::from_secs(5)));
        let later = clocks(start, Duration::from_secs(10), 86_400_000);
        assert_eq!(ages.idle(&row, later), Duration::from_secs(10));
        ages.look(std::slice::from_ref(&row), later);
        assert_eq!(ages.idle(&row, later), Duration::from_secs(10));
        // Put back by a day: used in the future is used now.
        row.last_used = Some(later.wall);
        let back = clocks(start, Duration::from_secs(20), -86_400_000);
        ages.look(std::slice::from_ref(&row), back);
        assert_eq!(ages.idle(&row, back), Duration::ZERO);
    }

    #[test]
    fn awake_is_counted_from_where_it_was_seen() {
        let start = start();
        let mut row = desktop(State::Paused, start.wall.millis(), None);
        let mut ages = Ages::default();
        ages.look(std::slice::from_ref(&row), start);
        let later = clocks(start, HOUR, 0);
        assert_eq!(ages.awake(&row, later), Duration::ZERO);
        row.status = State::Running;
        ages.look(std::slice::from_ref(&row), later);
        let still = clocks(start, 2 * HOUR, 0);
        assert_eq!(ages.awake(&row, still), HOUR);
        ages.look(&[], still);
        assert_eq!(ages.awake(&row, still), Duration::ZERO, "forgotten");
    }
}
