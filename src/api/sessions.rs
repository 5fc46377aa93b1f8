//! `/api/sessions`: where one is signed in, and the end of that. A session is needed: a token may not do this.

use axum::Extension;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer;
use super::extract::Caller;
use super::routes::Routes;
use super::{ApiError, ApiState};
use crate::authn::Authenticated;
use crate::model::audit::Action;
use crate::model::id::SessionId;
use crate::model::time::Timestamp;
use crate::respond::describe::Call;
use crate::respond::error::HttpError;
use crate::store::sessions::{EndedSession, ListedSession};

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
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
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Keep {
    #[param(inline)]
    keep: Option<Kept>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Kept {
    Current,
}

/// Sessions that live, the last used first.
#[derive(Serialize, ToSchema)]
struct Sessions<'a> {
    sessions: Vec<SessionView<'a>>,
}

/// The sessions that were ended.
#[derive(Serialize, ToSchema)]
struct Ended {
    ended: Vec<SessionId>,
}

pub(super) fn routes() -> Routes {
    let only = "With a session only.";
    let list = Call::get("/api/sessions", "Where one is signed in")
        .about(only)
        .answers::<Sessions<'static>>(200, "One's own sessions.");
    let end = Call::delete("/api/sessions/{id}", "Ends a session of one's own")
        .about(only)
        .answers::<Ended>(200, "It is over.");
    let end_all = Call::delete("/api/sessions", "Ends all of one's own sessions")
        .about(only)
        .query::<Keep>()
        .answers::<Ended>(200, "They are over.");
    Routes::default()
        .on(list, self::list)
        .on(end, self::end)
        .on(end_all, self::end_all)
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
    Ok(answer(StatusCode::OK, Sessions { sessions }))
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
    let ended = ended.iter().map(|session| session.id).collect();
    answer(StatusCode::OK, Ended { ended })
}
