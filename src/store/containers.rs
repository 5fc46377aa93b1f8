//! The `containers` table: one row per desktop. Every change of state names the state it starts from,
//! so that of two who change a desktop at once one is refused.

use sqlx::{Connection as _, Row};

use super::notify::{DESKTOPS, announce};
use super::{Database, StoreError, on_pool, unique_violation};
use crate::model::desktop::{Activity, Desktop, State, Watched};
use crate::model::id::{DesktopId, UserId};
use crate::model::time::Timestamp;

const COLUMNS: &str = "id, user_id, session_id, container_id, container_name, image_name, template, status,
    status_reason, host_port, container_port, created_at, started_at, stopped_at, last_accessed, last_input,
    last_used, extensions, gateway, status_detail, pull_percent, watched_by,
    watched_name, watched_until";

pub(super) const LIVE: &str =
    "status IN ('queued', 'creating', 'starting', 'running', 'paused', 'stopping')";

/// A change to a desktop's row. `None` leaves a column as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Why: the word of a reason; cleared when `None`.
    pub reason: Option<&'a str>,
    /// What is behind it; cleared when `None`.
    pub detail: Option<&'a str>,
    /// The engine's id of the container.
    pub container_id: Option<&'a str>,
    /// When it first answered.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub stopped_at: Option<Timestamp>,
    /// Only if no person has used it later than this.
    pub unless_used_after: Option<Timestamp>,
    /// Only if it was not extended more often than this.
    pub unless_extended_beyond: Option<u32>,
    /// Number of the gateway that goes on with it.
    pub gateway: Option<i64>,
    /// Only while that gateway is starting it.
    pub only_own_start: bool,
    /// Only while it is up.
    pub only_up: bool,
}

impl Change<'_> {
    /// Whether a desktop has been used, extended or taken over since the change was decided, so that it is not made.
    #[must_use]
    pub fn is_defeated_by(&self, desktop: &Desktop) -> bool {
        let used = self
            .unless_used_after
            .is_some_and(|seen| desktop.last_used > Some(seen));
        let extended = self
            .unless_extended_beyond
            .is_some_and(|seen| desktop.extensions > seen);
        let own_start = desktop.status.is_launching() && desktop.gateway == self.gateway;
        let elsewhere =
            (self.only_own_start && !own_start) || (self.only_up && !desktop.status.is_up());
        used || extended || elsewhere
    }
}

macro_rules! select {
    ($pool:expr, $rest:expr $(, $bind:expr)*) => {{
        let sql = format!("SELECT {COLUMNS} FROM containers WHERE {}", $rest);
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))$(.bind($bind))*.fetch_all($pool).await?;
        rows.iter()
            .map(|row| {
                desktop_from(&Columns {
                    text: &|column| row.try_get(column),
                    number: &|column| row.try_get(column),
                })
            })
            .collect::<Result<Vec<Desktop>, StoreError>>()
    }};
}

impl Database {
    /// The desktop with this id.
    pub async fn find_desktop(&self, id: DesktopId) -> Result<Option<Desktop>, StoreError> {
        on_pool!(self, |pool| {
            Ok(select!(pool, "id = $1", id.to_string())?.pop())
        })
    }

    /// The user's newest desktop, of `template` if one is named: a live one before an ended one.
    pub async fn find_latest_desktop(
        &self,
        user: UserId,
        template: Option<&str>,
    ) -> Result<Option<Desktop>, StoreError> {
        let rest = format!(
            "user_id = $1 AND template = COALESCE($2, template)
             ORDER BY CASE WHEN {LIVE} THEN 0 ELSE 1 END, created_at DESC LIMIT 1"
        );
        on_pool!(self, |pool| {
            Ok(select!(pool, rest, user.to_string(), template)?.pop())
        })
    }

    /// All desktops of a user, newest first.
    pub async fn list_desktops(&self, user: UserId) -> Result<Vec<Desktop>, StoreError> {
        on_pool!(self, |pool| {
            select!(
                pool,
                "user_id = $1 ORDER BY created_at DESC",
                user.to_string()
            )
        })
    }

    /// The desktops of these users, newest first.
    pub async fn desktops_of(&self, users: &[UserId]) -> Result<Vec<Desktop>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = users.iter().map(|id| format!("'{id}'")).collect();
        let of_them = format!("user_id IN ({}) ORDER BY created_at DESC", ids.join(", "));
        on_pool!(self, |pool| { select!(pool, of_them) })
    }

    /// Every desktop of every user on this engine, oldest first.
    pub async fn all_desktops(&self, engine: &str) -> Result<Vec<Desktop>, StoreError> {
        on_pool!(self, |pool| {
            select!(pool, "engine = $1 ORDER BY created_at", engine)
        })
    }

    /// The desktops on this engine that wait for their turn, the next one first.
    pub async fn queued_desktops(&self, engine: &str) -> Result<Vec<Desktop>, StoreError> {
        on_pool!(self, |pool| {
            select!(
                pool,
                "engine = $1 AND status = 'queued' ORDER BY created_at, id",
                engine
            )
        })
    }

    /// Ports that live desktops hold on this engine.
    pub async fn ports_in_use(&self, engine: &str) -> Result<Vec<u16>, StoreError> {
        let sql = format!(
            "SELECT host_port FROM containers WHERE engine = $1 AND host_port IS NOT NULL AND {LIVE}"
        );
        on_pool!(self, |pool| {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(engine)
                .fetch_all(pool)
                .await?;
            rows.iter()
                .map(|row| port_from(row.try_get("host_port")?))
                .collect()
        })
    }

    /// Moves a desktop from one state to another. `false` when it was not in `from` any more, or was used
    /// or extended meanwhile and the change minds.
    ///
    /// # Errors
    /// A move that no desktop makes, before the database is asked, and database failures. A desktop that was elsewhere
    /// already is `false`, not an error.
    pub async fn transition(
        &self,
        id: DesktopId,
        from: State,
        to: State,
        change: Change<'_>,
    ) -> Result<bool, StoreError> {
        if !from.may_become(to) {
            return Err(StoreError::Illegal(from, to));
        }
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let done = sqlx::query(
                "UPDATE containers SET status = $1, status_reason = $2, status_detail = $11, pull_percent = NULL,
                     container_id = COALESCE($3, container_id),
                     started_at = COALESCE($4, started_at),
                     stopped_at = COALESCE($5, stopped_at),
                     gateway = COALESCE($10, gateway),
                     watched_by = CASE WHEN $1 IN ('running', 'paused') THEN watched_by END,
                     watched_name = CASE WHEN $1 IN ('running', 'paused') THEN watched_name END,
                     watched_until = CASE WHEN $1 IN ('running', 'paused') THEN watched_until END
                 WHERE id = $6 AND status = $7
                     AND ($8 IS NULL OR last_used IS NULL OR last_used <= $8)
                     AND ($9 IS NULL OR extensions <= $9)",
            )
            .bind(to.as_str())
            .bind(change.reason)
            .bind(change.container_id)
            .bind(change.started_at.map(Timestamp::millis))
            .bind(change.stopped_at.map(Timestamp::millis))
            .bind(id.to_string())
            .bind(from.as_str())
            .bind(change.unless_used_after.map(Timestamp::millis))
            .bind(change.unless_extended_beyond.map(i64::from))
            .bind(change.gateway)
            .bind(change.detail)
            .execute(&mut *transaction)
            .await?;
            let moved = done.rows_affected() == 1;
            if moved {
                announce!(self, transaction, DESKTOPS, "");
                transaction.commit().await?;
            }
            Ok(moved)
        })
    }

    /// Has a gateway go on with a desktop that it read like this. `false` when it is not like this any more.
    pub async fn take_up(&self, seen: &Desktop, gateway: Option<i64>) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let done = sqlx::query(
                "UPDATE containers SET gateway = $1
                 WHERE id = $2 AND status = $3 AND COALESCE(gateway, 0) = COALESCE($4, 0)",
            )
            .bind(gateway)
            .bind(seen.id.to_string())
            .bind(seen.status.as_str())
            .bind(seen.gateway)
            .execute(pool)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Gives a desktop that is being made another port. `false` when somebody else has that port.
    pub async fn change_port(&self, id: DesktopId, port: u16) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let done = sqlx::query("UPDATE containers SET host_port = $1 WHERE id = $2")
                .bind(i64::from(port))
                .bind(id.to_string())
                .execute(pool)
                .await;
            match done {
                Ok(_) => Ok(true),
                Err(error) if unique_violation(&error).is_some() => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Moves `last_accessed`, `last_input` and `last_used` forward for many desktops in one transaction.
    /// Returns those that are paused although a person has used them.
    pub async fn touch_desktops(&self, seen: &[Activity]) -> Result<Vec<DesktopId>, StoreError> {
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let mut paused = Vec::new();
            for activity in seen {
                let row = sqlx::query(
                    "UPDATE containers SET
                         last_accessed = CASE WHEN last_accessed > $1 THEN last_accessed ELSE $1 END,
                         last_input = CASE WHEN last_input > $2 OR $2 IS NULL THEN last_input ELSE $2 END,
                         last_used = CASE WHEN last_used > $3 OR $3 IS NULL THEN last_used ELSE $3 END
                     WHERE id = $4 RETURNING status",
                )
                .bind(activity.accessed.millis())
                .bind(activity.input.map(Timestamp::millis))
                .bind(activity.used.map(Timestamp::millis))
                .bind(activity.desktop.to_string())
                .fetch_optional(&mut *transaction)
                .await?;
                let status: Option<String> = row.map(|row| row.try_get("status")).transpose()?;
                let paused_row = status.as_deref() == Some(State::Paused.as_str());
                if paused_row && activity.used.is_some() {
                    paused.push(activity.desktop);
                }
            }
            transaction.commit().await?;
            Ok(paused)
        })
    }

    /// Records at `now` that somebody wishes to stay: once, and `more` times longer than the `times` until then.
    /// `false` when it is not up, or was extended meanwhile.
    pub async fn extend_desktop(
        &self,
        id: DesktopId,
        (times, more): (u32, u32),
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let done = sqlx::query(
                "UPDATE containers SET extensions = $1,
                     last_used = CASE WHEN last_used > $2 THEN last_used ELSE $2 END
                 WHERE id = $3 AND extensions = $4 AND status IN ('running', 'paused')",
            )
            .bind(i64::from(times.saturating_add(more)))
            .bind(now.millis())
            .bind(id.to_string())
            .bind(i64::from(times))
            .execute(&mut *transaction)
            .await?;
            let extended = done.rows_affected() == 1;
            if extended {
                announce!(self, transaction, DESKTOPS, "");
                transaction.commit().await?;
            }
            Ok(extended)
        })
    }

    /// Forgets an ended desktop. `false` when it is live or gone.
    pub async fn delete_desktop(&self, id: DesktopId) -> Result<bool, StoreError> {
        let sql = format!("DELETE FROM containers WHERE id = $1 AND NOT ({LIVE})");
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let done = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            let gone = done.rows_affected() == 1;
            if gone {
                announce!(self, transaction, DESKTOPS, "");
                transaction.commit().await?;
            }
            Ok(gone)
        })
    }
}

/// The columns as [`desktop_from`] reads them, for statements that join the table.
pub(super) fn qualified() -> String {
    let columns = COLUMNS
        .split(',')
        .map(|column| format!("containers.{}", column.trim()));
    columns.collect::<Vec<_>>().join(", ")
}

/// The columns of a row, whichever database it came from.
pub(super) struct Columns<'a> {
    /// Text of a column, by name.
    pub text: &'a dyn Fn(&str) -> Result<Option<String>, sqlx::Error>,
    /// Number of a column, by name.
    pub number: &'a dyn Fn(&str) -> Result<Option<i64>, sqlx::Error>,
}

pub(super) fn desktop_from(row: &Columns<'_>) -> Result<Desktop, StoreError> {
    let text = |column: &str| -> Result<String, StoreError> {
        Ok((row.text)(column)?.unwrap_or_default())
    };
    let time = |column: &str| -> Result<Option<Timestamp>, StoreError> {
        Ok((row.number)(column)?.map(Timestamp::from_millis))
    };
    let corrupt = |column: &str, value: &str| StoreError::Corrupt(format!("{column} {value:?}"));
    let (id, user, status) = (text("id")?, text("user_id")?, text("status")?);
    let session = (row.text)("session_id")?;
    let watched_by = (row.text)("watched_by")?;
    let watched_by = watched_by.map(|by| by.parse().map_err(|_| corrupt("watched_by", &by)));
    let watched = match time("watched_until")? {
        Some(until) => Some(Watched {
            by: watched_by.transpose()?,
            name: text("watched_name")?,
            until,
        }),
        None => None,
    };
    Ok(Desktop {
        id: id.parse().map_err(|_| corrupt("id", &id))?,
        user_id: user.parse().map_err(|_| corrupt("user_id", &user))?,
        session_id: session
            .map(|id| id.parse().map_err(|_| corrupt("session_id", &id)))
            .transpose()?,
        container_id: (row.text)("container_id")?,
        container_name: text("container_name")?,
        image_name: text("image_name")?,
        template: text("template")?,
        status: State::from_word(&status).ok_or_else(|| corrupt("status", &status))?,
        status_reason: (row.text)("status_reason")?,
        status_detail: (row.text)("status_detail")?,
        pull_percent: (row.number)("pull_percent")?.map(percent_from),
        host_port: (row.number)("host_port")?.map(port_from).transpose()?,
        container_port: port_from((row.number)("container_port")?.unwrap_or_default())?,
        created_at: time("created_at")?.unwrap_or_default(),
        started_at: time("started_at")?,
        stopped_at: time("stopped_at")?,
        last_accessed: time("last_accessed")?,
        last_input: time("last_input")?,
        last_used: time("last_used")?,
        extensions: count_from((row.number)("extensions")?.unwrap_or_default())?,
        gateway: (row.number)("gateway")?,
        watched,
    })
}

fn count_from(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::Corrupt(format!("count {number}")))
}

/// Percents are a hint, and nothing depends on them.
fn percent_from(number: i64) -> u8 {
    u8::try_from(number.clamp(0, 100)).unwrap_or_default()
}

fn port_from(number: i64) -> Result<u16, StoreError> {
    u16::try_from(number).map_err(|_| StoreError::Corrupt(format!("port {number}")))
}
