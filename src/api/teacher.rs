//! `/api/teacher/*`: what teachers see and do in the classes that they are in. Every handler asks for a [`Teacher`].

use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema};

use super::containers::OneContainer;
use super::extract::{Caller, JsonBody};
use super::routes::Routes;
use super::view::{ContainerView, OwnerView, Status, Viewer, codes, public_status};
use super::{Api, ApiError, ApiState, answer};
use crate::authn::Authenticated;
use crate::authz::AuthzError;
use crate::authz::classes::{TeacherGrant, authorize_teacher};
use crate::authz::policy::Action;
use crate::desktop::DesktopError;
use crate::model::audit::Actor;
use crate::model::desktop::Desktop;
use crate::model::id::{DesktopId, UserId};
use crate::model::reason::Reason;
use crate::model::user::User;
use crate::respond::describe::Call;
use crate::respond::error::HttpError;

/// Pupils whose desktops are started or stopped at the same time. The engine has a queue of its own.
const PARALLEL: usize = 8;

/// A class in the list.
#[derive(Serialize, ToSchema)]
#[schema(as = Class)]
struct ClassView<'a> {
    name: &'a str,
    pupils: usize,
    live_desktops: usize,
}

/// One's classes.
#[derive(Serialize, ToSchema)]
struct Classes<'a> {
    classes: Vec<ClassView<'a>>,
}

/// Somebody of a class.
#[derive(Serialize, ToSchema)]
struct Pupil<'a> {
    user: OwnerView<'a>,
    containers: Vec<ContainerView<'a>>,
}

/// A class and everybody in it, by name.
#[derive(Serialize, ToSchema)]
struct OneClass<'a> {
    name: &'a str,
    pupils: Vec<Pupil<'a>>,
}

/// How it went with each.
#[derive(Serialize, ToSchema)]
struct PupilResults {
    results: Vec<PupilResult>,
}

/// Whose result it is.
#[derive(Serialize, ToSchema)]
struct PupilName {
    id: UserId,
    username: String,
    name: Option<String>,
}

/// How it went with one: the desktop, or the code of an error.
#[derive(Serialize, ToSchema)]
struct PupilResult {
    user: PupilName,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id: Option<DesktopId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = Status::schema)]
    status: Option<&'static str>,
    /// Whether it was not there before, of a start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    new: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = codes)]
    error: Option<&'static str>,
}

pub(super) fn routes() -> Routes {
    let classes = Call::get("/api/teacher/classes", "The classes that one looks after")
        .answers::<Classes<'static>>(200, "The classes.");
    let class = Call::get(
        "/api/teacher/classes/{class}",
        "Who is in a class, and what they have",
    )
    .answers::<OneClass<'static>>(200, "The class.");
    let each = |call: Call| {
        call.body::<OfTemplate>()
            .answers::<PupilResults>(200, "How it went with each.")
    };
    let start = Call::post(
        "/api/teacher/classes/{class}/start",
        "Starts a desktop for everybody in a class",
    );
    let stop = Call::post(
        "/api/teacher/classes/{class}/stop",
        "Stops the desktops of a class",
    );
    let stop_one = Call::post(
        "/api/teacher/containers/{id}/stop",
        "Stops a pupil's desktop",
    )
    .answers::<OneContainer<'static>>(200, "The desktop.")
    .refuses(&[409]);
    Routes::default()
        .on(classes, self::classes)
        .on(class, self::class)
        .on(each(start), self::start)
        .on(each(stop), self::stop)
        .on(stop_one, self::stop_one)
}

/// Somebody who looks after classes.
pub(super) struct Teacher {
    pub grant: TeacherGrant,
    pub actor: Actor,
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
#[derive(Debug, Default, Deserialize, ToSchema)]
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
        rows.push(ClassView {
            name: class,
            pupils: pupils.len(),
            live_desktops: live,
        });
    }
    Ok(answer(StatusCode::OK, Classes { classes: rows }))
}

/// The pupils of a class with their desktops.
async fn class(
    State(state): State<ApiState>,
    Teacher { grant, .. }: Teacher,
    viewer: Viewer,
    Path(class): Path<String>,
) -> Result<Response, ApiError> {
    let members = members(&state, &grant, &class).await?;
    let rows = members
        .iter()
        .map(|(pupil, own)| Pupil {
            user: OwnerView::from(pupil),
            containers: own.iter().map(|desktop| viewer.show(desktop)).collect(),
        })
        .collect();
    let (name, pupils) = (class.as_str(), rows);
    Ok(answer(StatusCode::OK, OneClass { name, pupils }))
}

/// Starts a desktop for each pupil who may have it; each has a result of its own.
async fn start(
    State(state): State<ApiState>,
    Teacher { grant, actor }: Teacher,
    Path(class): Path<String>,
    JsonBody(OfTemplate { template }): JsonBody<OfTemplate>,
) -> Result<Response, ApiError> {
    let by = (&grant, &actor);
    let started = start_all(&state, by, &class, template.as_deref()).await?;
    let results = started.into_iter().map(result_of).collect();
    Ok(answer(StatusCode::OK, PupilResults { results }))
}

/// Stops the live desktops of a class; each has a result of its own.
async fn stop(
    State(state): State<ApiState>,
    Teacher { grant, actor }: Teacher,
    Path(class): Path<String>,
    JsonBody(OfTemplate { template }): JsonBody<OfTemplate>,
) -> Result<Response, ApiError> {
    let by = (&grant, &actor);
    let stopped = stop_all(&state, by, &class, template.as_deref()).await?;
    let results = stopped.into_iter().map(result_of).collect();
    Ok(answer(StatusCode::OK, PupilResults { results }))
}

/// Stops one pupil's desktop.
async fn stop_one(
    State(state): State<ApiState>,
    Teacher { grant, actor }: Teacher,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let desktop = stop_of(&state, (&grant, &actor), &id).await?;
    let container = viewer.show(&desktop);
    Ok(answer(StatusCode::OK, OneContainer { container }))
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

/// The pupils of a class, each with their desktops.
async fn members(
    state: &ApiState,
    grant: &TeacherGrant,
    class: &str,
) -> Result<Vec<(User, Vec<Desktop>)>, HttpError> {
    let pupils = pupils(state, grant, class, Action::SeeState).await?;
    let desktops = desktops_of(state, &pupils).await?;
    let with_own = pupils.into_iter().map(|pupil| {
        let own = desktops.iter().filter(|one| one.user_id == pupil.id);
        let own = own.cloned().collect();
        (pupil, own)
    });
    Ok(with_own.collect())
}

async fn start_all(
    state: &ApiState,
    (grant, actor): (&TeacherGrant, &Actor),
    class: &str,
    template: Option<&str>,
) -> Result<Vec<Done>, HttpError> {
    let pupils = pupils(state, grant, class, Action::StartFor).await?;
    let started = stream::iter(pupils).map(|pupil| async move {
        let started = state.desktops.start(&pupil, actor, template).await;
        (pupil, started.map(|(desktop, new)| (desktop, Some(new))))
    });
    Ok(started.buffered(PARALLEL).collect().await)
}

async fn stop_all(
    state: &ApiState,
    (grant, actor): (&TeacherGrant, &Actor),
    class: &str,
    template: Option<&str>,
) -> Result<Vec<Done>, HttpError> {
    let pupils = pupils(state, grant, class, Action::Stop).await?;
    let meant = |desktop: &Desktop| {
        desktop.status.is_live() && template.is_none_or(|template| *template == desktop.template)
    };
    let mut desktops = desktops_of(state, &pupils).await?;
    desktops.retain(meant);
    let owned = desktops.into_iter().filter_map(|desktop| {
        let owner = pupils.iter().find(|pupil| pupil.id == desktop.user_id);
        owner.map(|owner| (desktop.id, owner.clone()))
    });
    let stopped = stream::iter(owned).map(|(id, owner)| async move {
        let stopped = state.desktops.stop(id, actor, Reason::Teacher).await;
        (owner, stopped.map(|desktop| (desktop, None)))
    });
    Ok(stopped.buffered(PARALLEL).collect().await)
}

async fn stop_of(
    state: &ApiState,
    (grant, actor): (&TeacherGrant, &Actor),
    id: &str,
) -> Result<Desktop, HttpError> {
    let id: DesktopId = id.parse().map_err(|_| AuthzError::NotFound)?;
    grant.desktop(&state.database, id, Action::Stop).await?;
    Ok(state.desktops.stop(id, actor, Reason::Teacher).await?)
}

/// How it went with a pupil.
type Done = (User, Result<(Desktop, Option<bool>), DesktopError>);

/// For whom it did not work.
fn failures(done: Vec<Done>) -> Vec<(String, HttpError)> {
    let failed = done.into_iter().filter_map(|(pupil, result)| {
        let error = result.err()?;
        Some((pupil.identity.display_name().to_owned(), error.into()))
    });
    failed.collect()
}

/// What the forms of the teachers' pages do.
impl Api {
    /// The proof that somebody looks after classes.
    ///
    /// # Errors
    /// They do not.
    pub fn teacher(&self, who: &Authenticated) -> Result<TeacherGrant, AuthzError> {
        authorize_teacher(&who.principal, &self.state.classes)
    }

    /// The pupils of a class, each with their desktops.
    pub async fn class(
        &self,
        grant: &TeacherGrant,
        class: &str,
    ) -> Result<Vec<(User, Vec<Desktop>)>, HttpError> {
        members(&self.state, grant, class).await
    }

    /// Starts a desktop for each pupil; returns for whom that did not work.
    pub async fn start_class(
        &self,
        by: (&TeacherGrant, &Actor),
        class: &str,
        template: Option<&str>,
    ) -> Result<Vec<(String, HttpError)>, HttpError> {
        start_all(&self.state, by, class, template)
            .await
            .map(failures)
    }

    /// Stops the live desktops of a class; returns for whom that did not work.
    pub async fn stop_class(
        &self,
        by: (&TeacherGrant, &Actor),
        class: &str,
        template: Option<&str>,
    ) -> Result<Vec<(String, HttpError)>, HttpError> {
        stop_all(&self.state, by, class, template)
            .await
            .map(failures)
    }

    /// Stops one pupil's desktop.
    pub async fn stop_of_class(
        &self,
        by: (&TeacherGrant, &Actor),
        id: &str,
    ) -> Result<(), HttpError> {
        stop_of(&self.state, by, id).await.map(|_| ())
    }
}

fn result_of((pupil, result): Done) -> PupilResult {
    let mut of_pupil = PupilResult {
        user: PupilName {
            id: pupil.id,
            username: pupil.identity.username.clone(),
            name: pupil.identity.name.clone(),
        },
        id: None,
        status: None,
        new: None,
        error: None,
    };
    match result {
        Ok((desktop, new)) => {
            of_pupil.id = Some(desktop.id);
            of_pupil.status = Some(public_status(desktop.status));
            of_pupil.new = new;
        }
        Err(error) => of_pupil.error = Some(HttpError::from(error).row().code),
    }
    of_pupil
}
