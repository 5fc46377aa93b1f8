//! `/api/sessions`: where one is signed in, and the end of that. A session is needed: a token may not do this.

use axum::Extension;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer;
use super::extract::Caller;
use super::{ApiError, ApiState};
use crate::authn::Authenticated;
use crate::model::audit::Action;
use crate::model::id::SessionId;
use crate::model::time::Timestamp;
use crate::respond::error::HttpError;
use crate::store::sessions::{EndedSession, ListedSession};

/// A session in a list.
#[derive(Debug, Serialize)]
struct SessionView<'a> {
    id: SessionId,
    current: bool,
    device: &'a str,
    address: Option<String>,
    login_address: Option<String>,
    created_at: Timestamp,
    last_seen: Timestamp,
    expires_at: Timestamp,
}

impl<'a> SessionView<'a> {
    fn new(listed: &'a ListedSession, current: SessionId) -> Self {
        let text = |address: std::net::IpAddr| address.to_string();
        Self {
            id: listed.id,
            current: listed.id == current,
            device: &listed.device,
            address: listed.last_address.or(listed.address).map(text),
            login_address: listed.address.map(text),
            created_at: listed.created_at,
            last_seen: listed.last_seen,
            expires_at: listed.expires_at,
        }
    }
}

/// Which sessions are left.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keep {
    keep: Option<Kept>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kept {
    Current,
}

impl<S: Sync> FromRequestParts<S> for Keep {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::try_from_uri(&head.uri);
        let Query(keep) = query.map_err(|error| HttpError::Query(error.body_text()))?;
        Ok(keep)
    }
}

pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(who): Extension<Authenticated>,
) -> Result<Response, ApiError> {
    let session = who.session()?;
    let listed = state.sign_out.sessions.list(session.user.id).await?;
    let views = listed
        .iter()
        .map(|listed| SessionView::new(listed, session.id));
    let sessions: Vec<_> = views.collect();
    Ok(answer(StatusCode::OK, json!({ "sessions": sessions })))
}

pub(super) async fn end(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let session = who.session()?;
    let id = id.parse().map_err(|_| HttpError::NotFound)?;
    let ended = state.sign_out.sessions.end_own(session.user.id, id).await?;
    let ended = [ended.ok_or(HttpError::NotFound)?];
    state.sign_out.follow(&ended, Action::SessionEnded, &actor);
    Ok(ended_answer(&ended))
}

pub(super) async fn end_all(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    keep: Keep,
) -> Result<Response, ApiError> {
    let session = who.session()?;
    let (sessions, user) = (&state.sign_out.sessions, session.user.id);
    let ended = match keep.keep {
        Some(Kept::Current) => sessions.end_others(user, session.id).await?,
        None => sessions.end_all_of(user).await?,
    };
    state.sign_out.follow(&ended, Action::SessionEnded, &actor);
    Ok(ended_answer(&ended))
}

fn ended_answer(ended: &[EndedSession]) -> Response {
    let ids: Vec<SessionId> = ended.iter().map(|session| session.id).collect();
    answer(StatusCode::OK, json!({ "ended": ids }))
}
