//! Time, passed in: everything that asks for the time takes a [`Clock`], so that tests can move it.

use std::fmt::Debug;
use std::time::{Instant, SystemTime};

use time::OffsetDateTime;

use crate::model::time::Timestamp;

/// Where the time comes from.
pub trait Clock: Send + Sync + Debug {
    /// The current wall-clock time, UTC.
    fn now(&self) -> OffsetDateTime;

    /// The current time as the database stores it.
    fn timestamp(&self) -> Timestamp {
        Timestamp::from(self.now())
    }

    /// The same moment on a clock that nobody can set, for how long something has lasted. It stands still
    /// while the machine sleeps.
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    /// Every request asks for it, and none needs a calendar for that.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn timestamp(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Timestamp::default().after(since.unwrap_or_default())
    }
}
