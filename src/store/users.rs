//! The `users` table: one row per (issuer, subject), refreshed at each login.

use sqlx::{Connection as _, Row};

use super::conditions::escaped;
use super::notify::{SESSIONS, announce};
use super::{Database, StoreError, on_pool};
use crate::model::id::UserId;
use crate::model::time::Timestamp;
use crate::model::user::{Identity, Role, User};

/// The version of a user is the time of the last change, or one more than before where the clock says less:
/// what is equal keeps its version, and no two versions of a user are the same.
const UPSERT: &str = "
    INSERT INTO users (id, issuer, subject, username, name, email, role, groups, created_at, last_login, version)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $9)
    ON CONFLICT (issuer, subject) DO UPDATE SET
        username = excluded.username, name = excluded.name, email = excluded.email, role = excluded.role,
        groups = excluded.groups, last_login = excluded.last_login, locked_at = NULL,
        version = CASE
            WHEN users.username = excluded.username AND users.role = excluded.role AND users.groups = excluded.groups
                AND COALESCE(users.name, '') = COALESCE(excluded.name, '')
                AND COALESCE(users.email, '') = COALESCE(excluded.email, '') THEN users.version
            WHEN users.version >= excluded.version THEN users.version + 1
            ELSE excluded.version
        END
    RETURNING id, version";

/// Members of one group that are looked at: no class is larger.
const MAX_MEMBERS: u32 = 500;

impl Database {
    /// The user whom the provider calls this.
    pub async fn find_user_of(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<User>, StoreError> {
        let sql = format!("SELECT {USER_COLUMNS} FROM users WHERE issuer = $1 AND subject = $2");
        on_pool!(self, |pool| {
            let row = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(issuer)
                .bind(subject)
                .fetch_optional(pool)
                .await?;
            row.map(|row| user_from(&|column| row.try_get(column)))
                .transpose()
        })
    }

    /// Records what the provider said at a login and returns the user, made if new. Sessions of a user who is
    /// known differently hear of it, at every gateway.
    pub async fn upsert_user(
        &self,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<User, StoreError> {
        let groups = serde_json::json!(identity.groups).to_string();
        let id: String = on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let row = sqlx::query(UPSERT)
                .bind(UserId::random().to_string())
                .bind(&identity.issuer)
                .bind(&identity.subject)
                .bind(&identity.username)
                .bind(identity.name.as_deref())
                .bind(identity.email.as_deref())
                .bind(identity.role.as_str())
                .bind(groups)
                .bind(now.millis())
                .fetch_one(&mut *transaction)
                .await?;
            // A new user has no session yet that could hear of it, which does no harm.
            let version: i64 = row.try_get("version")?;
            if version >= now.millis() {
                announce!(self, transaction, SESSIONS, "");
            }
            transaction.commit().await?;
            Ok(row.try_get("id")?)
        })?;
        let id = id
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("user id {id:?}")))?;
        Ok(User {
            id,
            identity: identity.clone(),
        })
    }

    /// Locks a user out: their API tokens are good for nothing until their next login. Their sessions are
    /// ended by whoever calls this.
    pub async fn lock_user(&self, user: UserId, now: Timestamp) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            sqlx::query("UPDATE users SET locked_at = $1 WHERE id = $2 AND locked_at IS NULL")
                .bind(now.millis())
                .bind(user.to_string())
                .execute(pool)
                .await?;
            Ok(())
        })
    }

    /// The users whom the provider named as members of `group` at their last login, at most 500.
    pub async fn users_in_group(&self, group: &str) -> Result<Vec<User>, StoreError> {
        // Groups are a JSON list, so that a member's text has the group's JSON in it. `LIKE` may find too many: it
        // does not know whether a letter is a capital, nor where a text in the list begins.
        let sql = format!(
            "SELECT {USER_COLUMNS} FROM users WHERE groups LIKE $1 ESCAPE '\\' ORDER BY id LIMIT {MAX_MEMBERS}"
        );
        let pattern = format!("%{}%", escaped(&serde_json::json!(group).to_string()));
        let mut users: Vec<User> = on_pool!(self, |pool| {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(pattern)
                .fetch_all(pool)
                .await?;
            let users = rows
                .iter()
                .map(|row| user_from(&|column| row.try_get(column)));
            users.collect::<Result<_, StoreError>>()
        })?;
        users.retain(|user| user.identity.groups.iter().any(|known| known == group));
        Ok(users)
    }

    /// The users with this username or id. Names come from providers and are not unique.
    pub async fn find_users(&self, name: &str) -> Result<Vec<User>, StoreError> {
        let sql = format!(
            "SELECT {USER_COLUMNS} FROM users WHERE username = $1 OR id = $1 ORDER BY issuer, subject"
        );
        on_pool!(self, |pool| {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(name)
                .fetch_all(pool)
                .await?;
            let users = rows
                .iter()
                .map(|row| user_from(&|column| row.try_get(column)));
            users.collect()
        })
    }
}

impl Database {
    /// The groups that the provider named at the user's last login; none for an unknown user.
    pub async fn groups_of(&self, user: UserId) -> Result<Vec<String>, StoreError> {
        let groups: Option<String> = on_pool!(self, |pool| {
            Ok(sqlx::query_scalar("SELECT groups FROM users WHERE id = $1")
                .bind(user.to_string())
                .fetch_optional(pool)
                .await?)
        })?;
        let text = groups.unwrap_or_else(|| "[]".into());
        serde_json::from_str(&text).map_err(|_| StoreError::Corrupt(format!("groups {text:?}")))
    }
}

/// The columns of `users` as [`user_from`] reads them, for statements that join the table.
pub(super) const USER_COLUMNS: &str = "users.id AS user_key, users.issuer, users.subject, users.username, users.name, users.email, users.role, users.groups";

/// Text columns of a joined user, read by name.
pub(super) fn user_from(
    text: &dyn Fn(&str) -> Result<Option<String>, sqlx::Error>,
) -> Result<User, StoreError> {
    let required =
        |column: &str| -> Result<String, StoreError> { Ok(text(column)?.unwrap_or_default()) };
    let id = required("user_key")?;
    let groups = required("groups")?;
    Ok(User {
        id: id
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("user id {id:?}")))?,
        identity: Identity {
            issuer: required("issuer")?,
            subject: required("subject")?,
            username: required("username")?,
            name: text("name")?,
            email: text("email")?,
            role: Role::from_word(&required("role")?),
            groups: serde_json::from_str(&groups)
                .map_err(|_| StoreError::Corrupt(format!("groups {groups:?}")))?,
        },
    })
}
