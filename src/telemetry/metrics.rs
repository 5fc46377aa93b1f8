//! The metrics, declared once, in a registry that is passed to whoever counts. Names follow the
//! Prometheus conventions: base units, `_total` for counters, labels with few values.

pub mod history;
mod labels;
mod process;
mod registration;
pub mod state;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::model::reason::Reason;
use history::History;
use labels::{
    ActLabel, CallLabel, CauseLabel, DirectionLabel, EngineErrorLabels, OutcomeLabel, PoolLabels,
    PoolStartLabels, ReasonLabel, RequestLabels, SourceLabel, UpstreamErrorLabels, WhatLabel,
};
use process::ProcessFigures;
use state::{Latest, State};

/// Upper bounds of the times that engine calls take, seconds.
const ENGINE_BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Upper bounds of the start times that are told apart, seconds.
const START_BUCKETS: [f64; 10] = [0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 60.0];

/// Upper bounds of the wake times that are told apart, seconds.
const WAKE_BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The directions of what tunnels carry.
const TO_DESKTOP: &str = "to_desktop";
const TO_BROWSER: &str = "to_browser";

const DESKTOP_OK: RequestLabels = RequestLabels {
    route: "desktop",
    status: 200,
};

/// What is counted; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// What has no name of ours in front.
    process: Arc<Registry>,
    state: Latest,
    requests: Family<RequestLabels, Counter>,
    /// The one of them that counts most, so that it is not looked for each time.
    desktop_ok: Counter,
    in_flight: InFlight,
    requests_refused: Counter,
    upstream_errors: Family<UpstreamErrorLabels, Counter>,
    logins: Family<OutcomeLabel, Counter>,
    login_failures: Family<ReasonLabel, Counter>,
    session_lookups: SessionLookups,
    rate_limited: Family<WhatLabel, Counter>,
    starts: Family<OutcomeLabel, Counter>,
    start_failures: Family<ReasonLabel, Counter>,
    start_seconds: Histogram,
    pool: Family<PoolLabels, Gauge>,
    pool_starts: Family<PoolStartLabels, Counter>,
    ends: Family<ReasonLabel, Counter>,
    reaper_acts: Family<ActLabel, Counter>,
    engine_seconds: Family<CallLabel, Histogram>,
    engine_errors: Family<EngineErrorLabels, Counter>,
    pauses: Counter,
    wakes: Family<OutcomeLabel, Counter>,
    wake_seconds: Histogram,
    tunnels: Gauge,
    tunnel_bytes: Family<DirectionLabel, Counter>,
    audit_lost: Family<CauseLabel, Counter>,
    history: History,
    certificate_orders: Family<OutcomeLabel, Counter>,
    spans: Family<OutcomeLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        let desktop_ok = requests.get_or_create(&DESKTOP_OK).clone();
        let metrics = Self {
            registry: Arc::default(),
            process: Arc::default(),
            state: Latest::default(),
            desktop_ok,
            requests,
            in_flight: InFlight::default(),
            requests_refused: Counter::default(),
            upstream_errors: Family::default(),
            logins: Family::default(),
            login_failures: Family::default(),
            session_lookups: SessionLookups::default(),
            rate_limited: Family::default(),
            starts: Family::default(),
            start_failures: Family::default(),
            start_seconds: Histogram::new(START_BUCKETS),
            pool: Family::default(),
            pool_starts: Family::default(),
            ends: Family::default(),
            reaper_acts: Family::default(),
            engine_seconds: Family::new_with_constructor(|| Histogram::new(ENGINE_BUCKETS)),
            engine_errors: Family::default(),
            pauses: Counter::default(),
            wakes: Family::default(),
            wake_seconds: Histogram::new(WAKE_BUCKETS),
            tunnels: Gauge::default(),
            tunnel_bytes: Family::default(),
            audit_lost: Family::default(),
            history: History::default(),
            certificate_orders: Family::default(),
            spans: Family::default(),
        };
        metrics.begin_at_zero();
        let mut process = Registry::default();
        process.register_collector(Box::new(ProcessFigures));
        Self {
            registry: Arc::new(metrics.register()),
            process: Arc::new(process),
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

    /// A login failed, with this code of the table of errors.
    pub fn login_failed(&self, reason: &'static str) {
        self.login_failures
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }

    /// Who counts where sessions are found.
    #[must_use]
    pub fn session_lookups(&self) -> &SessionLookups {
        &self.session_lookups
    }

    /// A request could not be carried: whose side the fault is on, and its code in the table of errors.
    pub fn upstream_error(&self, side: &'static str, code: &'static str) {
        self.upstream_errors
            .get_or_create(&UpstreamErrorLabels { side, code })
            .inc();
    }

    /// The engine was asked something, and how that ended.
    pub fn engine_call(&self, call: &'static str, took: Duration, failure: Option<&'static str>) {
        self.engine_seconds
            .get_or_create(&CallLabel { call })
            .observe(took.as_secs_f64());
        if let Some(cause) = failure {
            self.engine_errors
                .get_or_create(&EngineErrorLabels { call, cause })
                .inc();
        }
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
        self.history.start_took(took);
    }

    /// A start ended otherwise.
    pub fn start_failed(&self, reason: Reason) {
        self.starts
            .get_or_create(&OutcomeLabel { outcome: "error" })
            .inc();
        let reason = reason.as_str();
        self.start_failures
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }

    /// A desktop was stopped, or failed.
    pub fn desktop_ended(&self, reason: Reason) {
        let reason = reason.as_str();
        self.ends.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// The reaper or the reconciler did something `times` times.
    pub fn reaped(&self, act: &'static str, times: usize) {
        let times = u64::try_from(times).unwrap_or(u64::MAX);
        let acts = self.reaper_acts.get_or_create(&ActLabel { act });
        acts.inc_by(times);
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

    /// A certificate was ordered: `success`, `failure` or `rate_limited`.
    pub fn certificate_ordered(&self, outcome: &'static str) {
        let orders = &self.certificate_orders;
        orders.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Spans were `sent` to the collector, or `lost`.
    pub fn spans(&self, outcome: &'static str, count: usize) {
        let spans = self.spans.get_or_create(&OutcomeLabel { outcome });
        spans.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
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
            up: counter(TO_DESKTOP),
            down: counter(TO_BROWSER),
        }
    }

    /// All of it in `OpenMetrics` text, with how things are now.
    #[must_use]
    pub fn open_metrics(&self, state: State) -> String {
        self.state.put(state);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode_registry(&mut text, &self.registry)
            .and_then(|()| text::encode_registry(&mut text, &self.process))
            .and_then(|()| text::encode_eof(&mut text));
        text
    }

    /// The same in the older text format of Prometheus, version 0.0.4: a counter's description has its full name,
    /// and there are neither units nor an end.
    #[must_use]
    pub fn prometheus_text(&self, state: State) -> String {
        let text = self.open_metrics(state);
        let counters: HashSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
            .collect();
        let mut older = String::with_capacity(text.len());
        for line in text.lines() {
            let described = line
                .strip_prefix("# HELP ")
                .or_else(|| line.strip_prefix("# TYPE "))
                .and_then(|rest| rest.split(' ').next());
            match described {
                Some(name) if counters.contains(name) => {
                    older.push_str(&line.replacen(name, &format!("{name}_total"), 1));
                }
                None if line.starts_with("# ") => continue,
                _ => older.push_str(line),
            }
            older.push('\n');
        }
        older
    }
}

/// Counts where sessions are found.
#[derive(Clone, Debug)]
pub struct SessionLookups {
    family: Family<SourceLabel, Counter>,
    memory: Counter,
    database: Counter,
}

impl Default for SessionLookups {
    fn default() -> Self {
        let family = Family::<SourceLabel, Counter>::default();
        let counter = |source| family.get_or_create(&SourceLabel { source }).clone();
        Self {
            memory: counter("memory"),
            database: counter("database"),
            family,
        }
    }
}

impl SessionLookups {
    /// Memory had it.
    pub fn memory(&self) {
        self.memory.inc();
    }

    /// The database was asked.
    pub fn database(&self) {
        self.database.inc();
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
        let text = metrics.open_metrics(State::default());
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
        assert!(
            metrics
                .open_metrics(State::default())
                .contains("deskgate_tunnels 0")
        );
    }
}
