//! Under which names the metrics are shown, and what each says of itself.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{
    ActLabel, CauseLabel, DirectionLabel, OutcomeLabel, ReasonLabel, UpstreamErrorLabels,
    VersionLabel, WhatLabel,
};
use super::{Metrics, TO_BROWSER, TO_DESKTOP};
use crate::model::reason::Reason;

impl Metrics {
    /// Makes the series whose labels are known, so that the first failure is an increase and not a beginning.
    pub(super) fn begin_at_zero(&self) {
        let (wakes, starts, logins) = (&self.wakes, &self.starts, &self.logins);
        for (family, outcomes) in [
            (starts, ["running", "error"]),
            (logins, ["success", "failure"]),
            (wakes, ["success", "failure"]),
        ] {
            for outcome in outcomes {
                drop(family.get_or_create(&OutcomeLabel { outcome }));
            }
        }
        for outcome in ["success", "failure", "rate_limited"] {
            let labels = OutcomeLabel { outcome };
            drop(self.certificate_orders.get_or_create(&labels));
        }
        for outcome in ["sent", "lost"] {
            drop(self.spans.get_or_create(&OutcomeLabel { outcome }));
        }
        for reason in Reason::ALL.map(Reason::as_str) {
            drop(self.ends.get_or_create(&ReasonLabel { reason }));
            drop(self.start_failures.get_or_create(&ReasonLabel { reason }));
        }
        for cause in ["queue", "database", "stranger"] {
            drop(self.audit_lost.get_or_create(&CauseLabel { cause }));
        }
        for what in ["login", "secret", "start"] {
            drop(self.rate_limited.get_or_create(&WhatLabel { what }));
        }
        for direction in [TO_DESKTOP, TO_BROWSER] {
            drop(
                self.tunnel_bytes
                    .get_or_create(&DirectionLabel { direction }),
            );
        }
        for (side, code) in [
            ("desktop", "desktop_failed"),
            ("desktop", "desktop_timeout"),
        ] {
            let labels = UpstreamErrorLabels { side, code };
            drop(self.upstream_errors.get_or_create(&labels));
        }
        let reason = "provider_unavailable";
        drop(self.login_failures.get_or_create(&ReasonLabel { reason }));
        for act in ["pause", "stop", "remove", "remove_orphan"] {
            drop(self.reaper_acts.get_or_create(&ActLabel { act }));
        }
    }

    pub(super) fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("deskgate");
        self.register_door(&mut registry);
        self.register_desktops(&mut registry);
        registry.register_collector(Box::new(self.state.clone()));
        let build = Family::<VersionLabel, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&VersionLabel { version }).set(1);
        registry.register("build_info", "The version that runs", build);
        registry
    }

    fn register_door(&self, registry: &mut Registry) {
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register(
            "requests_in_flight",
            "Requests under way",
            self.in_flight.0.clone(),
        );
        registry.register(
            "requests_refused",
            "Requests refused because too many were under way",
            self.requests_refused.clone(),
        );
        registry.register(
            "upstream_errors",
            "Requests that could not be carried, by whose fault it was",
            self.upstream_errors.clone(),
        );
        registry.register("logins", "Logins finished", self.logins.clone());
        registry.register(
            "login_failures",
            "Logins that failed",
            self.login_failures.clone(),
        );
        registry.register(
            "session_lookups",
            "Sessions looked up, by where they were found",
            self.session_lookups.family.clone(),
        );
        let limited = self.rate_limited.clone();
        registry.register("rate_limited", "Refused because it was too often", limited);
        registry.register(
            "tunnels",
            "WebSockets open to desktops",
            self.tunnels.clone(),
        );
        registry.register_with_unit(
            "tunnel",
            "Carried over WebSockets",
            Unit::Bytes,
            self.tunnel_bytes.clone(),
        );
        registry.register(
            "certificate_orders",
            "Certificates ordered from an ACME authority",
            self.certificate_orders.clone(),
        );
        registry.register(
            "trace_spans",
            "Spans of traces, by what became of them",
            self.spans.clone(),
        );
        registry.register(
            "audit_lost",
            "Audit entries that are in the log stream and not in the database",
            self.audit_lost.clone(),
        );
    }

    fn register_desktops(&self, registry: &mut Registry) {
        let starts = self.starts.clone();
        registry.register("desktop_starts", "Starts of desktops ended", starts);
        registry.register(
            "desktop_start_failures",
            "Starts that ended otherwise than in a running desktop",
            self.start_failures.clone(),
        );
        registry.register_with_unit(
            "desktop_start_duration",
            "From the request to the desktop's first answer",
            Unit::Seconds,
            self.start_seconds.clone(),
        );
        let (pool, pool_starts) = (self.pool.clone(), self.pool_starts.clone());
        registry.register("pool_members", "Containers that are kept ready", pool);
        registry.register("pool_starts", "Starts of kept templates", pool_starts);
        registry.register(
            "desktop_ends",
            "Desktops stopped or failed",
            self.ends.clone(),
        );
        registry.register(
            "reaper_acts",
            "What the reaper and the reconciler did",
            self.reaper_acts.clone(),
        );
        let (pauses, wakes) = (self.pauses.clone(), self.wakes.clone());
        registry.register("desktop_pauses", "Desktops paused for being idle", pauses);
        registry.register("desktop_wakes", "Wakes of paused desktops ended", wakes);
        registry.register_with_unit(
            "desktop_wake_duration",
            "From the wish to wake a desktop to its going on",
            Unit::Seconds,
            self.wake_seconds.clone(),
        );
        registry.register_with_unit(
            "engine_call_duration",
            "How long calls to the engine took",
            Unit::Seconds,
            self.engine_seconds.clone(),
        );
        registry.register(
            "engine_errors",
            "Calls to the engine that failed",
            self.engine_errors.clone(),
        );
    }
}
