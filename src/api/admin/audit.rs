//! `/api/admin/audit`: the audit log, a page at a time or all of it as JSON lines.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::{Admin, Asked, rows, said, unknown_word};
use crate::api::routes::Routes;
use crate::api::{ApiError, ApiState, answer};
use crate::audit::Audit;
use crate::model::audit::{Action, Event};
use crate::model::id::AuditId;
use crate::model::time::Timestamp;
use crate::respond::describe::Call;
use crate::respond::error::HttpError;
use crate::store::StoreError;
use crate::store::audit::{Entry, EntryView, Filter};

/// Entries of a page when nothing is said.
const DEFAULT_ENTRIES: u32 = 100;
/// Entries of a page at most, and of each read of an export.
const MAX_ENTRIES: u32 = 1000;
/// The type of JSON lines.
const NDJSON: &str = "application/x-ndjson";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Id or name of who did it or to whom it was done.
    user: Option<String>,
    #[param(schema_with = Action::schema)]
    action: Option<String>,
    /// A day, or a time such as `2026-01-31T08:00:00Z`.
    since: Option<String>,
    /// A day, or a time such as `2026-01-31T08:00:00Z`.
    until: Option<String>,
    /// `next` of the page before.
    #[param(schema_with = AuditId::schema)]
    before: Option<String>,
    /// Entries of a page: 100 if nothing is said, 1000 at most.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// A page of the audit log, the newest first.
#[derive(Serialize, ToSchema)]
struct Entries<'a> {
    entries: Vec<EntryView<'a>>,
    /// `before` of the next page, if there may be one.
    next: Option<AuditId>,
}

pub(super) fn routes() -> Routes {
    let call = Call::get("/api/admin/audit", "The audit log")
        .query::<Query>()
        .answers::<Entries<'static>>(
            200,
            "A page of it; with `Accept: application/x-ndjson` all of it, an entry per line.",
        )
        .shows(200, NDJSON, "All of it.");
    Routes::default().on(call, list)
}

pub(super) async fn list(
    State(state): State<ApiState>,
    admin: Admin,
    headers: HeaderMap,
    Asked(query): Asked<Query>,
) -> Result<Response, ApiError> {
    let limit = query.limit;
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains(NDJSON)) {
        let filter = filter(query)?;
        // An export has no pages, so that any number will do.
        let limit = limit.map(|limit| rows(limit, u32::MAX)).transpose()?;
        let event = Event::new(Action::AuditExported, &admin.actor);
        state.audit.record(event);
        return Ok(lines(&state.audit, filter, limit));
    }
    let (filter, limit) = query.wanted()?;
    let entries = state.audit.list(&filter, limit).await?;
    let full = u32::try_from(entries.len()).is_ok_and(|count| count == limit);
    let next = entries.last().filter(|_| full).map(|entry| entry.id);
    let entries = entries.iter().map(Entry::view).collect();
    Ok(answer(StatusCode::OK, Entries { entries, next }))
}

impl Query {
    pub(super) fn wanted(self) -> Result<(Filter, u32), HttpError> {
        let limit = rows(self.limit.unwrap_or(DEFAULT_ENTRIES), MAX_ENTRIES)?;
        Ok((filter(self)?, limit))
    }
}

fn filter(query: Query) -> Result<Filter, HttpError> {
    let action = said(query.action);
    let known = |word: &str| Action::ALL.iter().any(|action| action.as_str() == word);
    if action.as_deref().is_some_and(|word| !known(word)) {
        let words: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        return Err(unknown_word("action", &words.join(", ")));
    }
    let before = said(query.before).map(|text| text.parse());
    let before = before.transpose();
    Ok(Filter {
        user: said(query.user),
        action,
        since: time("since", query.since)?,
        until: time("until", query.until)?,
        before: before.map_err(|_| HttpError::Query("before is the id of an entry".into()))?,
    })
}

fn time(field: &str, text: Option<String>) -> Result<Option<Timestamp>, HttpError> {
    let time = said(text).map(|text| text.parse()).transpose();
    time.map_err(|_| HttpError::Query(format!("{field} is a time such as 2026-01-31T08:00:00Z")))
}

/// All entries, read from the database as fast as the reader takes them.
fn lines(audit: &Audit, filter: Filter, limit: Option<u32>) -> Response {
    let begin = (audit.clone(), filter, limit.unwrap_or(u32::MAX));
    let chunks = stream::try_unfold(begin, |(audit, mut filter, left)| async move {
        if left == 0 {
            return Ok::<_, StoreError>(None);
        }
        let entries = audit.list(&filter, left.min(MAX_ENTRIES)).await?;
        let Some(last) = entries.last() else {
            return Ok(None);
        };
        filter.before = Some(last.id);
        let count = u32::try_from(entries.len()).unwrap_or(left);
        let mut text = String::new();
        for entry in &entries {
            text.push_str(&entry.to_json().to_string());
            text.push('\n');
        }
        Ok(Some((
            Bytes::from(text),
            (audit, filter, left.saturating_sub(count)),
        )))
    });
    let headers = [(CONTENT_TYPE, NDJSON), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(chunks)).into_response()
}
