//! Answers `/metrics`, on an address of its own. What is counted comes from memory, how things are is looked up for
//! each answer, within a deadline: a scrape during an outage says that there is one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::ACCEPT;
use tokio::runtime::Handle;

use super::Limits;
use crate::clock::Clock;
use crate::desktop::Capacity;
use crate::gateway::Gateway;
use crate::request::{ConnectionInfo, Request, Response, body};
use crate::respond;
use crate::server::certificate::Certificate;
use crate::server::limits::Requests;
use crate::server::listener::Listener;
use crate::server::{self, Door, Handler};
use crate::store::overview::Counts;
use crate::telemetry::metrics::InFlight;
use crate::telemetry::metrics::state::{Counted, Health, State};

/// Connections to `/metrics` at the same time.
const MAX_SCRAPERS: u32 = 16;
/// How long the database and the engine may take. Prometheus waits for 10 s unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a scraper accepts that knows the newer format.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Listens on `address`. A gateway goes on without it: its people matter more.
pub(super) fn spawn(
    address: Option<SocketAddr>,
    gateway: &Arc<Gateway>,
    (certificate, clock): (Option<Arc<Certificate>>, Arc<dyn Clock>),
) {
    let Some(address) = address else { return };
    match Listener::bind(address) {
        Ok(listener) => {
            let endpoint = Arc::new(Endpoint {
                gateway: gateway.clone(),
                certificate,
                clock,
            });
            let requests = Requests::new(MAX_SCRAPERS, InFlight::default());
            let door = Door::plain(Limits::new(MAX_SCRAPERS, MAX_SCRAPERS, requests));
            let here = [Handle::current()];
            server::spawn(listener, &door, &endpoint, (&gateway.tasks, here.iter()));
        }
        Err(error) => tracing::warn!(%address, %error, "metrics cannot be served"),
    }
}

struct Endpoint {
    gateway: Arc<Gateway>,
    certificate: Option<Arc<Certificate>>,
    clock: Arc<dyn Clock>,
}

impl Handler for Endpoint {
    async fn handle(&self, _: ConnectionInfo, request: Request) -> Response {
        if request.uri().path() != "/metrics" {
            return respond::content(StatusCode::NOT_FOUND, "text/plain", body::empty());
        }
        let accepts = request.headers().get_all(ACCEPT).iter();
        let newer = accepts
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.contains(OPEN_METRICS));
        let state = self.look().await;
        let metrics = &self.gateway.metrics;
        let (content_type, text) = if newer {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (content_type, metrics.open_metrics(state))
        } else {
            let content_type = "text/plain; version=0.0.4; charset=utf-8";
            (content_type, metrics.prometheus_text(state))
        };
        respond::content(StatusCode::OK, content_type, body::full(text))
    }
}

impl Endpoint {
    /// How things are.
    async fn look(&self) -> State {
        let Gateway {
            database, desktops, ..
        } = &*self.gateway;
        let now = self.clock.timestamp();
        let counted = async {
            let counts = database.counts(now).await.ok()?;
            let capacity = desktops.capacity().await.ok()?;
            Some(counted(counts, capacity))
        };
        let (database_health, engine, counted) = tokio::join!(
            health(database.ping()),
            health(desktops.engine_ready()),
            tokio::time::timeout(PATIENCE, counted),
        );
        State {
            database: database_health,
            engine,
            pool: database.pool(),
            tasks: self.gateway.tasks.count(),
            leads: desktops.leader().is_leading(),
            counted: counted.ok().flatten(),
            certificate_expires: self.certificate.as_ref().and_then(|used| used.expires_at()),
        }
    }
}

async fn health<E>(question: impl Future<Output = Result<(), E>>) -> Health {
    let begun = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, question).await;
    Health {
        up: matches!(answer, Ok(Ok(()))),
        took: begun.elapsed(),
    }
}

fn counted(counts: Counts, capacity: Capacity) -> Counted {
    Counted {
        desktops: counts.desktops,
        max_desktops: capacity.max_desktops,
        most_of_one_user: counts.most_of_one_user,
        users_with_desktops: counts.users_with_desktops,
        users: counts.users,
        sessions: counts.sessions,
        ports_used: capacity.ports_used,
        ports: capacity.ports_total,
    }
}
