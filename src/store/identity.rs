//! The tables `refresh_tokens` and `logout_tokens`, and what a re-check changes of a user: what the provider lets
//! us know after a login. What is sealed stays sealed here.

use sqlx::{Connection as _, Row};

use super::notify::{SESSIONS, announce};
use super::users::{USER_COLUMNS, user_from};
use super::{Database, StoreError, on_pool};
use crate::model::id::{SessionHash, SessionId, UserId};
use crate::model::time::Timestamp;
use crate::model::user::{Identity, User};

/// A refresh token whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueToken {
    /// The session that it belongs to.
    pub session: SessionHash,
    /// The token, sealed.
    pub sealed: String,
}

/// A session and what the provider said at its login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedSession {
    /// Public handle.
    pub id: SessionId,
    /// Whose it is.
    pub user: User,
    /// The ID token of the login.
    pub id_token: Option<String>,
}

impl Database {
    /// Keeps the refresh token of a session; a former one is replaced. Nothing is kept for a session that is over.
    pub async fn keep_refresh_token(
        &self,
        token: &DueToken,
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            sqlx::query(
                "INSERT INTO refresh_tokens (session_hash, sealed, due_at)
                 SELECT token_hash, $2, $3 FROM oauth_sessions WHERE token_hash = $1
                 ON CONFLICT (session_hash) DO UPDATE SET sealed = excluded.sealed, due_at = excluded.due_at",
            )
            .bind(token.session.as_str())
            .bind(&token.sealed)
            .bind(due_at.millis())
            .execute(pool)
            .await?;
            Ok(())
        })
    }

    /// Whether a refresh token's turn has come: a look that takes no lock.
    pub async fn has_due_refresh_tokens(&self, now: Timestamp) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let row = sqlx::query("SELECT 1 FROM refresh_tokens WHERE due_at <= $1 LIMIT 1")
                .bind(now.millis())
                .fetch_optional(pool)
                .await?;
            Ok(row.is_some())
        })
    }

    /// Takes up to `count` tokens whose turn has come. Nobody else gets them before `until`, whatever becomes of
    /// this gateway.
    pub async fn claim_refresh_tokens(
        &self,
        now: Timestamp,
        until: Timestamp,
        count: i64,
    ) -> Result<Vec<DueToken>, StoreError> {
        on_pool!(self, |pool| {
            // The condition is repeated for PostgreSQL, which looks at it again after waiting for another gateway.
            let rows = sqlx::query(
                "UPDATE refresh_tokens SET due_at = $1 WHERE due_at <= $2 AND session_hash IN
                     (SELECT session_hash FROM refresh_tokens WHERE due_at <= $2 ORDER BY due_at LIMIT $3)
                 RETURNING session_hash, sealed",
            )
            .bind(until.millis())
            .bind(now.millis())
            .bind(count)
            .fetch_all(pool)
            .await?;
            let rows = rows.iter().map(|row| {
                Ok(DueToken {
                    session: SessionHash::from_hex(row.try_get("session_hash")?),
                    sealed: row.try_get("sealed")?,
                })
            });
            rows.collect()
        })
    }

    /// Puts a token's next turn off; what it is stays.
    pub async fn postpone_refresh_token(
        &self,
        session: &SessionHash,
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            sqlx::query("UPDATE refresh_tokens SET due_at = $1 WHERE session_hash = $2")
                .bind(due_at.millis())
                .bind(session.as_str())
                .execute(pool)
                .await?;
            Ok(())
        })
    }

    /// Forgets a token that is of no use.
    pub async fn forget_refresh_token(&self, session: &SessionHash) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            sqlx::query("DELETE FROM refresh_tokens WHERE session_hash = $1")
                .bind(session.as_str())
                .execute(pool)
                .await?;
            Ok(())
        })
    }

    /// The session of a token that was claimed.
    pub async fn find_checked_session(
        &self,
        session: &SessionHash,
    ) -> Result<Option<CheckedSession>, StoreError> {
        let sql = format!(
            "SELECT oauth_sessions.id AS session_key, oauth_sessions.id_token, {USER_COLUMNS}
             FROM oauth_sessions JOIN users ON users.id = oauth_sessions.user_id
             WHERE oauth_sessions.token_hash = $1"
        );
        on_pool!(self, |pool| {
            let row = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(session.as_str())
                .fetch_optional(pool)
                .await?;
            let Some(row) = row else { return Ok(None) };
            let id: String = row.try_get("session_key")?;
            Ok(Some(CheckedSession {
                id: id
                    .parse()
                    .map_err(|_| StoreError::Corrupt(format!("session id {id:?}")))?,
                user: user_from(&|column| row.try_get(column))?,
                id_token: row.try_get("id_token")?,
            }))
        })
    }

    /// Records what the provider says of a user now. It is no login. Their sessions hear of it, at every gateway.
    pub async fn update_user(
        &self,
        user: UserId,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let groups = serde_json::json!(identity.groups).to_string();
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            sqlx::query(
                "UPDATE users SET username = $1, name = $2, email = $3, role = $4, groups = $5,
                     version = CASE WHEN version >= $6 THEN version + 1 ELSE $6 END
                 WHERE id = $7",
            )
            .bind(&identity.username)
            .bind(identity.name.as_deref())
            .bind(identity.email.as_deref())
            .bind(identity.role.as_str())
            .bind(groups)
            .bind(now.millis())
            .bind(user.to_string())
            .execute(&mut *transaction)
            .await?;
            announce!(self, transaction, SESSIONS, "");
            transaction.commit().await?;
            Ok(())
        })
    }

    /// Notes a logout token. `false` if it was taken before, by whichever gateway.
    pub async fn take_logout_token(
        &self,
        id: &str,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let done = sqlx::query(
                "INSERT INTO logout_tokens (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
            )
            .bind(id)
            .bind(expires_at.millis())
            .execute(pool)
            .await?;
            Ok(done.rows_affected() > 0)
        })
    }

    /// Forgets logout tokens that nobody could use again.
    pub async fn forget_logout_tokens(&self, now: Timestamp) -> Result<u64, StoreError> {
        on_pool!(self, |pool| {
            let done = sqlx::query("DELETE FROM logout_tokens WHERE expires_at <= $1")
                .bind(now.millis())
                .execute(pool)
                .await?;
            Ok(done.rows_affected())
        })
    }
}
