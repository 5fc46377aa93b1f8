//! The JSON control plane: an axum router that the gateway calls as a service, after it has decided
//! who is asking. No SQL and no engine calls here.

mod admin;
mod containers;
mod events;
mod extract;
mod homes;
mod sessions;
mod teacher;
mod tokens;
mod view;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use tower_service::Service;

use crate::audit::Audit;
use crate::authn::Authenticated;
use crate::authn::api_tokens::ApiTokens;
use crate::authn::sign_out::SignOut;
use crate::authz::AuthzError;
use crate::authz::admin::{AdminGrant, authorize_admin};
use crate::authz::policy::Classes;
use crate::clock::Clock;
use crate::desktop::Desktops;
use crate::model::time::Timestamp;
use crate::people::People;
use crate::request::{Request, RequestContext, Response};
use crate::respond::error::HttpError;
use crate::respond::problem;
use crate::store::Database;
use crate::tasks::Tasks;

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
    /// Which groups are classes.
    pub classes: Classes,
    /// Our origin, for the addresses in answers.
    pub origin: Arc<str>,
    /// When the gateway started.
    pub started_at: Timestamp,
}

/// The API as a service.
#[derive(Clone, Debug)]
pub struct Api {
    router: Router,
}

impl Api {
    /// The API over these parts.
    #[must_use]
    pub fn new(state: ApiState) -> Self {
        let router = Router::new()
            .route("/api/container/start", post(containers::start))
            .route("/api/container/status", get(containers::status))
            .route("/api/container/stop", post(containers::stop))
            .route("/api/container/extend", post(containers::extend))
            .route("/api/container/remove", post(containers::remove))
            .route("/api/container/reset", post(homes::reset))
            .route("/api/container/list", get(containers::list))
            .route("/api/container/events", get(events::events))
            .route("/api/templates", get(containers::templates))
            .route(
                "/api/tokens",
                get(tokens::list)
                    .post(tokens::create)
                    .fallback(only("GET, HEAD, POST")),
            )
            .route(
                "/api/tokens/{id}",
                delete(tokens::revoke).fallback(only("DELETE")),
            )
            .route(
                "/api/sessions",
                get(sessions::list)
                    .delete(sessions::end_all)
                    .fallback(only("GET, HEAD, DELETE")),
            )
            .route(
                "/api/sessions/{id}",
                delete(sessions::end).fallback(only("DELETE")),
            )
            .merge(admin::routes())
            .merge(teacher::routes())
            .method_not_allowed_fallback(wrong_method)
            .fallback(|| async { ApiError(HttpError::NotFound) })
            .with_state(state);
        Self { router }
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

/// A JSON answer that no cache keeps.
fn answer(status: StatusCode, value: serde_json::Value) -> axum::response::Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(value)).into_response()
}

/// Refuses the methods that an address with several, or with an unusual one, does not have.
fn only(allowed: &'static str) -> impl Fn() -> std::future::Ready<ApiError> + Clone {
    move || std::future::ready(ApiError(HttpError::Method(allowed)))
}

/// Most addresses are for reading or for changing, not for both.
async fn wrong_method(method: axum::http::Method) -> ApiError {
    let allowed = if method == axum::http::Method::POST {
        "GET, HEAD"
    } else {
        "POST"
    };
    ApiError(HttpError::Method(allowed))
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
