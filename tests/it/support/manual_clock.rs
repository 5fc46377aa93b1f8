//! A clock that runs like the machine's and that tests move: both of its faces, as time that passes, or the one
//! on the wall alone, as somebody who sets it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use deskgate::clock::{Clock, SystemClock};
use time::OffsetDateTime;

#[derive(Debug, Default)]
pub struct ManualClock(Mutex<(time::Duration, Duration)>);

impl ManualClock {
    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let mut moved = self.0.lock().unwrap();
        moved.0 += by;
        moved.1 += by;
    }

    /// Somebody sets the clock on the wall.
    pub fn jump(&self, hours: i64) {
        self.0.lock().unwrap().0 += time::Duration::hours(hours);
    }

    /// Sets the clock on the wall to this moment.
    pub fn set(&self, to: OffsetDateTime) {
        let off = to - self.now();
        self.0.lock().unwrap().0 += off;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + self.0.lock().unwrap().0
    }

    fn instant(&self) -> Instant {
        Instant::now() + self.0.lock().unwrap().1
    }
}
