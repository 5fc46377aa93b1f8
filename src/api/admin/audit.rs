//! `/api/admin/audit`: the audit log, a page at a time or all of it as JSON lines.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Asked, said, unknown_word};
use crate::api::{ApiError, ApiState, answer};
use crate::audit::Audit;
use crate::model::audit::{Action, Event};
use crate::model::time::Timestamp;
use crate::respond::error::HttpError;
use crate::store::StoreError;
use crate::store::audit::{Entry, Filter};

/// Entries of a page when nothing is said.
const DEFAULT_ENTRIES: u32 = 100;
/// Entries of a page at most, and of each read of an export.
const MAX_ENTRIES: u32 = 1000;
/// The type of JSON lines.
const NDJSON: &str = "application/x-ndjson";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    user: Option<String>,
    action: Option<String>,
    since: Option<String>,
    until: Option<String>,
    before: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(state): State<ApiState>,
    admin: Admin,
    headers: HeaderMap,
    Asked(query): Asked<Query>,
) -> Result<Response, ApiError> {
    let limit = query.limit;
    let filter = filter(query)?;
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains(NDJSON)) {
        let event = Event::new(Action::AuditExported, &admin.actor);
        state.audit.record(event);
        return Ok(lines(&state.audit, filter, limit));
    }
    let limit = limit.unwrap_or(DEFAULT_ENTRIES).clamp(1, MAX_ENTRIES);
    let entries = state.audit.list(&filter, limit).await?;
    let full = u32::try_from(entries.len()).is_ok_and(|count| count == limit);
    let next = entries.last().filter(|_| full).map(|entry| entry.id);
    let entries: Vec<Value> = entries.iter().map(Entry::to_json).collect();
    Ok(answer(
        StatusCode::OK,
        json!({ "entries": entries, "next": next }),
    ))
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
