//! What is stored about one person, in whichever table, and its end.

use serde_json::{Value, json};
use sqlx::{Connection as _, Row};

use super::users::{USER_COLUMNS, user_from};
use super::{Database, StoreError, on_pool};
use crate::model::id::UserId;
use crate::model::time::Timestamp;
use crate::model::user::User;

/// A column of an export: how it is called there, and whether it holds a time.
type Column = (&'static str, bool);

/// Tables with something about a person, without hashes, tokens and other secrets: whoever has the export must
/// not be able to act as them.
const TABLES: [(&str, &str, &[Column]); 4] = [
    (
        "users",
        "id",
        &[
            ("id", false),
            ("issuer", false),
            ("subject", false),
            ("username", false),
            ("name", false),
            ("email", false),
            ("role", false),
            ("groups", false),
            ("created_at", true),
            ("last_login", true),
        ],
    ),
    (
        "oauth_sessions",
        "user_id",
        &[
            ("id", false),
            ("device", false),
            ("address", false),
            ("last_address", false),
            ("created_at", true),
            ("expires_at", true),
            ("last_seen", true),
        ],
    ),
    (
        "api_tokens",
        "user_id",
        &[
            ("id", false),
            ("name", false),
            ("scopes", false),
            ("created_at", true),
            ("expires_at", true),
            ("last_used", true),
        ],
    ),
    (
        "containers",
        "user_id",
        &[
            ("id", false),
            ("session_id", false),
            ("template", false),
            ("container_id", false),
            ("container_name", false),
            ("image_name", false),
            ("status", false),
            ("status_reason", false),
            ("status_detail", false),
            ("created_at", true),
            ("started_at", true),
            ("stopped_at", true),
            ("last_accessed", true),
            ("last_input", true),
            ("watched_name", false),
            ("watched_until", true),
        ],
    ),
];

impl Database {
    /// The user with this id.
    pub async fn find_user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        Ok(self.find_users_named(&id.to_string()).await?.pop())
    }

    /// The users with this id or name.
    pub async fn find_users_named(&self, text: &str) -> Result<Vec<User>, StoreError> {
        let sql = format!(
            "SELECT {USER_COLUMNS} FROM users WHERE users.id = $1 OR users.username = $1 ORDER BY users.created_at"
        );
        on_pool!(self, |pool| {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(text)
                .fetch_all(pool)
                .await?;
            rows.iter()
                .map(|row| user_from(&|column| row.try_get(column)))
                .collect()
        })
    }

    /// Everything about a person but the audit log, by table.
    pub async fn export_user(&self, id: UserId) -> Result<Value, StoreError> {
        let mut tables = serde_json::Map::new();
        for (table, key, columns) in TABLES {
            let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            let sql = format!("SELECT {names} FROM {table} WHERE {key} = $1 ORDER BY created_at");
            let rows: Vec<Value> = on_pool!(self, |pool| {
                let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                    .bind(id.to_string())
                    .fetch_all(pool)
                    .await?;
                let row = |row: &_| -> Result<Value, sqlx::Error> {
                    let mut fields = serde_json::Map::new();
                    for (name, is_time) in columns {
                        let value = if *is_time {
                            let millis: Option<i64> = Row::try_get(row, *name)?;
                            json!(millis.map(Timestamp::from_millis))
                        } else {
                            let text: Option<String> = Row::try_get(row, *name)?;
                            json!(text)
                        };
                        fields.insert((*name).to_owned(), value);
                    }
                    Ok(Value::Object(fields))
                };
                Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
            })?;
            tables.insert(table.to_owned(), Value::Array(rows));
        }
        Ok(Value::Object(tables))
    }

    /// Deletes the API tokens of a person; returns how many there were.
    pub async fn delete_tokens_of(&self, id: UserId) -> Result<u64, StoreError> {
        on_pool!(self, |pool| {
            let done = sqlx::query("DELETE FROM api_tokens WHERE user_id = $1")
                .bind(id.to_string())
                .execute(pool)
                .await?;
            Ok(done.rows_affected())
        })
    }

    /// Deletes a person whose desktops are gone, and puts `pseudonym` where the audit log names them: what
    /// happened, and when, stays. All or nothing. Returns how many entries there are of them.
    ///
    /// # Errors
    /// A desktop is still there, or the database does not answer.
    pub async fn forget_user(&self, id: UserId, pseudonym: &str) -> Result<u64, StoreError> {
        let statements = [
            // What others did to them, then what they did. Details may hold names, an address tells where they live.
            "UPDATE audit_log SET subject_id = $1, details = '{}' WHERE subject_id = $2",
            "UPDATE audit_log SET actor_id = $1, actor_name = $1, address = NULL, details = '{}' WHERE actor_id = $2",
        ];
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let concerned = sqlx::query(
                "SELECT COUNT(*) AS n FROM audit_log WHERE subject_id = $1 OR actor_id = $1",
            )
            .bind(id.to_string())
            .fetch_one(&mut *transaction)
            .await?;
            for sql in statements {
                sqlx::query(sql)
                    .bind(pseudonym)
                    .bind(id.to_string())
                    .execute(&mut *transaction)
                    .await?;
            }
            // Its volumes are gone, and nothing refers to the person.
            sqlx::query("DELETE FROM old_homes WHERE user_id = $1")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            // Sessions and tokens go with the person.
            sqlx::query("DELETE FROM users WHERE id = $1")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            let count: i64 = concerned.try_get("n")?;
            Ok(u64::try_from(count).unwrap_or_default())
        })
    }
}
