//! `/api/admin/containers`: everybody's desktops.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::{Admin, Asked, page, said, unknown_word};
use crate::api::containers::OneContainer;
use crate::api::extract::JsonBody;
use crate::api::routes::Routes;
use crate::api::view::{ContainerView, OwnerView, Status, Viewer, codes, public_status};
use crate::api::{ApiError, ApiState, answer};
use crate::authz::AuthzError;
use crate::authz::admin::AdminGrant;
use crate::authz::policy::Action;
use crate::model::audit::Actor;
use crate::model::desktop::{Desktop, State as DesktopState};
use crate::model::id::DesktopId;
use crate::model::reason::Reason;
use crate::model::schema;
use crate::respond::describe::Call;
use crate::respond::error::HttpError;
use crate::store::overview::{DesktopFilter, DesktopOrder, Page, Sort};

/// Desktops that one request may stop or remove.
pub(super) const MAX_MANY: usize = 100;

/// Which desktops, in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    #[param(schema_with = status_words)]
    status: Option<String>,
    /// Id or name of whoever has them.
    user: Option<String>,
    template: Option<String>,
    /// A part of a name.
    q: Option<String>,
    #[param(schema_with = sort_words)]
    sort: Option<String>,
    /// Rows of a page: 50 if nothing is said, 500 at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Rows before the page.
    offset: Option<u32>,
}

/// Which desktops.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Many {
    #[schema(min_items = 1, max_items = 100)]
    ids: Vec<String>,
}

#[derive(Serialize)]
struct OwnedView<'a> {
    #[serde(flatten)]
    container: ContainerView<'a>,
    owner: OwnerView<'a>,
}

impl PartialSchema for OwnedView<'_> {
    /// That of a container, with one field more.
    fn schema() -> RefOr<Schema> {
        let mut schema = ContainerView::schema();
        if let RefOr::T(Schema::Object(container)) = &mut schema {
            let owner = utoipa::openapi::Ref::from_schema_name(OwnerView::name());
            container.properties.insert("owner".into(), owner.into());
            container.required.push("owner".into());
        }
        schema
    }
}

impl ToSchema for OwnedView<'_> {
    fn name() -> std::borrow::Cow<'static, str> {
        "OwnedContainer".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((OwnerView::name().into(), OwnerView::schema()));
        OwnerView::schemas(schemas);
        ContainerView::schemas(schemas);
    }
}

/// A page of desktops.
#[derive(Serialize, ToSchema)]
struct OwnedContainers<'a> {
    containers: Vec<OwnedView<'a>>,
    /// On all pages.
    total: i64,
}

/// How it went with each.
#[derive(Serialize, ToSchema)]
struct Results<'a> {
    results: Vec<ResultView<'a>>,
}

/// How it went with one: its status, or the code of an error.
#[derive(Serialize, ToSchema)]
#[schema(as = Result)]
struct ResultView<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = Status::schema)]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = codes)]
    error: Option<&'static str>,
}

fn status_words() -> RefOr<Schema> {
    let words = "live queued creating running paused stopping stopped error";
    schema::words(words.split(' '), "`live` are all that hold a port.")
}

fn sort_words() -> RefOr<Schema> {
    let words = "created last_accessed user template status -created -last_accessed -user -template -status";
    schema::words(
        words.split(' '),
        "With a `-` before it for the largest first.",
    )
}

pub(super) fn routes() -> Routes {
    let list = Call::get("/api/admin/containers", "Everybody's desktops")
        .query::<Query>()
        .answers::<OwnedContainers<'static>>(200, "A page of them.");
    let many = |call: Call| {
        call.body::<Many>()
            .answers::<Results<'static>>(200, "How it went with each.")
    };
    let stop_many = Call::post("/api/admin/containers/stop", "Stops desktops");
    let remove_many = Call::post("/api/admin/containers/remove", "Removes desktops");
    let one = |call: Call| {
        call.answers::<OneContainer<'static>>(200, "The desktop.")
            .refuses(&[409])
    };
    let stop = Call::post("/api/admin/containers/{id}/stop", "Stops a desktop");
    let remove = Call::post("/api/admin/containers/{id}/remove", "Removes a desktop");
    Routes::default()
        .on(list, self::list)
        .on(many(stop_many), self::stop_many)
        .on(many(remove_many), self::remove_many)
        .on(one(stop), self::stop)
        .on(one(remove), self::remove)
}

pub(super) async fn list(
    State(state): State<ApiState>,
    _: Admin,
    viewer: Viewer,
    Asked(query): Asked<Query>,
) -> Result<Response, ApiError> {
    let (filter, sort, page) = query.wanted()?;
    let listed = state
        .database
        .list_all_desktops(&filter, sort, page)
        .await?;
    let rows = listed.rows.iter().map(|(desktop, owner)| OwnedView {
        container: viewer.show(desktop),
        owner: OwnerView::from(owner),
    });
    let containers: Vec<OwnedView<'_>> = rows.collect();
    let total = listed.total;
    Ok(answer(
        StatusCode::OK,
        OwnedContainers { containers, total },
    ))
}

impl Query {
    pub(super) fn wanted(self) -> Result<(DesktopFilter, Sort<DesktopOrder>, Page), HttpError> {
        let sort = sort(self.sort.as_deref().unwrap_or("-created"))?;
        let filter = DesktopFilter {
            status: states(said(self.status).as_deref())?,
            user: said(self.user),
            template: said(self.template),
            text: said(self.q),
        };
        Ok((filter, sort, page(self.limit, self.offset)?))
    }
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
    let by = (admin.grant, &admin.actor);
    let desktop = act(&state, by, &id, Action::Stop).await?;
    let container = viewer.show(&desktop);
    Ok(answer(StatusCode::OK, OneContainer { container }))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    admin: Admin,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let by = (admin.grant, &admin.actor);
    let desktop = act(&state, by, &id, Action::Remove).await?;
    let container = viewer.show(&desktop);
    Ok(answer(StatusCode::OK, OneContainer { container }))
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
pub(super) async fn act(
    state: &ApiState,
    (grant, actor): (AdminGrant, &Actor),
    id: &str,
    action: Action,
) -> Result<Desktop, HttpError> {
    let id: DesktopId = id.parse().map_err(|_| AuthzError::NotFound)?;
    let desktops = &state.desktops;
    let desktop = grant.desktop(desktops, id, action).await?;
    let why = if actor.user == Some(desktop.user_id) {
        Reason::Asked
    } else {
        Reason::Admin
    };
    Ok(match action {
        Action::Remove => desktops.remove(id, actor, why).await?,
        _ => desktops.stop(id, actor, why).await?,
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
    let mut results = Vec::with_capacity(many.ids.len());
    for id in &many.ids {
        let (status, error) = match act(state, (admin.grant, &admin.actor), id, action).await {
            Ok(desktop) => (Some(public_status(desktop.status)), None),
            Err(error) => (None, Some(error.row().code)),
        };
        results.push(ResultView { id, status, error });
    }
    Ok(answer(StatusCode::OK, Results { results }))
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
