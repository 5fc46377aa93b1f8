//! The `homes` and `old_homes` tables: which volume is a person's home now, and which ones were set aside.

use std::ops::Range;

use sqlx::{Connection as _, Row};

use super::{Database, StoreError, on_pool};
use crate::model::id::UserId;
use crate::model::time::Timestamp;

/// A home that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldHome {
    /// Name of the volume.
    pub volume: String,
    /// Whose it was; they may be gone.
    pub user_id: UserId,
    /// Of which template.
    pub template: String,
    /// When it was set aside.
    pub retired_at: Timestamp,
}

macro_rules! old_homes {
    ($pool:expr, $rest:expr $(, $bind:expr)*) => {{
        let sql = concat!("SELECT volume, user_id, template, retired_at FROM old_homes WHERE ", $rest);
        let rows = sqlx::query(sql)$(.bind($bind))*.fetch_all($pool).await?;
        rows.iter()
            .map(|row| {
                let user: String = row.try_get("user_id")?;
                Ok(OldHome {
                    volume: row.try_get("volume")?,
                    user_id: user
                        .parse()
                        .map_err(|_| StoreError::Corrupt(format!("user id {user:?}")))?,
                    template: row.try_get("template")?,
                    retired_at: Timestamp::from_millis(row.try_get("retired_at")?),
                })
            })
            .collect::<Result<Vec<OldHome>, StoreError>>()
    }};
}

impl Database {
    /// How often the user's home of this template was set aside.
    pub async fn home_generation(&self, user: UserId, template: &str) -> Result<i64, StoreError> {
        let generation: Option<i64> = on_pool!(self, |pool| {
            let sql = "SELECT generation FROM homes WHERE user_id = $1 AND template = $2";
            Ok(sqlx::query_scalar(sql)
                .bind(user.to_string())
                .bind(template)
                .fetch_optional(pool)
                .await?)
        })?;
        Ok(generation.unwrap_or_default())
    }

    /// Sets a home aside, so that the next start makes a new one: that of the end of `generations`, whose beginning is the
    /// one in use. `false` when it is not any more: somebody else has just done so.
    pub async fn retire_home(
        &self,
        home: &OldHome,
        generations: Range<i64>,
        engine: &str,
    ) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let done = sqlx::query(
                "INSERT INTO homes (user_id, template, generation) VALUES ($1, $2, $3)
                 ON CONFLICT (user_id, template) DO UPDATE SET generation = excluded.generation
                 WHERE homes.generation = $4",
            )
            .bind(home.user_id.to_string())
            .bind(&home.template)
            .bind(generations.end)
            .bind(generations.start)
            .execute(&mut *transaction)
            .await?;
            if done.rows_affected() != 1 {
                return Ok(false);
            }
            sqlx::query(
                "INSERT INTO old_homes (volume, engine, user_id, template, retired_at) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(&home.volume)
            .bind(engine)
            .bind(home.user_id.to_string())
            .bind(&home.template)
            .bind(home.retired_at.millis())
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(true)
        })
    }

    /// The homes that were set aside on this engine until `before`, oldest first.
    pub async fn old_homes(
        &self,
        engine: &str,
        before: Timestamp,
    ) -> Result<Vec<OldHome>, StoreError> {
        on_pool!(self, |pool| {
            old_homes!(
                pool,
                "engine = $1 AND retired_at <= $2 ORDER BY retired_at, volume",
                engine,
                before.millis()
            )
        })
    }

    /// The home with this volume, if it was set aside on this engine.
    pub async fn old_home(
        &self,
        engine: &str,
        volume: &str,
    ) -> Result<Option<OldHome>, StoreError> {
        on_pool!(self, |pool| {
            Ok(old_homes!(pool, "engine = $1 AND volume = $2", engine, volume)?.pop())
        })
    }

    /// Forgets a home whose volume is gone. `false` when somebody else has just done so.
    pub async fn forget_old_home(&self, volume: &str) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let done = sqlx::query("DELETE FROM old_homes WHERE volume = $1")
                .bind(volume)
                .execute(pool)
                .await?;
            Ok(done.rows_affected() == 1)
        })
    }
}
