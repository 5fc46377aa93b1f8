//! The `users` table: one row per (issuer, subject), refreshed at each login.

use sqlx::Row;

use super::{Database, StoreError, on_pool};
use crate::model::id::UserId;
use crate::model::time::Timestamp;
use crate::model::user::{Identity, Role, User};

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

    /// Records what the provider said at a login and returns the user, made if new.
    pub async fn upsert_user(
        &self,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<User, StoreError> {
        let groups = serde_json::json!(identity.groups).to_string();
        let id: String = on_pool!(self, |pool| {
            sqlx::query(
                "INSERT INTO users (id, issuer, subject, username, name, email, role, groups, created_at, last_login)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
                 ON CONFLICT (issuer, subject) DO UPDATE SET
                     username = excluded.username, name = excluded.name, email = excluded.email, role = excluded.role,
                     groups = excluded.groups, last_login = excluded.last_login
                 RETURNING id",
            )
            .bind(UserId::random().to_string())
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .bind(&identity.username)
            .bind(identity.name.as_deref())
            .bind(identity.email.as_deref())
            .bind(identity.role.as_str())
            .bind(groups)
            .bind(now.millis())
            .fetch_one(pool)
            .await?
            .try_get("id")?
        });
        let id = id
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("user id {id:?}")))?;
        Ok(User {
            id,
            identity: identity.clone(),
        })
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
