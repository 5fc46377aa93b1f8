//! The `oauth_sessions` table. A session's secret is never here, only its SHA-256.

use std::collections::HashMap;
use std::net::IpAddr;

use sqlx::{Connection as _, Row};

use super::notify::{SESSIONS, announce};
use super::users::{USER_COLUMNS, user_from};
use super::{Database, StoreError, on_pool};
use crate::model::id::{DesktopId, SessionHash, SessionId, UserId};
use crate::model::time::Timestamp;
use crate::model::user::User;

/// How many sessions one query asks about.
const CHUNK: usize = 500;

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
    /// Which state of the user this is.
    pub user_version: i64,
}

/// A session as its user may see it in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Public handle.
    pub id: SessionId,
    /// What it was begun with, for people; empty if unknown.
    pub device: String,
    /// Where it was begun.
    pub address: Option<IpAddr>,
    /// Where it was last used, as of the last write.
    pub last_address: Option<IpAddr>,
    /// When it began.
    pub created_at: Timestamp,
    /// Its absolute end.
    pub expires_at: Timestamp,
    /// Last use, as of the last write.
    pub last_seen: Timestamp,
}

/// Which sessions to end.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    /// The one with this hash.
    Hash(&'a SessionHash),
    /// The one with this id, whosever it is.
    Id(SessionId),
    /// The one with this id if it is this user's.
    Own(UserId, SessionId),
    /// All of a user.
    User(UserId),
    /// All of a user but one.
    Others(UserId, SessionId),
    /// Those that belong to a session at the provider: its issuer, and its `sid`.
    ProviderSid(&'a str, &'a str),
    /// All of the person whom this issuer calls so.
    Subject(&'a str, &'a str),
}

impl Ending<'_> {
    /// A condition on `oauth_sessions` and its two values; each condition names both.
    fn condition(self) -> (&'static str, [String; 2]) {
        match self {
            Self::Hash(hash) => (
                "token_hash = $1 AND $2 = ''",
                [hash.as_str().to_owned(), String::new()],
            ),
            Self::Id(id) => ("id = $1 AND $2 = ''", [id.to_string(), String::new()]),
            Self::Own(user, id) => (
                "id = $1 AND user_id = $2",
                [id.to_string(), user.to_string()],
            ),
            Self::User(user) => (
                "user_id = $1 AND $2 = ''",
                [user.to_string(), String::new()],
            ),
            Self::Others(user, keep) => (
                "user_id = $1 AND id <> $2",
                [user.to_string(), keep.to_string()],
            ),
            Self::ProviderSid(issuer, sid) => (
                "provider_sid = $2 AND user_id IN (SELECT id FROM users WHERE issuer = $1)",
                [issuer.to_owned(), sid.to_owned()],
            ),
            Self::Subject(issuer, subject) => (
                "user_id IN (SELECT id FROM users WHERE issuer = $1 AND subject = $2)",
                [issuer.to_owned(), subject.to_owned()],
            ),
        }
    }
}

/// A session that has just been ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// Public handle.
    pub id: SessionId,
    /// Its key.
    pub hash: SessionHash,
    /// Whose it was.
    pub user: UserId,
    /// The ID token, which the provider wants back at logout.
    pub id_token: Option<String>,
    /// The desktops that it had started and that are still known.
    pub desktops: Vec<DesktopId>,
}

fn id_from<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Corrupt(format!("id {text:?}")))
}

fn address_from(text: Option<String>) -> Option<IpAddr> {
    text.and_then(|text| text.parse().ok())
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
    /// What the provider calls its own session.
    pub provider_sid: Option<&'a str>,
    /// What it is begun with, for people.
    pub device: &'a str,
    /// Where it is begun.
    pub address: Option<IpAddr>,
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
                "INSERT INTO oauth_sessions (id, token_hash, user_id, id_token, created_at, expires_at, last_seen,
                                             device, address, last_address, provider_sid)
                 VALUES ($1, $2, $3, $4, $5, $6, $5, $7, $8, $8, $9)",
            )
            .bind(session.id.to_string())
            .bind(session.hash.as_str())
            .bind(session.user.to_string())
            .bind(session.id_token)
            .bind(session.now.millis())
            .bind(session.expires_at.millis())
            .bind(session.device)
            .bind(session.address.map(|address| address.to_string()))
            .bind(session.provider_sid)
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
                    oauth_sessions.last_seen, users.version, {USER_COLUMNS}
             FROM oauth_sessions JOIN users ON users.id = oauth_sessions.user_id
             WHERE oauth_sessions.token_hash = $1"
        );
        on_pool!(self, |pool| {
            let row = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(hash.as_str())
                .fetch_optional(pool)
                .await?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some(StoredSession {
                id: id_from(row.try_get("session_key")?)?,
                user: user_from(&|column| row.try_get(column))?,
                created_at: Timestamp::from_millis(row.try_get("created_at")?),
                expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
                last_seen: Timestamp::from_millis(row.try_get("last_seen")?),
                user_version: row.try_get("version")?,
            }))
        })
    }

    /// Of these sessions those that exist, each with the version of its user.
    pub async fn versions_of(
        &self,
        hashes: &[SessionHash],
    ) -> Result<HashMap<SessionHash, i64>, StoreError> {
        let mut found = HashMap::with_capacity(hashes.len());
        for chunk in hashes.chunks(CHUNK) {
            let places: Vec<String> = (1..=chunk.len()).map(|place| format!("${place}")).collect();
            let sql = format!(
                "SELECT token_hash, version FROM oauth_sessions JOIN users ON users.id = oauth_sessions.user_id
                 WHERE token_hash IN ({})",
                places.join(", ")
            );
            on_pool!(self, |pool| {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
                for hash in chunk {
                    query = query.bind(hash.as_str());
                }
                for row in query.fetch_all(pool).await? {
                    let hash = SessionHash::from_hex(row.try_get("token_hash")?);
                    found.insert(hash, row.try_get("version")?);
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// The sessions of a user that live at `now`, the last used first.
    pub async fn list_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        idle_since: Timestamp,
    ) -> Result<Vec<ListedSession>, StoreError> {
        on_pool!(self, |pool| {
            let rows = sqlx::query(
                "SELECT id, device, address, last_address, created_at, expires_at, last_seen FROM oauth_sessions
                 WHERE user_id = $1 AND expires_at > $2 AND last_seen > $3 ORDER BY last_seen DESC, id",
            )
            .bind(user.to_string())
            .bind(now.millis())
            .bind(idle_since.millis())
            .fetch_all(pool)
            .await?;
            let rows = rows.iter().map(|row| {
                Ok(ListedSession {
                    id: id_from(row.try_get("id")?)?,
                    device: row.try_get("device")?,
                    address: address_from(row.try_get("address")?),
                    last_address: address_from(row.try_get("last_address")?),
                    created_at: Timestamp::from_millis(row.try_get("created_at")?),
                    expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
                    last_seen: Timestamp::from_millis(row.try_get("last_seen")?),
                })
            });
            rows.collect()
        })
    }

    /// Ends sessions, and announces it if there were any.
    pub async fn end_sessions(&self, which: Ending<'_>) -> Result<Vec<EndedSession>, StoreError> {
        let (condition, [first, second]) = which.condition();
        let desktops = format!(
            "SELECT id, session_id FROM containers
             WHERE session_id IN (SELECT id FROM oauth_sessions WHERE {condition})"
        );
        let delete = format!(
            "DELETE FROM oauth_sessions WHERE {condition} RETURNING id, token_hash, user_id, id_token"
        );
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            // A write comes first: SQLite does not let a reader become a writer behind another one's back.
            announce!(self, transaction, SESSIONS, "");
            let started = sqlx::query(sqlx::AssertSqlSafe(desktops))
                .bind(&first)
                .bind(&second)
                .fetch_all(&mut *transaction)
                .await?;
            let rows = sqlx::query(sqlx::AssertSqlSafe(delete))
                .bind(&first)
                .bind(&second)
                .fetch_all(&mut *transaction)
                .await?;
            if rows.is_empty() {
                transaction.rollback().await?;
                return Ok(Vec::new());
            }
            transaction.commit().await?;
            let mut ended = Vec::with_capacity(rows.len());
            for row in &rows {
                let id: String = row.try_get("id")?;
                let mut desktops = Vec::new();
                for desktop in &started {
                    if desktop.try_get::<String, _>("session_id")? == id {
                        desktops.push(id_from(desktop.try_get("id")?)?);
                    }
                }
                ended.push(EndedSession {
                    id: id_from(&id)?,
                    hash: SessionHash::from_hex(row.try_get("token_hash")?),
                    user: id_from(row.try_get("user_id")?)?,
                    id_token: row.try_get("id_token")?,
                    desktops,
                });
            }
            Ok(ended)
        })
    }

    /// Gives the desktops that one session of `user` started to another one, which takes its place.
    pub async fn hand_over_desktops(
        &self,
        user: UserId,
        from: &SessionHash,
        to: SessionId,
    ) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            sqlx::query(
                "UPDATE containers SET session_id = $1 WHERE session_id IN
                     (SELECT id FROM oauth_sessions WHERE token_hash = $2 AND user_id = $3)",
            )
            .bind(to.to_string())
            .bind(from.as_str())
            .bind(user.to_string())
            .execute(pool)
            .await?;
            Ok(())
        })
    }

    /// Moves `last_seen` of the sessions forward, and says where they were seen.
    pub async fn touch_sessions(
        &self,
        seen: &[(SessionId, Timestamp, Option<IpAddr>)],
    ) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            for (id, at, address) in seen {
                sqlx::query(
                    "UPDATE oauth_sessions SET last_seen = $1, last_address = COALESCE($3, last_address)
                     WHERE id = $2 AND last_seen < $1",
                )
                .bind(at.millis())
                .bind(id.to_string())
                .bind(address.map(|address| address.to_string()))
                .execute(&mut *pool)
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
            let mut transaction = pool.begin().await?;
            let done =
                sqlx::query("DELETE FROM oauth_sessions WHERE expires_at <= $1 OR last_seen <= $2")
                    .bind(now.millis())
                    .bind(idle_since.millis())
                    .execute(&mut *transaction)
                    .await?;
            if done.rows_affected() > 0 {
                announce!(self, transaction, SESSIONS, "");
            }
            transaction.commit().await?;
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
