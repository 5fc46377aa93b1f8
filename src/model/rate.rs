//! How often something may happen: so many times in a period.

use std::num::NonZeroU32;
use std::time::Duration;

/// So many times in a period: all at once, or spread over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    period: Duration,
}

impl Rate {
    /// `count` times in `period`.
    #[must_use]
    pub const fn new(count: NonZeroU32, period: Duration) -> Self {
        Self { count, period }
    }

    /// How many times.
    #[must_use]
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }

    /// The period's share of one time.
    #[must_use]
    pub fn pause(self) -> Duration {
        self.period / self.count.get()
    }
}
