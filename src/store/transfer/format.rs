//! The file of an export: JSON Lines. A header, a line for each row, and a last line with how many there are, so that a file
//! that was cut off is known as one.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Counts, TransferError};
use crate::model::time::Timestamp;
use crate::store::schema::{Kind, Table};

/// The form of the file; rises when an older program could misunderstand it.
const FORMAT: u64 = 1;
/// The member of the header that says so.
const FORMAT_KEY: &str = "deskgate_export";
/// The longest line that is read, bytes.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    deskgate_export: u64,
    /// Number of the last migration that the database has had.
    migration: i64,
    exported_at: String,
    /// Of the program that wrote it.
    version: String,
    /// The columns of each table.
    tables: BTreeMap<String, Vec<String>>,
}

impl Header {
    pub fn new(tables: &[Table], migration: i64, now: Timestamp) -> Self {
        Self {
            deskgate_export: FORMAT,
            migration,
            exported_at: now.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tables: columns(tables),
        }
    }

    /// Whether a database with these tables can take all that is in the file.
    pub fn check(&self, tables: &[Table], migration: i64) -> Result<(), TransferError> {
        if self.migration != migration {
            return Err(TransferError::Header(format!(
                "it is of a database at migration {} (Deskgate {}), this program needs {migration}: bring the old database \
                 up to date with deskgate migrate and export it again with this program",
                self.migration, self.version
            )));
        }
        if self.tables != columns(tables) {
            return Err(TransferError::Header(
                "its tables are not those that this program knows".to_owned(),
            ));
        }
        Ok(())
    }
}

fn columns(tables: &[Table]) -> BTreeMap<String, Vec<String>> {
    let columns = tables.iter().map(|table| {
        let names = table.columns.iter().map(|column| column.name.clone());
        (table.name.clone(), names.collect())
    });
    columns.collect()
}

/// Writes one line.
pub(super) fn write(into: &mut impl Write, line: &impl Serialize) -> Result<(), TransferError> {
    serde_json::to_writer(&mut *into, line).map_err(|error| TransferError::Write(error.into()))?;
    into.write_all(b"\n").map_err(TransferError::Write)
}

/// The line of a row.
pub(super) fn row<'a>(table: &'a str, row: &'a Map<String, Value>) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    struct RowLine<'a> {
        table: &'a str,
        row: &'a Map<String, Value>,
    }
    RowLine { table, row }
}

/// The last line.
pub(super) fn end(counts: &Counts) -> impl Serialize + use<'_> {
    BTreeMap::from([("end", counts)])
}

/// What is in a column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Text(Option<String>),
    Integer(Option<i64>),
    Boolean(Option<bool>),
}

/// What a line says, the header apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A row of the table at this place, with a cell for each of its columns.
    Row(usize, Vec<Cell>),
    /// How many there were.
    End(Counts),
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum RawLine {
    Row {
        table: String,
        row: Map<String, Value>,
    },
    End {
        end: Counts,
    },
}

/// Reads a file line by line. What is in it is never part of an error: it may be secret.
pub(super) struct Lines<'a, R> {
    from: &'a mut R,
    number: u64,
    line: Vec<u8>,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub fn new(from: &'a mut R) -> Self {
        Self {
            from,
            number: 0,
            line: Vec::new(),
        }
    }

    /// Length of the line that was read last, bytes.
    pub fn length(&self) -> usize {
        self.line.len()
    }

    pub fn header(&mut self) -> Result<Header, TransferError> {
        let no_export = || TransferError::Header("it is no export of Deskgate".to_owned());
        self.read()?;
        let line: Value = serde_json::from_slice(&self.line).map_err(|_| no_export())?;
        match line.get(FORMAT_KEY).and_then(Value::as_u64) {
            Some(FORMAT) => serde_json::from_value(line).map_err(|_| no_export()),
            Some(other) => Err(TransferError::Header(format!(
                "it has format {other}, this program reads {FORMAT}"
            ))),
            None => Err(no_export()),
        }
    }

    /// The next line; nothing may follow the end.
    pub fn next(&mut self, tables: &[Table]) -> Result<Line, TransferError> {
        self.read()?;
        let line = serde_json::from_slice(&self.line);
        match line.map_err(|_| self.wrong("is none of an export"))? {
            RawLine::Row { table, row } => {
                let at = tables.iter().position(|known| known.name == table);
                let at = at.ok_or_else(|| self.wrong("names a table that is not known"))?;
                let cells = cells(&tables[at], row);
                Ok(Line::Row(at, cells.map_err(|what| self.wrong(what))?))
            }
            RawLine::End { end } => match self.read() {
                Err(TransferError::Truncated) => Ok(Line::End(end)),
                Err(error) => Err(error),
                Ok(()) => Err(self.wrong("stands behind the end")),
            },
        }
    }

    fn wrong(&self, what: &'static str) -> TransferError {
        TransferError::Line(self.number, what)
    }

    fn read(&mut self) -> Result<(), TransferError> {
        self.line.clear();
        let mut limited = self.from.by_ref().take(MAX_LINE);
        limited
            .read_until(b'\n', &mut self.line)
            .map_err(TransferError::Read)?;
        self.number += 1;
        match self.line.last() {
            Some(b'\n') => Ok(()),
            Some(_) if self.line.len() as u64 == MAX_LINE => Err(self.wrong("is too long")),
            _ => Err(TransferError::Truncated),
        }
    }
}

fn cells(table: &Table, mut row: Map<String, Value>) -> Result<Vec<Cell>, &'static str> {
    let mut cells = Vec::new();
    for column in &table.columns {
        let value = row.remove(&column.name).ok_or("lacks a column")?;
        cells.push(match (column.kind, value) {
            (Kind::Text, Value::Null) => Cell::Text(None),
            (Kind::Text, Value::String(text)) => Cell::Text(Some(text)),
            (Kind::Integer, Value::Null) => Cell::Integer(None),
            (Kind::Integer, Value::Number(number)) => Cell::Integer(Some(
                number.as_i64().ok_or("has a number that is too large")?,
            )),
            (Kind::Boolean, Value::Null) => Cell::Boolean(None),
            (Kind::Boolean, Value::Bool(yes)) => Cell::Boolean(Some(yes)),
            _ => return Err("has a value of the wrong kind"),
        });
    }
    if row.is_empty() {
        Ok(cells)
    } else {
        Err("has a column that is not known")
    }
}
