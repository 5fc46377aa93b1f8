//! `/api/admin/overview`: how the installation is.

use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Admin;
use crate::api::{ApiError, ApiState, answer};
use crate::model::desktop::State as DesktopState;

pub(super) async fn overview(
    State(state): State<ApiState>,
    _: Admin,
) -> Result<Response, ApiError> {
    let now = state.clock.timestamp();
    let counts = state.database.counts(now).await?;
    let mut desktops = Map::new();
    for known in DesktopState::ALL {
        desktops.insert(known.as_str().to_owned(), 0.into());
    }
    let mut live = 0;
    for (known, count) in counts.desktops {
        desktops.insert(known.as_str().to_owned(), count.into());
        live += if known.is_live() { count } else { 0 };
    }
    let begun = Instant::now();
    let database = state.database.ping().await.is_ok();
    let database = health(database, begun);
    let begun = Instant::now();
    let engine = state.desktops.engine_ready().await.is_ok();
    let engine = health(engine, begun);
    let capacity = state.desktops.capacity().await?;
    let up = now.millis().saturating_sub(state.started_at.millis()) / 1000;
    let value = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "instance": state.desktops.instance(),
        "started_at": state.started_at,
        "uptime_seconds": up,
        "users": counts.users,
        "sessions": counts.sessions,
        "desktops": { "live": live, "max": capacity.max_desktops, "by_status": desktops },
        "ports": { "used": capacity.ports_used, "total": capacity.ports_total },
        "database": { "kind": state.database.kind(), "status": database.0, "latency_ms": database.1 },
        "engine": { "kind": state.desktops.engine_name(), "status": engine.0, "latency_ms": engine.1 },
    });
    Ok(answer(StatusCode::OK, value))
}

/// A word, and how long the answer took, in milliseconds.
fn health(ok: bool, begun: Instant) -> (&'static str, Value) {
    let millis = begun.elapsed().as_secs_f64() * 1000.0;
    let millis = (millis * 100.0).round() / 100.0;
    (if ok { "ok" } else { "unavailable" }, millis.into())
}
