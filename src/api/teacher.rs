//! `/api/teacher/*`: what teachers see and do in the classes that they are in. Every handler asks for a [`Teacher`].

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Caller, JsonBody};
use super::view::{OwnerView, Viewer};
use super::{ApiError, ApiState, answer};
use crate::authz::AuthzError;
use crate::authz::classes::{TeacherGrant, authorize_teacher};
use crate::authz::policy::Action;
use crate::model::audit::Actor;
use crate::model::desktop::Desktop;
use crate::model::id::DesktopId;
use crate::model::reason::Reason;
use crate::model::user::User;
use crate::respond::error::HttpError;

/// Pupils whose desktops are started or stopped at the same time. The engine has a queue of its own.
const PARALLEL: usize = 8;

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/teacher/classes", get(classes))
        .route("/api/teacher/classes/{class}", get(class))
        .route("/api/teacher/classes/{class}/start", post(start))
        .route("/api/teacher/classes/{class}/stop", post(stop))
        .route("/api/teacher/containers/{id}/stop", post(stop_one))
}

/// Somebody who looks after classes.
pub(super) struct Teacher {
    grant: TeacherGrant,
    actor: Actor,
}

impl FromRequestParts<ApiState> for Teacher {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let Caller { who, actor } = Caller::from_request_parts(head, state).await?;
        let grant = authorize_teacher(&who.principal, &state.classes)?;
        Ok(Self { grant, actor })
    }
}

/// Which of the pupils' desktops.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfTemplate {
    template: Option<String>,
}

/// The classes, with how many pupils and live desktops each has.
async fn classes(
    State(state): State<ApiState>,
    Teacher { grant, .. }: Teacher,
) -> Result<Response, ApiError> {
    let mut rows = Vec::new();
    for class in grant.classes() {
        let pupils = pupils(&state, &grant, class, Action::SeeState).await?;
        let desktops = desktops_of(&state, &pupils).await?;
        let live = desktops.iter().filter(|one| one.status.is_live()).count();
        rows.push(json!({ "name": class, "pupils": pupils.len(), "live_desktops": live }));
    }
    Ok(answer(StatusCode::OK, json!({ "classes": rows })))
}

/// The pupils of a class with their desktops.
async fn class(
    State(state): State<ApiState>,
    Teacher { grant, .. }: Teacher,
    viewer: Viewer,
    Path(class): Path<String>,
) -> Result<Response, ApiError> {
    let pupils = pupils(&state, &grant, &class, Action::SeeState).await?;
    let desktops = desktops_of(&state, &pupils).await?;
    let rows: Vec<Value> = pupils
        .iter()
        .map(|pupil| {
            let own = desktops.iter().filter(|one| one.user_id == pupil.id);
            let own: Vec<_> = own.map(|desktop| viewer.show(desktop)).collect();
            json!({ "user": OwnerView::from(pupil), "containers": own })
        })
        .collect();
    let value = json!({ "name": class, "pupils": rows });
    Ok(answer(StatusCode::OK, value))
}

/// Starts a desktop for each pupil who may have it; each has a result of its own.
async fn start(
    State(state): State<ApiState>,
    Teacher { grant, actor }: Teacher,
    Path(class): Path<String>,
    JsonBody(OfTemplate { template }): JsonBody<OfTemplate>,
) -> Result<Response, ApiError> {
    let pupils = pupils(&state, &grant, &class, Action::StartFor).await?;
    let (state, actor, template) = (&state, &actor, template.as_deref());
    let started = stream::iter(pupils).map(|pupil| async move {
        let started = state.desktops.start(&pupil, actor, template).await;
        let value = match started {
            Ok((desktop, new)) => {
                json!({ "id": desktop.id, "status": desktop.status.as_str(), "new": new })
            }
            Err(error) => failure(error),
        };
        with_user(&pupil, value)
    });
    let results: Vec<Value> = started.buffered(PARALLEL).collect().await;
    Ok(answer(StatusCode::OK, json!({ "results": results })))
}

/// Stops the live desktops of a class; each has a result of its own.
async fn stop(
    State(state): State<ApiState>,
    Teacher { grant, actor }: Teacher,
    Path(class): Path<String>,
    JsonBody(OfTemplate { template }): JsonBody<OfTemplate>,
) -> Result<Response, ApiError> {
    let pupils = pupils(&state, &grant, &class, Action::Stop).await?;
    let meant = |desktop: &Desktop| {
        let template = template.as_ref();
        desktop.status.is_live() && template.is_none_or(|template| *template == desktop.template)
    };
    let mut desktops = desktops_of(&state, &pupils).await?;
    desktops.retain(meant);
    let (state, actor) = (&state, &actor);
    let owned = desktops.into_iter().filter_map(|desktop| {
        let owner = pupils.iter().find(|pupil| pupil.id == desktop.user_id);
        owner.map(|owner| (desktop.id, owner.clone()))
    });
    let stopped = stream::iter(owned).map(|(id, owner)| async move {
        let stopped = state.desktops.stop(id, actor, Reason::Teacher).await;
        let value = match stopped {
            Ok(desktop) => json!({ "id": id, "status": desktop.status.as_str() }),
            Err(error) => failure(error),
        };
        with_user(&owner, value)
    });
    let results: Vec<Value> = stopped.buffered(PARALLEL).collect().await;
    Ok(answer(StatusCode::OK, json!({ "results": results })))
}

/// Stops one pupil's desktop.
async fn stop_one(
    State(state): State<ApiState>,
    Teacher { grant, actor }: Teacher,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id: DesktopId = id.parse().map_err(|_| AuthzError::NotFound)?;
    let both = (&state.desktops, &state.database);
    grant.desktop(both, id, Action::Stop).await?;
    let desktop = state.desktops.stop(id, &actor, Reason::Teacher).await?;
    let value = json!({ "container": viewer.show(&desktop) });
    Ok(answer(StatusCode::OK, value))
}

async fn pupils(
    state: &ApiState,
    grant: &TeacherGrant,
    class: &str,
    action: Action,
) -> Result<Vec<User>, HttpError> {
    Ok(grant.pupils(&state.database, class, action).await?)
}

async fn desktops_of(state: &ApiState, pupils: &[User]) -> Result<Vec<Desktop>, HttpError> {
    let ids: Vec<_> = pupils.iter().map(|pupil| pupil.id).collect();
    Ok(state.database.desktops_of(&ids).await?)
}

fn failure(error: impl Into<HttpError>) -> Value {
    json!({ "error": error.into().row().code })
}

fn with_user(pupil: &User, mut result: Value) -> Value {
    result["user"] = json!(OwnerView::from(pupil));
    result
}
