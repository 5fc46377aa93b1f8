//! `/api/admin/homes`: homes that were set aside, and how an admin removes one before its time.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::Admin;
use crate::api::{ApiError, ApiState, answer};
use crate::store::homes::OldHome;

pub(super) async fn list(State(state): State<ApiState>, _: Admin) -> Result<Response, ApiError> {
    let homes = state.desktops.old_homes().await?;
    let homes: Vec<Value> = homes.iter().map(view).collect();
    Ok(answer(StatusCode::OK, json!({ "homes": homes })))
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
    Ok(answer(StatusCode::OK, json!({ "home": view(&home) })))
}

fn view(home: &OldHome) -> Value {
    json!({
        "volume": home.volume,
        "user_id": home.user_id,
        "template": home.template,
        "retired_at": home.retired_at,
    })
}
