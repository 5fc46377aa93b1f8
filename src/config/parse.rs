//! How single values are written: durations, rates, sizes, port ranges, lists.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use url::Url;

use crate::model::rate::Rate;

/// `90s`, `15m`, `6h`, `7d`; whole numbers only.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = whole(number)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// `10/1m`: ten times in a minute; `10/m` is the same. At most a million times, at most a day.
#[must_use]
pub fn rate(text: &str) -> Option<Rate> {
    let (count, period) = text.split_once('/')?;
    let count = u32::try_from(whole(count)?).ok()?;
    let period = duration(period).or_else(|| duration(&format!("1{period}")))?;
    let fits = count <= 1_000_000 && (1..=86_400).contains(&period.as_secs());
    let count = NonZeroU32::new(count)?;
    fits.then(|| Rate::new(count, period))
}

/// Bytes with an optional unit `k`, `m` or `g` (powers of 1024), as the docker client writes them.
#[must_use]
pub fn byte_size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    for (unit, shift) in [("k", 10), ("m", 20), ("g", 30)] {
        if let Some(number) = lower.strip_suffix(unit) {
            return whole(number)?.checked_mul(1 << shift);
        }
    }
    whole(lower)
}

/// `7000-8000`, both ends included.
#[must_use]
pub fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

/// Comma-separated names, blanks around them ignored.
#[must_use]
pub fn names(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `https://host[:port]` without a path; `http://` for this machine only.
#[must_use]
pub fn origin(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    // Browsers treat this machine as safe without TLS; anywhere else our cookies would not work.
    let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let safe = url.scheme() == "https" || (url.scheme() == "http" && here);
    (safe && url.has_host() && bare && nobody).then_some(url)
}

fn whole(text: &str) -> Option<u64> {
    // `u64::from_str` would take a plus sign.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Some(Duration::from_secs(900)));
        assert_eq!(duration("6h"), Some(Duration::from_secs(21600)));
        for wrong in [
            "",
            "s",
            "5",
            "1.5h",
            "-1s",
            "+1s",
            "5 m",
            "99999999999999999999s",
            "9ü",
        ] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rates() {
        let pause = |text| rate(text).map(|rate| (rate.count().get(), rate.pause()));
        assert_eq!(pause("10/1m"), Some((10, Duration::from_secs(6))));
        assert_eq!(pause("10/m"), pause("10/1m"));
        assert_eq!(pause("600/5m"), Some((600, Duration::from_millis(500))));
        for wrong in [
            "",
            "10",
            "10/",
            "/1m",
            "0/1m",
            "10/0s",
            "-1/1m",
            "1.5/1m",
            "10/1",
            "10 / 1m",
            "10/2d",
            "2000000/1s",
        ] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(byte_size("512m"), Some(512 << 20));
        assert_eq!(byte_size("2GB"), Some(2 << 30));
        assert_eq!(byte_size("1000"), Some(1000));
        for wrong in ["", "m", "1.5g", "1t", "99999999999999999999g"] {
            assert_eq!(byte_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn port_ranges() {
        assert_eq!(port_range("7000-8000"), Some(7000..=8000));
        assert_eq!(port_range("7000 - 7000"), Some(7000..=7000));
        for wrong in ["", "7000", "8000-7000", "0-10", "1-70000"] {
            assert_eq!(port_range(wrong), None, "{wrong}");
        }
    }
}
