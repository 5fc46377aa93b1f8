//! `/api/container/reset`: a fresh start with an empty home.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::extract::{Caller, JsonBody, Which};
use super::view::Viewer;
use super::{ApiError, ApiState, answer};
use crate::authz::policy::Action;

pub(super) async fn reset(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    viewer: Viewer,
    JsonBody(which): JsonBody<Which>,
) -> Result<Response, ApiError> {
    let template = match which.only_template() {
        // The desktop may be gone already; its home is not.
        Some(template) => template.to_owned(),
        None => {
            which
                .find(&state.desktops, who.user(), Action::Remove)
                .await?
                .template
        }
    };
    let desktop = state.desktops.reset(who.user(), &template, &actor).await?;
    let container = desktop.as_ref().map(|desktop| viewer.show(desktop));
    Ok(answer(StatusCode::OK, json!({ "container": container })))
}
