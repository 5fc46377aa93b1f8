//! Who looks at which desktop: a row is taken for a look, held for as long as that goes on, and given back. Of two who
//! want the same desktop one is refused, and so is one teacher who wants two.

use sqlx::Connection as _;

use super::notify::{DESKTOPS, announce};
use super::{Database, StoreError, on_pool, unique_violation};
use crate::model::desktop::Watched;
use crate::model::id::DesktopId;
use crate::model::time::Timestamp;

/// What became of the wish to look at a desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The desktop is theirs to look at.
    Yes,
    /// It does not run, or somebody looks at it.
    NotFree,
    /// They look at another one.
    Elsewhere,
}

impl Database {
    /// Takes a running desktop that nobody looks at.
    pub async fn begin_look(&self, id: DesktopId, watched: &Watched) -> Result<Taken, StoreError> {
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let done = sqlx::query(
                "UPDATE containers SET watched_by = $1, watched_name = $2, watched_until = $3
                 WHERE id = $4 AND status = 'running' AND watched_until IS NULL",
            )
            .bind(watched.by.map(|by| by.to_string()))
            .bind(&watched.name)
            .bind(watched.until.millis())
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await;
            match done {
                Ok(done) if done.rows_affected() == 1 => {
                    announce!(self, transaction, DESKTOPS, "");
                    transaction.commit().await?;
                    Ok(Taken::Yes)
                }
                Ok(_) => Ok(Taken::NotFree),
                Err(error) if unique_violation(&error).is_some() => Ok(Taken::Elsewhere),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Holds a desktop until later, if this is still the look that it was taken for.
    pub async fn hold_look(
        &self,
        id: DesktopId,
        watched: &Watched,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let done = sqlx::query(
                "UPDATE containers SET watched_until = $1
                 WHERE id = $2 AND COALESCE(watched_by, '') = COALESCE($3, '') AND watched_until = $4",
            )
            .bind(until.millis())
            .bind(id.to_string())
            .bind(watched.by.map(|by| by.to_string()))
            .bind(watched.until.millis())
            .execute(pool)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Lets the teacher of a look go, if this is still the look that the desktop was taken for; its notice is left.
    pub async fn park_look(&self, id: DesktopId, watched: &Watched) -> Result<bool, StoreError> {
        let parked = "UPDATE containers SET watched_by = NULL, watched_until = 0
             WHERE id = $1 AND COALESCE(watched_by, '') = COALESCE($2, '') AND watched_until = $3";
        self.let_go(parked, id, watched).await
    }

    /// Gives a desktop back, if this is still the look that it was taken for.
    pub async fn end_look(&self, id: DesktopId, watched: &Watched) -> Result<bool, StoreError> {
        let ended =
            "UPDATE containers SET watched_by = NULL, watched_name = NULL, watched_until = NULL
             WHERE id = $1 AND COALESCE(watched_by, '') = COALESCE($2, '') AND watched_until = $3";
        self.let_go(ended, id, watched).await
    }

    /// Runs `statement` on the row of this look, and tells all gateways if it was still there.
    async fn let_go(
        &self,
        statement: &'static str,
        id: DesktopId,
        watched: &Watched,
    ) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let done = sqlx::query(statement)
                .bind(id.to_string())
                .bind(watched.by.map(|by| by.to_string()))
                .bind(watched.until.millis())
                .execute(&mut *transaction)
                .await?;
            let is_done = done.rows_affected() == 1;
            if is_done {
                announce!(self, transaction, DESKTOPS, "");
                transaction.commit().await?;
            }
            Ok(is_done)
        })
    }
}
