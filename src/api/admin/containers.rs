//! `/api/admin/containers`: everybody's desktops.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Admin, Asked, page, said, unknown_word};
use crate::api::extract::JsonBody;
use crate::api::view::{ContainerView, OwnerView, Viewer};
use crate::api::{ApiError, ApiState, answer};
use crate::authz::AuthzError;
use crate::authz::policy::Action;
use crate::model::desktop::{Desktop, State as DesktopState};
use crate::model::id::DesktopId;
use crate::model::reason::Reason;
use crate::respond::error::HttpError;
use crate::store::overview::{DesktopFilter, DesktopOrder, Sort};

/// Desktops that one request may stop or remove.
const MAX_MANY: usize = 100;

/// Which desktops, in which order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    status: Option<String>,
    user: Option<String>,
    template: Option<String>,
    q: Option<String>,
    sort: Option<String>,
    limit: Option<u32>,
    offset: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Many {
    ids: Vec<String>,
}

#[derive(Serialize)]
struct OwnedView<'a> {
    #[serde(flatten)]
    container: ContainerView<'a>,
    owner: OwnerView<'a>,
}

pub(super) async fn list(
    State(state): State<ApiState>,
    _: Admin,
    viewer: Viewer,
    Asked(query): Asked<Query>,
) -> Result<Response, ApiError> {
    let sort = sort(query.sort.as_deref().unwrap_or("-created"))?;
    let filter = DesktopFilter {
        status: states(said(query.status).as_deref())?,
        user: said(query.user),
        template: said(query.template),
        text: said(query.q),
    };
    let page = page(query.limit, query.offset);
    let listed = state
        .database
        .list_all_desktops(&filter, sort, page)
        .await?;
    let rows = listed.rows.iter().map(|(desktop, owner)| OwnedView {
        container: viewer.show(desktop),
        owner: OwnerView::from(owner),
    });
    let containers: Vec<OwnedView<'_>> = rows.collect();
    let value = json!({ "containers": containers, "total": listed.total });
    Ok(answer(StatusCode::OK, value))
}

/// The states behind a word of the API, which knows `creating` for all that comes up; `live` are all that hold
/// a port.
fn states(word: Option<&str>) -> Result<Vec<DesktopState>, HttpError> {
    let Some(word) = word else {
        return Ok(Vec::new());
    };
    let all = DesktopState::ALL.into_iter();
    let states: Vec<DesktopState> = match word {
        "live" => all.filter(|state| state.is_live()).collect(),
        "starting" => Vec::new(),
        "creating" => vec![DesktopState::Creating, DesktopState::Starting],
        word => all.filter(|state| state.as_str() == word).collect(),
    };
    if states.is_empty() {
        let words = "live, queued, creating, running, paused, stopping, stopped, error";
        return Err(unknown_word("status", words));
    }
    Ok(states)
}

fn sort(text: &str) -> Result<Sort<DesktopOrder>, HttpError> {
    let by = match text.trim_start_matches('-') {
        "created" => DesktopOrder::Created,
        "last_accessed" => DesktopOrder::LastAccessed,
        "user" => DesktopOrder::User,
        "template" => DesktopOrder::Template,
        "status" => DesktopOrder::Status,
        _ => {
            let words = "created, last_accessed, user, template, status, with a - before it for the largest first";
            return Err(unknown_word("sort", words));
        }
    };
    Ok(Sort {
        by,
        descending: text.starts_with('-'),
    })
}

pub(super) async fn stop(
    State(state): State<ApiState>,
    admin: Admin,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let desktop = act(&state, &admin, &id, Action::Stop).await?;
    Ok(answer(
        StatusCode::OK,
        json!({ "container": viewer.show(&desktop) }),
    ))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    admin: Admin,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let desktop = act(&state, &admin, &id, Action::Remove).await?;
    Ok(answer(
        StatusCode::OK,
        json!({ "container": viewer.show(&desktop) }),
    ))
}

pub(super) async fn stop_many(
    State(state): State<ApiState>,
    admin: Admin,
    JsonBody(many): JsonBody<Many>,
) -> Result<Response, ApiError> {
    act_on_many(&state, &admin, &many, Action::Stop).await
}

pub(super) async fn remove_many(
    State(state): State<ApiState>,
    admin: Admin,
    JsonBody(many): JsonBody<Many>,
) -> Result<Response, ApiError> {
    act_on_many(&state, &admin, &many, Action::Remove).await
}

/// Stops or removes one desktop. Its user reads that it was an admin, unless they are the admin.
async fn act(
    state: &ApiState,
    admin: &Admin,
    id: &str,
    action: Action,
) -> Result<Desktop, HttpError> {
    let id: DesktopId = id.parse().map_err(|_| AuthzError::NotFound)?;
    let desktops = &state.desktops;
    let desktop = admin.grant.desktop(desktops, id, action).await?;
    let why = if admin.actor.user == Some(desktop.user_id) {
        Reason::Asked
    } else {
        Reason::Admin
    };
    Ok(match action {
        Action::Remove => desktops.remove(id, &admin.actor, why).await?,
        _ => desktops.stop(id, &admin.actor, why).await?,
    })
}

/// One after the other, since the engine is nearly serial anyway; each has a result of its own.
async fn act_on_many(
    state: &ApiState,
    admin: &Admin,
    many: &Many,
    action: Action,
) -> Result<Response, ApiError> {
    if many.ids.is_empty() || many.ids.len() > MAX_MANY {
        return Err(HttpError::Malformed("ids names 1 to 100 desktops").into());
    }
    let mut results: Vec<Value> = Vec::with_capacity(many.ids.len());
    for id in &many.ids {
        results.push(match act(state, admin, id, action).await {
            Ok(desktop) => json!({ "id": id, "status": desktop.status.as_str() }),
            Err(error) => json!({ "id": id, "error": error.row().code }),
        });
    }
    Ok(answer(StatusCode::OK, json!({ "results": results })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_query() {
        assert_eq!(states(None).ok(), Some(vec![]));
        let creating = states(Some("creating")).expect("a state");
        assert_eq!(creating, [DesktopState::Creating, DesktopState::Starting]);
        assert_eq!(states(Some("live")).expect("states").len(), 6);
        assert!(states(Some("starting")).is_err() && states(Some("exited")).is_err());
        let by_user = sort("-user").expect("an order");
        assert_eq!((by_user.by, by_user.descending), (DesktopOrder::User, true));
        assert!(sort("password").is_err());
    }
}
