//! All that is in a database, into a file and out of it again: from SQLite to PostgreSQL or the other way, with nothing
//! lost. Rows move as they are, so what is hashed stays hashed, and what is sealed stays sealed.
//!
//! Both read and write one row after the other, so that the size of a table does not matter.

mod format;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};

use futures_util::TryStreamExt;
use serde_json::Map;
use sqlx::{AssertSqlSafe, Encode, QueryBuilder, Row, Transaction, Type};

use super::migrations::newest;
use super::schema::{self, Kind, Table};
use super::{Database, StoreError, at_length};
use crate::model::time::Timestamp;
use format::{Cell, Header, Line, Lines};

/// How many rows one statement puts in, so that they do not wait for an answer each.
const BATCH_ROWS: usize = 200;
/// How many bytes of the file wait for that, about.
const BATCH_BYTES: usize = 1024 * 1024;
/// The table that has rows from the beginning.
const META: &str = "meta";
/// What the migrations put into it.
const MADE_BY_MIGRATIONS: [&str; 1] = ["starts"];

/// How many rows of each table were moved.
pub type Counts = BTreeMap<String, u64>;

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file that is made.
    #[error("the file cannot be written")]
    Write(#[source] io::Error),
    /// The file that is taken.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// The file is of another make.
    #[error("the file cannot be taken: {0}")]
    Header(String),
    /// A line of it.
    #[error("line {0} of the file {1}; nothing was imported")]
    Line(u64, &'static str),
    /// Its end is missing.
    #[error("the file has no end: it was cut off, or the export failed; nothing was imported")]
    Truncated,
    /// Something is in it twice, or not at all.
    #[error("{table}: {expected} rows were exported, {found} are there; nothing was imported")]
    Count {
        /// Which table.
        table: String,
        /// What the end of the file says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The database is not what the migrations made.
    #[error("rows would be lost: {0}")]
    Schema(String),
    /// Something would be mixed up.
    #[error(
        "the database is not empty: {0}; import into one that deskgate migrate has made, and no gateway has used"
    )]
    NotEmpty(String),
    /// Somebody uses it.
    #[error("{0} gateways are running on this database; stop them first")]
    Running(usize),
}

impl From<sqlx::Error> for TransferError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Database {
    /// Writes everything that is in the database at one moment, whatever goes on in it.
    ///
    /// # Errors
    /// The schema is not the one that this program needs, or the file cannot be written.
    pub async fn export(
        &self,
        into: &mut impl Write,
        now: Timestamp,
    ) -> Result<Counts, TransferError> {
        self.require_current().await?;
        let tables = schema::of_this_program().await?;
        // What SQLite reads first is what it goes on reading.
        let begin = match self {
            Self::Sqlite(_) => "BEGIN",
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        };
        let mut counts = Counts::new();
        at_length!(self, |pool| {
            let mut snapshot = pool.begin_with(begin).await?;
            for patience in self.patience() {
                sqlx::query(*patience).execute(&mut *snapshot).await?;
            }
            let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for row in sqlx::query(schema::catalogue(self))
                .fetch_all(&mut *snapshot)
                .await?
            {
                let columns = found.entry(row.try_get("table_name")?).or_default();
                columns.insert(row.try_get("column_name")?);
            }
            if let Some(difference) = schema::difference(&tables, &found) {
                return Err(TransferError::Schema(difference));
            }
            format::write(into, &Header::new(&tables, newest(), now))?;
            for table in &tables {
                let sql = format!("SELECT {} FROM {}", table.column_list(), table.sql_name());
                let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut *snapshot);
                let mut count = 0;
                while let Some(row) = rows.try_next().await? {
                    let mut values = Map::new();
                    for column in &table.columns {
                        let name = &*column.name;
                        let value = match column.kind {
                            Kind::Text => row.try_get::<Option<String>, _>(name)?.into(),
                            Kind::Integer => row.try_get::<Option<i64>, _>(name)?.into(),
                            Kind::Boolean => row.try_get::<Option<bool>, _>(name)?.into(),
                        };
                        values.insert(name.to_owned(), value);
                    }
                    format::write(into, &format::row(&table.name, &values))?;
                    count += 1;
                }
                drop(rows);
                counts.insert(table.name.clone(), count);
            }
            snapshot.rollback().await?;
        });
        format::write(into, &format::end(&counts))?;
        into.flush().map_err(TransferError::Write)?;
        Ok(counts)
    }

    /// Puts everything in that a file has, or nothing.
    ///
    /// # Errors
    /// The database is not empty, is in use or has another schema, or the file is not whole.
    pub async fn import(&self, from: &mut impl BufRead) -> Result<Counts, TransferError> {
        self.require_current().await?;
        let tables = schema::of_this_program().await?;
        let mut lines = Lines::new(from);
        lines.header()?.check(&tables, newest())?;
        match self.gateways().await? {
            0 => {}
            running => return Err(TransferError::Running(running)),
        }
        at_length!(self, |pool| {
            let mut all = pool.begin_with(self.begin_alone()).await?;
            for patience in self.patience() {
                sqlx::query(*patience).execute(&mut *all).await?;
            }
            if let Some(lock) = self.lock(&tables) {
                sqlx::query(AssertSqlSafe(lock)).execute(&mut *all).await?;
            }
            for table in &tables {
                // One row more than may be there is enough to know.
                let limit = MADE_BY_MIGRATIONS.len() + 1;
                let sql = format!("SELECT * FROM {} LIMIT {limit}", table.sql_name());
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *all);
                for row in rows.await? {
                    let is_there = |name: &str| {
                        let made = row.try_get::<String, _>("name");
                        table.name == META && made.is_ok_and(|made| made == name)
                    };
                    if !MADE_BY_MIGRATIONS.iter().any(|name| is_there(name)) {
                        return Err(TransferError::NotEmpty(format!("{} has rows", table.name)));
                    }
                }
            }
            sqlx::query("DELETE FROM meta").execute(&mut *all).await?;
            let mut counts = Counts::new();
            let mut batch = Batch::default();
            let end = loop {
                let line = lines.next(&tables)?;
                let flushed = match &line {
                    Line::Row(table, _) => batch.table != Some(*table) || batch.is_full(),
                    Line::End(_) => true,
                };
                if let Some(table) = batch.table.filter(|_| flushed) {
                    let rows = std::mem::take(&mut batch.rows);
                    let mut insert = insert(&all, &tables[table], rows);
                    insert.build().execute(&mut *all).await?;
                    batch = Batch::default();
                }
                match line {
                    Line::End(end) => break end,
                    Line::Row(table, cells) => {
                        *counts.entry(tables[table].name.clone()).or_default() += 1;
                        batch.add(table, cells, lines.length());
                    }
                }
            };
            for table in &tables {
                let sql = format!("SELECT COUNT(*) FROM {}", table.sql_name());
                let there: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
                    .fetch_one(&mut *all)
                    .await?;
                let expected = end.get(&table.name).copied().unwrap_or_default();
                let found = counts.entry(table.name.clone()).or_default();
                if *found != expected || i64::try_from(expected).is_ok_and(|all| all != there) {
                    return Err(TransferError::Count {
                        table: table.name.clone(),
                        expected,
                        found: *found,
                    });
                }
            }
            all.commit().await?;
            Ok(counts)
        })
    }

    /// Keeps the server from ending a transaction that waits for whoever reads or writes the file, and a statement that
    /// goes through a whole table.
    fn patience(&self) -> &'static [&'static str] {
        match self {
            Self::Sqlite(_) => &[],
            Self::Postgres(_) => &[
                "SET LOCAL idle_in_transaction_session_timeout = 0",
                "SET LOCAL statement_timeout = 0",
            ],
        }
    }

    /// Begins what nobody else may write beside.
    fn begin_alone(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        }
    }

    /// The same, where the beginning does not say so: a gateway that starts meanwhile waits with its first row.
    fn lock(&self, tables: &[Table]) -> Option<String> {
        let names = tables.iter().map(Table::sql_name).collect::<Vec<_>>();
        let lock = || {
            format!(
                "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE",
                names.join(", ")
            )
        };
        matches!(self, Self::Postgres(_)).then(lock)
    }
}

/// Rows of one table that wait for their statement.
#[derive(Debug, Default)]
struct Batch {
    table: Option<usize>,
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, table: usize, cells: Vec<Cell>, bytes: usize) {
        self.table = Some(table);
        self.rows.push(cells);
        self.bytes += bytes;
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }
}

/// The statement that puts rows in. The transaction only says for which database.
fn insert<DB>(_: &Transaction<'_, DB>, table: &Table, rows: Vec<Vec<Cell>>) -> QueryBuilder<DB>
where
    DB: sqlx::Database,
    for<'q> Option<String>: Encode<'q, DB> + Type<DB>,
    for<'q> Option<i64>: Encode<'q, DB> + Type<DB>,
    for<'q> Option<bool>: Encode<'q, DB> + Type<DB>,
{
    let start = format!(
        "INSERT INTO {} ({}) ",
        table.sql_name(),
        table.column_list()
    );
    let mut insert = QueryBuilder::new(start);
    insert.push_values(rows, |mut values, cells| {
        for cell in cells {
            match cell {
                Cell::Text(text) => values.push_bind(text),
                Cell::Integer(number) => values.push_bind(number),
                Cell::Boolean(yes) => values.push_bind(yes),
            };
        }
    });
    insert
}
