//! `/api/admin/sessions`: who is signed in, and how an admin ends that.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Asked, page, said};
use crate::api::{ApiError, ApiState, answer};
use crate::authz::AuthzError;
use crate::model::audit::Action;
use crate::model::id::SessionId;
use crate::respond::error::HttpError;
use crate::store::overview::KnownSession;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    user: Option<String>,
    limit: Option<u32>,
    offset: Option<u32>,
}

pub(super) async fn list(
    State(state): State<ApiState>,
    admin: Admin,
    Asked(query): Asked<Query>,
) -> Result<Response, ApiError> {
    let user = said(query.user);
    let page = page(query.limit, query.offset);
    let listed = state
        .database
        .list_all_sessions(user.as_deref(), page)
        .await?;
    let current = admin.who.principal.session_id();
    let sessions: Vec<Value> = listed
        .rows
        .iter()
        .map(|session| view(session, current))
        .collect();
    let value = json!({ "sessions": sessions, "total": listed.total });
    Ok(answer(StatusCode::OK, value))
}

fn view(session: &KnownSession, current: Option<SessionId>) -> Value {
    json!({
        "id": session.id,
        "user": { "id": session.user_id, "username": session.username },
        "current": current == Some(session.id),
        "device": session.device,
        "address": session.address,
        "created_at": session.created_at,
        "last_seen": session.last_seen,
        "expires_at": session.expires_at,
    })
}

/// Ends a session and, within a second, every stream that was opened under it.
pub(super) async fn revoke(
    State(state): State<ApiState>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id: SessionId = id.parse().map_err(|_| AuthzError::NotFound)?;
    let ended = state.sign_out.sessions.end_id(id).await?;
    let ended = ended.ok_or(HttpError::NotFound)?;
    let by = &admin.actor;
    state.sign_out.follow(&[ended], Action::SessionEnded, by);
    Ok(StatusCode::NO_CONTENT.into_response())
}
