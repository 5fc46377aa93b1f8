//! When a certificate is due, and how long to leave an authority alone after a failure.

use std::time::Duration;

use crate::server::certificate::Facts;

/// A certificate is renewed when this part of its lifetime is left, one third.
const LEFT: i64 = 3;
/// Renewals are spread over this part of it, one thirtieth (three days of ninety).
const SPREAD: i64 = 30;
/// The pause after a first failure. With those that follow, an hour has five attempts, which authorities allow.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(120);
/// The longest pause of our own accord.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// The longest one that an authority may ask for.
const LONGEST_WISH: Duration = Duration::from_secs(7 * 24 * 3600);

/// Whether it is time for another one. `share` is this gateway's place in the spread, in thousandths.
pub(super) fn is_due(facts: Option<&Facts>, now: i64, share: u32) -> bool {
    let Some(facts) = facts.filter(|facts| !facts.self_signed) else {
        return true;
    };
    let lifetime = facts.ends - facts.begins;
    let spread = lifetime / SPREAD * i64::from(share) / 1000;
    facts.ends - now <= lifetime / LEFT + spread
}

/// How long nothing is tried after so many failures in a row, while the certificate in use, if there is a good one, is
/// so for `left` more seconds and the authority asked for a pause of `told`.
pub(super) fn pause(
    failures: u32,
    left: Option<i64>,
    told: Option<Duration>,
    share: u32,
) -> Duration {
    let doubled = FIRST_PAUSE * 2u32.saturating_pow(failures.saturating_sub(1).min(16));
    let mut pause = doubled.min(LONGEST_PAUSE);
    // What is good for a day only cannot wait for six hours.
    if let Some(left) = left {
        let left = Duration::from_secs(left.try_into().unwrap_or_default());
        pause = pause.min((left / 10).max(FIRST_PAUSE * 8));
    }
    pause += pause / 5 * share / 1000;
    pause.max(told.unwrap_or_default().min(LONGEST_WISH))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn facts(days: i64) -> Facts {
        Facts {
            begins: 0,
            ends: days * DAY,
            self_signed: false,
            fingerprint: String::new(),
        }
    }

    #[test]
    fn a_third_before_its_end_it_is_due() {
        let long = facts(90);
        assert!(is_due(None, 0, 0));
        for (day, share, due) in [
            (0, 999, false),
            (56, 999, false),
            (58, 999, true),
            (58, 0, false),
            (59, 0, false),
            (60, 0, true),
            (200, 0, true),
        ] {
            assert_eq!(is_due(Some(&long), day * DAY, share), due, "{day} {share}");
        }
        assert!(!is_due(Some(&facts(1)), DAY / 2, 0));
        assert!(is_due(Some(&facts(1)), DAY * 2 / 3, 0));
        let own = Facts {
            self_signed: true,
            ..facts(9000)
        };
        assert!(is_due(Some(&own), 0, 0));
    }

    #[test]
    fn pauses_grow_to_a_limit_and_are_never_shorter_than_the_authority_asks() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let hours = |count: u64| minutes(60 * count);
        for (failures, left, told, expected) in [
            (1, None, None, minutes(2)),
            (2, None, None, minutes(4)),
            (6, None, None, minutes(64)),
            (9, None, None, hours(6)),
            (u32::MAX, None, None, hours(6)),
            (9, Some(30 * DAY), None, hours(6)),
            (9, Some(DAY / 3), None, minutes(48)),
            (9, Some(-DAY), None, minutes(16)),
            (1, None, Some(hours(3)), hours(3)),
            (9, None, Some(minutes(1)), hours(6)),
            (1, None, Some(hours(9000)), LONGEST_WISH),
        ] {
            assert_eq!(
                pause(failures, left, told, 0),
                expected,
                "{failures} {left:?}"
            );
        }
        assert!(pause(5, None, None, 999) > pause(5, None, None, 0));
        let hour = (1..).scan(Duration::ZERO, |at, failures| {
            *at += pause(failures, None, None, 0);
            Some(*at)
        });
        assert_eq!(1 + hour.take_while(|at| *at < hours(1)).count(), 5);
    }
}
