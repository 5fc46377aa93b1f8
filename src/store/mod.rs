//! What survives a restart: users, sessions, API tokens and desktops in SQLite or PostgreSQL, with one SQL text
//! for both. Invariants live in the schema (partial unique indexes), not in locks held by code.

pub mod api_tokens;
pub mod audit;
mod certificates;
mod conditions;
pub mod containers;
mod deadline;
pub mod homes;
pub mod identity;
pub mod looks;
pub mod migrations;
pub mod notify;
pub mod overview;
pub mod people;
mod schema;
pub mod seat;
pub mod sessions;
pub mod starts;
pub mod transfer;
pub mod users;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::config::DatabaseConfig;
use crate::model::desktop::State;
use crate::model::id::RequestId;
use crate::telemetry::metrics::state::Pool;

/// How long a caller waits for a free connection before the database counts as down.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server that cannot be connected to is asked why.
const CAUSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long SQLite waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long PostgreSQL keeps a transaction open whose gateway says nothing. One that stands still in the middle of a
/// change, with its machine or without, holds locks that all others need.
const ABANDONED: Duration = Duration::from_secs(5);
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
    /// It was asked, and said nothing.
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    /// The server is not there, or does not let us in.
    #[error("no connection to database {database} on PostgreSQL at {server}")]
    Unreachable {
        /// Address and port, or the path of a socket.
        server: String,
        /// Which of its databases.
        database: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The schema is not what this program needs.
    #[error("the database schema cannot be brought up to date")]
    Migrate(#[source] MigrateError),
    /// A newer program has changed the schema.
    #[error(
        "the database was brought to migration {database} by a newer Deskgate; this one knows migrations up to {program}"
    )]
    Newer {
        /// The last one that the database has had.
        database: i64,
        /// The last one that this program knows.
        program: i64,
    },
    /// Migrations that were not applied, where none may be.
    #[error("the database is not up to date; run deskgate migrate first (it lacks {0})")]
    Behind(String),
    /// There is no file, where none may be made.
    #[error("there is no database at {0}; deskgate migrate makes it, or the first start")]
    Absent(String),
    /// A row says something that no version of this program writes.
    #[error("the database holds {0}, which makes no sense")]
    Corrupt(String),
    /// A change of state that no desktop makes: a fault of this program.
    #[error("a desktop that is {} never becomes {}", .0.as_str(), .1.as_str())]
    Illegal(State, State),
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

/// Runs one body, a `Result`, on a connection of either pool and within the deadline of a call: the SQL is the same,
/// only the driver differs.
macro_rules! on_pool {
    ($database:expr, |$connection:ident| $body:block) => {
        match $database {
            $crate::store::Database::Sqlite(pool) => {
                $crate::store::deadline::in_time(async {
                    let mut lent = pool.acquire().await?;
                    let $connection = &mut *lent;
                    $body
                })
                .await
            }
            $crate::store::Database::Postgres(pool) => {
                match $crate::store::deadline::Lent::of(pool).await {
                    Err(error) => Err(error),
                    Ok(mut lent) => {
                        let answer = $crate::store::deadline::in_time(async {
                            let $connection = lent.connection();
                            $body
                        })
                        .await;
                        lent.give_back(answer).await
                    }
                }
            }
        }
    };
}
pub(crate) use on_pool;

/// The same with the pool itself and without a deadline, for what takes as long as there are rows.
macro_rules! at_length {
    ($database:expr, |$pool:ident| $body:block) => {
        match $database {
            $crate::store::Database::Sqlite($pool) => $body,
            $crate::store::Database::Postgres($pool) => $body,
        }
    };
}
pub(crate) use at_length;

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
                Self::connect_postgres(PgConnectOptions::from_str(url.expose())?).await
            }
        }
    }

    async fn connect_postgres(options: PgConnectOptions) -> Result<Self, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| Box::pin(limit(connection)))
            .connect_with(options.clone());
        match pool.await {
            Ok(pool) => Ok(Self::Postgres(pool)),
            Err(error) => Err(unreachable(&options, error).await),
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
        if let Some(name) = self.known_instance().await? {
            return Ok(name);
        }
        let fresh: String = RequestId::random().to_string().chars().take(8).collect();
        on_pool!(self, |pool| {
            sqlx::query("INSERT INTO meta (name, value) VALUES ('instance', $1) ON CONFLICT (name) DO NOTHING")
                .bind(fresh)
                .execute(pool)
                .await?;
            Ok(())
        })?;
        let name = self.known_instance().await?;
        name.ok_or_else(|| StoreError::Corrupt("no name of this installation".into()))
    }

    /// The name of this installation, if a gateway has been on the database before.
    pub async fn known_instance(&self) -> Result<Option<String>, StoreError> {
        on_pool!(self, |pool| {
            let sql = "SELECT value FROM meta WHERE name = 'instance'";
            Ok(sqlx::query_scalar(sql).fetch_optional(pool).await?)
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

    /// The major version of the server, where there is one.
    pub async fn server_version(&self) -> Result<Option<u32>, StoreError> {
        if matches!(self, Self::Sqlite(_)) {
            return Ok(None);
        }
        on_pool!(self, |pool| {
            let sql = "SELECT current_setting('server_version_num')";
            let number: String = sqlx::query_scalar(sql).fetch_one(pool).await?;
            let version = number.parse::<u32>();
            let version =
                version.map_err(|_| StoreError::Corrupt(format!("version {number:?}")))?;
            Ok(Some(version / 10_000))
        })
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
            Self::Postgres(pool) => {
                let closed = tokio::time::timeout(deadline::CALL, pool.close()).await;
                if closed.is_err() {
                    tracing::debug!("connections to the database were left as they are");
                }
            }
        }
    }
}

/// Says which server it is that no connection could be made to, and why. The pool does not: it waits for a server that may
/// be about to start, and tells no more than that it waited long enough.
async fn unreachable(options: &PgConnectOptions, error: sqlx::Error) -> StoreError {
    let source = if matches!(error, sqlx::Error::PoolTimedOut) {
        match tokio::time::timeout(CAUSE_TIMEOUT, PgConnection::connect_with(options)).await {
            Ok(Err(cause)) => cause,
            // It has just come up.
            Ok(Ok(_)) => error,
            Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
        }
    } else {
        error
    };
    let address = || format!("{}:{}", options.get_host(), options.get_port());
    let socket = options.get_socket();
    let database = options.get_database();
    StoreError::Unreachable {
        server: socket.map_or_else(address, |path| path.display().to_string()),
        database: database.unwrap_or(options.get_username()).to_owned(),
        source,
    }
}

/// Has the server end a transaction that nobody goes on with, and a statement that nobody waits for any more.
async fn limit(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let (abandoned, call) = (ABANDONED.as_millis(), deadline::CALL.as_millis());
    for wish in [
        format!("SET idle_in_transaction_session_timeout = {abandoned}"),
        format!("SET statement_timeout = {call}"),
    ] {
        let asked = sqlx::query(sqlx::AssertSqlSafe(wish));
        if let Err(error) = asked.execute(&mut *connection).await {
            tracing::debug!(%error, "the database server does not know this");
        }
    }
    Ok(())
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
