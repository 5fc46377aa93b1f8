//! Which schema a database has, and bringing it up to the one that this program needs: each migration is applied once, in
//! order, and a database that a newer program has changed is left alone.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migrator};
use sqlx::postgres::PgConnection;

use super::deadline::{in_time, within};
use super::{Database, StoreError, on_pool};
use crate::config::DatabaseConfig;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long all migrations together may take, those waited for that another program applies among them.
const LONGEST: Duration = Duration::from_secs(3600);

/// The table in which a database keeps which migrations it has had.
pub(super) const TABLE: &str = "_sqlx_migrations";

/// The number of the last migration that this program knows.
#[must_use]
pub fn newest() -> i64 {
    let versions = MIGRATIONS.iter().map(|known| known.version);
    versions.max().unwrap_or_default()
}

impl Database {
    /// Opens a database that is there and has the schema that this program needs, which stays as it is.
    ///
    /// # Errors
    /// It is not there, lacks a migration, or has one that this program does not know.
    pub async fn open_unchanged(config: &DatabaseConfig) -> Result<Self, StoreError> {
        if let DatabaseConfig::Sqlite(Some(path)) = config
            && !path.exists()
        {
            return Err(StoreError::Absent(path.display().to_string()));
        }
        let database = Self::connect(config).await?;
        database.require_current().await?;
        Ok(database)
    }

    /// Applies what is missing and returns the names of the migrations that were applied.
    ///
    /// # Errors
    /// A migration fails, or the database has one that this program does not know: it was used by a newer one.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite(pool) => {
                let mut connection = pool.acquire().await?;
                within(LONGEST, apply(&mut *connection)).await
            }
            Self::Postgres(pool) => {
                // One of its own, on which the limits of a call are not set.
                let options = pool.connect_options();
                let connecting = async { Ok(PgConnection::connect_with(&options).await?) };
                let mut connection = in_time(connecting).await?;
                let applied = within(LONGEST, apply(&mut connection)).await?;
                in_time(async { Ok(connection.close().await?) }).await?;
                Ok(applied)
            }
        }
    }

    /// Names of the migrations that this program would apply. Applies none.
    ///
    /// # Errors
    /// The database does not answer, or has a migration that this program does not know.
    pub async fn pending(&self) -> Result<Vec<String>, StoreError> {
        self.ping().await?;
        on_pool!(self, |pool| {
            // Without the table that says so, none was applied.
            let applied = pool.list_applied_migrations(TABLE).await;
            let applied = applied.unwrap_or_default();
            refuse_newer(&applied)?;
            Ok(missing(&applied))
        })
    }

    /// Refuses a database whose schema is not the one that this program needs.
    pub(super) async fn require_current(&self) -> Result<(), StoreError> {
        let pending = self.pending().await?;
        if pending.is_empty() {
            return Ok(());
        }
        Err(StoreError::Behind(pending.join(", ")))
    }
}

/// Applies what is missing.
async fn apply<C: Migrate>(connection: &mut C) -> Result<Vec<String>, StoreError> {
    connection
        .ensure_migrations_table(TABLE)
        .await
        .map_err(StoreError::Migrate)?;
    let before = connection
        .list_applied_migrations(TABLE)
        .await
        .map_err(StoreError::Migrate)?;
    refuse_newer(&before)?;
    let applied = MIGRATIONS.run_direct(None, connection, false).await;
    applied.map_err(|error| match error {
        // Another, newer program was quicker by a moment.
        MigrateError::VersionMissing(database) => newer(database),
        error => StoreError::Migrate(error),
    })?;
    Ok(missing(&before))
}

/// Refuses a database that has had a migration that this program does not know.
fn refuse_newer(applied: &[AppliedMigration]) -> Result<(), StoreError> {
    let unknown = applied
        .iter()
        .map(|applied| applied.version)
        .filter(|version| !MIGRATIONS.version_exists(*version));
    unknown.max().map_or(Ok(()), |version| Err(newer(version)))
}

fn newer(database: i64) -> StoreError {
    StoreError::Newer {
        database,
        program: newest(),
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
