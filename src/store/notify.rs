//! News between gateways that share a database: that something changed, on a channel by name.
//!
//! A change announces itself in its own transaction, in two ways. The channel's *revision*, a row of `meta`,
//! rises, which every process on the database can see with one small query. On PostgreSQL those who listen also
//! hear of it at once, with a payload; such a word can be lost with the connection, a revision cannot.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use tokio::sync::Notify;

use super::deadline::in_time;
use super::{Database, StoreError, on_pool};
use crate::telemetry::ErrorChain;

/// Sessions that ended, and users whose rights changed. The payload is empty.
pub const SESSIONS: &str = "deskgate_sessions";
/// Rows of desktops that began, changed or went, apart from their activity. The payload is empty.
pub const DESKTOPS: &str = "deskgate_desktops";

/// How long a listener waits for its connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a listener hears nothing before it asks whether the server is still there.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a broken listener waits before it tries again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// What a listener heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something was announced on `channel`.
    Announced {
        /// Its name.
        channel: String,
        /// What was said; PostgreSQL carries less than 8000 bytes.
        payload: String,
    },
    /// The connection was lost: look yourself, something may have been missed.
    Missed,
}

/// Announces a change on a channel, within the transaction that makes it.
macro_rules! announce {
    ($database:expr, $transaction:expr, $channel:expr, $payload:expr) => {{
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ($1, '1')
             ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)",
        )
        .bind($channel)
        .execute(&mut *$transaction)
        .await?;
        if matches!($database, $crate::store::Database::Postgres(_)) {
            sqlx::query("SELECT pg_notify($1, $2)")
                .bind($channel)
                .bind($payload)
                .execute(&mut *$transaction)
                .await?;
        }
    }};
}
pub(super) use announce;

/// Hears announcements on a connection of its own.
pub struct Listener(PgListener);

impl Listener {
    /// The next news. After an error this listener is worth nothing; open another one.
    pub async fn next(&mut self) -> Result<News, StoreError> {
        loop {
            let Ok(heard) = tokio::time::timeout(SILENCE, self.0.try_recv()).await else {
                // Nobody tells that a machine is gone from which nothing is awaited.
                self.ask().await?;
                continue;
            };
            return Ok(match heard? {
                Some(heard) => News::Announced {
                    channel: heard.channel().to_owned(),
                    payload: heard.payload().to_owned(),
                },
                None => News::Missed,
            });
        }
    }

    async fn ask(&mut self) -> Result<(), StoreError> {
        in_time(async {
            sqlx::query("SELECT 1").execute(&mut self.0).await?;
            Ok(())
        })
        .await
    }
}

impl Database {
    /// How often something was announced on a channel.
    pub async fn revision(&self, channel: &str) -> Result<i64, StoreError> {
        on_pool!(self, |pool| {
            let row = sqlx::query(
                "SELECT CAST(COALESCE(MAX(value), '0') AS BIGINT) AS revision FROM meta WHERE name = $1",
            )
            .bind(channel)
            .fetch_one(pool)
            .await?;
            Ok(row.try_get("revision")?)
        })
    }

    /// Wakes whoever waits for `heard` at each announcement on `channel`, and whenever one may have been missed, for ever.
    /// On SQLite there is nothing to hear, and this returns.
    ///
    /// A lost connection is opened again. Meanwhile the channel's revision tells, for which nobody has to act.
    pub async fn hear(&self, channel: &'static str, heard: &Notify) {
        loop {
            match self.hear_once(channel, heard).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(channel, error = %ErrorChain(&error), "news are not heard");
                }
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }

    async fn hear_once(&self, channel: &str, heard: &Notify) -> Result<(), StoreError> {
        let Some(mut listener) = self.listen(&[channel]).await? else {
            return Ok(());
        };
        loop {
            // Whatever was heard or missed, the database knows.
            listener.next().await?;
            heard.notify_one();
        }
    }

    /// Listens on channels. `None` on SQLite, which tells nobody.
    pub async fn listen(&self, channels: &[&str]) -> Result<Option<Listener>, StoreError> {
        let Self::Postgres(pool) = self else {
            return Ok(None);
        };
        in_time(async {
            let mut listener = PgListener::connect_with(&own_pool(pool)).await?;
            listener.listen_all(channels.iter().copied()).await?;
            Ok(Some(Listener(listener)))
        })
        .await
    }
}

/// A pool of one connection, which lasts: its holder must not take one away from the queries.
pub(super) fn own_pool(pool: &PgPool) -> PgPool {
    let options = pool.connect_options().as_ref().clone();
    PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT_TIMEOUT)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options)
}
