//! `/api/admin/overview`: how the installation is.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Admin;
use crate::api::routes::Routes;
use crate::api::{ApiError, ApiState, answer};
use crate::overview::Overview;
use crate::respond::describe::Call;

pub(super) fn routes() -> Routes {
    let call = Call::get("/api/admin/overview", "How the installation is")
        .answers::<Overview>(200, "The figures of now, and those of the last half hour.");
    Routes::default().on(call, overview)
}

pub(super) async fn overview(
    State(state): State<ApiState>,
    _: Admin,
) -> Result<Response, ApiError> {
    Ok(answer(StatusCode::OK, state.watch.look().await?))
}
