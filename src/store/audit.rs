//! The `audit_log` table. Rows are added and read; the only statements that change it otherwise are those of
//! retention and of forgetting a person.

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{Connection as _, Row};
use utoipa::ToSchema;

use super::conditions::Conditions;
use super::{Database, StoreError, on_pool};
use crate::model::audit::{Action, ActorKind, Outcome};
use crate::model::id::AuditId;
use crate::model::time::Timestamp;

/// An entry, as it is stored: words and ids, so that those of a newer version can be read too.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place in the log.
    pub id: AuditId,
    /// When it happened.
    pub at: Timestamp,
    /// What.
    pub action: String,
    /// How it ended.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// What kind of somebody did it.
    pub actor_kind: String,
    /// Which user, or the name of one who was forgotten.
    pub actor_id: Option<String>,
    /// What they were called then.
    pub actor_name: Option<String>,
    /// Whom it was done to.
    pub subject_id: Option<String>,
    /// What they are called now. Not stored.
    pub subject_name: Option<String>,
    /// What kind of thing it was done to.
    pub object_kind: Option<String>,
    /// Which one.
    pub object_id: Option<String>,
    /// Where the request came from.
    pub address: Option<String>,
    /// Which request.
    pub request_id: Option<String>,
    /// What else there is to know.
    pub details: Map<String, Value>,
}

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct EntryView<'a> {
    id: AuditId,
    at: Timestamp,
    #[schema(value_type = Action)]
    action: &'a str,
    #[schema(value_type = Outcome)]
    outcome: &'a str,
    /// Why, as a word.
    reason: Option<&'a str>,
    actor: ActorView<'a>,
    subject: Option<SubjectView<'a>>,
    object: Option<ObjectView<'a>>,
    /// Where the request came from.
    address: Option<&'a str>,
    /// Which request.
    request_id: Option<&'a str>,
    /// What else there is to know.
    #[schema(additional_properties)]
    details: &'a Map<String, Value>,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditActor)]
struct ActorView<'a> {
    #[schema(value_type = ActorKind)]
    kind: &'a str,
    id: Option<&'a str>,
    name: Option<&'a str>,
}

/// Whom it was done to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditSubject)]
struct SubjectView<'a> {
    id: &'a str,
    username: Option<&'a str>,
}

/// What it was done to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditObject)]
struct ObjectView<'a> {
    kind: &'a str,
    id: Option<&'a str>,
}

impl Entry {
    /// As answers show it.
    #[must_use]
    pub fn view(&self) -> EntryView<'_> {
        EntryView {
            id: self.id,
            at: self.at,
            action: &self.action,
            outcome: &self.outcome,
            reason: self.reason.as_deref(),
            actor: ActorView {
                kind: &self.actor_kind,
                id: self.actor_id.as_deref(),
                name: self.actor_name.as_deref(),
            },
            subject: self.subject_id.as_deref().map(|id| SubjectView {
                id,
                username: self.subject_name.as_deref(),
            }),
            object: self.object_kind.as_deref().map(|kind| ObjectView {
                kind,
                id: self.object_id.as_deref(),
            }),
            address: self.address.as_deref(),
            request_id: self.request_id.as_deref(),
            details: &self.details,
        }
    }

    /// As exports show it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Ids, words and times are always JSON.
        serde_json::to_value(self.view()).unwrap_or_default()
    }
}

/// Which entries are wanted; all that is said must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Id or name of a user who did it or to whom it was done.
    pub user: Option<String>,
    /// What happened.
    pub action: Option<String>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
    /// Before this entry in the log: where the last page ended.
    pub before: Option<AuditId>,
}

const COLUMNS: &str =
    "audit_log.id, audit_log.at, audit_log.action, audit_log.outcome, audit_log.reason,
    audit_log.actor_kind, audit_log.actor_id, audit_log.actor_name, audit_log.subject_id,
    users.username AS subject_name, audit_log.object_kind, audit_log.object_id, audit_log.address,
    audit_log.request_id, audit_log.details";

impl Filter {
    /// The condition; its first two parameters are times.
    fn conditions(&self) -> Conditions {
        let mut all = Conditions::new("audit_log.at >= $1 AND audit_log.at < $2", 3);
        all.add(
            self.user.clone(),
            "(audit_log.actor_id = ? OR audit_log.subject_id = ? OR audit_log.actor_name = ?
              OR audit_log.subject_id IN (SELECT id FROM users WHERE username = ?))",
        );
        all.add(self.action.clone(), "audit_log.action = ?");
        all.add(self.before.map(|id| id.to_string()), "audit_log.id < ?");
        all
    }
}

impl Database {
    /// Adds entries, all or none. One that is there already stays as it is.
    pub async fn insert_audit(&self, entries: &[Entry]) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            let mut transaction = pool.begin().await?;
            for entry in entries {
                sqlx::query(
                    "INSERT INTO audit_log (id, at, action, outcome, reason, actor_kind, actor_id, actor_name,
                         subject_id, object_kind, object_id, address, request_id, details)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                     ON CONFLICT (id) DO NOTHING",
                )
                .bind(entry.id.to_string())
                .bind(entry.at.millis())
                .bind(&entry.action)
                .bind(&entry.outcome)
                .bind(entry.reason.as_deref())
                .bind(&entry.actor_kind)
                .bind(entry.actor_id.as_deref())
                .bind(entry.actor_name.as_deref())
                .bind(entry.subject_id.as_deref())
                .bind(entry.object_kind.as_deref())
                .bind(entry.object_id.as_deref())
                .bind(entry.address.as_deref())
                .bind(entry.request_id.as_deref())
                .bind(Value::Object(entry.details.clone()).to_string())
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await?;
            Ok(())
        })
    }

    /// At most `limit` entries, newest first.
    pub async fn list_audit(&self, filter: &Filter, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let Conditions {
            sql: condition,
            values,
            ..
        } = filter.conditions();
        let sql = format!(
            "SELECT {COLUMNS} FROM audit_log LEFT JOIN users ON users.id = audit_log.subject_id
             WHERE {condition} ORDER BY audit_log.id DESC LIMIT {limit}"
        );
        let millis = |time: Option<Timestamp>, open| time.map_or(open, Timestamp::millis);
        on_pool!(self, |pool| {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(millis(filter.since, i64::MIN))
                .bind(millis(filter.until, i64::MAX));
            for value in &values {
                query = query.bind(value);
            }
            let rows = query.fetch_all(pool).await?;
            rows.iter()
                .map(|row| entry_from(row.try_get("at")?, &|column| row.try_get(column)))
                .collect()
        })
    }

    /// How many entries are older than `before`.
    pub async fn count_old_audit(&self, before: Timestamp) -> Result<u64, StoreError> {
        on_pool!(self, |pool| {
            let row = sqlx::query("SELECT COUNT(*) AS n FROM audit_log WHERE at < $1")
                .bind(before.millis())
                .fetch_one(pool)
                .await?;
            let count: i64 = row.try_get("n")?;
            Ok(u64::try_from(count).unwrap_or_default())
        })
    }

    /// Removes the oldest entries from before `before`, at most `limit` of them; returns how many.
    pub async fn delete_old_audit(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let sql = format!(
            "DELETE FROM audit_log WHERE id IN
                 (SELECT id FROM audit_log WHERE at < $1 ORDER BY at LIMIT {limit})"
        );
        on_pool!(self, |pool| {
            let done = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(before.millis())
                .execute(pool)
                .await?;
            Ok(done.rows_affected())
        })
    }
}

fn entry_from(
    at: i64,
    text: &dyn Fn(&str) -> Result<Option<String>, sqlx::Error>,
) -> Result<Entry, StoreError> {
    let required =
        |column: &str| -> Result<String, StoreError> { Ok(text(column)?.unwrap_or_default()) };
    let (id, details) = (required("id")?, required("details")?);
    Ok(Entry {
        id: id
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("audit id {id:?}")))?,
        at: Timestamp::from_millis(at),
        action: required("action")?,
        outcome: required("outcome")?,
        reason: text("reason")?,
        actor_kind: required("actor_kind")?,
        actor_id: text("actor_id")?,
        actor_name: text("actor_name")?,
        subject_id: text("subject_id")?,
        subject_name: text("subject_name")?,
        object_kind: text("object_kind")?,
        object_id: text("object_id")?,
        address: text("address")?,
        request_id: text("request_id")?,
        details: serde_json::from_str(&details)
            .map_err(|_| StoreError::Corrupt(format!("details {details:?}")))?,
    })
}
