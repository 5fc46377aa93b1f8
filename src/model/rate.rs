//! How often something may happen: so many times in a period.

use std::num::NonZeroU32;
use std::time::Duration;

use super::time::Timestamp;

/// How much too early a time may come, at the most: whoever waits as long as one gateway tells them is counted by that one
/// first, and a little later here.
const SLACK: Duration = Duration::from_secs(1);

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

    /// One more time at `now` for somebody who has used the rate up until `used`: until when they have then, or how long they
    /// have to wait. This is GCRA as [`crate::rate`] has it, for a state that several processes share.
    ///
    /// # Errors
    /// How long they have to wait; whoever does is let through.
    pub fn count_one(self, used: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Duration> {
        let pause = self.pause().max(Duration::from_millis(1));
        let whole = pause.saturating_mul(self.count.get());
        // A clock that was set back, or a rate that was a slower one, makes nobody wait for longer than after all of it.
        let used = used.unwrap_or(now).clamp(now, now.after(whole));
        let next = used.after(pause);
        if next > now.after(whole + SLACK.min(pause / 2)) {
            return Err(next.since(now.after(whole)));
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).after(Duration::from_millis(millis))
    }

    #[test]
    fn all_at_once_and_then_one_by_one() {
        let rate = Rate::new(NonZeroU32::new(3).expect("three"), MINUTE);
        let mut used = None;
        for _ in 0..3 {
            used = Some(rate.count_one(used, at(0)).expect("three are granted"));
        }
        assert_eq!(rate.count_one(used, at(0)), Err(MINUTE / 3));
        assert_eq!(rate.count_one(used, at(15_000)), Err(MINUTE / 12));
        // Who waits as long as told is let through, and so is who was counted a little earlier elsewhere.
        assert!(rate.count_one(used, at(19_000)).is_ok());
        let used = Some(rate.count_one(used, at(20_000)).expect("one more"));
        assert_eq!(rate.count_one(used, at(20_000)), Err(MINUTE / 3));
        assert!(rate.count_one(used, at(200_000)).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_longer() {
        let rate = Rate::new(NonZeroU32::MIN, MINUTE);
        let used = rate.count_one(None, at(10_000_000)).expect("the first");
        assert_eq!(rate.count_one(Some(used), at(0)), Err(MINUTE));
    }

    #[test]
    fn a_rate_finer_than_a_millisecond_is_one() {
        let rate = Rate::new(NonZeroU32::MAX, Duration::from_secs(1));
        let used = rate.count_one(None, at(0)).expect("the first");
        assert_eq!(used, at(1));
    }
}
