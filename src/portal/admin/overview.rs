//! Responsible for the page that shows how the installation is: what is wrong, figures, the last half hour.

use askama::Template;

use super::chart::Chart;
use crate::overview::{Alert, Busy, Health, Overview, Part, Step};
use crate::portal::shell::Shell;
use crate::portal::texts;
use crate::request::lang::Lang;
use crate::respond::page::to_html;

/// Samples of the half hour that a chart shows.
const SLOTS: usize = 180;

/// The page.
#[derive(Debug, Template)]
#[template(path = "admin_overview.html")]
pub struct AdminOverview<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// Who sees it.
    pub shell: Shell<'a>,
    /// How it is.
    pub now: &'a Overview,
}

/// Renders the page.
#[must_use]
pub fn admin_overview(page: &AdminOverview<'_>) -> String {
    to_html(page)
}

/// A figure with the line of the last half hour.
struct Trend {
    test_id: &'static str,
    label: &'static str,
    figure: String,
    /// What else there is to say of it.
    about: String,
    chart: Option<Chart>,
    /// The chart's highest value.
    most: String,
}

/// A figure in words.
struct Fact {
    test_id: &'static str,
    label: &'static str,
    figure: String,
    /// The figure for scripts, if it is a time.
    time: Option<String>,
    about: String,
    /// The word for how it is: as the pills of desktops have it.
    tone: &'static str,
}

impl AdminOverview<'_> {
    /// States in which there are desktops, with how many and the width of their part of the bar.
    fn states(&self) -> Vec<(&'static str, &'static str, i64)> {
        let count = |status| self.now.desktops.by_status.get(status).copied();
        let all = texts::STATES
            .into_iter()
            .filter(|status| !status.is_empty());
        let some =
            all.filter_map(|status| Some((status, count(status).filter(|count| *count > 0)?)));
        some.map(|(status, count)| (status, texts::state(self.lang, status), count))
            .collect()
    }

    fn trends(&self) -> [Trend; 4] {
        let (lang, now) = (self.lang, self.now);
        let values = |of: fn(&Step) -> u64| now.history.iter().map(of).collect::<Vec<u64>>();
        let chart = |of| Chart::of(&values(of), SLOTS);
        let rate = |bytes| format!("{}/s", texts::bytes(lang, bytes));
        let newest = now.history.last();
        let trend = |test_id, label, figure: String, about, of: fn(&Step) -> u64| Trend {
            test_id,
            label,
            figure,
            about,
            most: chart(of).map_or_else(String::new, |chart| chart.most.to_string()),
            chart: chart(of),
        };
        let live = |step: &Step| u64::try_from(step.tunnels).unwrap_or_default();
        let bytes = |step: &Step| step.to_browser_per_second + step.to_desktop_per_second;
        let failed: u64 = values(|step| step.failures).iter().sum();
        let starts: u64 = values(|step| step.starts).iter().sum();
        let mut traffic = trend(
            "traffic",
            lang.pick("Datenverkehr", "Traffic"),
            rate(newest.map_or(0, bytes)),
            format!(
                "{} {}",
                texts::bytes(lang, now.bytes.to_browser + now.bytes.to_desktop),
                lang.pick("seit dem Start", "since the start")
            ),
            bytes,
        );
        traffic.most = chart(bytes).map_or_else(String::new, |chart| rate(chart.most));
        [
            trend(
                "starts",
                lang.pick("Starts", "Starts"),
                starts.to_string(),
                self.start_times(),
                |step| step.starts,
            ),
            trend(
                "failures",
                lang.pick("Fehlgeschlagene Starts", "Failed starts"),
                failed.to_string(),
                format!(
                    "{} {}",
                    now.starts.failed,
                    lang.pick("seit dem Start", "since the start")
                ),
                |step| step.failures,
            ),
            trend(
                "tunnels",
                lang.pick("Offene Verbindungen", "Open connections"),
                now.tunnels.to_string(),
                lang.pick("WebSockets zu Desktops", "WebSockets to desktops")
                    .to_owned(),
                live,
            ),
            traffic,
        ]
    }

    fn start_times(&self) -> String {
        let starts = &self.now.starts;
        match (starts.p50_ms, starts.p95_ms) {
            (Some(half), Some(most)) => format!(
                "{} {}, 95 %: {}",
                self.lang.pick("Hälfte bis", "half within"),
                texts::millis(self.lang, half),
                texts::millis(self.lang, most)
            ),
            _ => self
                .lang
                .pick("noch keiner gemessen", "none measured yet")
                .to_owned(),
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let (lang, now) = (self.lang, self.now);
        let (users, sessions) = (now.users, now.sessions);
        let mut facts = vec![
            self.part("engine", "Engine", &now.engine),
            self.part(
                "database",
                lang.pick("Datenbank", "Database"),
                &now.database,
            ),
        ];
        if now.ports.total > 0 {
            facts.push(Fact {
                test_id: "ports",
                label: "Ports",
                figure: format!("{} / {}", now.ports.used, now.ports.total),
                time: None,
                about: lang.pick("vergeben", "in use").to_owned(),
                tone: self.tone(Alert::PortsNearlyUsed),
            });
        }
        for pool in &now.pool {
            let about = match lang {
                Lang::De => format!("bereit, {} entstehen ({})", pool.warming, pool.template),
                Lang::En => format!("ready, {} being made ({})", pool.warming, pool.template),
            };
            facts.push(Fact {
                test_id: "pool",
                label: lang.pick("Vorrat", "Kept ready"),
                figure: format!("{} / {}", pool.ready, pool.wanted),
                time: None,
                about,
                tone: "",
            });
        }
        if let Some(end) = now.certificate_expires_at {
            facts.push(Fact {
                test_id: "certificate",
                label: lang.pick("Zertifikat bis", "Certificate until"),
                figure: texts::utc(end),
                time: Some(end.to_string()),
                about: String::new(),
                tone: self.tone(Alert::CertificateExpiring),
            });
        }
        facts.push(Fact {
            test_id: "people",
            label: lang.pick("Personen", "People"),
            figure: users.to_string(),
            time: None,
            about: format!("{sessions} {}", lang.pick("Sitzungen", "sessions")),
            tone: "",
        });
        facts.push(Fact {
            test_id: "version",
            label: lang.pick("Gateway läuft seit", "Gateway up for"),
            figure: texts::span(lang, self.uptime()),
            time: None,
            about: format!("Deskgate {} · {}", now.version, now.instance),
            tone: "",
        });
        facts
    }

    fn uptime(&self) -> std::time::Duration {
        let seconds = u64::try_from(self.now.uptime_seconds).unwrap_or_default();
        std::time::Duration::from_secs(seconds)
    }

    fn tone(&self, alert: Alert) -> &'static str {
        if self.now.alerts.contains(&alert) {
            "paused"
        } else {
            ""
        }
    }

    fn part(&self, test_id: &'static str, label: &'static str, part: &Part) -> Fact {
        let (figure, tone) = match part.status {
            Health::Ok => (self.lang.pick("in Ordnung", "fine"), "running"),
            Health::Unavailable => (
                self.lang.pick("antwortet nicht", "does not answer"),
                "error",
            ),
        };
        Fact {
            test_id,
            label,
            figure: figure.to_owned(),
            time: None,
            about: format!(
                "{} · {}",
                part.kind,
                texts::short_millis(self.lang, part.latency_ms)
            ),
            tone,
        }
    }

    fn cpu(&self, busy: &Busy) -> String {
        busy.cpu_percent
            .map_or_else(|| "–".to_owned(), |cpu| texts::percent(self.lang, cpu))
    }

    fn memory(&self, busy: &Busy) -> String {
        let used = texts::memory(self.lang, busy.memory_bytes);
        match busy.memory_limit_bytes {
            Some(limit) => format!("{used} / {}", texts::memory(self.lang, limit)),
            None => used,
        }
    }

    fn alerts(&self) -> impl Iterator<Item = (Alert, (&'static str, &'static str))> {
        let all = self.now.alerts.iter().copied();
        all.map(|alert| (alert, texts::alert(self.lang, alert)))
    }
}

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;
