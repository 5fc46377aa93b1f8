//! Reads a TOML table key by key. What is wrong is noted with its key and what was found, and the reading
//! goes on, so that all mistakes of a table are reported together.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Value;

use super::mistake::Mistake;
use super::parse;

/// A table of which each key is taken once; what is left at the end is unknown.
pub(super) struct Table<'a> {
    /// How the table is called in mistakes.
    name: String,
    values: toml::Table,
    known: Vec<&'static str>,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Table<'a> {
    pub(super) fn new(name: String, values: toml::Table, mistakes: &'a mut Vec<Mistake>) -> Self {
        Self {
            name,
            values,
            known: Vec::new(),
            mistakes,
        }
    }

    /// Notes that what stands at `key` is not what it should be.
    pub(super) fn wrong(&mut self, key: &str, found: Option<String>, expected: &str) {
        self.mistakes.push(Mistake {
            key: format!("{}, {key}", self.name),
            found,
            expected: expected.to_owned(),
        });
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.values.remove(key)
    }

    /// The value at `key` as `read` understands it; a mistake if it does not.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let read = read(&value);
        if read.is_none() {
            self.wrong(key, Some(shown(&value)), expected);
        }
        read
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.read(key, expected, |value| value.as_str().and_then(parse))
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// A whole number from `low` to `high`.
    pub(super) fn number<T: TryFrom<i64> + PartialOrd + std::fmt::Display>(
        &mut self,
        key: &'static str,
        (low, high): (T, T),
    ) -> Option<T> {
        let expected = format!("a whole number from {low} to {high}");
        self.read(key, &expected, |value| {
            let number = T::try_from(value.as_integer()?).ok()?;
            (number >= low && number <= high).then_some(number)
        })
    }

    /// A size of at least 1 MiB, as the docker client writes them.
    pub(super) fn size(&mut self, key: &'static str) -> Option<u64> {
        self.parsed(key, "a size of at least 1m, as in 512m or 2g", |text| {
            parse::byte_size(text).filter(|size| *size >= 1 << 20)
        })
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.parsed(key, "a duration such as 90s, 15m or 6h", |text| {
            parse::duration(text).filter(|span| !span.is_zero())
        })
    }

    /// One of these words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        self.parsed(key, &format!("one of {}", names.join(", ")), |text| {
            let known = words.iter().find(|(name, _)| *name == text);
            known.map(|(_, value)| *value)
        })
    }

    /// A list of texts that are all as `fits` wants them; each that is not is a mistake of its own.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        expected: &str,
        fits: impl Fn(&str) -> bool,
    ) -> Option<Vec<String>> {
        let list = self.read(key, &format!("a list of {expected}"), |value| {
            value.as_array().cloned()
        })?;
        let mut texts = Vec::with_capacity(list.len());
        for value in list {
            match value.as_str().filter(|text| fits(text)) {
                Some(text) => texts.push(text.to_owned()),
                None => self.wrong(key, Some(shown(&value)), expected),
            }
        }
        Some(texts)
    }

    /// A table of texts whose names and values are as `fits` wants them.
    pub(super) fn pairs(
        &mut self,
        key: &'static str,
        expected: &str,
        fits: impl Fn(&str, &str) -> bool,
    ) -> Option<BTreeMap<String, String>> {
        let table = self.read(key, &format!("a table of {expected}"), |value| {
            value.as_table().cloned()
        })?;
        let mut pairs = BTreeMap::new();
        for (name, value) in table {
            match value.as_str().filter(|text| fits(&name, text)) {
                Some(text) => {
                    pairs.insert(name, text.to_owned());
                }
                None => self.wrong(key, Some(format!("{name} = {}", shown(&value))), expected),
            }
        }
        Some(pairs)
    }

    /// A table within this one.
    pub(super) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'_>) -> T,
    ) -> Option<T> {
        let values = self.read(key, "a table", |value| value.as_table().cloned())?;
        let name = format!("{}, {key}", self.name);
        Some(inner(name, values, self.mistakes, read))
    }

    /// A list of tables within this one.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        read: impl FnMut(&mut Table<'_>) -> T,
    ) -> Option<Vec<T>> {
        let list = self.read(key, "a list of tables", all_tables)?;
        Some(self.each(key, list, read))
    }

    /// A table within this one, or a list of them.
    pub(super) fn table_or_tables<T>(
        &mut self,
        key: &'static str,
        read: impl FnMut(&mut Table<'_>) -> T,
    ) -> Option<Vec<T>> {
        let list = self.read(key, "a table, or a list of tables", |value| match value {
            Value::Table(table) => Some(vec![table.clone()]),
            value => all_tables(value),
        })?;
        Some(self.each(key, list, read))
    }

    fn each<T>(
        &mut self,
        key: &'static str,
        list: Vec<toml::Table>,
        mut read: impl FnMut(&mut Table<'_>) -> T,
    ) -> Vec<T> {
        let mut read_one = |(index, values)| {
            let name = format!("{}, {key} {}", self.name, index + 1);
            inner(name, values, self.mistakes, &mut read)
        };
        list.into_iter().enumerate().map(&mut read_one).collect()
    }

    /// Takes every key that nobody asked for as a mistake.
    pub(super) fn finish(mut self) {
        let expected = format!("is not a field; the fields are {}", self.known.join(", "));
        for key in std::mem::take(&mut self.values)
            .into_iter()
            .map(|(key, _)| key)
        {
            self.wrong(&key, None, &expected);
        }
    }
}

fn all_tables(value: &Value) -> Option<Vec<toml::Table>> {
    let tables = value.as_array()?.iter();
    tables.map(|value| value.as_table().cloned()).collect()
}

fn inner<T>(
    name: String,
    values: toml::Table,
    mistakes: &mut Vec<Mistake>,
    read: impl FnOnce(&mut Table<'_>) -> T,
) -> T {
    let mut table = Table::new(name, values, mistakes);
    let read = read(&mut table);
    table.finish();
    read
}

/// A value as its author wrote it, cut to what an error message can hold.
fn shown(value: &Value) -> String {
    let written = || serde_json::to_string(value).unwrap_or_default();
    let text = value.as_str().map_or_else(written, str::to_owned);
    text.chars().take(80).collect()
}
