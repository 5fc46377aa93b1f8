//! `/api/admin/log`: what this gateway logs, and changing it for a while without a restart. Other gateways on the database
//! go on as they are.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::Admin;
use crate::api::extract::JsonBody;
use crate::api::routes::Routes;
use crate::api::{ApiError, ApiState, answer};
use crate::config::parse;
use crate::model::audit::{Action, Event};
use crate::model::time::Timestamp;
use crate::respond::describe::Call;
use crate::respond::error::HttpError;
use crate::telemetry::filter::FilterError;

/// How long a filter counts when nothing is said: nobody comes back to take detail away, and it fills disks.
const DEFAULT_TIME: Duration = Duration::from_secs(60 * 60);
/// How long it counts at most.
const MAX_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What to log from now on.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeBody {
    /// A tracing filter as in `LOG`: `debug`, or `info,deskgate::engine=trace`.
    #[schema(max_length = 1000)]
    filter: String,
    /// A duration such as `90s`, `15m` or `6h`, at most `7d`; `1h` if nothing is said.
    #[serde(rename = "for")]
    lasts: Option<String>,
}

/// What this gateway logs.
#[derive(Serialize, ToSchema)]
#[schema(as = Log)]
struct LogView {
    /// The filter that counts.
    filter: String,
    /// That of the settings.
    configured: String,
    /// When that counts again; null if it does.
    until: Option<Timestamp>,
}

pub(super) fn routes() -> Routes {
    let show = Call::get("/api/admin/log", "What this gateway logs")
        .answers::<LogView>(200, "The filter.");
    let change = Call::post(
        "/api/admin/log",
        "Changes what this gateway logs, for a while",
    )
    .body::<ChangeBody>()
    .answers::<LogView>(200, "The new filter.");
    let restore = Call::delete("/api/admin/log", "Logs what the settings say again")
        .answers::<LogView>(200, "The filter of the settings.");
    Routes::default()
        .on(show, self::show)
        .on(change, self::change)
        .on(restore, self::restore)
}

pub(super) async fn show(State(state): State<ApiState>, _: Admin) -> Result<Response, ApiError> {
    Ok(answer(StatusCode::OK, view(&state)))
}

pub(super) async fn change(
    State(state): State<ApiState>,
    admin: Admin,
    JsonBody(body): JsonBody<ChangeBody>,
) -> Result<Response, ApiError> {
    let lasts = match body.lasts.as_deref() {
        None => DEFAULT_TIME,
        Some(text) => parse::duration(text)
            .filter(|lasts| !lasts.is_zero() && *lasts <= MAX_TIME)
            .ok_or(HttpError::Duration("for"))?,
    };
    match state.log.change(&body.filter, lasts) {
        Ok(()) => {}
        Err(FilterError::Detached) => return Err(HttpError::NotFound.into()),
        Err(error) => return Err(HttpError::Json(format!("filter: {error}")).into()),
    }
    let event = Event::new(Action::LogChanged, &admin.actor)
        .detail("filter", &body.filter)
        .detail("seconds", &lasts.as_secs().to_string());
    state.audit.record(event);
    Ok(answer(StatusCode::OK, view(&state)))
}

pub(super) async fn restore(
    State(state): State<ApiState>,
    admin: Admin,
) -> Result<Response, ApiError> {
    if state.log.restore() {
        let event = Event::new(Action::LogChanged, &admin.actor);
        state
            .audit
            .record(event.detail("filter", state.log.configured()));
    }
    Ok(answer(StatusCode::OK, view(&state)))
}

fn view(state: &ApiState) -> LogView {
    let configured = state.log.configured().to_owned();
    match state.log.changed() {
        Some(changed) => LogView {
            filter: changed.filter,
            configured,
            until: Some(
                state
                    .clock
                    .timestamp()
                    .after(changed.until.saturating_duration_since(Instant::now())),
            ),
        },
        None => LogView {
            filter: configured.clone(),
            configured,
            until: None,
        },
    }
}
