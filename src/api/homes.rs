//! `/api/container/reset`: a fresh start with an empty home.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Caller, JsonBody, Which};
use super::routes::Routes;
use super::view::{ContainerView, Viewer};
use super::{ApiError, ApiState, answer};
use crate::authz::policy::Action;
use crate::respond::describe::Call;

/// The desktop that ended, if there was one.
#[derive(Serialize, ToSchema)]
struct Reset<'a> {
    container: Option<ContainerView<'a>>,
}

pub(super) fn routes() -> Routes {
    let call = Call::post(
        "/api/container/reset",
        "A fresh start: sets the home aside and removes the desktop",
    )
    .body::<Which>()
    .answers::<Reset<'static>>(200, "The home is set aside.")
    .refuses(&[404, 409]);
    Routes::default().on(call, reset)
}

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
    Ok(answer(StatusCode::OK, Reset { container }))
}
