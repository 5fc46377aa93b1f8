//! Many starts at once: they wait in order, people see where, and there is an end to how many may wait.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deskgate::engine::ContainerState;
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::support::browser::Browser;
use crate::support::gateway::{TEMPLATE, TestGateway, eventually};
use crate::support::socket::{next, open_events};

/// Starts of so many pupils, one after the other, while the engine lets nothing through.
async fn line_up(gateway: &TestGateway, count: usize) -> Vec<(Browser, Value)> {
    gateway.engine.held.store(true, Ordering::SeqCst);
    let mut line = Vec::new();
    for number in 0..count {
        let mut pupil = gateway.program(&format!("pupil-{number}")).await;
        let started = pupil.post("/api/container/start", "").await;
        assert_eq!(started.status, StatusCode::CREATED);
        line.push((pupil, started.json()));
    }
    line
}

async fn place(pupil: &mut Browser) -> (String, Value) {
    let status = pupil.get("/api/container/status").await.json();
    let word = status["container"]["status"].as_str().unwrap().to_owned();
    (word, status["queue"]["position"].clone())
}

#[tokio::test]
async fn those_who_wait_see_their_place_and_move_up_when_somebody_leaves() {
    let gateway = TestGateway::start_with(&[("PARALLEL_STARTS", "1")]).await;
    let mut line = line_up(&gateway, 4).await;
    eventually("the first has its turn", || {
        let mut first = line[0].0.clone();
        async move { place(&mut first).await.0 == "creating" }
    })
    .await;
    for (number, (pupil, _)) in line.iter_mut().enumerate().skip(1) {
        let (status, position) = place(pupil).await;
        assert_eq!((status.as_str(), position), ("queued", Value::from(number)));
    }
    let waiting = line[3].0.get("/api/container/status").await.json();
    assert!(
        waiting["queue"]["estimate_seconds"].as_u64().unwrap() >= 1,
        "{waiting}"
    );

    let cancelled = line[1].0.post("/api/container/stop", "").await.json();
    assert_eq!(cancelled["container"]["status"], "stopped");
    assert_eq!(place(&mut line[2].0).await.1, 1);
    assert_eq!(place(&mut line[3].0).await.1, 2);

    gateway.engine.held.store(false, Ordering::SeqCst);
    for number in [0, 2, 3] {
        eventually("everybody who stayed has a desktop", || {
            let mut pupil = line[number].0.clone();
            async move { place(&mut pupil).await == ("running".to_owned(), Value::Null) }
        })
        .await;
    }
    assert_eq!(
        gateway.engine.created.load(Ordering::SeqCst),
        3,
        "nothing for the one who left"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn those_who_leave_the_queue_read_why_and_do_not_shorten_the_estimate() {
    let gateway = TestGateway::start_with(&[("PARALLEL_STARTS", "1")]).await;
    let mut line = line_up(&gateway, 10).await;
    for (pupil, _) in &mut line[1..9] {
        let cancelled = pupil.post("/api/container/stop", "").await.json();
        assert_eq!(cancelled["container"]["status"], "stopped");
    }
    gateway.engine.held.store(false, Ordering::SeqCst);
    eventually("the last one has a desktop", || {
        let mut last = line[9].0.clone();
        async move { place(&mut last).await.0 == "running" }
    })
    .await;
    for (pupil, started) in &mut line[1..9] {
        let status = pupil.get("/api/container/status").await.json();
        let container = &status["container"];
        assert_eq!(container["id"], started["container"]["id"]);
        assert_eq!(container["status"], "stopped");
        assert_eq!(container["status_reason_code"], "asked", "{status}");
    }
    assert_eq!(gateway.engine.created.load(Ordering::SeqCst), 2);

    // Two turns were measured, far shorter than the first guess of 3 s each: (3 * 3/4) * 3/4. Eight of no length on top
    // would leave a tenth of that.
    gateway.engine.held.store(true, Ordering::SeqCst);
    let mut pupil = gateway.program("one-more").await;
    pupil.post("/api/container/start", "").await;
    eventually("the engine is at it", || {
        let mut pupil = pupil.clone();
        async move { place(&mut pupil).await.0 == "creating" }
    })
    .await;
    for number in 0..8 {
        pupil = gateway.program(&format!("late-{number}")).await;
        pupil.post("/api/container/start", "").await;
    }
    let status = pupil.get("/api/container/status").await.json();
    assert_eq!(status["queue"]["position"], 8, "{status}");
    let estimate = status["queue"]["estimate_seconds"].as_u64().unwrap();
    assert!(estimate >= 13, "{estimate} s for eight turns");
    gateway.engine.held.store(false, Ordering::SeqCst);
    gateway.stop().await;
}

#[tokio::test]
async fn events_tell_those_who_wait_where_they_are() {
    let gateway = TestGateway::start_with(&[("PARALLEL_STARTS", "1")]).await;
    let line = line_up(&gateway, 3).await;
    eventually("the first has its turn", || {
        let mut first = line[0].0.clone();
        async move { place(&mut first).await.0 == "creating" }
    })
    .await;
    let session = gateway.session("pupil-2").await;
    let mut events = open_events(&gateway, &session).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|(status, _)| status != "running") {
        let Some(Message::Text(text)) = next(&mut events).await else {
            panic!("the events end after {told:?}");
        };
        gateway.engine.held.store(false, Ordering::SeqCst);
        let event: Value = serde_json::from_str(&text).unwrap();
        let word = event["container"]["status"].as_str().unwrap().to_owned();
        told.push((word, event["queue"]["position"].as_u64()));
    }
    told.retain(|(status, _)| status == "queued");
    told.dedup();
    let queued = |place| ("queued".to_owned(), Some(place));
    assert_eq!(told, [queued(2), queued(1)]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_turn_lasts_until_the_desktop_answers_but_not_for_ever() {
    // Nothing answers at this path with this status.
    let template = "id = 'slow'\nimage = 'i'\nready = { path = '/', expect = 204 }";
    let settings = [("PARALLEL_STARTS", "1"), (TEMPLATE, template)];
    let gateway = TestGateway::start_with(&settings).await;
    let mut line = Vec::new();
    for name in ["first", "second"] {
        let mut pupil = gateway.program(name).await;
        pupil.post("/api/container/start", "").await;
        line.push(pupil);
    }
    eventually("the first container runs", || async {
        let all = gateway.engine.all();
        all.iter()
            .any(|(_, state)| *state == ContainerState::Running)
    })
    .await;
    assert_eq!(place(&mut line[1]).await, ("queued".into(), 1.into()));
    let begun = Instant::now();
    eventually("the second has its turn all the same", || {
        let mut second = line[1].clone();
        async move { place(&mut second).await.0 == "creating" }
    })
    .await;
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(3), "{waited:?}");
    assert_eq!(place(&mut line[0]).await.0, "creating");
    gateway.stop().await;
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let gateway =
        TestGateway::start_with(&[("PARALLEL_STARTS", "1"), ("MAX_QUEUED_STARTS", "2")]).await;
    let line = line_up(&gateway, 1).await;
    eventually("the first has its turn", || {
        let mut first = line[0].0.clone();
        async move { place(&mut first).await.0 == "creating" }
    })
    .await;
    let mut starts = JoinSet::new();
    for number in 0..10 {
        let mut late = gateway.program(&format!("late-{number}")).await;
        starts.spawn(async move { late.post("/api/container/start", "").await });
    }
    let answers = starts.join_all().await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|answer| answer.status == StatusCode::CREATED);
    assert_eq!((taken.len(), refused.len()), (2, 8));
    for answer in refused {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.code(), "queue_full");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    gateway.engine.held.store(false, Ordering::SeqCst);
    gateway.stop().await;
}

#[tokio::test]
async fn memory_is_a_limit_like_any_other() {
    // A desktop of the default template may use 2 GiB.
    let gateway = TestGateway::start_with(&[("MAX_DESKTOP_MEMORY", "4g")]).await;
    for name in ["first", "second"] {
        let mut pupil = gateway.program(name).await;
        gateway.running_desktop(&mut pupil).await;
    }
    let mut third = gateway.program("third").await;
    let refused = third.post("/api/container/start", "").await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "memory_exhausted")
    );
    assert!(refused.header("retry-after").is_some());
    gateway.stop().await;

    // One is let in as long as this stays free with what it takes first, and not only without.
    let gateway = TestGateway::start_with(&[("MIN_FREE_MEMORY", "1g")]).await;
    gateway
        .engine
        .memory
        .store(GIB + FIRST - 1, Ordering::SeqCst);
    let mut pupil = gateway.program("pupil").await;
    let prefer = [("prefer", "wait=5")];
    let refused = pupil
        .send(Method::POST, "/api/container/start", &prefer, "")
        .await;
    assert_eq!(refused.code(), "memory_exhausted");
    gateway.engine.memory.store(GIB + FIRST, Ordering::SeqCst);
    gateway.running_desktop(&mut pupil).await;
    gateway.stop().await;
}

pub const GIB: u64 = 1 << 30;
/// What a start counts as until its desktop answers.
const FIRST: u64 = 256 << 20;

/// Thirty people press start at once. Returns how many of them have a desktop; the others read that there is no memory.
pub async fn thirty_presses(gateway: &TestGateway) -> usize {
    let mut presses = JoinSet::new();
    for number in 0..30 {
        let mut pupil = gateway.program(&format!("pupil-{number}")).await;
        presses.spawn(async move { pupil.post("/api/container/start", "").await });
    }
    let mut admitted = 0;
    for answer in presses.join_all().await {
        if answer.status.is_success() {
            admitted += 1;
            continue;
        }
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.code(), "memory_exhausted");
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
    admitted
}

#[tokio::test]
async fn of_thirty_at_once_as_many_are_let_in_as_there_is_memory_for() {
    let gateway = TestGateway::start_with(&[("MIN_FREE_MEMORY", "1g")]).await;
    // For five that start beside what has to stay free.
    gateway
        .engine
        .memory
        .store(GIB + 5 * FIRST, Ordering::SeqCst);
    // None of them has taken anything yet that the system could see.
    gateway.engine.held.store(true, Ordering::SeqCst);
    assert_eq!(thirty_presses(&gateway).await, 5);
    gateway.engine.held.store(false, Ordering::SeqCst);
    eventually("five desktops run", || async {
        let all = gateway.engine.all();
        let run = |state: &ContainerState| *state == ContainerState::Running;
        all.iter().filter(|(_, state)| run(state)).count() == 5
    })
    .await;
    assert_eq!(thirty_presses(&gateway).await, 5, "those who have one");
    assert_eq!(gateway.engine.created.load(Ordering::SeqCst), 5);
    gateway.stop().await;
}
