//! Points in time as the database keeps them and as answers show them.

use std::time::Duration;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use serde::{Serialize, Serializer};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This time plus `span`, saturating.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span_millis(span)))
    }

    /// This time minus `span`, saturating.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span_millis(span)))
    }

    /// How much later this is than `earlier`; nothing if it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
    }
}

fn span_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        let millis = time.unix_timestamp_nanos() / 1_000_000;
        Self(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

/// Text that is not a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time in the form of RFC 3339")]
pub struct InvalidTime;

impl std::str::FromStr for Timestamp {
    type Err = InvalidTime;

    /// RFC 3339, or a day, which begins at midnight UTC.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let midnight = format!("{text}T00:00:00Z");
        let full = if text.len() == 10 { &midnight } else { text };
        let time = OffsetDateTime::parse(full, &Rfc3339).map_err(|_| InvalidTime)?;
        Ok(time.into())
    }
}

impl std::fmt::Display for Timestamp {
    /// RFC 3339, UTC; a time that the calendar cannot hold is shown as its milliseconds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_rfc_3339_in_utc() {
        assert_eq!(
            Timestamp::from_millis(1_700_000_000_123).to_string(),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(
            Timestamp::from_millis(i64::MAX).to_string(),
            i64::MAX.to_string()
        );
    }

    #[test]
    fn read_from_rfc_3339_or_a_day() {
        let read = |text: &str| text.parse().map(Timestamp::millis);
        assert_eq!(read("2023-11-14T22:13:20.123Z"), Ok(1_700_000_000_123));
        assert_eq!(read("2023-11-14T23:13:20+01:00"), Ok(1_700_000_000_000));
        assert_eq!(read("2023-11-14"), Ok(1_699_920_000_000));
        for wrong in ["", "yesterday", "2023-11-1", "2023-13-14", "1700000000"] {
            assert_eq!(read(wrong), Err(InvalidTime), "{wrong}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.after(Duration::from_secs(1)), end);
        assert_eq!(
            Timestamp::from_millis(5000).before(Duration::from_secs(2)),
            Timestamp::from_millis(3000)
        );
    }
}
