//! `deskgate export` and `deskgate import`: whatever is in a database is in the other one afterwards, on SQLite and, where
//! a server is at hand, on PostgreSQL; and what is not whole is refused as a whole.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use deskgate::config::{DatabaseConfig, Secret};
use deskgate::model::time::Timestamp;
use deskgate::store::Database;
use deskgate::store::transfer::TransferError;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use crate::command::{deskgate, text};
use crate::support::gateway::{TestGateway, eventually};
use crate::support::postgres::OwnDatabase;

/// Text that a careless program would break, and that no message may contain.
const AWKWARD: &str = "Ünï \"quoted\" 'too' \\ \n\t\u{1F600}";
/// Rows that are put into each table.
const ROWS: usize = 3;

struct Column {
    name: String,
    integer: bool,
    nullable: bool,
    refers: Option<(String, String)>,
}

/// The tables as the database itself tells them: what is here does not depend on what the program believes.
async fn tables(db: &mut SqliteConnection) -> BTreeMap<String, Vec<Column>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> '_sqlx_migrations'";
    let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *db).await.unwrap();
    let mut tables = BTreeMap::new();
    for name in names {
        let sql = "SELECT \"from\", \"table\", \"to\" FROM pragma_foreign_key_list($1)";
        let keys = sqlx::query(sql).bind(&name).fetch_all(&mut *db);
        let keys = keys.await.unwrap();
        let refers = |column: &str| {
            let key = keys.iter().find(|key| key.get::<&str, _>("from") == column);
            key.map(|key| (key.get("table"), key.get("to")))
        };
        let sql = "SELECT name, type, \"notnull\" + pk AS needed FROM pragma_table_info($1)";
        let rows = sqlx::query(sql).bind(&name).fetch_all(&mut *db);
        let columns = rows.await.unwrap().into_iter().map(|row| Column {
            name: row.get("name"),
            integer: row.get::<&str, _>("type") != "TEXT",
            nullable: row.get::<i64, _>("needed") == 0,
            refers: refers(row.get("name")),
        });
        tables.insert(name, columns.collect());
    }
    tables
}

/// A database in which each column of each table has a value that is its own, and none where that may be.
async fn filled(directory: &Path) -> Database {
    let config = DatabaseConfig::Sqlite(Some(directory.join("filled.db")));
    let db = Database::open(&config).await.unwrap();
    db.instance().await.unwrap();
    let Database::Sqlite(pool) = &db else {
        panic!("it is SQLite")
    };
    let mut connection = pool.acquire().await.unwrap();
    sqlx::query("PRAGMA foreign_keys = OFF")
        .execute(&mut *connection)
        .await
        .unwrap();
    let tables = tables(&mut connection).await;
    assert!(tables.len() > 10, "{:?}", tables.keys());
    for (table, columns) in &tables {
        let places: Vec<String> = (1..=columns.len()).map(|at| format!("${at}")).collect();
        let sql = format!("INSERT INTO {table} VALUES ({})", places.join(", "));
        for number in 0..ROWS {
            let mut insert = sqlx::query(AssertSqlSafe(sql.clone()));
            for column in columns {
                let own = (table.clone(), column.name.clone());
                let (of, name) = column.refers.as_ref().unwrap_or(&own);
                insert = if column.nullable && number == ROWS - 1 {
                    insert.bind(None::<String>)
                } else if column.integer {
                    insert.bind([i64::MAX, i64::MIN, 0][number])
                } else {
                    insert.bind(format!("{of}.{name} {number} {AWKWARD}"))
                };
            }
            insert.execute(&mut *connection).await.unwrap();
        }
    }
    let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *connection);
    assert!(broken.await.unwrap().is_empty(), "the rows fit each other");
    sqlx::query("PRAGMA foreign_keys = ON")
        .execute(&mut *connection)
        .await
        .unwrap();
    drop(connection);
    db
}

async fn exported(db: &Database) -> String {
    let mut file = Vec::new();
    db.export(&mut file, Timestamp::from_millis(0))
        .await
        .unwrap();
    String::from_utf8(file).unwrap()
}

/// What is in a database; the order of rows is nobody's.
async fn contents(db: &Database) -> Vec<String> {
    let mut lines: Vec<String> = exported(db).await.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

async fn fresh() -> Database {
    Database::open(&DatabaseConfig::Sqlite(None)).await.unwrap()
}

#[tokio::test]
async fn every_row_of_every_table_moves_from_sqlite_to_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (filled(directory.path()).await, fresh().await);
    let file = exported(&from).await;
    let counts = to.import(&mut file.as_bytes()).await.unwrap();
    assert!(
        counts.values().all(|count| *count >= ROWS as u64),
        "{counts:?}"
    );
    assert_eq!(contents(&to).await, contents(&from).await);
    assert_eq!(to.instance().await.unwrap(), from.instance().await.unwrap());
}

#[tokio::test]
async fn every_row_of_every_table_moves_to_postgresql_and_back() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let from = filled(directory.path()).await;
    let there = DatabaseConfig::Postgres(Secret::new(own.url.clone()));
    let there = Database::open(&there).await.unwrap();
    // Tables of others are theirs.
    let Database::Postgres(pool) = &there else {
        panic!("it is PostgreSQL")
    };
    sqlx::query("CREATE TABLE elsewhere (shape POINT)")
        .execute(pool)
        .await
        .unwrap();
    let file = exported(&from).await;
    there.import(&mut file.as_bytes()).await.unwrap();
    let back = fresh().await;
    let file = exported(&there).await;
    back.import(&mut file.as_bytes()).await.unwrap();
    assert_eq!(contents(&there).await, contents(&from).await);
    assert_eq!(contents(&back).await, contents(&from).await);
    let again = there.import(&mut file.as_bytes()).await.unwrap_err();
    assert!(matches!(again, TransferError::NotEmpty(_)), "{again}");
    there.close().await;
    own.drop().await;
}

/// Exports while rows are added, and counts what came out.
async fn snapshot(db: &Database, add: &'static str) {
    struct Adding<'a>(&'a Database, &'static str, Vec<u8>);
    impl std::io::Write for Adding<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // The header goes out when the snapshot is taken. A row of the last table is then added by somebody else.
            if self.2.is_empty() {
                std::thread::scope(|scope| {
                    let adding = scope.spawn(|| {
                        let mut runtime = tokio::runtime::Builder::new_current_thread();
                        let runtime = runtime.enable_all().build().unwrap();
                        runtime.block_on(add_one(self.0, self.1));
                    });
                    adding.join().expect("it is added");
                });
                if matches!(self.0, Database::Postgres(_)) {
                    // Longer than a gateway may leave a transaction alone.
                    std::thread::sleep(Duration::from_secs(6));
                }
            }
            self.2.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut adding = Adding(db, add, Vec::new());
    let counts = db
        .export(&mut adding, Timestamp::from_millis(0))
        .await
        .unwrap();
    assert_eq!(
        counts["logout_tokens"], 0,
        "it was not there at that moment"
    );
    assert_eq!(
        exported(db)
            .await
            .matches("\"table\":\"logout_tokens\"")
            .count(),
        1
    );
}

/// On a connection of another program.
async fn add_one(db: &Database, sql: &'static str) {
    use sqlx::ConnectOptions as _;
    match db {
        Database::Sqlite(pool) => {
            let options = pool.connect_options();
            let mut other = options.connect().await.unwrap();
            sqlx::query(sql).execute(&mut other).await.unwrap();
        }
        Database::Postgres(pool) => {
            let options = pool.connect_options();
            let mut other = options.connect().await.unwrap();
            sqlx::query(sql).execute(&mut other).await.unwrap();
        }
    }
}

const LOGOUT_TOKEN: &str = "INSERT INTO logout_tokens (id, expires_at) VALUES ('one', 1)";

#[tokio::test]
async fn an_export_is_of_one_moment_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let config = DatabaseConfig::Sqlite(Some(directory.path().join("deskgate.db")));
    snapshot(&Database::open(&config).await.unwrap(), LOGOUT_TOKEN).await;
}

#[tokio::test]
async fn an_export_is_of_one_moment_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let config = DatabaseConfig::Postgres(Secret::new(own.url.clone()));
    let db = Database::open(&config).await.unwrap();
    snapshot(&db, LOGOUT_TOKEN).await;
    db.close().await;
    own.drop().await;
}

/// The file with line `at` changed; a negative place counts from the end.
fn changed(file: &str, at: isize, change: impl Fn(&str) -> String) -> String {
    let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
    let at = usize::try_from(at).unwrap_or_else(|_| lines.len() - at.unsigned_abs());
    lines[at] = change(&lines[at]);
    lines.retain(|line| !line.is_empty());
    lines.join("\n") + "\n"
}

/// Files that are not whole: what is wrong with them, and what is said.
fn damaged(file: &str) -> Vec<(&'static str, String, &'static str)> {
    let of = |table: &str| {
        let text = format!("{{\"table\":\"{table}\"");
        let at = file.lines().position(|line| line.starts_with(&text));
        isize::try_from(at.unwrap()).unwrap()
    };
    let (entry, user) = (of("audit_log"), of("users"));
    let gone = |_: &str| String::new();
    let twice = |line: &str| format!("{line}\n{line}");
    let to = |from: &'static str, to: &'static str| move |line: &str| line.replacen(from, to, 1);
    let last_line = file.trim_end().rfind('\n').unwrap() + 1;
    vec![
        ("nothing", String::new(), "no end"),
        ("no end", file[..last_line].to_owned(), "no end"),
        ("half an end", file[..last_line + 9].to_owned(), "no end"),
        ("no last line break", file.trim_end().to_owned(), "no end"),
        ("half a file", file[..file.len() / 2].to_owned(), "no end"),
        (
            "a lost entry",
            changed(file, entry, gone),
            "audit_log: 3 rows were exported, 2",
        ),
        (
            "a lost user",
            changed(file, user, gone),
            "database did not answer",
        ),
        (
            "an entry twice",
            changed(file, entry, twice),
            "database did not answer",
        ),
        ("text", "Dear all,\n".to_owned(), "no export of Deskgate"),
        ("JSON", "{\"a\":1}\n".to_owned(), "no export of Deskgate"),
        (
            "another format",
            changed(
                file,
                0,
                to("\"deskgate_export\":1", "\"deskgate_export\":2"),
            ),
            "format 2, this program reads 1",
        ),
        (
            "a newer database",
            changed(file, 0, to("\"migration\":", "\"migration\":99")),
            "at migration 99",
        ),
        (
            "another schema",
            changed(file, 0, to("\"issuer\"", "\"publisher\"")),
            "tables are not those",
        ),
        (
            "an unknown table",
            changed(file, entry, to("audit_log", "shoes")),
            "names a table that is not known",
        ),
        (
            "an unknown column",
            changed(file, entry, to("\"row\":{", "\"row\":{\"size\":1,")),
            "has a column that is not known",
        ),
        (
            "a lost column",
            changed(file, entry, to("\"at\":9223372036854775807,", "")),
            "lacks a column",
        ),
        (
            "a wrong kind",
            changed(
                file,
                entry,
                to("\"at\":9223372036854775807", "\"at\":\"noon\""),
            ),
            "wrong kind",
        ),
        (
            "a large number",
            changed(
                file,
                entry,
                to("9223372036854775807", "9223372036854775808"),
            ),
            "too large",
        ),
        (
            "something else",
            changed(file, entry, |_| "{\"shoes\":1}".to_owned()),
            "is none of an export",
        ),
        ("two ends", changed(file, -1, twice), "behind the end"),
    ]
}

#[tokio::test]
async fn a_file_that_is_not_whole_is_refused_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = exported(&filled(directory.path()).await).await;
    for (what, bad, said) in damaged(&file) {
        let to = fresh().await;
        let before = contents(&to).await;
        let error = to.import(&mut bad.as_bytes()).await.expect_err(what);
        let error = format!("{:#}", anyhow::Error::from(error));
        assert!(error.contains(said), "{what}: {error}");
        assert!(!error.contains("Ünï"), "{what}: {error}");
        assert_eq!(contents(&to).await, before, "{what}");
        to.import(&mut file.as_bytes())
            .await
            .expect("nothing is in the way");
    }
}

#[tokio::test]
async fn only_an_empty_database_takes_an_import() {
    let directory = tempfile::tempdir().unwrap();
    let file = exported(&filled(directory.path()).await).await;
    let full = fresh().await;
    full.import(&mut file.as_bytes()).await.unwrap();
    let used = fresh().await;
    used.instance().await.unwrap();
    for to in [full, used] {
        let before = contents(&to).await;
        let error = to.import(&mut file.as_bytes()).await.unwrap_err();
        assert!(matches!(error, TransferError::NotEmpty(_)), "{error}");
        assert_eq!(contents(&to).await, before);
    }
}

#[tokio::test]
async fn a_column_that_the_program_does_not_know_is_not_lost_in_silence() {
    for (sql, said) in [
        (
            "ALTER TABLE homes ADD COLUMN colour TEXT",
            "nothing is known of the column homes.colour",
        ),
        (
            "ALTER TABLE homes DROP COLUMN generation",
            "homes.generation is missing",
        ),
        ("DROP TABLE homes", "the table homes is missing"),
    ] {
        let db = fresh().await;
        let Database::Sqlite(pool) = &db else {
            panic!("it is SQLite")
        };
        sqlx::query(sql).execute(pool).await.unwrap();
        let mut file = Vec::new();
        let error = db.export(&mut file, Timestamp::from_millis(0)).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(file.is_empty());
    }
}

#[tokio::test]
async fn a_database_on_which_a_gateway_runs_is_not_imported_into_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = exported(&filled(directory.path()).await).await;
    let settings = [("DATABASE_URL", own.url.as_str()), ("INSTANCE", "school")];
    let gateway = TestGateway::start_with(&settings).await;
    let db = Database::connect(&gateway.config.database).await.unwrap();
    eventually("it has its seat", || async {
        db.gateways().await.unwrap() == 1
    })
    .await;
    let error = db.import(&mut file.as_bytes()).await.unwrap_err();
    assert!(matches!(error, TransferError::Running(1)), "{error}");
    gateway.stop().await;
    eventually("it is gone", || async { db.gateways().await.unwrap() == 0 }).await;
    db.import(&mut file.as_bytes())
        .await
        .expect("nobody is there");
    db.close().await;
    own.drop().await;
}

#[tokio::test]
async fn the_commands_move_a_database_through_a_private_file_and_through_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let from = filled(directory).await;
    let at = |name: &str| format!("sqlite://{}", directory.join(name).display());
    let run = |arguments: &[&str], database: &str| {
        let url = at(database);
        deskgate(
            directory,
            arguments,
            &[("DATABASE_URL", &url), ("LOG", "trace")],
        )
    };
    let exported = run(&["export", "moved.jsonl"], "filled.db");
    assert_eq!(
        exported.status.code(),
        Some(0),
        "{}",
        text(&exported.stderr)
    );
    assert!(exported.stdout.is_empty());
    assert!(
        !text(&exported.stderr).contains("Ünï"),
        "{}",
        text(&exported.stderr)
    );
    let file = directory.join("moved.jsonl");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let whole = std::fs::read(&file).unwrap();
    let again = run(&["export", "moved.jsonl"], "filled.db");
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("moved.jsonl"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(
        std::fs::read(&file).unwrap(),
        whole,
        "it is not written over"
    );
    // It differs in the time only.
    let piped = run(&["export", "-"], "filled.db").stdout;
    assert_eq!(text(&piped).lines().count(), text(&whole).lines().count());

    for (arguments, database, said) in [
        (
            &["export", "none.jsonl"][..],
            "none.db",
            "there is no database at",
        ),
        (
            &["import", "moved.jsonl"],
            "none.db",
            "there is no database at",
        ),
        (
            &["import", "none.jsonl"],
            "filled.db",
            "none.jsonl cannot be opened",
        ),
        (
            &["import", "moved.jsonl"],
            "filled.db",
            "the database is not empty",
        ),
    ] {
        let refused = run(arguments, database);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(
            text(&refused.stderr).contains(said),
            "{}",
            text(&refused.stderr)
        );
    }
    assert!(!directory.join("none.db").exists() && !directory.join("none.jsonl").exists());

    assert!(run(&["migrate"], "to.db").status.success());
    let imported = run(&["import", "moved.jsonl"], "to.db");
    assert_eq!(
        imported.status.code(),
        Some(0),
        "{}",
        text(&imported.stderr)
    );
    assert!(text(&imported.stdout).contains("rows imported into SQLite"));
    assert!(
        !text(&imported.stderr).contains("Ünï"),
        "{}",
        text(&imported.stderr)
    );
    let to = DatabaseConfig::Sqlite(Some(directory.join("to.db")));
    let to = Database::connect(&to).await.unwrap();
    assert_eq!(contents(&to).await, contents(&from).await);
}
