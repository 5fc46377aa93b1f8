//! Opening hours: when desktops of a template may run. Whatever a time zone does to the clocks, a day's hours
//! are those that the clock on the wall shows there.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use super::time::Timestamp;

/// How many days ahead an opening or closing is looked for: a week, and a day for either end.
const DAYS: usize = 9;
/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// When a template is open: during any of the windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours(Vec<Window>);

/// The same hours on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Where the clock hangs.
    pub zone: TimeZone,
    /// On these days.
    pub days: Vec<Weekday>,
    /// From this minute of the day.
    pub from: u16,
    /// To this minute of the day, not included; at most the end of the day.
    pub to: u16,
}

/// Whether it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It is, until then if it ever closes.
    Open(Option<Timestamp>),
    /// It is not, until then if it ever opens.
    Closed(Option<Timestamp>),
}

impl Hours {
    /// Open during any of these.
    #[must_use]
    pub const fn new(windows: Vec<Window>) -> Self {
        Self(windows)
    }

    /// Whether it is open at `now`, and when that changes.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Door {
        let spans = self.spans(now);
        let horizon = spans.last().map(|span| span.1);
        match spans.iter().find(|span| span.1 > now) {
            // What reaches to the end of what was looked at does not close.
            Some(span) if span.0 <= now => {
                Door::Open(Some(span.1).filter(|end| spans.len() > 1 || Some(*end) != horizon))
            }
            Some(span) => Door::Closed(Some(span.0)),
            None => Door::Closed(None),
        }
    }

    /// A moment as the clock on the wall shows it.
    #[must_use]
    pub fn local(&self, moment: Timestamp) -> String {
        let zone = self
            .0
            .first()
            .map_or(TimeZone::UTC, |window| window.zone.clone());
        let name = zone.iana_name().unwrap_or("UTC").to_owned();
        jiff::Timestamp::from_millisecond(moment.millis()).map_or_else(
            |_| moment.millis().to_string(),
            |moment| {
                let local = moment.to_zoned_datetime(zone);
                format!("{} ({name})", local.strftime("%Y-%m-%d %H:%M"))
            },
        )
    }

    /// The spans of time around `now` in which it is open, in order; those that touch are one.
    fn spans(&self, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let mut spans: Vec<_> = self.0.iter().flat_map(|window| window.spans(now)).collect();
        spans.sort_unstable();
        let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
        for span in spans {
            match merged.last_mut() {
                Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
                _ => merged.push(span),
            }
        }
        merged
    }
}

impl Window {
    fn spans(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let today = jiff::Timestamp::from_millisecond(now.millis())
            .ok()
            .map(|now| now.to_zoned_datetime(self.zone.clone()).date());
        let first = today.and_then(|day| day.yesterday().ok());
        let days = std::iter::successors(first, |day| day.tomorrow().ok()).take(DAYS + 1);
        days.filter(|day| self.days.contains(&day.weekday()))
            .filter_map(|day| Some((self.moment(day, self.from)?, self.moment(day, self.to)?)))
    }

    /// A minute of a day. One that the clocks leave out is as much later as they are put forward; of one that
    /// comes twice, the first is meant.
    fn moment(&self, day: Date, minute: u16) -> Option<Timestamp> {
        let (day, minute) = if minute < DAY {
            (day, minute)
        } else {
            (day.tomorrow().ok()?, 0)
        };
        let (hour, minute) = (
            i8::try_from(minute / 60).ok()?,
            i8::try_from(minute % 60).ok()?,
        );
        let local = day
            .at(hour, minute, 0, 0)
            .to_zoned_datetime(self.zone.clone());
        Some(Timestamp::from_millis(
            local.ok()?.timestamp().as_millisecond(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKDAYS: [Weekday; 5] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
    ];

    fn window(days: &[Weekday], from: u16, to: u16) -> Window {
        Window {
            zone: TimeZone::get("Europe/Berlin").expect("the zone is built in"),
            days: days.to_vec(),
            from,
            to,
        }
    }

    fn at(text: &str) -> Timestamp {
        let moment: jiff::Timestamp = text.parse().expect("a moment");
        Timestamp::from_millis(moment.as_millisecond())
    }

    fn open(until: &str) -> Door {
        Door::Open(Some(at(until)))
    }

    fn closed(until: &str) -> Door {
        Door::Closed(Some(at(until)))
    }

    #[test]
    fn a_school_week() {
        let hours = Hours::new(vec![window(&WORKDAYS, 7 * 60, 18 * 60)]);
        // Tuesday, 24 November 2026; winter time is one hour ahead of UTC.
        assert_eq!(
            hours.at(at("2026-11-24T05:59:59Z")),
            closed("2026-11-24T06:00:00Z")
        );
        assert_eq!(
            hours.at(at("2026-11-24T06:00:00Z")),
            open("2026-11-24T17:00:00Z")
        );
        assert_eq!(
            hours.at(at("2026-11-24T17:00:00Z")),
            closed("2026-11-25T06:00:00Z")
        );
        // Friday evening, and Saturday.
        assert_eq!(
            hours.at(at("2026-11-27T18:00:00Z")),
            closed("2026-11-30T06:00:00Z")
        );
        assert_eq!(
            hours.at(at("2026-11-28T09:00:00Z")),
            closed("2026-11-30T06:00:00Z")
        );
        assert_eq!(
            hours.local(at("2026-11-30T06:00:00Z")),
            "2026-11-30 07:00 (Europe/Berlin)"
        );
    }

    #[test]
    fn clocks_are_put_forward_and_back() {
        let sunday = [Weekday::Sunday];
        // 29 March 2026: the hour from 2 to 3 does not exist. 25 October 2026: it comes twice.
        let hours = Hours::new(vec![window(&sunday, 60, 4 * 60)]);
        assert_eq!(
            hours.at(at("2026-03-29T00:30:00Z")),
            open("2026-03-29T02:00:00Z")
        );
        assert_eq!(
            hours.at(at("2026-10-24T23:30:00Z")),
            open("2026-10-25T03:00:00Z")
        );
        let missing = Hours::new(vec![window(&sunday, 150, 240)]);
        assert_eq!(
            missing.at(at("2026-03-29T00:59:00Z")),
            closed("2026-03-29T01:30:00Z")
        );
        let twice = Hours::new(vec![window(&sunday, 150, 240)]);
        assert_eq!(
            twice.at(at("2026-10-25T00:29:00Z")),
            closed("2026-10-25T00:30:00Z")
        );
        // The same hours on the wall before and after.
        let week = Hours::new(vec![window(&WORKDAYS, 420, 1080)]);
        assert_eq!(
            week.at(at("2026-03-28T12:00:00Z")),
            closed("2026-03-30T05:00:00Z")
        );
        assert_eq!(
            week.at(at("2026-10-24T12:00:00Z")),
            closed("2026-10-26T06:00:00Z")
        );
    }

    #[test]
    fn windows_that_touch_are_one_and_some_never_close_or_open() {
        let all = [WORKDAYS.as_slice(), &[Weekday::Saturday, Weekday::Sunday]].concat();
        let always = Hours::new(vec![window(&all, 0, DAY)]);
        assert_eq!(always.at(at("2026-11-24T12:00:00Z")), Door::Open(None));
        // Over night, in two windows.
        let night = Hours::new(vec![
            window(&[Weekday::Friday], 20 * 60, DAY),
            window(&[Weekday::Saturday], 0, 2 * 60),
        ]);
        assert_eq!(
            night.at(at("2026-11-27T22:30:00Z")),
            open("2026-11-28T01:00:00Z")
        );
        assert_eq!(
            night.at(at("2026-11-28T01:00:00Z")),
            closed("2026-12-04T19:00:00Z")
        );
        let never = Hours::new(vec![window(&[], 0, DAY)]);
        assert_eq!(never.at(at("2026-11-24T12:00:00Z")), Door::Closed(None));
        // The only hours of the week are over.
        let once = Hours::new(vec![window(&[Weekday::Tuesday], 0, 60)]);
        assert_eq!(
            once.at(at("2026-11-24T12:00:00Z")),
            closed("2026-11-30T23:00:00Z")
        );
    }
}
