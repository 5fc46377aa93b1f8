//! The `api_tokens` table. A token's secret is never here, only its SHA-256.

use sqlx::{Connection as _, Row};

use super::users::{USER_COLUMNS, user_from};
use super::{Database, StoreError, on_pool};
use crate::model::id::{TokenHash, TokenId, UserId};
use crate::model::scope::Scopes;
use crate::model::time::Timestamp;
use crate::model::user::User;

/// A token and its user, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// Public handle.
    pub id: TokenId,
    /// Hash of the secret.
    pub hash: TokenHash,
    /// In whose name it acts.
    pub user: User,
    /// What its owner calls it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// Last use, as of the last write.
    pub last_used: Option<Timestamp>,
}

/// A token to be made.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// Public handle.
    pub id: TokenId,
    /// Hash of the secret that its owner gets.
    pub hash: &'a TokenHash,
    /// In whose name it acts.
    pub user: UserId,
    /// What its owner calls it.
    pub name: &'a str,
    /// What it may be used for.
    pub scopes: &'a Scopes,
    /// Now.
    pub now: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
}

/// The columns of a token and its user.
fn select(condition: &str) -> String {
    format!(
        "SELECT api_tokens.id AS token_key, api_tokens.token_hash, api_tokens.name AS token_name, api_tokens.scopes,
                api_tokens.created_at AS token_created, api_tokens.expires_at, api_tokens.last_used, {USER_COLUMNS}
         FROM api_tokens JOIN users ON users.id = api_tokens.user_id
         WHERE {condition}"
    )
}

impl Database {
    /// Records a new token, unless the user has `limit` already: then `false`.
    pub async fn insert_token(&self, token: NewToken<'_>, limit: i64) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            // Whoever holds the user's row counts alone, in both databases.
            sqlx::query("UPDATE users SET id = id WHERE id = $1")
                .bind(token.user.to_string())
                .execute(&mut *transaction)
                .await?;
            let count: i64 = sqlx::query("SELECT COUNT(*) AS n FROM api_tokens WHERE user_id = $1")
                .bind(token.user.to_string())
                .fetch_one(&mut *transaction)
                .await?
                .try_get("n")?;
            if count >= limit {
                return Ok(false);
            }
            sqlx::query(
                "INSERT INTO api_tokens (id, token_hash, user_id, name, scopes, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(token.id.to_string())
            .bind(token.hash.as_str())
            .bind(token.user.to_string())
            .bind(token.name)
            .bind(token.scopes.to_words())
            .bind(token.now.millis())
            .bind(token.expires_at.map(Timestamp::millis))
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(true)
        })
    }

    /// The tokens with these hashes whose users are not locked out, whether or not they have expired. At most
    /// a few hundred hashes at a time.
    pub async fn find_tokens(&self, hashes: &[TokenHash]) -> Result<Vec<StoredToken>, StoreError> {
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<String> = (1..=hashes.len()).map(|n| format!("${n}")).collect();
        let condition = format!(
            "users.locked_at IS NULL AND api_tokens.token_hash IN ({})",
            places.join(", ")
        );
        let hashes: Vec<String> = hashes.iter().map(|hash| hash.as_str().to_owned()).collect();
        self.tokens_where(&condition, &hashes).await
    }

    /// A user's tokens, or everybody's, newest first.
    pub async fn list_tokens(&self, user: Option<UserId>) -> Result<Vec<StoredToken>, StoreError> {
        let order = "ORDER BY api_tokens.created_at DESC, api_tokens.id";
        match user {
            Some(user) => {
                let condition = format!("api_tokens.user_id = $1 {order}");
                self.tokens_where(&condition, &[user.to_string()]).await
            }
            None => self.tokens_where(&format!("1 = 1 {order}"), &[]).await,
        }
    }

    async fn tokens_where(
        &self,
        condition: &str,
        values: &[String],
    ) -> Result<Vec<StoredToken>, StoreError> {
        let sql = select(condition);
        on_pool!(self, |pool| {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for value in values {
                query = query.bind(value);
            }
            let rows = query.fetch_all(pool).await?;
            let tokens = rows.iter().map(|row| {
                token_from(&|column| row.try_get(column), &|column| row.try_get(column))
            });
            tokens.collect()
        })
    }

    /// Removes a token, of this user if one is named; returns it if it was there.
    pub async fn delete_token(
        &self,
        id: TokenId,
        owner: Option<UserId>,
    ) -> Result<Option<(TokenHash, UserId)>, StoreError> {
        let row: Option<(String, String)> = on_pool!(self, |pool| {
            let row = sqlx::query(
                "DELETE FROM api_tokens WHERE id = $1 AND ($2 IS NULL OR user_id = $2) RETURNING token_hash, user_id",
            )
            .bind(id.to_string())
            .bind(owner.map(|owner| owner.to_string()))
            .fetch_optional(pool)
            .await?;
            row.map(|row| Ok((row.try_get("token_hash")?, row.try_get("user_id")?)))
                .transpose()
        })?;
        row.map(|(hash, user)| Ok((TokenHash::from_hex(hash), user_id(&user)?)))
            .transpose()
    }

    /// Moves `last_used` of the tokens forward.
    pub async fn touch_tokens(&self, used: &[(TokenId, Timestamp)]) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            for (id, at) in used {
                sqlx::query(
                    "UPDATE api_tokens SET last_used = $1
                     WHERE id = $2 AND (last_used IS NULL OR last_used < $1)",
                )
                .bind(at.millis())
                .bind(id.to_string())
                .execute(&mut *pool)
                .await?;
            }
            Ok(())
        })
    }

    /// Removes tokens that ended before `now`; with `dry_run` only counts them.
    pub async fn clean_tokens(&self, now: Timestamp, dry_run: bool) -> Result<u64, StoreError> {
        on_pool!(self, |pool| {
            if dry_run {
                let row =
                    sqlx::query("SELECT COUNT(*) AS n FROM api_tokens WHERE expires_at <= $1")
                        .bind(now.millis())
                        .fetch_one(pool)
                        .await?;
                let count: i64 = row.try_get("n")?;
                return Ok(u64::try_from(count).unwrap_or_default());
            }
            let done = sqlx::query("DELETE FROM api_tokens WHERE expires_at <= $1")
                .bind(now.millis())
                .execute(pool)
                .await?;
            Ok(done.rows_affected())
        })
    }
}

fn user_id(text: &str) -> Result<UserId, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Corrupt(format!("user id {text:?}")))
}

fn token_from(
    text: &dyn Fn(&str) -> Result<Option<String>, sqlx::Error>,
    number: &dyn Fn(&str) -> Result<Option<i64>, sqlx::Error>,
) -> Result<StoredToken, StoreError> {
    let required =
        |column: &str| -> Result<String, StoreError> { Ok(text(column)?.unwrap_or_default()) };
    let time = |column: &str| -> Result<Option<Timestamp>, StoreError> {
        Ok(number(column)?.map(Timestamp::from_millis))
    };
    let id = required("token_key")?;
    Ok(StoredToken {
        id: id
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("token id {id:?}")))?,
        hash: TokenHash::from_hex(required("token_hash")?),
        user: user_from(text)?,
        name: required("token_name")?,
        scopes: Scopes::from_words(&required("scopes")?),
        created_at: time("token_created")?.unwrap_or_default(),
        expires_at: time("expires_at")?,
        last_used: time("last_used")?,
    })
}
