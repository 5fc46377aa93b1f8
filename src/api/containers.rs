//! `/api/container/*` and `/api/templates`.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::extract::{Caller, JsonBody, Which, WhichQuery};
use super::routes::Routes;
use super::view::{ContainerView, ProgressView, QueueView, TemplateView, Viewer};
use super::{ApiError, ApiState, answer};
use crate::authn::Authenticated;
use crate::authz::policy::Action;
use crate::model::desktop::Desktop;
use crate::model::reason::Reason;
use crate::model::schema;
use crate::request::lang::Lang;
use crate::respond::describe::Call;
use crate::telemetry::ErrorChain;

/// Longest wait that `Prefer: wait=N` (RFC 7240) is granted.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// What shall be started.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartBody {
    /// The first that one may start, if nothing is said.
    template: Option<String>,
}

/// A desktop and its address.
#[derive(Serialize, ToSchema)]
struct Started<'a> {
    container: ContainerView<'a>,
    url: String,
    queue: Option<QueueView>,
    /// How far a start is, while one is under way.
    progress: Option<ProgressView>,
}

/// A desktop, its address, and what the engine says.
#[derive(Serialize, ToSchema)]
struct StatusAnswer<'a> {
    container: ContainerView<'a>,
    url: String,
    queue: Option<QueueView>,
    /// How far a start is, while one is under way.
    progress: Option<ProgressView>,
    #[schema(schema_with = engine_words)]
    engine_status: &'static str,
}

/// A desktop.
#[derive(Serialize, ToSchema)]
pub(super) struct OneContainer<'a> {
    pub container: ContainerView<'a>,
}

/// Desktops, the newest first.
#[derive(Serialize, ToSchema)]
struct Containers<'a> {
    containers: Vec<ContainerView<'a>>,
}

/// Templates.
#[derive(Serialize, ToSchema)]
struct Templates<'a> {
    templates: Vec<TemplateView<'a>>,
}

fn engine_words() -> RefOr<Schema> {
    let words = [
        "created", "running", "paused", "exited", "dead", "absent", "unknown",
    ];
    schema::words(
        words,
        "The engine's word; `absent` without a container, `unknown` while it does not answer.",
    )
}

pub(super) fn routes() -> Routes {
    let start = Call::post("/api/container/start", "Starts a desktop, or finds the one that lives")
        .about("Safe to repeat. The answer comes at once, mostly with the status `queued`, unless `Prefer` asks it to wait.")
        .takes("header", "Prefer", "`wait=30` (RFC 7240) answers when the start has ended, after 30 s at the latest; at most 120.")
        .body::<StartBody>()
        .answers::<Started<'static>>(200, "It was there already.")
        .answers::<Started<'static>>(201, "It is new.")
        .heads(200, "Location", "The address of the desktop.")
        .heads(201, "Location", "The address of the desktop.")
        .refuses(&[404, 409]);
    let status = Call::get(
        "/api/container/status",
        "How a desktop is, by the engine's word too",
    )
    .query::<Which>()
    .answers::<StatusAnswer<'static>>(200, "The desktop.")
    .refuses(&[404]);
    let stop = Call::post("/api/container/stop", "Stops a desktop");
    let extend = Call::post("/api/container/extend", "Puts off the end of a desktop");
    let remove = Call::post("/api/container/remove", "Removes a desktop; its home stays");
    let list = Call::get("/api/container/list", "One's own desktops")
        .answers::<Containers<'static>>(200, "The desktops.");
    let templates = Call::get("/api/templates", "What one may start")
        .answers::<Templates<'static>>(200, "The templates, in the order of the configuration.");
    let of_one = |call: Call| {
        call.body::<Which>()
            .answers::<OneContainer<'static>>(200, "The desktop.")
            .refuses(&[404, 409])
    };
    Routes::default()
        .on(start, self::start)
        .on(status, self::status)
        .on(of_one(stop), self::stop)
        .on(of_one(extend), self::extend)
        .on(of_one(remove), self::remove)
        .on(list, self::list)
        .on(templates, self::templates)
}

fn url(state: &ApiState, desktop: &Desktop) -> String {
    format!("{}/desktop/{}/", state.origin, desktop.id)
}

pub(super) async fn start(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    viewer: Viewer,
    headers: HeaderMap,
    JsonBody(body): JsonBody<StartBody>,
) -> Result<Response, ApiError> {
    let start = state
        .desktops
        .start(who.user(), &actor, body.template.as_deref());
    let (mut desktop, new) = start.await?;
    if let Some(limit) = wanted_wait(&headers) {
        desktop = state
            .desktops
            .wait_launched(desktop.id, limit)
            .await?
            .unwrap_or(desktop);
    }
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let url = url(&state, &desktop);
    let queue = state.desktops.queue_place(&desktop).await?;
    let location = url.parse();
    let progress = ProgressView::of(&desktop);
    let started = Started {
        container: viewer.show(&desktop),
        url,
        queue: queue.map(QueueView::from),
        progress,
    };
    let mut response = answer(status, started);
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// The seconds of `Prefer: wait=N`, at most [`MAX_WAIT`].
fn wanted_wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok());
    let wait = preferences
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| preference.trim().strip_prefix("wait="))?;
    Some(Duration::from_secs(wait.trim().parse().ok()?).min(MAX_WAIT))
}

pub(super) async fn status(
    State(state): State<ApiState>,
    Extension(who): Extension<Authenticated>,
    viewer: Viewer,
    WhichQuery(which): WhichQuery,
) -> Result<Response, ApiError> {
    let desktop = which
        .find(&state.desktops, who.user(), Action::SeeState)
        .await?;
    let (desktop, engine_status) = match state.desktops.refresh(desktop.clone()).await {
        Ok((desktop, status)) => (desktop, status),
        Err(error) => {
            tracing::warn!(desktop = %desktop.id, error = %ErrorChain(&error), "the engine cannot be asked");
            (desktop, "unknown")
        }
    };
    let queue = state.desktops.queue_place(&desktop).await?;
    let status = StatusAnswer {
        container: viewer.show(&desktop),
        url: url(&state, &desktop),
        queue: queue.map(QueueView::from),
        progress: ProgressView::of(&desktop),
        engine_status,
    };
    Ok(answer(StatusCode::OK, status))
}

pub(super) async fn stop(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    viewer: Viewer,
    JsonBody(which): JsonBody<Which>,
) -> Result<Response, ApiError> {
    let desktop = which
        .find(&state.desktops, who.user(), Action::Stop)
        .await?;
    let desktop = state
        .desktops
        .stop(desktop.id, &actor, Reason::Asked)
        .await?;
    let container = viewer.show(&desktop);
    Ok(answer(StatusCode::OK, OneContainer { container }))
}

pub(super) async fn extend(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    viewer: Viewer,
    JsonBody(which): JsonBody<Which>,
) -> Result<Response, ApiError> {
    let desktop = which.find(&state.desktops, who.user(), Action::Use).await?;
    let desktop = state.desktops.extend(&desktop, &actor).await?;
    let container = viewer.show(&desktop);
    Ok(answer(StatusCode::OK, OneContainer { container }))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    viewer: Viewer,
    JsonBody(which): JsonBody<Which>,
) -> Result<Response, ApiError> {
    let desktop = which
        .find(&state.desktops, who.user(), Action::Remove)
        .await?;
    let desktop = state
        .desktops
        .remove(desktop.id, &actor, Reason::Asked)
        .await?;
    let container = viewer.show(&desktop);
    Ok(answer(StatusCode::OK, OneContainer { container }))
}

pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(who): Extension<Authenticated>,
    viewer: Viewer,
) -> Result<Response, ApiError> {
    let desktops = state.desktops.list(who.user()).await?;
    let containers: Vec<ContainerView<'_>> = desktops
        .iter()
        .map(|desktop| viewer.show(desktop))
        .collect();
    Ok(answer(StatusCode::OK, Containers { containers }))
}

pub(super) async fn templates(
    State(state): State<ApiState>,
    Extension(who): Extension<Authenticated>,
    Extension(lang): Extension<Lang>,
) -> Result<Response, ApiError> {
    let templates = state.desktops.templates_for(who.user());
    let templates: Vec<TemplateView<'_>> = templates
        .map(|template| TemplateView::new(template, lang))
        .collect();
    Ok(answer(StatusCode::OK, Templates { templates }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", text.parse().expect("a value"));
            wanted_wait(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("wait=30"), Some(30));
        assert_eq!(wait("respond-async, wait=5"), Some(5));
        assert_eq!(wait("wait=99999"), Some(120));
        assert_eq!(wait("wait=soon"), None);
        assert_eq!(wait("return=minimal"), None);
    }
}
