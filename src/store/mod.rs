//! What survives a restart: users, sessions, API tokens and desktops in SQLite or PostgreSQL, with one SQL text
//! for both. Invariants live in the schema (partial unique indexes), not in locks held by code.

pub mod api_tokens;
pub mod audit;
mod certificates;
mod conditions;
pub mod containers;
pub mod homes;
pub mod identity;
pub mod notify;
pub mod overview;
pub mod people;
pub mod seat;
pub mod sessions;
pub mod starts;
pub mod users;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::Row;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::config::DatabaseConfig;
use crate::model::id::RequestId;
use crate::telemetry::metrics::state::Pool;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a caller waits for a free connection before the database counts as down.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections per pool.
const MAX_CONNECTIONS: u32 = 8;

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The SQLite file or its directory cannot be made.
    #[error("cannot make the database file")]
    Directory(#[source] std::io::Error),
    /// It cannot be opened or asked.
    #[error("the database did not answer")]
    Database(#[source] sqlx::Error),
    /// The schema is not what this program needs.
    #[error("the database schema cannot be brought up to date")]
    Migrate(#[source] MigrateError),
    /// A row says something that no version of this program writes.
    #[error("the database holds {0}, which makes no sense")]
    Corrupt(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// The pool of whichever database was configured.
#[derive(Clone, Debug)]
pub enum Database {
    /// Embedded.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(PgPool),
}

/// Compiles one body for both pools: the SQL is the same, only the driver differs.
macro_rules! on_pool {
    ($database:expr, |$pool:ident| $body:block) => {
        match $database {
            $crate::store::Database::Sqlite($pool) => $body,
            $crate::store::Database::Postgres($pool) => $body,
        }
    };
}
pub(crate) use on_pool;

impl Database {
    /// Opens the database and brings its schema up to date.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let database = Self::connect(config).await?;
        database.migrate().await?;
        Ok(database)
    }

    /// Opens the database as it is.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        match config {
            DatabaseConfig::Sqlite(path) => Self::connect_sqlite(path.as_deref()).await,
            DatabaseConfig::Postgres(url) => {
                let options = PgConnectOptions::from_str(url.expose())?;
                let pool = PgPoolOptions::new()
                    .max_connections(MAX_CONNECTIONS)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .connect_with(options)
                    .await?;
                Ok(Self::Postgres(pool))
            }
        }
    }

    async fn connect_sqlite(path: Option<&Path>) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT);
        let Some(path) = path else {
            // A database in memory lives and dies with its one connection.
            let pool = pool
                .max_connections(1)
                .idle_timeout(None)
                .max_lifetime(None);
            return Ok(Self::Sqlite(
                pool.connect_with(options.in_memory(true)).await?,
            ));
        };
        if let Some(directory) = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            std::fs::create_dir_all(directory).map_err(StoreError::Directory)?;
        }
        private_file(path).map_err(StoreError::Directory)?;
        let options = options
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        Ok(Self::Sqlite(
            pool.max_connections(MAX_CONNECTIONS)
                .connect_with(options)
                .await?,
        ))
    }

    /// Applies what is missing and returns the names of the migrations that were applied.
    ///
    /// # Errors
    /// A migration fails, or the database knows one that this program does not: it was used by a newer one.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        on_pool!(self, |pool| {
            let mut connection = pool.acquire().await?;
            let table = &*MIGRATIONS.table_name;
            connection
                .ensure_migrations_table(table)
                .await
                .map_err(StoreError::Migrate)?;
            let before = connection
                .list_applied_migrations(table)
                .await
                .map_err(StoreError::Migrate)?;
            drop(connection);
            MIGRATIONS.run(pool).await.map_err(StoreError::Migrate)?;
            Ok(missing(&before))
        })
    }

    /// Names of the migrations that this program would apply. Applies none.
    ///
    /// # Errors
    /// The database does not answer, or knows a migration that this program does not.
    pub async fn pending(&self) -> Result<Vec<String>, StoreError> {
        self.ping().await?;
        on_pool!(self, |pool| {
            let mut connection = pool.acquire().await?;
            let table = &*MIGRATIONS.table_name;
            // Without the table that says so, none was applied.
            let applied = connection.list_applied_migrations(table).await;
            let applied = applied.unwrap_or_default();
            let newer = applied
                .iter()
                .find(|applied| !MIGRATIONS.version_exists(applied.version));
            match newer {
                Some(newer) => Err(StoreError::Migrate(MigrateError::VersionMissing(
                    newer.version,
                ))),
                None => Ok(missing(&applied)),
            }
        })
    }

    /// Asks the database something trivial.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            sqlx::query("SELECT 1").execute(pool).await?;
            Ok(())
        })
    }

    /// The random name of this installation, made when the database was. All gateways on one database
    /// share it, and gateways on another one never touch its containers.
    pub async fn instance(&self) -> Result<String, StoreError> {
        let fresh: String = RequestId::random().to_string().chars().take(8).collect();
        on_pool!(self, |pool| {
            sqlx::query("INSERT INTO meta (name, value) VALUES ('instance', $1) ON CONFLICT (name) DO NOTHING")
                .bind(fresh)
                .execute(pool)
                .await?;
            let row = sqlx::query("SELECT value FROM meta WHERE name = 'instance'")
                .fetch_one(pool)
                .await?;
            Ok(row.try_get("value")?)
        })
    }

    /// Which database this is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn pool(&self) -> Pool {
        let (open, idle) = match self {
            Self::Sqlite(pool) => (pool.size(), pool.num_idle()),
            Self::Postgres(pool) => (pool.size(), pool.num_idle()),
        };
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        Pool {
            used: open.saturating_sub(idle),
            idle,
            max: match self {
                Self::Sqlite(pool) => pool.options().get_max_connections(),
                Self::Postgres(pool) => pool.options().get_max_connections(),
            },
        }
    }

    /// Waits for running statements and closes the pool.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Number and name of each migration that is not among those applied.
fn missing(applied: &[AppliedMigration]) -> Vec<String> {
    MIGRATIONS
        .iter()
        .filter(|known| !applied.iter().any(|one| one.version == known.version))
        .map(|known| format!("{:04} {}", known.version, known.description))
        .collect()
}

/// Makes the file, if it is not there, so that nobody else on this machine can read it: it holds ID
/// tokens. SQLite gives its side files the same mode.
fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut options = std::fs::OpenOptions::new();
    options
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// The name or columns of the unique index that refused a row, if that is what happened.
fn unique_violation(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    if !database.is_unique_violation() {
        return None;
    }
    // PostgreSQL names the index, SQLite lists the columns in its message.
    Some(match database.constraint() {
        Some(index) => index.to_owned(),
        None => database.message().to_owned(),
    })
}
