//! The metrics, declared once, in a registry that is passed to whoever counts. Names follow the
//! Prometheus conventions: base units, `_total` for counters, labels with few values.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the start times that are told apart, seconds.
const START_BUCKETS: [f64; 10] = [0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 60.0];

/// Upper bounds of the wake times that are told apart, seconds.
const WAKE_BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

const DESKTOP_OK: RequestLabels = RequestLabels {
    route: "desktop",
    status: 200,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    template: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolStartLabels {
    template: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

/// What is counted; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    /// The one of them that counts most, so that it is not looked for each time.
    desktop_ok: Counter,
    in_flight: InFlight,
    requests_refused: Counter,
    logins: Family<OutcomeLabel, Counter>,
    rate_limited: Family<WhatLabel, Counter>,
    starts: Family<OutcomeLabel, Counter>,
    start_seconds: Histogram,
    pool: Family<PoolLabels, Gauge>,
    pool_starts: Family<PoolStartLabels, Counter>,
    pauses: Counter,
    wakes: Family<OutcomeLabel, Counter>,
    wake_seconds: Histogram,
    tunnels: Gauge,
    tunnel_bytes: Family<DirectionLabel, Counter>,
    audit_lost: Family<CauseLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("deskgate");
        let requests = Family::<RequestLabels, Counter>::default();
        let desktop_ok = requests.get_or_create(&DESKTOP_OK).clone();
        let metrics = Self {
            registry: Arc::default(),
            desktop_ok,
            requests,
            in_flight: InFlight::default(),
            requests_refused: Counter::default(),
            logins: Family::default(),
            rate_limited: Family::default(),
            starts: Family::default(),
            start_seconds: Histogram::new(START_BUCKETS),
            pool: Family::default(),
            pool_starts: Family::default(),
            pauses: Counter::default(),
            wakes: Family::default(),
            wake_seconds: Histogram::new(WAKE_BUCKETS),
            tunnels: Gauge::default(),
            tunnel_bytes: Family::default(),
            audit_lost: Family::default(),
        };
        let (requests, logins, starts) = (&metrics.requests, &metrics.logins, &metrics.starts);
        registry.register("requests", "Requests answered", requests.clone());
        registry.register(
            "requests_in_flight",
            "Requests under way",
            metrics.in_flight.0.clone(),
        );
        registry.register(
            "requests_refused",
            "Requests refused because too many were under way",
            metrics.requests_refused.clone(),
        );
        registry.register("logins", "Logins finished", logins.clone());
        let limited = metrics.rate_limited.clone();
        registry.register("rate_limited", "Refused because it was too often", limited);
        registry.register("desktop_starts", "Starts of desktops ended", starts.clone());
        registry.register_with_unit(
            "desktop_start_duration",
            "From the request to the desktop's first answer",
            Unit::Seconds,
            metrics.start_seconds.clone(),
        );
        let (pool, pool_starts) = (metrics.pool.clone(), metrics.pool_starts.clone());
        registry.register("pool_members", "Containers that are kept ready", pool);
        registry.register("pool_starts", "Starts of kept templates", pool_starts);
        let (pauses, wakes) = (metrics.pauses.clone(), metrics.wakes.clone());
        registry.register("desktop_pauses", "Desktops paused for being idle", pauses);
        registry.register("desktop_wakes", "Wakes of paused desktops ended", wakes);
        registry.register_with_unit(
            "desktop_wake_duration",
            "From the wish to wake a desktop to its going on",
            Unit::Seconds,
            metrics.wake_seconds.clone(),
        );
        registry.register(
            "tunnels",
            "WebSockets open to desktops",
            metrics.tunnels.clone(),
        );
        registry.register_with_unit(
            "tunnel",
            "Carried over WebSockets",
            Unit::Bytes,
            metrics.tunnel_bytes.clone(),
        );
        registry.register(
            "audit_lost",
            "Audit entries that are in the log stream and not in the database",
            metrics.audit_lost.clone(),
        );
        Self {
            registry: Arc::new(registry),
            ..metrics
        }
    }
}

impl Metrics {
    /// A request of this route was answered with this status.
    pub fn request(&self, route: &'static str, status: u16) {
        let labels = RequestLabels { route, status };
        if labels == DESKTOP_OK {
            self.desktop_ok.inc();
        } else {
            self.requests.get_or_create(&labels).inc();
        }
    }

    /// The number of requests under way.
    #[must_use]
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// A request was refused because too many were under way.
    pub fn request_refused(&self) {
        self.requests_refused.inc();
    }

    /// A login ended.
    pub fn login(&self, succeeded: bool) {
        let outcome = if succeeded { "success" } else { "failure" };
        self.logins.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// This was refused because it was too often.
    pub fn rate_limited(&self, what: &'static str) {
        self.rate_limited.get_or_create(&WhatLabel { what }).inc();
    }

    /// A start ended in a running desktop.
    pub fn started(&self, took: Duration) {
        self.starts
            .get_or_create(&OutcomeLabel { outcome: "running" })
            .inc();
        self.start_seconds.observe(took.as_secs_f64());
    }

    /// A start ended otherwise.
    pub fn start_failed(&self) {
        self.starts
            .get_or_create(&OutcomeLabel { outcome: "error" })
            .inc();
    }

    /// So many containers of a template are kept ready, or will soon be.
    pub fn pool(&self, template: &str, ready: i64, warming: i64) {
        for (state, count) in [("ready", ready), ("warming", warming)] {
            let template = template.to_owned();
            let labels = PoolLabels { template, state };
            self.pool.get_or_create(&labels).set(count);
        }
    }

    /// A start of a template that keeps containers ready found one, or not.
    pub fn pool_start(&self, template: &str, hit: bool) {
        let labels = PoolStartLabels {
            template: template.to_owned(),
            outcome: if hit { "hit" } else { "miss" },
        };
        self.pool_starts.get_or_create(&labels).inc();
    }

    /// Entries of the audit log did not get into the database.
    pub fn audit_lost(&self, cause: &'static str, entries: usize) {
        self.audit_lost
            .get_or_create(&CauseLabel { cause })
            .inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
    }

    /// A desktop was paused.
    pub fn paused(&self) {
        self.pauses.inc();
    }

    /// A wake ended after `took`.
    pub fn woken(&self, took: Duration, succeeded: bool) {
        let outcome = if succeeded { "success" } else { "failure" };
        self.wakes.get_or_create(&OutcomeLabel { outcome }).inc();
        if succeeded {
            self.wake_seconds.observe(took.as_secs_f64());
        }
    }

    /// A tunnel is open for as long as the returned value lives.
    #[must_use]
    pub fn tunnel(&self) -> OpenTunnel {
        self.tunnels.inc();
        let counter = |direction| {
            self.tunnel_bytes
                .get_or_create(&DirectionLabel { direction })
                .clone()
        };
        OpenTunnel {
            tunnels: self.tunnels.clone(),
            up: counter("to_desktop"),
            down: counter("to_browser"),
        }
    }

    /// All of it as Prometheus reads it (`OpenMetrics` text).
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// The number of requests under way; clones count together.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Gauge);

impl InFlight {
    /// One more, unless there are `limit` already; false then.
    #[must_use]
    pub fn begin(&self, limit: u32) -> bool {
        let below = self.0.inc() < i64::from(limit);
        if !below {
            self.0.dec();
        }
        below
    }

    /// One less.
    pub fn end(&self) {
        self.0.dec();
    }
}

/// Counts for one tunnel, which its end takes from the number of open ones.
#[derive(Debug)]
pub struct OpenTunnel {
    tunnels: Gauge,
    up: Counter,
    down: Counter,
}

impl OpenTunnel {
    /// Bytes went to the desktop.
    pub fn up(&self, bytes: u64) {
        self.up.inc_by(bytes);
    }

    /// Bytes went to the browser.
    pub fn down(&self, bytes: u64) {
        self.down.inc_by(bytes);
    }
}

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.tunnels.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.request("api", 200);
        assert!(metrics.in_flight().begin(1));
        assert!(!metrics.in_flight().begin(1));
        metrics.request_refused();
        metrics.login(false);
        metrics.rate_limited("login");
        metrics.started(Duration::from_millis(700));
        metrics.pool("exam", 3, 1);
        metrics.pool_start("exam", true);
        metrics.paused();
        metrics.woken(Duration::from_millis(7), true);
        let tunnel = metrics.tunnel();
        tunnel.up(5);
        let text = metrics.encode();
        for line in [
            "deskgate_requests_total{route=\"api\",status=\"200\"} 1",
            "deskgate_requests_in_flight 1",
            "deskgate_requests_refused_total 1",
            "deskgate_rate_limited_total{what=\"login\"} 1",
            "deskgate_logins_total{outcome=\"failure\"} 1",
            "deskgate_desktop_start_duration_seconds_bucket{le=\"1.0\"} 1",
            "deskgate_pool_members{template=\"exam\",state=\"ready\"} 3",
            "deskgate_pool_starts_total{template=\"exam\",outcome=\"hit\"} 1",
            "deskgate_desktop_pauses_total 1",
            "deskgate_desktop_wake_duration_seconds_bucket{le=\"0.01\"} 1",
            "deskgate_tunnels 1",
            "deskgate_tunnel_bytes_total{direction=\"to_desktop\"} 5",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        metrics.in_flight().end();
        assert!(metrics.in_flight().begin(1));
        drop(tunnel);
        assert!(metrics.encode().contains("deskgate_tunnels 0"));
    }
}
