//! A gateway's seat at a database that several may share: a connection of its own, which holds a lock on the
//! gateway's number, so that the others see that it lives, one on the same number below zero while it is fit to lead, and
//! one more lock if it leads.
//!
//! The locks are PostgreSQL's advisory ones and end with the connection, whatever becomes of the gateway. The server
//! is asked to give up a connection soon whose machine is gone or whose gateway is silent.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgListener;

use super::deadline::within;
use super::notify::own_pool;
use super::{Database, StoreError, on_pool};

/// First half of the names of our locks, "Desk".
const SPACE: i32 = 0x4465_736b;
/// Second half of the name of the lock of whoever leads. Numbers of gateways begin after it, and those of the fit end
/// before it.
const LEADER: i32 = 0;
/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Who holds which of our locks on this database. `objsubid` is 2 where a name has two halves.
const SEATS: &str =
    "SELECT objid::int4::bigint AS name, pid = pg_backend_pid() AS own FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid::bigint = $1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
/// What the server is to do about a silent peer. The last one is for a gateway that stands still on a machine that lives,
/// and is refused before PostgreSQL 14: there such a gateway keeps its seat, and its lead, until it ends.
const IMPATIENCE: [&str; 5] = [
    "SET tcp_keepalives_idle = 3",
    "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 2",
    "SET tcp_user_timeout = 7000",
    "SET idle_session_timeout = 7000",
];

/// The seat.
pub struct Seat {
    /// It listens to nothing, but hears at once that it is cut off.
    connection: PgListener,
    number: i32,
    is_fit: bool,
}

/// Who sits where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seated {
    /// Whether it is this gateway that leads.
    pub leads: bool,
    /// Whether another gateway could.
    pub has_heir: bool,
    /// Numbers of the gateways that live.
    pub alive: HashSet<i64>,
}

impl Seat {
    /// Returns when the connection is lost.
    pub async fn lost(&mut self) {
        while let Ok(Some(_)) = self.connection.try_recv().await {}
    }

    /// Looks who is there, says whether this gateway is fit to lead, and takes the lead if nobody has it: one that is not
    /// fit only where nobody else is. After an error this seat is lost.
    pub async fn look(&mut self, is_fit: bool) -> Result<Seated, StoreError> {
        within(ANSWER, async {
            let connection = &mut self.connection;
            let mut seated = seated(connection, self.number).await?;
            if is_fit && !self.is_fit {
                lock(connection, -self.number).await?;
            } else if self.is_fit && !is_fit {
                unlock(connection, -self.number).await?;
            }
            self.is_fit = is_fit;
            if !seated.leads && (is_fit || !seated.has_heir) {
                seated.leads = lock(connection, LEADER).await?;
            }
            Ok(seated)
        })
        .await
    }

    /// Gives up the lead. After an error this seat is lost.
    pub async fn resign(&mut self) -> Result<(), StoreError> {
        let unlocked = async { Ok(unlock(&mut self.connection, LEADER).await?) };
        within(ANSWER, unlocked).await
    }
}

impl Database {
    /// Takes the seat with this number, which is to be positive. `None` when it is taken: by an earlier connection of
    /// the same gateway that the server has not given up yet. `None` on SQLite, too.
    pub async fn sit(&self, number: i32) -> Result<Option<Seat>, StoreError> {
        let Self::Postgres(pool) = self else {
            return Ok(None);
        };
        let pool = own_pool(pool);
        within(ANSWER, async {
            let mut connection = PgListener::connect_with(&pool).await?;
            connection.eager_reconnect(false);
            for wish in IMPATIENCE {
                if let Err(error) = sqlx::query(wish).execute(&mut connection).await {
                    tracing::debug!(%error, wish, "the database server does not know this");
                }
            }
            let free = lock(&mut connection, number).await?;
            Ok(free.then_some(Seat {
                connection,
                number,
                is_fit: false,
            }))
        })
        .await
    }

    /// How many gateways run on this database, where they can be seen: none on SQLite.
    pub async fn gateways(&self) -> Result<usize, StoreError> {
        if !self.has_seats() {
            return Ok(0);
        }
        on_pool!(self, |pool| {
            let rows = sqlx::query(SEATS)
                .bind(i64::from(SPACE))
                .fetch_all(pool)
                .await?;
            let mut gateways = HashSet::new();
            for row in rows {
                gateways.insert(row.try_get::<i64, _>("name")?);
            }
            gateways.retain(|name| *name > i64::from(LEADER));
            Ok(gateways.len())
        })
    }

    /// Whether gateways on this database see each other, so that one can lead.
    #[must_use]
    pub const fn has_seats(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

async fn lock(connection: &mut PgListener, name: i32) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("SELECT pg_try_advisory_lock($1, $2) AS done")
        .bind(SPACE)
        .bind(name)
        .fetch_one(connection)
        .await?;
    row.try_get("done")
}

async fn unlock(connection: &mut PgListener, name: i32) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_unlock($1, $2)")
        .bind(SPACE)
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

async fn seated(connection: &mut PgListener, own: i32) -> Result<Seated, sqlx::Error> {
    let rows = sqlx::query(SEATS)
        .bind(i64::from(SPACE))
        .fetch_all(connection)
        .await?;
    let mut seated = Seated {
        leads: false,
        has_heir: false,
        alive: HashSet::from([i64::from(own)]),
    };
    for row in rows {
        let (name, is_own): (i64, bool) = (row.try_get("name")?, row.try_get("own")?);
        match name.cmp(&i64::from(LEADER)) {
            Ordering::Equal => seated.leads = is_own,
            Ordering::Greater => _ = seated.alive.insert(name),
            Ordering::Less => seated.has_heir |= !is_own,
        }
    }
    Ok(seated)
}
