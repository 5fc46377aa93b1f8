//! The audit log: who did what to whom. Whoever does something that an auditor asks about hands an [`Event`]
//! to [`Audit::record`], which writes it to the log stream at once and to the database soon.
//!
//! The answer to a request never waits for the database. A full queue, or a database that does not take an
//! entry, costs the row and not the event: that is in the log stream, and a metric counts the loss.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};

use crate::clock::Clock;
use crate::model::audit::{ActorKind, Event};
use crate::model::id::AuditId;
use crate::model::time::Timestamp;
use crate::store::audit::{Entry, Filter};
use crate::store::{Database, StoreError};
use crate::tasks::Tasks;
use crate::telemetry::ErrorChain;
use crate::telemetry::metrics::Metrics;

/// Entries that wait for the database before further ones are lost to it.
const QUEUE: usize = 4096;
/// Entries that go to the database in one transaction.
const BATCH: usize = 128;
/// How often a batch is tried while the database does not answer.
const ATTEMPTS: u32 = 5;
/// Pause between two attempts.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Entries that retention removes at once, so that nobody waits long for the table.
const CLEAN_BATCH: u32 = 1000;
/// Batches of one pass of retention; the next pass does the rest.
const CLEAN_BATCHES: u32 = 20;
/// Entries that one address gets in a [`WINDOW`] for what a stranger may do as often as they like.
const STRANGER_ROWS: u32 = 60;
/// Entries that all strangers get together.
const ALL_STRANGERS_ROWS: u32 = 600;
/// The span in which strangers' entries are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// The log; clones write to the same one.
#[derive(Clone, Debug)]
pub struct Audit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    queue: mpsc::Sender<Entry>,
    more: Notify,
    pending: AsyncMutex<Pending>,
    last: Mutex<(Timestamp, u16)>,
    strangers: Mutex<Strangers>,
}

/// What waits for the database. A batch stays here until it is written, whatever becomes of the writer.
#[derive(Debug)]
struct Pending {
    queue: mpsc::Receiver<Entry>,
    batch: Vec<Entry>,
}

/// How many entries strangers have had in this window.
#[derive(Debug, Default)]
struct Strangers {
    since: Timestamp,
    all: u32,
    by_address: HashMap<Option<IpAddr>, u32>,
}

impl Audit {
    /// A log in `database`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let batch = Vec::new();
        Self {
            inner: Arc::new(Inner {
                database,
                clock,
                metrics,
                queue: sender,
                more: Notify::new(),
                pending: AsyncMutex::new(Pending { queue, batch }),
                last: Mutex::default(),
                strangers: Mutex::default(),
            }),
        }
    }

    /// Writes an event to the log stream, and hands it to whoever writes it to the database.
    pub fn record(&self, event: Event) {
        let now = self.inner.clock.timestamp();
        let stranger = event.actor.kind == ActorKind::Anonymous;
        let address = event.actor.address;
        let entry = entry(event, now, self.next_id(now));
        say(&entry);
        if stranger && !self.inner.takes_stranger(address, now) {
            self.inner.metrics.audit_lost("stranger", 1);
        } else if self.inner.queue.try_send(entry).is_err() {
            self.inner.metrics.audit_lost("queue", 1);
        }
        self.inner.more.notify_one();
    }

    /// Ids of one gateway are in the order of its events, also within a millisecond and when the clock is set
    /// back.
    fn next_id(&self, now: Timestamp) -> AuditId {
        let mut last = self
            .inner
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = match *last {
            (time, _) if time < now => (now, 0),
            (time, 0xfff) => (time.after(Duration::from_millis(1)), 0),
            (time, count) => (time, count + 1),
        };
        AuditId::at(last.0, last.1)
    }

    /// Writes to the database from now on, until the soft stop; what is left then is for [`Self::flush`].
    pub fn spawn_writer(&self, tasks: &Tasks) {
        let (inner, soft) = (self.inner.clone(), tasks.soft().clone());
        tasks.spawn("audit", async move {
            let mut attempt = 0;
            loop {
                let pause = async {
                    if attempt == 0 {
                        inner.more.notified().await;
                    } else {
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                };
                tokio::select! {
                    biased;
                    () = soft.cancelled() => return,
                    () = pause => {}
                }
                attempt = match inner.write_all().await {
                    Ok(()) => 0,
                    Err(error) if attempt + 1 >= ATTEMPTS => {
                        inner.give_up(&error).await;
                        // The rest is tried next, each batch as often.
                        1
                    }
                    Err(_) => attempt + 1,
                };
            }
        });
    }

    /// Writes all that waits. What the database does not take now is counted as lost.
    pub async fn flush(&self) {
        while let Err(error) = self.inner.write_all().await {
            self.inner.give_up(&error).await;
        }
    }

    /// At most `limit` entries, newest first. What this gateway did just now is among them.
    pub async fn list(&self, filter: &Filter, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.inner.write_all().await?;
        self.inner.database.list_audit(filter, limit).await
    }

    /// Removes entries older than `retention`, some thousands at most; with `dry_run` only counts them.
    pub async fn clean(&self, retention: Duration, dry_run: bool) -> Result<u64, StoreError> {
        let before = self.inner.clock.timestamp().before(retention);
        if dry_run {
            return self.inner.database.count_old_audit(before).await;
        }
        let mut removed = 0;
        for _ in 0..CLEAN_BATCHES {
            let database = &self.inner.database;
            let count = database.delete_old_audit(before, CLEAN_BATCH).await?;
            removed += count;
            if count < u64::from(CLEAN_BATCH) {
                break;
            }
        }
        Ok(removed)
    }
}

impl Inner {
    /// Writes batch after batch until nothing waits. A batch that is not written stays.
    async fn write_all(&self) -> Result<(), StoreError> {
        let mut pending = self.pending.lock().await;
        let Pending { queue, batch } = &mut *pending;
        loop {
            while batch.len() < BATCH
                && let Ok(entry) = queue.try_recv()
            {
                batch.push(entry);
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.database.insert_audit(batch).await?;
            batch.clear();
        }
    }

    /// Lets go of a batch that the database does not take.
    async fn give_up(&self, error: &StoreError) {
        let batch = std::mem::take(&mut self.pending.lock().await.batch);
        self.metrics.audit_lost("database", batch.len());
        tracing::error!(entries = batch.len(), error = %ErrorChain(error), "audit entries are in the log only");
    }

    /// Whether there is room for one more entry about a stranger: nobody shall fill the disk without even
    /// signing in.
    fn takes_stranger(&self, address: Option<IpAddr>, now: Timestamp) -> bool {
        let mut strangers = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if now >= strangers.since.after(WINDOW) {
            *strangers = Strangers {
                since: now,
                ..Strangers::default()
            };
        }
        if strangers.all >= ALL_STRANGERS_ROWS {
            return false;
        }
        let count = strangers.by_address.entry(address).or_default();
        if *count >= STRANGER_ROWS {
            return false;
        }
        *count += 1;
        strangers.all += 1;
        true
    }
}

fn entry(event: Event, at: Timestamp, id: AuditId) -> Entry {
    let actor = event.actor;
    Entry {
        id,
        at,
        action: event.action.as_str().to_owned(),
        outcome: event.outcome.as_str().to_owned(),
        reason: event.reason.map(Into::into),
        actor_kind: actor.kind.as_str().to_owned(),
        actor_id: actor.user.map(|id| id.to_string()),
        actor_name: actor.name,
        subject_id: event.subject.map(|id| id.to_string()),
        subject_name: None,
        object_kind: event.object.as_ref().map(|object| object.kind().to_owned()),
        object_id: event.object.map(|object| object.id()),
        address: actor.address.map(|address| address.to_string()),
        request_id: actor.request.map(|id| id.to_string()),
        details: event.details,
    }
}

/// The event in the log stream, under a target of its own.
fn say(entry: &Entry) {
    // Names of people stay in the database, where they can be forgotten.
    let part = entry
        .actor_name
        .as_ref()
        .filter(|_| entry.actor_kind == ActorKind::System.as_str());
    let details = (!entry.details.is_empty()).then(|| serde_json::json!(entry.details).to_string());
    tracing::info!(
        target: "audit",
        id = %entry.id,
        action = entry.action,
        outcome = entry.outcome,
        reason = entry.reason,
        actor = entry.actor_kind,
        user = entry.actor_id,
        part,
        subject = entry.subject_id,
        object = entry.object_kind,
        object_id = entry.object_id,
        client = entry.address,
        request = entry.request_id,
        details,
        "audit"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::DatabaseConfig;
    use crate::model::audit::{Action, Actor, Object};
    use crate::model::id::{DesktopId, UserId};
    use crate::telemetry::metrics::state::State;

    async fn audit() -> Audit {
        let database = Database::open(&DatabaseConfig::Sqlite(None)).await;
        let database = database.expect("a database");
        Audit::new(database, Arc::new(SystemClock), Metrics::default())
    }

    fn by_the_system() -> Event {
        Event::new(Action::Stop, &Actor::system("reaper"))
    }

    async fn all(audit: &Audit) -> Vec<Entry> {
        let listed = audit.list(&Filter::default(), 10_000).await;
        listed.expect("the entries")
    }

    #[tokio::test]
    async fn what_is_recorded_is_read_back_newest_first() {
        let audit = audit().await;
        let (subject, desktop) = (UserId::random(), DesktopId::random());
        let event = by_the_system().reason("idle").subject(subject);
        let event = event.object(Object::Desktop(desktop)).detail("a", "b");
        audit.record(event);
        for _ in 0..300 {
            audit.record(by_the_system());
        }
        let entries = all(&audit).await;
        assert_eq!(entries.len(), 301, "more than a batch");
        assert!(entries.is_sorted_by(|newer, older| newer.id > older.id));
        let first = &entries[300];
        assert_eq!(
            (&*first.action, &*first.outcome, first.reason.as_deref()),
            ("stop", "success", Some("idle"))
        );
        assert_eq!(first.actor_name.as_deref(), Some("reaper"));
        assert_eq!(first.subject_id, Some(subject.to_string()));
        assert_eq!(first.object_id, Some(desktop.to_string()));
        assert_eq!(first.details["a"], "b");
    }

    #[tokio::test]
    async fn a_full_queue_costs_the_row_and_is_counted() {
        let audit = audit().await;
        for _ in 0..QUEUE + 5 {
            audit.record(by_the_system());
        }
        let counted = "deskgate_audit_lost_total{cause=\"queue\"} 5";
        assert!(
            audit
                .inner
                .metrics
                .open_metrics(State::default())
                .contains(counted)
        );
        assert_eq!(all(&audit).await.len(), QUEUE);
    }

    #[tokio::test]
    async fn a_database_that_does_not_answer_costs_the_rows_and_is_counted() {
        let audit = audit().await;
        audit.inner.database.close().await;
        for _ in 0..=BATCH {
            audit.record(by_the_system());
        }
        assert!(audit.list(&Filter::default(), 1).await.is_err());
        audit.flush().await;
        let counted = format!(
            "deskgate_audit_lost_total{{cause=\"database\"}} {}",
            BATCH + 1
        );
        let metrics = audit.inner.metrics.open_metrics(State::default());
        assert!(metrics.contains(&counted), "{metrics}");
    }

    #[tokio::test]
    async fn strangers_cannot_fill_the_table() {
        let audit = audit().await;
        let request = crate::model::id::RequestId::random();
        for last in 0..=20_u8 {
            let actor = Actor::anonymous().at(IpAddr::from([192, 0, 2, last]), request);
            for _ in 0..=STRANGER_ROWS {
                audit.record(Event::new(Action::LoginFailed, &actor));
            }
        }
        audit.record(by_the_system());
        let rows = usize::try_from(ALL_STRANGERS_ROWS).unwrap() + 1;
        assert_eq!(all(&audit).await.len(), rows);
        let addresses = audit.inner.strangers.lock().unwrap().by_address.len();
        assert!(addresses <= rows, "{addresses}");
    }

    #[tokio::test]
    async fn the_writer_writes_and_ends_with_the_soft_stop() {
        let (audit, tasks) = (audit().await, Tasks::new());
        audit.spawn_writer(&tasks);
        audit.record(by_the_system());
        let written = async {
            let database = &audit.inner.database;
            while database
                .list_audit(&Filter::default(), 1)
                .await
                .expect("rows")
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let written = tokio::time::timeout(Duration::from_secs(10), written).await;
        assert!(written.is_ok(), "nobody had to ask for it");
        assert!(tasks.stop(Duration::from_secs(5)).await);
    }
}
