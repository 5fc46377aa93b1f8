//! How long a call to the database may take, and what becomes of a connection whose call was given up.
//!
//! The driver waits for an answer for ever, and no setting of it watches the socket: a server whose machine dies after it
//! has acknowledged a statement is never heard of again, and whoever waits for it neither.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, Postgres};

use super::StoreError;

/// How long a call may take once it has its connection.
pub(super) const CALL: Duration = Duration::from_secs(10);
/// How long the server may take to say that a connection is free again.
const RETURN: Duration = Duration::from_secs(2);

/// Waits for a call to the database, for [`CALL`] at most.
pub(super) fn in_time<T>(
    call: impl Future<Output = Result<T, StoreError>>,
) -> impl Future<Output = Result<T, StoreError>> {
    within(CALL, call)
}

/// Waits for a call to the database, for `limit` at most.
///
/// # Errors
/// [`StoreError::Timeout`]; what the call was to change may have been changed or not.
pub(super) fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> impl Future<Output = Result<T, StoreError>> {
    // What waits for it, and what waits for that, would otherwise have room for all of it.
    let call = Box::pin(call);
    async move {
        let answer = tokio::time::timeout(limit, call).await;
        answer.unwrap_or(Err(StoreError::Timeout(limit)))
    }
}

/// A connection of a pool on PostgreSQL that goes back only after a call that came to its end. Any other one is closed: an
/// answer may be under way that the next call would take for its own, or a transaction open.
pub(super) struct Lent(PoolConnection<Postgres>);

impl Lent {
    /// A free connection, or a new one.
    pub async fn of(pool: &PgPool) -> Result<Self, StoreError> {
        let mut connection = Box::pin(pool.acquire()).await?;
        connection.close_on_drop();
        Ok(Self(connection))
    }

    /// What statements are run on.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// Gives the connection back, if the call has come to its end.
    ///
    /// The driver would do so by itself, but asks the server first, in a task that has no deadline and keeps the place
    /// in the pool. Here one that does not answer is dropped, and its place is free.
    pub async fn give_back<T>(mut self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if !matches!(answer, Err(StoreError::Timeout(_))) {
            let returning = Box::pin(self.0.return_to_pool());
            if tokio::time::timeout(RETURN, returning).await.is_err() {
                tracing::debug!("a connection to the database was lost after its last answer");
            }
        }
        answer
    }
}
