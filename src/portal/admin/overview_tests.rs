//! Responsible for the tests of the overview: what is wrong is said first, charts are drawn, values are escaped.

use std::collections::BTreeMap;

use super::*;
use crate::model::id::DesktopId;
use crate::model::time::Timestamp;
use crate::overview::{Bytes, DesktopFigures, PoolOfTemplate, Ports, Starts};
use crate::portal::{Place, Section};

fn part(status: Health) -> Part {
    Part {
        kind: "docker",
        status,
        latency_ms: 1.26,
    }
}

fn step(at: i64, tunnels: i64) -> Step {
    Step {
        at: Timestamp::from_millis(at),
        starts: 2,
        failures: 0,
        tunnels,
        to_desktop_per_second: 0,
        to_browser_per_second: 2_000_000,
    }
}

fn figures(alerts: Vec<Alert>) -> Overview {
    Overview {
        version: "1.2.3",
        instance: "<school>".into(),
        started_at: Timestamp::default(),
        uptime_seconds: 7500,
        users: 3,
        sessions: 4,
        desktops: DesktopFigures {
            live: 2,
            max: 10,
            by_status: BTreeMap::from([("running", 2), ("error", 1), ("paused", 0)]),
        },
        ports: Ports { used: 2, total: 99 },
        database: part(Health::Ok),
        engine: part(Health::Unavailable),
        starts: Starts {
            succeeded: 4,
            failed: 0,
            p50_ms: Some(740),
            p95_ms: Some(1760),
        },
        tunnels: 5,
        bytes: Bytes {
            to_desktop: 1,
            to_browser: 4_000_000,
        },
        pool: vec![PoolOfTemplate {
            template: "exam".into(),
            ready: 3,
            warming: 1,
            wanted: 4,
        }],
        certificate_expires_at: Some(Timestamp::default()),
        alerts,
        history: vec![step(0, 4), step(10_000, 5)],
        busiest: vec![Busy {
            id: DesktopId::random(),
            template: "ubuntu".into(),
            username: "<mia>".into(),
            cpu_percent: Some(12.5),
            memory_bytes: 104_857_600,
            memory_limit_bytes: None,
        }],
    }
}

fn page(lang: Lang, now: &Overview) -> String {
    admin_overview(&AdminOverview {
        lang,
        shell: Shell {
            lang,
            user_name: "<Boss>",
            role: "admin",
            csrf_token: None,
            place: Place::Admin(Section::Overview),
        },
        now,
    })
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let html = page(Lang::De, &figures(vec![Alert::EngineDown]));
    assert!(html.contains("Die Engine antwortet nicht.") && html.contains("systemctl"));
    assert!(!html.contains("no-alerts"));
    let html = page(Lang::En, &figures(Vec::new()));
    assert!(html.contains("All is well."));
    for alert in Alert::ALL {
        for lang in [Lang::De, Lang::En] {
            let (what, advice) = texts::alert(lang, alert);
            assert!(what.ends_with('.') && advice.ends_with('.'), "{alert:?}");
        }
    }
}

#[test]
fn figures_are_shown_in_the_language_of_the_page() {
    let html = page(Lang::De, &figures(Vec::new()));
    for text in [
        "Läuft: 2",
        "Fehler: 1",
        "Hälfte bis 740 ms, 95 %: 1,8 s",
        "2,0 MB/s",
        "bereit, 1 entstehen (exam)",
        "12,5 %",
        "100 MiB",
        "<time datetime=\"1970-01-01T00:00:00Z\">1970-01-01 00:00 UTC</time>",
        "antwortet nicht",
        "2 h 5 min",
        "höchstens 5",
    ] {
        assert!(html.contains(text), "{text} in {html}");
    }
    assert!(!html.contains("Pausiert"), "states without desktops");
    assert!(page(Lang::En, &figures(Vec::new())).contains("half within 740 ms, 95 %: 1.8 s"));
}

#[test]
fn values_are_escaped_and_there_is_no_inline_code() {
    let html = page(Lang::En, &figures(Vec::new()));
    for raw in [
        "<school>", "<mia>", "<Boss>", "<style", " style=", "<script>",
    ] {
        assert!(!html.contains(raw), "{raw}");
    }
}
