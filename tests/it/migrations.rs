//! Programs and databases of different age: an older program leaves the database of a newer one alone, and no command but
//! those that say so changes a schema, on SQLite and, where a server is at hand, on PostgreSQL.

use std::path::Path;

use deskgate::config::{DatabaseConfig, Secret};
use deskgate::model::time::Timestamp;
use deskgate::store::{Database, StoreError, migrations};
use sqlx::migrate::Migrator;

use crate::command::{deskgate, text};
use crate::support::postgres::OwnDatabase;

/// Whatever opens the database.
const COMMANDS: [&[&str]; 9] = [
    &["serve"],
    &["migrate"],
    &["export", "-"],
    &["import", "-"],
    &["cleanup"],
    &["cleanup", "--dry-run"],
    &["token", "list"],
    &["user", "list"],
    &["check"],
];

/// Those that take the schema as it is.
const LEAVE_THE_SCHEMA: [&[&str]; 9] = [
    &["export", "-"],
    &["import", "-"],
    &["cleanup"],
    &["cleanup", "--dry-run"],
    &["token", "create", "--user", "somebody"],
    &["token", "list"],
    &["token", "revoke", "00000000-0000-4000-8000-000000000000"],
    &["user", "list"],
    &["user", "forget", "somebody", "--yes"],
];

fn run(directory: &Path, arguments: &[&str], url: &str) -> (Option<i32>, String) {
    let environment = [
        ("DATABASE_URL", url),
        ("PUBLIC_URL", "https://desk.test"),
        ("SECRET_KEY", "an-entirely-secret-key-for-tests"),
        ("OAUTH_ISSUER", "http://127.0.0.1:9"),
        ("OAUTH_CLIENT_ID", "test"),
        ("LISTEN", "127.0.0.1:0"),
        ("METRICS_LISTEN", "off"),
        ("DOCKER_HOST", "unix:///nowhere/docker.sock"),
        ("TLS", "off"),
    ];
    let output = deskgate(directory, arguments, &environment);
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.code(), said)
}

async fn execute(db: &Database, sql: &'static str) {
    match db {
        Database::Sqlite(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        Database::Postgres(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
    }
}

async fn numbers(db: &Database) -> Vec<i64> {
    let sql = "SELECT version FROM _sqlx_migrations ORDER BY version";
    match db {
        Database::Sqlite(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
    }
}

async fn a_newer_one_is_left_alone(config: DatabaseConfig, url: &str) {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(&config).await.unwrap();
    execute(
        &db,
        "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
         SELECT 9999, 'of tomorrow', installed_on, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let before = numbers(&db).await;
    let program = migrations::newest();
    let said = format!(
        "brought to migration 9999 by a newer Deskgate; this one knows migrations up to {program}"
    );
    for arguments in COMMANDS {
        let (code, output) = run(directory.path(), arguments, url);
        assert_eq!(code, Some(1), "{arguments:?}: {output}");
        assert!(output.contains(&said), "{arguments:?}: {output}");
    }
    assert_eq!(numbers(&db).await, before);
    db.close().await;
}

/// A database as the program before the last migration left it.
async fn of_yesterday(config: &DatabaseConfig) -> Database {
    let directory = tempfile::tempdir().unwrap();
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for file in std::fs::read_dir(all).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if !name.starts_with(&format!("{:04}", migrations::newest())) {
            let from = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("migrations")
                .join(&name);
            std::fs::copy(from, directory.path().join(name)).unwrap();
        }
    }
    let older = Migrator::new(directory.path()).await.unwrap();
    let db = Database::connect(config).await.unwrap();
    match &db {
        Database::Sqlite(pool) => older.run(pool).await.unwrap(),
        Database::Postgres(pool) => older.run(pool).await.unwrap(),
    }
    db
}

async fn only_migrate_changes_the_schema(config: DatabaseConfig, url: &str) {
    let directory = tempfile::tempdir().unwrap();
    let db = of_yesterday(&config).await;
    let before = numbers(&db).await;
    assert!(!before.contains(&migrations::newest()));
    for arguments in LEAVE_THE_SCHEMA {
        let (code, output) = run(directory.path(), arguments, url);
        assert_eq!(code, Some(1), "{arguments:?}: {output}");
        assert!(
            output.contains("run deskgate migrate first"),
            "{arguments:?}: {output}"
        );
        assert_eq!(numbers(&db).await, before, "{arguments:?}");
    }
    let (_, output) = run(directory.path(), &["check"], url);
    assert!(output.contains("to be brought up to date"), "{output}");
    let (code, output) = run(directory.path(), &["migrate"], url);
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains(&format!("applied {:04}", migrations::newest())),
        "{output}"
    );

    // Up to date, it is read; the container engine is what is missing here.
    let contents = async || {
        let mut file = Vec::new();
        db.export(&mut file, Timestamp::from_millis(0))
            .await
            .unwrap();
        file
    };
    let before = contents().await;
    for arguments in [&["token", "list"][..], &["user", "list"]] {
        let (code, output) = run(directory.path(), arguments, url);
        assert_eq!(code, Some(0), "{arguments:?}: {output}");
        assert!(contents().await == before, "{arguments:?}");
    }
    for arguments in [&["cleanup", "--dry-run"][..], &["check"]] {
        let (_, output) = run(directory.path(), arguments, url);
        assert!(!output.contains("run deskgate migrate first"), "{output}");
        assert!(contents().await == before, "{arguments:?}");
    }
    db.close().await;
}

fn sqlite(directory: &Path) -> (DatabaseConfig, String) {
    let path = directory.join("deskgate.db");
    let url = format!("sqlite://{}", path.display());
    (DatabaseConfig::Sqlite(Some(path)), url)
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let (config, url) = sqlite(directory.path());
    a_newer_one_is_left_alone(config, &url).await;
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let config = DatabaseConfig::Postgres(Secret::new(own.url.clone()));
    a_newer_one_is_left_alone(config, &own.url).await;
    own.drop().await;
}

#[tokio::test]
async fn only_migrate_changes_the_schema_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let (config, url) = sqlite(directory.path());
    only_migrate_changes_the_schema(config, &url).await;
    let nowhere = directory.path().join("none/deskgate.db");
    let url = format!("sqlite://{}", nowhere.display());
    for arguments in LEAVE_THE_SCHEMA {
        let (code, output) = run(directory.path(), arguments, &url);
        assert_eq!(code, Some(1), "{arguments:?}: {output}");
        assert!(output.contains("there is no database at"), "{output}");
        assert!(output.contains("deskgate migrate makes it"), "{output}");
        assert!(!nowhere.exists(), "{arguments:?}");
    }
}

#[tokio::test]
async fn only_migrate_changes_the_schema_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let config = DatabaseConfig::Postgres(Secret::new(own.url.clone()));
    only_migrate_changes_the_schema(config, &own.url).await;
    own.drop().await;
}

#[tokio::test]
async fn a_program_tells_a_newer_database_from_a_broken_one() {
    let db = Database::open(&DatabaseConfig::Sqlite(None)).await.unwrap();
    execute(
        &db,
        "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1",
    )
    .await;
    let error = db.migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::Migrate(_)), "{error:?}");
}
