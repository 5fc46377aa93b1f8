//! `/api/admin/overview`: how the installation is.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;
use crate::api::routes::Routes;
use crate::api::{ApiError, ApiState, answer};
use crate::model::desktop::State as DesktopState;
use crate::model::time::Timestamp;
use crate::respond::describe::Call;

/// How the installation is.
#[derive(Serialize, ToSchema)]
struct Overview<'a> {
    version: &'static str,
    /// Its name on the engine.
    instance: &'a str,
    started_at: Timestamp,
    uptime_seconds: i64,
    users: i64,
    sessions: i64,
    desktops: DesktopFigures,
    ports: Ports,
    database: Part,
    engine: Part,
}

#[derive(Serialize, ToSchema)]
struct DesktopFigures {
    live: i64,
    /// Live ones that are allowed.
    max: u32,
    /// Every state with its number; `starting` is apart here.
    by_status: BTreeMap<&'static str, i64>,
}

#[derive(Serialize, ToSchema)]
struct Ports {
    used: usize,
    total: usize,
}

/// Something behind the gateway.
#[derive(Serialize, ToSchema)]
struct Part {
    kind: &'static str,
    status: Health,
    latency_ms: f64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    Unavailable,
}

pub(super) fn routes() -> Routes {
    let call = Call::get("/api/admin/overview", "How the installation is")
        .answers::<Overview<'static>>(200, "The figures of now.");
    Routes::default().on(call, overview)
}

pub(super) async fn overview(
    State(state): State<ApiState>,
    _: Admin,
) -> Result<Response, ApiError> {
    let now = state.clock.timestamp();
    let counts = state.database.counts(now).await?;
    let all = DesktopState::ALL.into_iter();
    let mut by_status: BTreeMap<_, _> = all.map(|known| (known.as_str(), 0)).collect();
    let mut live = 0;
    for (known, count) in counts.desktops {
        by_status.insert(known.as_str(), count);
        live += if known.is_live() { count } else { 0 };
    }
    let begun = Instant::now();
    let ok = state.database.ping().await.is_ok();
    let database = part(state.database.kind(), ok, begun);
    let begun = Instant::now();
    let ok = state.desktops.engine_ready().await.is_ok();
    let engine = part(state.desktops.engine_name(), ok, begun);
    let capacity = state.desktops.capacity().await?;
    let up = now.millis().saturating_sub(state.started_at.millis()) / 1000;
    let overview = Overview {
        version: env!("CARGO_PKG_VERSION"),
        instance: state.desktops.instance(),
        started_at: state.started_at,
        uptime_seconds: up,
        users: counts.users,
        sessions: counts.sessions,
        desktops: DesktopFigures {
            live,
            max: capacity.max_desktops,
            by_status,
        },
        ports: Ports {
            used: capacity.ports_used,
            total: capacity.ports_total,
        },
        database,
        engine,
    };
    Ok(answer(StatusCode::OK, overview))
}

/// With how long the answer took, in milliseconds.
fn part(kind: &'static str, ok: bool, begun: Instant) -> Part {
    let millis = begun.elapsed().as_secs_f64() * 1000.0;
    Part {
        kind,
        status: if ok { Health::Ok } else { Health::Unavailable },
        latency_ms: (millis * 100.0).round() / 100.0,
    }
}
