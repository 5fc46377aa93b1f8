//! The `hours` of a template in `deskgate.toml`, and how they become [`Hours`].

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::table::Table;
use crate::model::hours::{Hours, Window};

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// The hours of a template, if it has any.
pub(super) fn read(table: &mut Table<'_>) -> Option<Hours> {
    let windows = table.table_or_tables("hours", window)?;
    if windows.is_empty() {
        table.wrong("hours", Some("[]".to_owned()), "one table at least");
    }
    Some(Hours::new(windows))
}

fn window(table: &mut Table<'_>) -> Window {
    let zone = "a time zone such as Europe/Berlin";
    let zone = needed(table, "timezone", zone, |text| TimeZone::get(text).ok());
    let expected = "mon to sun, or ranges such as mon-fri";
    let days = table.texts("days", expected, |text| range(text).is_some());
    if days.as_ref().is_some_and(Vec::is_empty) {
        table.wrong("days", None, "is empty; without it every day is meant");
    }
    let days = match days {
        Some(days) => days
            .iter()
            .filter_map(|text| range(text))
            .flatten()
            .collect(),
        None => DAYS.map(|(_, day)| day).to_vec(),
    };
    let time = "a time from 00:00 to 24:00";
    let from = needed(table, "from", time, minute);
    let to = needed(table, "to", time, minute);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        let expected = "should be later than `from`; hours over midnight are two tables, to 24:00 and from 00:00";
        table.wrong("to", None, expected);
    }
    Window {
        zone: zone.unwrap_or(TimeZone::UTC),
        days,
        from: from.unwrap_or_default(),
        to: to.unwrap_or_default(),
    }
}

/// What has to be there.
fn needed<T>(
    table: &mut Table<'_>,
    key: &'static str,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let mut found = false;
    let value = table.read(key, expected, |value| {
        found = true;
        value.as_str().and_then(parse)
    });
    if !found {
        table.wrong(key, None, &format!("is missing; it should be {expected}"));
    }
    value
}

/// `mon`, or `mon-fri`; a range may go over the end of the week.
fn range(text: &str) -> Option<Vec<Weekday>> {
    let index = |name: &str| DAYS.iter().position(|(day, _)| *day == name);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (index(first)?, index(last)?);
    let count = (last + 7 - first) % 7 + 1;
    Some(
        DAYS.iter()
            .cycle()
            .skip(first)
            .take(count)
            .map(|(_, day)| *day)
            .collect(),
    )
}

/// `07:30` as a minute of the day; `24:00` is its end.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| -> Option<u16> {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let whole = 60 * hour + minute;
    (minute < 60 && whole <= 24 * 60).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where mistakes are in this text.
    fn mistakes(text: &str) -> Vec<String> {
        let mut mistakes = Vec::new();
        let values = text.parse().expect("TOML");
        let mut table = Table::new("t".into(), values, &mut mistakes);
        assert!(read(&mut table).is_some());
        table.finish();
        mistakes
            .iter()
            .map(|mistake| mistake.key.trim_start_matches("t, hours 1, ").to_owned())
            .collect()
    }

    #[test]
    fn every_mistake_is_told_with_its_field() {
        let good = "hours = { timezone = 'Europe/Berlin', days = ['mon-fri', 'sun'], from = '07:00', to = '24:00' }";
        assert_eq!(mistakes(good), Vec::<String>::new());
        let list = "[[hours]]\ntimezone='UTC'\ndays=['sat-mon']\nfrom='00:00'\nto='00:01'\n";
        assert_eq!(mistakes(list), Vec::<String>::new());
        let bad = "hours = { timezone = 'Europe/Berlim', days = ['Mon', 'fri'], from = '7:00', to = '24:01', at = 1 }";
        assert_eq!(mistakes(bad), ["timezone", "days", "from", "to", "at"]);
        let over = "hours = { timezone = 'UTC', days = [], from = '22:00', to = '06:00' }";
        assert_eq!(mistakes(over), ["days", "to"]);
        assert_eq!(mistakes("hours = {}"), ["timezone", "from", "to"]);
        assert_eq!(mistakes("hours = []"), ["t, hours"]);
    }

    #[test]
    fn ranges_go_round_the_week() {
        use Weekday::{Friday, Monday, Saturday, Sunday};
        assert_eq!(
            range("fri-mon"),
            Some(vec![Friday, Saturday, Sunday, Monday])
        );
        assert_eq!(range("sat"), Some(vec![Saturday]));
        for wrong in ["", "mon-", "monday", "mon-fri-sun"] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }
}
