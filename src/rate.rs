//! How often somebody may do something: the algorithm is `governor`'s (GCRA), and the table of who did it is
//! ours, so that it is bounded whoever comes.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::ops::Add;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as Timing, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::model::rate::Rate;
use crate::model::time::Timestamp;

/// Keys that are told apart, about 5 MB for addresses. What comes on top shares one place.
pub const MAX_KEYS: usize = 65_536;
/// How often a full table is searched for keys that are as good as new.
const CLEAN_PAUSE: Duration = Duration::from_secs(1);

/// How often the audit log is told of the same refusal of the same somebody, since a program in a loop could
/// fill it.
pub const NEWS: Rate = Rate::new(NonZeroU32::MIN, Duration::from_secs(60));

/// It was too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too often; the next time is in {} s", .after.as_secs())]
pub struct TooOften {
    /// How long until the next time, at least.
    pub after: Duration,
}

impl TooOften {
    /// `Retry-After` in whole seconds (RFC 9110 section 10.2.3): who waits that long is let through.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        let whole = self.after.as_millis().div_ceil(1000).max(1);
        u32::try_from(whole).unwrap_or(u32::MAX)
    }
}

/// Lets each key do something so and so often.
#[derive(Debug)]
pub struct Limiter<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, Table<K>, Time, NoOpMiddleware<Moment>>,
    /// When the full table was last searched, milliseconds of `limiter`'s time.
    cleaned: AtomicI64,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// Each key may do it at this rate: all of it at once, or spread over time.
    #[must_use]
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        let quota = Quota::with_period(rate.pause())
            .unwrap_or_else(|| Quota::per_second(rate.count()))
            .allow_burst(rate.count());
        Self {
            limiter: RateLimiter::new(quota, Table::default(), Time::new(clock)),
            cleaned: AtomicI64::new(i64::MIN),
        }
    }

    /// Counts one more time for `key`, unless that is too often.
    pub fn check(&self, key: &K) -> Result<(), TooOften> {
        self.make_room();
        self.limiter.check_key(key).map_err(|refused| TooOften {
            after: refused.wait_time_from(self.limiter.clock().now()),
        })
    }

    /// Keys that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.limiter.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limiter.is_empty()
    }

    fn make_room(&self) {
        if self.limiter.len() < MAX_KEYS {
            return;
        }
        let Moment(now) = self.limiter.clock().now();
        let last = self.cleaned.load(Ordering::Relaxed);
        if now >= Timestamp::from_millis(last).after(CLEAN_PAUSE) {
            self.cleaned.store(now.millis(), Ordering::Relaxed);
            self.limiter.retain_recent();
        }
    }
}

/// Our clock as `governor` needs it: where it is set back, time stands still for a moment, or those who had
/// used up their rate would have to wait until the old time comes again.
#[derive(Debug)]
struct Time {
    clock: Arc<dyn Clock>,
    /// The clock's last reading, and the time that we count.
    last: Mutex<(Timestamp, Timestamp)>,
}

impl Time {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let last = Mutex::new((clock.timestamp(), Timestamp::default()));
        Self { clock, last }
    }
}

/// Milliseconds of [`Time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Timestamp);

impl Timing for Time {
    type Instant = Moment;

    fn now(&self) -> Moment {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.clock.timestamp();
        let passed = read.millis().saturating_sub(last.0.millis());
        let passed = Duration::from_millis(u64::try_from(passed).unwrap_or_default());
        *last = (read, last.1.after(passed));
        Moment(last.1)
    }
}

impl Add<Nanos> for Moment {
    type Output = Self;

    /// Rounded up, so that nobody is told to come back too early.
    fn add(self, span: Nanos) -> Self {
        let millis = span.as_u64().div_ceil(1_000_000);
        Self(self.0.after(Duration::from_millis(millis)))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        let millis = self.0.millis().saturating_sub(earlier.0.millis());
        let millis = u64::try_from(millis).unwrap_or_default();
        Nanos::from(millis.saturating_mul(1_000_000))
    }

    fn saturating_sub(&self, span: Nanos) -> Self {
        Self(self.0.before(span.into()))
    }
}

/// Until when each key has used up its rate.
#[derive(Debug)]
struct Table<K>(Mutex<Entries<K>>);

#[derive(Debug)]
struct Entries<K> {
    known: HashMap<K, Nanos>,
    /// Of all for whom there was no room.
    others: Option<Nanos>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self(Mutex::new(Entries {
            known: HashMap::new(),
            others: None,
        }))
    }
}

impl<K> Table<K> {
    /// A panic cannot leave an entry half changed.
    fn lock(&self) -> MutexGuard<'_, Entries<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> StateStore for Table<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut entries = self.lock();
        if let Some(state) = entries.known.get_mut(key) {
            let (outcome, next) = measure(Some(*state))?;
            *state = next;
            return Ok(outcome);
        }
        if entries.known.len() < MAX_KEYS {
            let (outcome, next) = measure(None)?;
            entries.known.insert(key.clone(), next);
            return Ok(outcome);
        }
        let (outcome, next) = measure(entries.others)?;
        entries.others = Some(next);
        Ok(outcome)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Table<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        let mut entries = self.lock();
        entries.known.retain(|_, state| *state > drop_below);
        entries.known.shrink_to(MAX_KEYS / 4);
    }

    fn len(&self) -> usize {
        self.lock().known.len()
    }

    fn is_empty(&self) -> bool {
        self.lock().known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ::time::OffsetDateTime;

    use super::*;

    #[derive(Debug, Default)]
    struct HandClock(AtomicI64);

    impl HandClock {
        fn forward(&self, millis: i64) {
            self.0.fetch_add(millis, Ordering::Relaxed);
        }
    }

    impl Clock for HandClock {
        fn now(&self) -> OffsetDateTime {
            let millis = i128::from(self.0.load(Ordering::Relaxed));
            OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).expect("a time")
        }
    }

    fn limiter<K: Hash + Eq + Clone>(rate: &str) -> (Limiter<K>, Arc<HandClock>) {
        let clock = Arc::new(HandClock(AtomicI64::new(1_700_000_000_000)));
        let rate = crate::config::parse::rate(rate).expect("a rate");
        (Limiter::new(rate, clock.clone()), clock)
    }

    #[test]
    fn all_at_once_and_then_one_by_one() {
        let (limiter, clock) = limiter("3/1m");
        for _ in 0..3 {
            assert_eq!(limiter.check(&1), Ok(()));
        }
        let refused = limiter.check(&1).expect_err("the fourth");
        assert_eq!(refused.seconds(), 20);
        assert_eq!(limiter.check(&2), Ok(()), "others are not concerned");
        clock.forward(19_999);
        assert_eq!(limiter.check(&1).expect_err("too early").seconds(), 1);
        clock.forward(1);
        assert_eq!(limiter.check(&1), Ok(()));
        assert!(limiter.check(&1).is_err(), "one, not three");
        clock.forward(60_000);
        assert_eq!((0..9).filter(|_| limiter.check(&1).is_ok()).count(), 3);
    }

    #[test]
    fn whoever_waits_as_long_as_told_is_let_through() {
        for rate in ["1/1s", "7/1m", "600/5m", "1000/1s", "13/1h", "3/1s"] {
            let (limiter, clock) = limiter(rate);
            while limiter.check(&()).is_ok() {}
            for _ in 0..20 {
                clock.forward(37);
                if let Err(refused) = limiter.check(&()) {
                    clock.forward(i64::from(refused.seconds()) * 1000);
                    assert_eq!(limiter.check(&()), Ok(()), "{rate}");
                }
            }
        }
    }

    #[test]
    fn a_school_logs_in_within_five_minutes() {
        let (limiter, clock) = limiter("600/5m");
        let let_in = (0..300).filter(|_| limiter.check(&"school").is_ok());
        assert_eq!(let_in.count(), 300, "all at the same moment");
        for pupil in 0..600 {
            clock.forward(500);
            assert_eq!(limiter.check(&"school"), Ok(()), "{pupil}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_longer() {
        let (limiter, clock) = limiter("2/1m");
        clock.forward(10_000_000);
        while limiter.check(&1).is_ok() {}
        clock.forward(-20_000_000);
        assert_eq!(limiter.check(&1).expect_err("used up").seconds(), 30);
        clock.forward(30_000);
        assert_eq!(limiter.check(&1), Ok(()));
    }

    #[test]
    fn a_hundred_thousand_addresses_are_bounded_and_forgotten() {
        let (limiter, clock) = limiter::<Ipv4Addr>("2/1m");
        let known = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(limiter.check(&known), Ok(()));
        let mut refused = 0;
        for number in 0..100_000_u32 {
            let address = Ipv4Addr::from_bits(0x0a00_0000 + number);
            refused += usize::from(limiter.check(&address).is_err());
        }
        assert_eq!(limiter.len(), MAX_KEYS);
        // All that found no room shared one place.
        assert_eq!(refused, 100_001 - MAX_KEYS - 2);
        assert_eq!(
            limiter.check(&known),
            Ok(()),
            "the table's own are not concerned"
        );
        assert!(limiter.check(&known).is_err());
        clock.forward(100_000);
        assert_eq!(limiter.check(&Ipv4Addr::LOCALHOST), Ok(()));
        assert_eq!(limiter.len(), 1, "what is as good as new is forgotten");
    }
}
