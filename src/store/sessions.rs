//! The `oauth_sessions` table. A session's secret is never here, only its SHA-256.

use sqlx::Row;

use super::users::{USER_COLUMNS, user_from};
use super::{Database, StoreError, on_pool};
use crate::model::id::{SessionHash, SessionId, UserId};
use crate::model::time::Timestamp;
use crate::model::user::User;

/// A session and its user, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Public handle.
    pub id: SessionId,
    /// Whose session it is.
    pub user: User,
    /// When it began.
    pub created_at: Timestamp,
    /// Its absolute end.
    pub expires_at: Timestamp,
    /// Last use, as of the last write.
    pub last_seen: Timestamp,
}

/// A session to be made.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Public handle.
    pub id: SessionId,
    /// Hash of the secret that the browser holds.
    pub hash: &'a SessionHash,
    /// Whose session it is.
    pub user: UserId,
    /// The ID token, which the provider wants back at logout.
    pub id_token: Option<&'a str>,
    /// When it begins.
    pub now: Timestamp,
    /// Its absolute end.
    pub expires_at: Timestamp,
}

impl Database {
    /// Records a new session.
    pub async fn insert_session(&self, session: NewSession<'_>) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            sqlx::query(
                "INSERT INTO oauth_sessions (id, token_hash, user_id, id_token, created_at, expires_at, last_seen)
                 VALUES ($1, $2, $3, $4, $5, $6, $5)",
            )
            .bind(session.id.to_string())
            .bind(session.hash.as_str())
            .bind(session.user.to_string())
            .bind(session.id_token)
            .bind(session.now.millis())
            .bind(session.expires_at.millis())
            .execute(pool)
            .await?;
            Ok(())
        })
    }

    /// The session with this hash, whether or not it has expired.
    pub async fn find_session(
        &self,
        hash: &SessionHash,
    ) -> Result<Option<StoredSession>, StoreError> {
        let sql = format!(
            "SELECT oauth_sessions.id AS session_key, oauth_sessions.created_at, oauth_sessions.expires_at,
                    oauth_sessions.last_seen, {USER_COLUMNS}
             FROM oauth_sessions JOIN users ON users.id = oauth_sessions.user_id
             WHERE oauth_sessions.token_hash = $1"
        );
        on_pool!(self, |pool| {
            let row = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(hash.as_str())
                .fetch_optional(pool)
                .await?;
            let Some(row) = row else { return Ok(None) };
            let id: String = row.try_get("session_key")?;
            Ok(Some(StoredSession {
                id: id
                    .parse()
                    .map_err(|_| StoreError::Corrupt(format!("session id {id:?}")))?,
                user: user_from(&|column| row.try_get(column))?,
                created_at: Timestamp::from_millis(row.try_get("created_at")?),
                expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
                last_seen: Timestamp::from_millis(row.try_get("last_seen")?),
            }))
        })
    }

    /// Ends a session; returns its ID token if it was there.
    pub async fn delete_session(
        &self,
        hash: &SessionHash,
    ) -> Result<Option<Option<String>>, StoreError> {
        on_pool!(self, |pool| {
            let row =
                sqlx::query("DELETE FROM oauth_sessions WHERE token_hash = $1 RETURNING id_token")
                    .bind(hash.as_str())
                    .fetch_optional(pool)
                    .await?;
            row.map(|row| row.try_get("id_token").map_err(StoreError::from))
                .transpose()
        })
    }

    /// Moves `last_seen` of the sessions forward.
    pub async fn touch_sessions(&self, seen: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            for (id, at) in seen {
                sqlx::query(
                    "UPDATE oauth_sessions SET last_seen = $1 WHERE id = $2 AND last_seen < $1",
                )
                .bind(at.millis())
                .bind(id.to_string())
                .execute(pool)
                .await?;
            }
            Ok(())
        })
    }

    /// Removes sessions that ended before `now`, or were last seen before `idle_since`.
    pub async fn delete_expired_sessions(
        &self,
        now: Timestamp,
        idle_since: Timestamp,
    ) -> Result<u64, StoreError> {
        on_pool!(self, |pool| {
            let done =
                sqlx::query("DELETE FROM oauth_sessions WHERE expires_at <= $1 OR last_seen <= $2")
                    .bind(now.millis())
                    .bind(idle_since.millis())
                    .execute(pool)
                    .await?;
            Ok(done.rows_affected())
        })
    }

    /// How many sessions [`Self::delete_expired_sessions`] would remove.
    pub async fn count_expired_sessions(
        &self,
        now: Timestamp,
        idle_since: Timestamp,
    ) -> Result<i64, StoreError> {
        on_pool!(self, |pool| {
            let row = sqlx::query("SELECT COUNT(*) AS n FROM oauth_sessions WHERE expires_at <= $1 OR last_seen <= $2")
                .bind(now.millis())
                .bind(idle_since.millis())
                .fetch_one(pool)
                .await?;
            Ok(row.try_get("n")?)
        })
    }
}
