//! Recording a start. Whether there is room for it and the row that takes that room are one decision:
//! starts take turns by locking one row, so that quotas hold over all gateways.

use std::time::Duration;

use sqlx::{Connection as _, Row};

use super::containers::LIVE;
use super::notify::{DESKTOPS, announce};
use super::{Database, StoreError, on_pool, unique_violation};
use crate::model::desktop::Desktop;
use crate::model::id::DesktopId;
use crate::model::rate::Rate;
use crate::model::time::Timestamp;

/// On its way up, and so about to take memory that nobody sees used. One that was handed a container is `creating` with it,
/// and that container has its memory already.
const TAKES_MEMORY: &str =
    "(status IN ('queued', 'starting') OR (status = 'creating' AND container_id IS NULL))";

/// What a desktop takes by the time it answers, at the most that is expected: Kasm's and the demo's take less than this, and a
/// limit is many times as much. Counting limits would turn two thirds of a class away from a machine that is large enough.
const FIRST_MEMORY: i64 = 256 << 20;

/// How many desktops there may be, and how often one user may make some.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Live desktops of one user.
    pub per_user: u32,
    /// Live desktops in total.
    pub total: u32,
    /// Starts that wait for their turn.
    pub queued: u32,
    /// Memory that all live containers may use together, bytes.
    pub memory: u64,
    /// Memory that those may use together that are on their way up and have nothing of it yet, bytes; less than nothing
    /// where this machine has too little as it is. `None` for a start that takes no more than it has.
    pub free: Option<i64>,
    /// How often one user may make desktops; `None` for one that nobody asks for and that does not count.
    pub rate: Option<Rate>,
}

/// What became of an attempt to record a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The row is there.
    Yes,
    /// The user has a live desktop of this template already.
    AlreadyLive,
    /// Another start has this id: it was first to take a container that was made beforehand.
    IdTaken,
    /// Somebody else got the port.
    PortTaken,
    /// The session that starts it, or its user, is not there any more.
    StarterGone,
    /// The user makes desktops faster than they may, and has to wait this long.
    TooOften(Duration),
    /// The user has as many desktops as allowed.
    UserQuota,
    /// There are as many desktops as allowed.
    TotalQuota,
    /// As many starts are waiting as may.
    QueueFull,
    /// The live containers may use all memory that there is for them.
    Memory,
    /// This machine lacks so many bytes of memory for one more.
    FreeMemory(i64),
}

/// Counts of live desktops: of this user and template, and in the order of [`Limits`].
struct Counts {
    /// Until when the user has used up the rate of starts.
    paced: Option<Timestamp>,
    same: i64,
    own: i64,
    total: i64,
    queued: i64,
    memory: i64,
    launching: i64,
}

impl Counts {
    /// Until when the user has used up the rate with one more desktop at `now`, or what stands against it, with this much
    /// memory.
    fn admit(
        &self,
        limits: Limits,
        memory: i64,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Recorded> {
        if self.same > 0 {
            return Err(Recorded::AlreadyLive);
        }
        let paced = limits.rate.map(|rate| rate.count_one(self.paced, now));
        let paced = paced.transpose().map_err(Recorded::TooOften)?;
        self.refuse(limits, memory).map_or(Ok(paced), Err)
    }

    fn refuse(&self, limits: Limits, memory: i64) -> Option<Recorded> {
        let room = i64::try_from(limits.memory).unwrap_or(i64::MAX);
        if self.own >= i64::from(limits.per_user) {
            Some(Recorded::UserQuota)
        } else if self.total >= i64::from(limits.total) {
            Some(Recorded::TotalQuota)
        } else if self.queued >= i64::from(limits.queued) {
            Some(Recorded::QueueFull)
        } else if self.memory.saturating_add(memory) > room {
            Some(Recorded::Memory)
        } else {
            let wanted = self.launching.saturating_add(memory.min(FIRST_MEMORY));
            let missing = limits.free.map(|free| wanted.saturating_sub(free));
            missing.filter(|bytes| *bytes > 0).map(Recorded::FreeMemory)
        }
    }
}

impl Database {
    /// Records the intent to start a desktop that may use `memory` bytes, if the limits leave room for it.
    ///
    /// # Errors
    /// Only database failures; a start for which there is no room, or which another one has overtaken, is a
    /// [`Recorded`].
    pub async fn record_start(
        &self,
        desktop: &Desktop,
        engine: &str,
        memory: u64,
        limits: Limits,
    ) -> Result<Recorded, StoreError> {
        let memory = i64::try_from(memory).unwrap_or(i64::MAX);
        let count = format!(
            "SELECT COUNT(CASE WHEN user_id = $1 AND template = $2 THEN 1 END) AS same,
                 COUNT(CASE WHEN user_id = $1 THEN 1 END) AS own, COUNT(*) AS total,
                 COUNT(CASE WHEN status = 'queued' THEN 1 END) AS queued,
                 CAST(COALESCE(SUM(memory), 0) AS BIGINT) AS memory,
                 CAST(COALESCE(SUM(CASE WHEN {TAKES_MEMORY} THEN
                     CASE WHEN memory < {FIRST_MEMORY} THEN memory ELSE {FIRST_MEMORY} END END), 0) AS BIGINT) AS launching,
                 (SELECT starts_until FROM users WHERE id = $1) AS paced
             FROM containers WHERE {LIVE}"
        );
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            sqlx::query("UPDATE meta SET value = value WHERE name = 'starts'")
                .execute(&mut *transaction)
                .await?;
            let row = sqlx::query(sqlx::AssertSqlSafe(count))
                .bind(desktop.user_id.to_string())
                .bind(&desktop.template)
                .fetch_one(&mut *transaction)
                .await?;
            let paced: Option<i64> = row.try_get("paced")?;
            let counts = Counts {
                paced: paced.map(Timestamp::from_millis),
                same: row.try_get("same")?,
                own: row.try_get("own")?,
                total: row.try_get("total")?,
                queued: row.try_get("queued")?,
                memory: row.try_get("memory")?,
                launching: row.try_get("launching")?,
            };
            let paced = match counts.admit(limits, memory, desktop.created_at) {
                Ok(paced) => paced,
                Err(refusal) => return Ok(refusal),
            };
            let inserted = sqlx::query(
                "INSERT INTO containers (id, user_id, session_id, engine, template, container_id, container_name,
                     image_name, status, host_port, container_port, created_at, memory, gateway)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            )
            .bind(desktop.id.to_string())
            .bind(desktop.user_id.to_string())
            .bind(desktop.session_id.map(|id| id.to_string()))
            .bind(engine)
            .bind(&desktop.template)
            .bind(desktop.container_id.as_deref())
            .bind(&desktop.container_name)
            .bind(&desktop.image_name)
            .bind(desktop.status.as_str())
            .bind(desktop.host_port.map(i64::from))
            .bind(i64::from(desktop.container_port))
            .bind(desktop.created_at.millis())
            .bind(memory)
            .bind(desktop.gateway)
            .execute(&mut *transaction)
            .await;
            match inserted {
                Ok(_) => {
                    sqlx::query(
                        "UPDATE users SET starts_until = COALESCE($1, starts_until) WHERE id = $2",
                    )
                    .bind(paced.map(Timestamp::millis))
                    .bind(desktop.user_id.to_string())
                    .execute(&mut *transaction)
                    .await?;
                    announce!(self, transaction, DESKTOPS, "");
                    transaction.commit().await?;
                    Ok(Recorded::Yes)
                }
                Err(error) => overtaken(error),
            }
        })
    }
}

impl Database {
    /// Records that a start waits for its image, of which this much is there, or `None` when it waits no more. `false`
    /// when it is no start any more that could wait.
    pub async fn await_pull(&self, id: DesktopId, percent: Option<u8>) -> Result<bool, StoreError> {
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let done = sqlx::query(
                "UPDATE containers SET pull_percent = $1 WHERE id = $2 AND status = 'creating'",
            )
            .bind(percent.map(i64::from))
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
            let waits = done.rows_affected() == 1;
            if waits {
                announce!(self, transaction, DESKTOPS, "");
                transaction.commit().await?;
            }
            Ok(waits)
        })
    }

    /// Records for all starts that wait for an image that this much of it is there, if that is more than they know: all of
    /// them at once, so that a class that waits costs no more than one person.
    pub async fn note_pull(
        &self,
        engine: &str,
        image: &str,
        percent: u8,
    ) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            let done = sqlx::query(
                "UPDATE containers SET pull_percent = $1
                 WHERE engine = $2 AND image_name = $3 AND status = 'creating' AND pull_percent < $1",
            )
            .bind(i64::from(percent))
            .bind(engine)
            .bind(image)
            .execute(&mut *transaction)
            .await?;
            if done.rows_affected() > 0 {
                announce!(self, transaction, DESKTOPS, "");
                transaction.commit().await?;
            }
            Ok(())
        })
    }
}

/// Which unique index was first, if one was.
fn overtaken(error: sqlx::Error) -> Result<Recorded, StoreError> {
    let database = error.as_database_error();
    if database.is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation) {
        return Ok(Recorded::StarterGone);
    }
    match unique_violation(&error) {
        Some(index) if index.contains("one_port") || index.contains("host_port") => {
            Ok(Recorded::PortTaken)
        }
        Some(index) if is_of_id(&index) => Ok(Recorded::IdTaken),
        Some(_) => Ok(Recorded::AlreadyLive),
        None => Err(error.into()),
    }
}

/// Whether a unique index is that of the id, or of the container's name, which follows from it.
fn is_of_id(index: &str) -> bool {
    ["containers.id", "containers_pkey", "container_name"]
        .iter()
        .any(|part| index.contains(part))
}
