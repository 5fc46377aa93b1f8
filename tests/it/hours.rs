//! Opening hours: no start outside, a warned stop at closing, and clocks that are changed for summer or by somebody.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::browser::Browser;
use crate::support::gateway::TestGateway;

const MINUTE: Duration = Duration::from_secs(60);

/// A gateway whose one template is open on workdays from 7 to 18 in Berlin, at this moment.
async fn open_at(directory: &TempDir, moment: &str) -> (TestGateway, Browser) {
    let file = directory.path().join("deskgate.toml");
    let text = "[[template]]\nid='desktop'\nimage='image'\n\
        hours = { timezone = 'Europe/Berlin', days = ['mon-fri'], from = '07:00', to = '18:00' }\n";
    std::fs::write(&file, text).unwrap();
    let settings = [
        ("file", file.to_str().unwrap()),
        ("SESSION_TTL", "30d"),
        ("SESSION_IDLE", "29d"),
    ];
    let gateway = TestGateway::start_with(&settings).await;
    set(&gateway, moment);
    let pupil = gateway.program("pupil").await;
    (gateway, pupil)
}

fn set(gateway: &TestGateway, moment: &str) {
    gateway
        .clock
        .set(OffsetDateTime::parse(moment, &Rfc3339).unwrap());
}

async fn pass(gateway: &TestGateway, minutes: u32) {
    for _ in 0..minutes {
        gateway.clock.advance(MINUTE);
        gateway.desktops.reap().await;
    }
}

async fn container(pupil: &mut Browser) -> Value {
    pupil.get("/api/container/status").await.json()["container"].clone()
}

#[tokio::test]
async fn a_template_starts_and_stops_by_the_clock_on_its_wall() {
    let directory = TempDir::new().unwrap();
    // A Friday in winter time, before seven.
    let (gateway, mut pupil) = open_at(&directory, "2026-03-27T05:59:00Z").await;
    let early = pupil.post("/api/container/start", "").await;
    assert_eq!(
        (early.status, early.code()),
        (StatusCode::FORBIDDEN, "outside_hours".into())
    );
    let detail = early.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("2026-03-27 07:00 (Europe/Berlin)"),
        "{detail}"
    );

    set(&gateway, "2026-03-27T16:50:00Z");
    gateway.running_desktop(&mut pupil).await;
    let shown = container(&mut pupil).await;
    assert_eq!(shown["stops_at"], "2026-03-27T17:00:00Z");
    assert_eq!(shown["stops_because"], "hours");
    pass(&gateway, 7).await;
    assert_eq!(container(&mut pupil).await["stops_soon"], true);
    let stay = pupil.post("/api/container/extend", "").await;
    assert_eq!(stay.code(), "not_extendable");
    pass(&gateway, 4).await;
    assert_eq!(container(&mut pupil).await["status_reason_code"], "hours");

    // The clocks were put forward over the weekend: seven is an hour earlier by UTC.
    set(&gateway, "2026-03-28T12:00:00Z");
    let weekend = pupil.post("/api/container/start", "").await.json();
    assert!(
        weekend["detail"]
            .as_str()
            .unwrap()
            .contains("2026-03-30 07:00")
    );
    set(&gateway, "2026-03-30T05:00:01Z");
    gateway.running_desktop(&mut pupil).await;
    assert_eq!(
        container(&mut pupil).await["stops_at"],
        "2026-03-30T16:00:00Z"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_clock_that_jumps_into_the_night_stops_nobody_unwarned() {
    let directory = TempDir::new().unwrap();
    let (gateway, mut pupil) = open_at(&directory, "2026-11-24T10:00:00Z").await;
    gateway.running_desktop(&mut pupil).await;
    pass(&gateway, 1).await;
    for hours in [-24, 24, 10] {
        gateway.clock.jump(hours);
        gateway.desktops.reap().await;
        assert_eq!(container(&mut pupil).await["status"], "running", "{hours}");
    }
    // Night now, if the clock is right; it is put right within two minutes.
    pass(&gateway, 2).await;
    gateway.clock.jump(-10);
    pass(&gateway, 10).await;
    assert_eq!(container(&mut pupil).await["status"], "running");
    gateway.clock.jump(10);
    pass(&gateway, 5).await;
    assert_eq!(container(&mut pupil).await["status_reason_code"], "hours");
    gateway.stop().await;
}
