//! What somebody should look at before others notice it: pure, from the figures.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Health, Overview};
use crate::model::time::Timestamp;

/// Of a hundred, from when on something is nearly used up.
const NEARLY: u64 = 85;
/// From when on the database is slow, milliseconds. A page asks it several times.
const SLOW_MS: f64 = 250.0;
/// The time in which failing starts count.
const LATELY: Duration = Duration::from_secs(10 * 60);
/// Failures in it from when on they are no accident, if they are also a fifth of all starts.
const FAILURES: u64 = 3;
/// How long before its end a certificate should have been replaced.
const CERTIFICATE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Something that somebody should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// The engine does not answer.
    EngineDown,
    /// The certificate is over.
    CertificateExpired,
    /// Starts fail, and not once.
    StartsFailing,
    /// The database takes long to answer.
    DatabaseSlow,
    /// Nearly every port is somebody's.
    PortsNearlyUsed,
    /// Nearly as many desktops live as may.
    DesktopsNearlyFull,
    /// The certificate will soon be over.
    CertificateExpiring,
}

impl Alert {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::EngineDown,
        Self::CertificateExpired,
        Self::StartsFailing,
        Self::DatabaseSlow,
        Self::PortsNearlyUsed,
        Self::DesktopsNearlyFull,
        Self::CertificateExpiring,
    ];

    /// Whether people are kept from their work already.
    #[must_use]
    pub fn is_grave(self) -> bool {
        self <= Self::StartsFailing
    }
}

/// What is wrong, the gravest first.
pub(super) fn of(overview: &Overview, now: Timestamp) -> Vec<Alert> {
    let all = Alert::ALL.into_iter();
    all.filter(|alert| is_so(*alert, overview, now)).collect()
}

fn is_so(alert: Alert, overview: &Overview, now: Timestamp) -> bool {
    let nearly = |used: u64, total: u64| total > 0 && used * 100 >= total * NEARLY;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let expires = overview.certificate_expires_at;
    match alert {
        Alert::EngineDown => overview.engine.status == Health::Unavailable,
        Alert::CertificateExpired => expires.is_some_and(|end| end <= now),
        Alert::StartsFailing => {
            let since = now.before(LATELY);
            let lately = overview.history.iter().filter(|step| step.at > since);
            let (starts, failures) = lately.fold((0, 0), |(starts, failures), step| {
                (starts + step.starts, failures + step.failures)
            });
            failures >= FAILURES && failures * 4 >= starts
        }
        Alert::DatabaseSlow => overview.database.latency_ms >= SLOW_MS,
        Alert::PortsNearlyUsed => nearly(count(overview.ports.used), count(overview.ports.total)),
        Alert::DesktopsNearlyFull => {
            let live = u64::try_from(overview.desktops.live).unwrap_or_default();
            nearly(live, overview.desktops.max.into())
        }
        Alert::CertificateExpiring => {
            expires.is_some_and(|end| end > now && end <= now.after(CERTIFICATE))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::overview::{Bytes, DesktopFigures, Part, Ports, Starts, Step};

    type Spoil = fn(&mut Overview);

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn part() -> Part {
        Part {
            kind: "x",
            status: Health::Ok,
            latency_ms: 1.0,
        }
    }

    fn healthy() -> Overview {
        Overview {
            version: "0",
            instance: "test".into(),
            started_at: Timestamp::default(),
            uptime_seconds: 0,
            users: 0,
            sessions: 0,
            desktops: DesktopFigures {
                live: 84,
                max: 100,
                by_status: BTreeMap::new(),
            },
            ports: Ports {
                used: 84,
                total: 100,
            },
            database: part(),
            engine: part(),
            starts: Starts {
                succeeded: 0,
                failed: 0,
                p50_ms: None,
                p95_ms: None,
            },
            tunnels: 0,
            bytes: Bytes {
                to_desktop: 0,
                to_browser: 0,
            },
            pool: Vec::new(),
            certificate_expires_at: Some(now().after(15 * DAY)),
            alerts: Vec::new(),
            history: vec![step(60, 9, 2)],
            busiest: Vec::new(),
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    fn step(seconds_ago: u64, starts: u64, failures: u64) -> Step {
        Step {
            at: now().before(Duration::from_secs(seconds_ago)),
            starts,
            failures,
            tunnels: 0,
            to_desktop_per_second: 0,
            to_browser_per_second: 0,
        }
    }

    #[test]
    fn each_alert_has_its_cause_and_nothing_else_gives_it() {
        assert_eq!(of(&healthy(), now()), []);
        let causes: [(Spoil, Alert); 8] = [
            (|o| o.engine.status = Health::Unavailable, Alert::EngineDown),
            (|o| o.database.latency_ms = 250.0, Alert::DatabaseSlow),
            (|o| o.ports.used = 85, Alert::PortsNearlyUsed),
            (|o| o.desktops.live = 85, Alert::DesktopsNearlyFull),
            (|o| o.history = vec![step(60, 12, 3)], Alert::StartsFailing),
            (|o| o.history.push(step(599, 0, 1)), Alert::StartsFailing),
            (
                |o| o.certificate_expires_at = Some(now()),
                Alert::CertificateExpired,
            ),
            (
                |o| o.certificate_expires_at = Some(now().after(14 * DAY)),
                Alert::CertificateExpiring,
            ),
        ];
        for (spoil, alert) in causes {
            let mut overview = healthy();
            spoil(&mut overview);
            assert_eq!(of(&overview, now()), [alert]);
        }
    }

    #[test]
    fn what_is_long_ago_or_seldom_or_without_a_limit_alarms_nobody() {
        let quiet: [Spoil; 4] = [
            |o| o.history = vec![step(601, 0, 9)],
            |o| o.history = vec![step(60, 13, 3)],
            |o| (o.ports.used, o.ports.total) = (0, 0),
            |o| o.certificate_expires_at = None,
        ];
        for spoil in quiet {
            let mut overview = healthy();
            spoil(&mut overview);
            assert_eq!(of(&overview, now()), []);
        }
    }

    #[test]
    fn the_gravest_come_first() {
        let mut sorted = Alert::ALL;
        sorted.sort_unstable();
        assert_eq!(sorted, Alert::ALL);
        assert!(Alert::StartsFailing.is_grave() && !Alert::DatabaseSlow.is_grave());
    }
}
