//! `/api/admin/sessions`: who is signed in, and how an admin ends that.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Admin, Asked, page, said};
use crate::api::routes::Routes;
use crate::api::{ApiError, ApiState, answer};
use crate::model::audit::{Action, Actor};
use crate::model::id::{SessionId, UserId};
use crate::model::time::Timestamp;
use crate::respond::describe::Call;
use crate::respond::error::HttpError;
use crate::store::overview::KnownSession;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Id or name of whose they are.
    pub(super) user: Option<String>,
    /// Rows of a page: 50 if nothing is said, 500 at most.
    #[param(minimum = 1, maximum = 500)]
    pub(super) limit: Option<u32>,
    /// Rows before the page.
    pub(super) offset: Option<u32>,
}

/// A session, as admins see it.
#[derive(Serialize, ToSchema)]
#[schema(as = KnownSession)]
struct SessionView<'a> {
    id: SessionId,
    user: SessionUser<'a>,
    current: bool,
    device: &'a str,
    address: Option<&'a str>,
    created_at: Timestamp,
    last_seen: Timestamp,
    expires_at: Timestamp,
}

/// Whose it is.
#[derive(Serialize, ToSchema)]
struct SessionUser<'a> {
    id: UserId,
    username: &'a str,
}

/// A page of sessions, the last used first.
#[derive(Serialize, ToSchema)]
struct KnownSessions<'a> {
    sessions: Vec<SessionView<'a>>,
    /// On all pages.
    total: i64,
}

pub(super) fn routes() -> Routes {
    let list = Call::get("/api/admin/sessions", "Everybody's sessions")
        .query::<Query>()
        .answers::<KnownSessions<'static>>(200, "A page of them.");
    let revoke = Call::delete(
        "/api/admin/sessions/{id}",
        "Ends a session, and what is open under it",
    )
    .says(204, "It is over.");
    Routes::default()
        .on(list, self::list)
        .on(revoke, self::revoke)
}

pub(super) async fn list(
    State(state): State<ApiState>,
    admin: Admin,
    Asked(query): Asked<Query>,
) -> Result<Response, ApiError> {
    let user = said(query.user);
    let page = page(query.limit, query.offset)?;
    let listed = state
        .database
        .list_all_sessions(user.as_deref(), page)
        .await?;
    let current = admin.who.principal.session_id();
    let sessions = listed
        .rows
        .iter()
        .map(|session| view(session, current))
        .collect();
    let total = listed.total;
    Ok(answer(StatusCode::OK, KnownSessions { sessions, total }))
}

fn view(session: &KnownSession, current: Option<SessionId>) -> SessionView<'_> {
    SessionView {
        id: session.id,
        user: SessionUser {
            id: session.user_id,
            username: &session.username,
        },
        current: current == Some(session.id),
        device: &session.device,
        address: session.address.as_deref(),
        created_at: session.created_at,
        last_seen: session.last_seen,
        expires_at: session.expires_at,
    }
}

/// Ends a session and, within a second, every stream that was opened under it.
pub(super) async fn revoke(
    State(state): State<ApiState>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    end(&state, &admin.actor, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn end(state: &ApiState, by: &Actor, id: &str) -> Result<(), HttpError> {
    let id: SessionId = id.parse().map_err(|_| HttpError::NotFound)?;
    let ended = state.sign_out.sessions.end_id(id).await?;
    let ended = ended.ok_or(HttpError::NotFound)?;
    state.sign_out.follow(&[ended], Action::SessionEnded, by);
    Ok(())
}
