//! The JSON control plane: an axum router that the gateway calls as a service, after it has decided
//! who is asking. No SQL and no engine calls here.

mod admin;
mod containers;
mod events;
mod extract;
mod homes;
mod look;
mod pictures;
mod routes;
mod sessions;
mod socket;
mod teacher;
mod tokens;
mod view;

pub use admin::lists;
pub use look::LOOK_LIMIT;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde::Serialize;
use tower_service::Service;

use crate::audit::Audit;
use crate::authn::Authenticated;
use crate::authn::api_tokens::ApiTokens;
use crate::authn::sign_out::SignOut;
use crate::authz::AuthzError;
use crate::authz::admin::{AdminGrant, authorize_admin};
use crate::authz::policy::Classes;
use crate::clock::Clock;
use crate::config::TeacherLook;
use crate::desktop::Desktops;
use crate::model::id::{DesktopId, UserId};
use crate::model::rate::Rate;
use crate::overview::Watch;
use crate::people::People;
use crate::picture::Pictures;
use crate::rate::Limiter;
use crate::request::{Request, RequestContext, Response};
use crate::respond::describe::Call;
use crate::respond::error::HttpError;
use crate::respond::problem;
use crate::store::Database;
use crate::tasks::Tasks;
use crate::telemetry::LogFilter;
use routes::Routes;

/// How often the audit log is told that the same teacher sees pictures of the same desktop.
pub const PICTURE_NEWS: Rate = Rate::new(NonZeroU32::MIN, Duration::from_secs(600));

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The life of desktops.
    pub desktops: Desktops,
    /// Who is signed in, and how that ends.
    pub sign_out: SignOut,
    /// What programs may do in somebody's name.
    pub tokens: ApiTokens,
    /// What is stored about each of them.
    pub people: People,
    /// Lists of everything.
    pub database: Database,
    /// Who did what.
    pub audit: Audit,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Background work.
    pub tasks: Tasks,
    /// What is logged.
    pub log: LogFilter,
    /// Which groups are classes.
    pub classes: Classes,
    /// What teachers see of their screens.
    pub look: TeacherLook,
    /// Pictures of those screens.
    pub pictures: Pictures,
    /// Of which pictures the audit log was told.
    pub pictures_told: Arc<Limiter<(Option<UserId>, DesktopId)>>,
    /// Our origin, for the addresses in answers.
    pub origin: Arc<str>,
    /// How the installation is.
    pub watch: Watch,
}

/// The API as a service.
#[derive(Clone, Debug)]
pub struct Api {
    router: Router,
    state: ApiState,
}

impl Api {
    /// The API over these parts.
    #[must_use]
    pub fn new(state: ApiState) -> Self {
        let router = routes().router().with_state(state.clone());
        Self { router, state }
    }

    /// Who looks at everything.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.state.watch
    }

    /// Pictures of desktops.
    #[must_use]
    pub fn pictures(&self) -> &Pictures {
        &self.state.pictures
    }

    /// Refuses somebody whose role is not that of `path`, before anything else of the request is looked at.
    pub fn admit(who: &Authenticated, path: &str) -> Result<Option<AdminGrant>, AuthzError> {
        let area = admin::area_of(path);
        area.map(|area| authorize_admin(&who.principal, area))
            .transpose()
    }

    /// Answers a request of somebody who is known, and was admitted.
    pub async fn call(
        &self,
        who: Authenticated,
        grant: Option<AdminGrant>,
        context: &RequestContext,
        mut request: Request,
    ) -> Response {
        if let Some(grant) = grant {
            request.extensions_mut().insert(grant);
        }
        request.extensions_mut().insert(who.actor(context));
        request.extensions_mut().insert(who);
        request.extensions_mut().insert(context.lang);
        let Ok(response) = self.router.clone().call(request).await;
        // A handler leaves its error here, so that all errors are written and logged in one place.
        if let Some(error) = response.extensions().get::<Arc<HttpError>>() {
            return problem::respond(error, context);
        }
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    }
}

/// Every call with its handler.
fn routes() -> Routes {
    containers::routes()
        .merge(homes::routes())
        .merge(events::routes())
        .merge(tokens::routes())
        .merge(sessions::routes())
        .merge(teacher::routes())
        .merge(pictures::routes())
        .merge(look::routes())
        .merge(admin::routes())
}

/// What the API consists of, for `/openapi.json`.
#[must_use]
pub fn calls() -> Vec<Call> {
    routes().calls()
}

/// A JSON answer that no cache keeps.
fn answer(status: StatusCode, value: impl Serialize) -> axum::response::Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(value)).into_response()
}

/// An error on its way out of the router.
struct ApiError(HttpError);

impl<E: Into<HttpError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> axum::response::Response {
        let mut response = axum::response::Response::default();
        response.extensions_mut().insert(Arc::new(self.0));
        response
    }
}
