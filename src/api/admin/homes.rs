//! `/api/admin/homes`: homes that were set aside, and how an admin removes one before its time.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;
use crate::api::routes::Routes;
use crate::api::{ApiError, ApiState, answer};
use crate::model::id::UserId;
use crate::model::time::Timestamp;
use crate::respond::describe::Call;
use crate::store::homes::OldHome;

/// A home that was set aside.
#[derive(Serialize, ToSchema)]
#[schema(as = OldHome)]
struct HomeView<'a> {
    volume: &'a str,
    user_id: UserId,
    template: &'a str,
    retired_at: Timestamp,
}

/// Homes that were set aside.
#[derive(Serialize, ToSchema)]
struct Homes<'a> {
    homes: Vec<HomeView<'a>>,
}

/// A home that is no more.
#[derive(Serialize, ToSchema)]
struct RemovedHome<'a> {
    home: HomeView<'a>,
}

pub(super) fn routes() -> Routes {
    let list = Call::get("/api/admin/homes", "Homes that were set aside")
        .answers::<Homes<'static>>(200, "The homes.");
    let remove = Call::delete(
        "/api/admin/homes/{volume}",
        "Removes a home before its time",
    )
    .answers::<RemovedHome<'static>>(200, "It is removed.")
    .refuses(&[409]);
    Routes::default()
        .on(list, self::list)
        .on(remove, self::remove)
}

pub(super) async fn list(State(state): State<ApiState>, _: Admin) -> Result<Response, ApiError> {
    let homes = state.desktops.old_homes().await?;
    let homes = homes.iter().map(view).collect();
    Ok(answer(StatusCode::OK, Homes { homes }))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    admin: Admin,
    Path(volume): Path<String>,
) -> Result<Response, ApiError> {
    let home = state
        .desktops
        .remove_old_home(&volume, &admin.actor)
        .await?;
    Ok(answer(StatusCode::OK, RemovedHome { home: view(&home) }))
}

fn view(home: &OldHome) -> HomeView<'_> {
    HomeView {
        volume: &home.volume,
        user_id: home.user_id,
        template: &home.template,
        retired_at: home.retired_at,
    }
}
