//! The tables that this program keeps, in an order in which rows can be put in, with their columns. Nobody lists them: they
//! are what the migrations make of an empty database in memory, so that a new one cannot be forgotten.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use super::migrations::TABLE;
use super::{Database, StoreError};
use crate::config::DatabaseConfig;

/// What a column holds. The migrations, which run on both databases, can make nothing else that means the same on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// TEXT.
    Text,
    /// BIGINT.
    Integer,
    /// BOOLEAN.
    Boolean,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, as they were made.
    pub columns: Vec<Column>,
    /// The tables that its rows refer to.
    refers: BTreeSet<String>,
}

impl Table {
    /// The names of its columns, for SQL.
    pub fn column_list(&self) -> String {
        let names = self.columns.iter().map(|column| quoted(&column.name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Its name, for SQL.
    pub fn sql_name(&self) -> String {
        quoted(&self.name)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The tables of this program; one stands behind those that its rows refer to.
///
/// # Errors
/// The migrations do not run, or make something that cannot be moved: a type that is none of [`Kind`], or tables that refer
/// to each other in a circle.
pub(super) async fn of_this_program() -> Result<Vec<Table>, StoreError> {
    let database = Database::open(&DatabaseConfig::Sqlite(None)).await?;
    let tables = match &database {
        Database::Sqlite(pool) => tables(pool).await?,
        Database::Postgres(_) => Vec::new(),
    };
    database.close().await;
    in_order(tables)
}

async fn tables(pool: &SqlitePool) -> Result<Vec<Table>, StoreError> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> $1 ORDER BY name";
    let names: Vec<String> = sqlx::query_scalar(sql).bind(TABLE).fetch_all(pool).await?;
    let mut tables = Vec::new();
    for name in names {
        let rows = sqlx::query("SELECT name, type FROM pragma_table_info($1) ORDER BY cid")
            .bind(&name)
            .fetch_all(pool)
            .await?;
        let columns = rows.iter().map(|row| {
            let (column, kind): (String, String) = (row.try_get("name")?, row.try_get("type")?);
            let kind = match &*kind {
                "TEXT" => Kind::Text,
                "BIGINT" => Kind::Integer,
                "BOOLEAN" => Kind::Boolean,
                other => {
                    return Err(StoreError::Corrupt(format!(
                        "{name}.{column} of type {other}"
                    )));
                }
            };
            Ok(Column { name: column, kind })
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let refers: Vec<String> =
            sqlx::query_scalar("SELECT \"table\" FROM pragma_foreign_key_list($1)")
                .bind(&name)
                .fetch_all(pool)
                .await?;
        tables.push(Table {
            name,
            columns,
            refers: refers.into_iter().collect(),
        });
    }
    Ok(tables)
}

fn in_order(mut left: Vec<Table>) -> Result<Vec<Table>, StoreError> {
    let mut ordered: Vec<Table> = Vec::new();
    while !left.is_empty() {
        let free = left.iter().position(|table| {
            let mut refers = table.refers.iter();
            refers.all(|name| ordered.iter().any(|before| before.name == *name))
        });
        let Some(free) = free else {
            let names: Vec<&str> = left.iter().map(|table| &*table.name).collect();
            return Err(StoreError::Corrupt(format!(
                "tables that refer to each other: {}",
                names.join(", ")
            )));
        };
        ordered.push(left.remove(free));
    }
    Ok(ordered)
}

/// Asks a database for `table_name` and `column_name` of all that it has.
pub(super) fn catalogue(database: &Database) -> &'static str {
    match database {
        Database::Sqlite(_) => {
            "SELECT tables.name AS table_name, columns.name AS column_name
             FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns
             WHERE tables.type = 'table'"
        }
        Database::Postgres(_) => {
            "SELECT table_name::text AS table_name, column_name::text AS column_name
             FROM information_schema.columns WHERE table_schema = current_schema()"
        }
    }
}

/// What a catalogue has to differ in from `tables`, in words: rows would be lost. Other people's tables are theirs.
pub(super) fn difference(
    tables: &[Table],
    found: &BTreeMap<String, BTreeSet<String>>,
) -> Option<String> {
    for table in tables {
        let name = &table.name;
        let Some(found) = found.get(name) else {
            return Some(format!("the table {name} is missing"));
        };
        let known: BTreeSet<&str> = table.columns.iter().map(|column| &*column.name).collect();
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        if let Some(column) = found.difference(&known).next() {
            return Some(format!("nothing is known of the column {name}.{column}"));
        }
        if let Some(column) = known.difference(&found).next() {
            return Some(format!("the column {name}.{column} is missing"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, refers: &[&str]) -> Table {
        Table {
            name: name.into(),
            columns: vec![Column {
                name: "id".into(),
                kind: Kind::Text,
            }],
            refers: refers.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[tokio::test]
    async fn a_table_stands_behind_those_that_it_refers_to() {
        let tables = of_this_program().await.unwrap();
        let at = |name: &str| tables.iter().position(|table| table.name == name).unwrap();
        assert!(at("users") < at("oauth_sessions"));
        assert!(at("oauth_sessions") < at("containers"));
        assert!(at("containers") < at("desktop_certificates"));
        assert!(tables.iter().all(|table| table.name != TABLE));
        assert!(in_order(vec![table("a", &["b"]), table("b", &["a"])]).is_err());
    }

    #[test]
    fn a_column_that_nobody_knows_is_told_and_a_table_is_not() {
        let tables = [table("users", &[])];
        let found = |columns: &[&str]| {
            let columns = columns.iter().map(|name| (*name).to_owned()).collect();
            BTreeMap::from([
                ("users".to_owned(), columns),
                ("elsewhere".to_owned(), BTreeSet::new()),
            ])
        };
        assert_eq!(difference(&tables, &found(&["id"])), None);
        let more = difference(&tables, &found(&["id", "shoe_size"])).unwrap();
        assert!(more.contains("users.shoe_size"), "{more}");
        assert!(
            difference(&tables, &found(&[]))
                .unwrap()
                .contains("users.id")
        );
        assert!(difference(&tables, &BTreeMap::new()).is_some());
    }
}
