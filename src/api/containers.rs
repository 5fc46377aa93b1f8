//! `/api/container/*` and `/api/templates`.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::extract::{Caller, JsonBody, Which, WhichQuery};
use super::view::{ContainerView, QueueView, TemplateView, Viewer};
use super::{ApiError, ApiState, answer};
use crate::authn::Authenticated;
use crate::authz::policy::Action;
use crate::model::desktop::Desktop;
use crate::model::reason::Reason;
use crate::request::lang::Lang;
use crate::telemetry::ErrorChain;

/// Longest wait that `Prefer: wait=N` (RFC 7240) is granted.
const MAX_WAIT: Duration = Duration::from_secs(120);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartBody {
    template: Option<String>,
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
    let value = json!({
        "container": viewer.show(&desktop),
        "url": url,
        "queue": queue.map(QueueView::from),
        "progress": viewer.progress(&desktop),
    });
    let mut response = answer(status, value);
    if let Ok(location) = url.parse() {
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
    let value = json!({
        "container": viewer.show(&desktop),
        "url": url(&state, &desktop),
        "queue": queue.map(QueueView::from),
        "progress": viewer.progress(&desktop),
        "engine_status": engine_status,
    });
    Ok(answer(StatusCode::OK, value))
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
    Ok(answer(
        StatusCode::OK,
        json!({ "container": viewer.show(&desktop) }),
    ))
}

pub(super) async fn extend(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    viewer: Viewer,
    JsonBody(which): JsonBody<Which>,
) -> Result<Response, ApiError> {
    let desktop = which.find(&state.desktops, who.user(), Action::Use).await?;
    let desktop = state.desktops.extend(&desktop, &actor).await?;
    Ok(answer(
        StatusCode::OK,
        json!({ "container": viewer.show(&desktop) }),
    ))
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
    Ok(answer(
        StatusCode::OK,
        json!({ "container": viewer.show(&desktop) }),
    ))
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
    Ok(answer(StatusCode::OK, json!({ "containers": containers })))
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
    Ok(answer(StatusCode::OK, json!({ "templates": templates })))
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
