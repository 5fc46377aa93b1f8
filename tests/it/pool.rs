//! Containers that are made beforehand: who gets them, when they are replaced, and when they give way.

use std::sync::atomic::Ordering;
use std::time::Duration;

use deskgate::desktop::repair::Repair;
use deskgate::engine::{ContainerState, Engine as _};
use hyper::{Method, StatusCode};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;

use crate::rush::{GIB, thirty_presses};
use crate::support::browser::Browser;
use crate::support::gateway::{PATIENCE, TEMPLATE, TestGateway, eventually, own_ports};
use crate::support::postgres::OwnDatabase;

fn exam(warm: u32) -> String {
    format!("id = 'exam'\nimage = 'i'\nhome = 'none'\nwarm = {warm}")
}

async fn start_with(warm: u32, settings: &[(&str, &str)]) -> TestGateway {
    let template = exam(warm);
    let settings = [settings, &[(TEMPLATE, template.as_str())]].concat();
    TestGateway::start_with(&settings).await
}

fn is_member(name: &str) -> bool {
    name.contains("-pool-exam-")
}

/// Names of the members that run, in order.
fn members(gateway: &TestGateway) -> Vec<String> {
    let running = gateway.engine.all().into_iter();
    let running =
        running.filter(|(name, state)| is_member(name) && *state == ContainerState::Running);
    let mut names: Vec<String> = running.map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

/// Waits until so many members have answered.
async fn ready(gateway: &TestGateway, count: usize) {
    let address = gateway.config.server.metrics.unwrap();
    let line = format!("deskgate_pool_members{{template=\"exam\",state=\"ready\"}} {count}\n");
    eventually("the pool is full", || {
        let (mut scraper, line) = (Browser::new(address), line.clone());
        async move {
            gateway.desktops.fill_pool().await.unwrap();
            scraper.get("/metrics").await.text().contains(&line)
        }
    })
    .await;
    assert_eq!(members(gateway).len(), count);
}

async fn start(pupil: &mut Browser) -> Value {
    let started = pupil.post("/api/container/start", "").await;
    assert_eq!(started.status, StatusCode::CREATED, "{}", started.text());
    started.json()["container"].clone()
}

fn text<'a>(container: &'a Value, key: &str) -> &'a str {
    container[key].as_str().unwrap()
}

#[tokio::test]
async fn a_start_gets_a_container_that_answers_already() {
    let gateway = start_with(2, &[]).await;
    ready(&gateway, 2).await;
    let made = gateway.engine.created.load(Ordering::SeqCst);
    let mut pupil = gateway.program("pupil").await;
    let container = start(&mut pupil).await;
    assert_eq!(container["status"], "running", "without any waiting");
    let (id, name) = (text(&container, "id"), text(&container, "container_name"));
    let spec = gateway
        .engine
        .spec_of(name)
        .expect("it has its ordinary name");
    assert_eq!(spec.labels["deskgate.desktop"], id);
    assert!(
        !spec.labels.contains_key("deskgate.user"),
        "it was nobody's"
    );
    assert_eq!(Value::from(spec.host_port), container["host_port"]);
    let page = pupil.get(&format!("/desktop/{id}/")).await;
    assert_eq!(page.status, StatusCode::OK, "with the password of its id");
    let mut other = gateway.program("other").await;
    let foreign = other.get(&format!("/desktop/{id}/")).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);

    ready(&gateway, 2).await;
    assert_eq!(gateway.engine.created.load(Ordering::SeqCst), made + 1);
    let report = gateway.desktops.reconcile().await.unwrap();
    assert_eq!((report.orphans, report.pool, report.ended), (0, 0, 0));
    let stopped = pupil.post("/api/container/stop", "").await.json();
    assert_eq!(stopped["container"]["status"], "stopped");
    let again = start(&mut pupil).await;
    assert_ne!(again["id"], container["id"]);
    assert_eq!(again["status"], "running");
    let mut scraper = Browser::new(gateway.config.server.metrics.unwrap());
    let metrics = scraper.get("/metrics").await.text();
    let hits = "deskgate_pool_starts_total{template=\"exam\",outcome=\"hit\"} 2";
    assert!(metrics.contains(hits), "{metrics}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_gateway_that_starts_finds_the_pool_at_the_engine() {
    let gateway = start_with(2, &[]).await;
    ready(&gateway, 2).await;
    let before = members(&gateway);
    let gateway = gateway.killed_and_started_again().await;
    ready(&gateway, 2).await;
    assert_eq!(members(&gateway), before);
    assert_eq!(gateway.engine.created.load(Ordering::SeqCst), 2);
    let mut pupil = gateway.program("pupil").await;
    assert_eq!(start(&mut pupil).await["status"], "running");
    gateway.stop().await;
}

/// Twice as many people as containers that are ready come at once, half of them to each gateway.
async fn a_crowd_at_two_gateways(gateway: TestGateway) {
    let second = gateway.another().await;
    ready(&gateway, 4).await;
    let kept: Vec<String> = members(&gateway)
        .iter()
        .map(|name| gateway.engine.id_of(name))
        .collect();
    // Both know the same four.
    second.desktops.reconcile().await.unwrap();
    second.desktops.fill_pool().await.unwrap();
    let mut starts = JoinSet::new();
    for number in 0..8 {
        let through = if number % 2 == 0 { &gateway } else { &second };
        let mut pupil = through.program(&format!("pupil-{number}")).await;
        starts.spawn(async move {
            let prefer = [("prefer", "wait=20")];
            let started = pupil
                .send(Method::POST, "/api/container/start", &prefer, "")
                .await;
            let container = started.json()["container"].clone();
            assert_eq!(container["status"], "running", "{}", started.text());
            let path = format!("/desktop/{}/", text(&container, "id"));
            assert_eq!(pupil.get(&path).await.status, StatusCode::OK);
            text(&container, "container_id").to_owned()
        });
    }
    let mut ids = starts.join_all().await;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 8, "a container each");
    assert!(kept.iter().all(|id| ids.contains(id)), "{kept:?} {ids:?}");
    for through in [&gateway, &second] {
        let report = through.desktops.reconcile().await.unwrap();
        assert_eq!((report.orphans, report.ended), (0, 0));
    }
    ready(&gateway, 4).await;
    assert_eq!(gateway.engine.all().len(), 12);
    second.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn two_gateways_share_a_pool_and_nobody_shares_a_desktop_on_sqlite() {
    a_crowd_at_two_gateways(start_with(4, &[]).await).await;
}

#[tokio::test]
async fn two_gateways_share_a_pool_and_nobody_shares_a_desktop_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let gateway = start_with(4, &[("DATABASE_URL", &own.url)]).await;
    eventually("it leads", || async {
        gateway.desktops.leader().is_leading()
    })
    .await;
    a_crowd_at_two_gateways(gateway).await;
    own.drop().await;
}

#[tokio::test]
async fn only_the_gateway_that_leads_fills_the_pool_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let first = start_with(2, &[("DATABASE_URL", &own.url)]).await;
    eventually("it leads", || async {
        first.desktops.leader().is_leading()
    })
    .await;
    ready(&first, 2).await;
    let second = first.another().await;
    let created = || first.engine.created.load(Ordering::SeqCst);
    let before = created();
    first.engine.vanish(&members(&first)[0]);
    second.desktops.fill_pool().await.unwrap();
    assert!(!second.desktops.leader().is_leading());
    assert_eq!((created(), members(&first).len()), (before, 1));
    first.desktops.fill_pool().await.unwrap();
    assert_eq!((created(), members(&first).len()), (before + 1, 2));

    first.kill().await;
    eventually("another one leads", || async {
        second.desktops.leader().is_leading()
    })
    .await;
    second.engine.vanish(&members(&second)[0]);
    ready(&second, 2).await;
    second.stop().await;
    own.drop().await;
}

#[tokio::test]
async fn what_is_not_as_it_should_be_is_replaced() {
    let gateway = start_with(2, &[]).await;
    ready(&gateway, 2).await;
    let ids = || {
        let mut ids: Vec<String> = members(&gateway)
            .iter()
            .map(|name| gateway.engine.id_of(name))
            .collect();
        ids.sort_unstable();
        ids
    };
    let first = ids();
    gateway.engine.image_version.store(1, Ordering::SeqCst);
    assert_eq!(gateway.desktops.reconcile().await.unwrap().pool, 2);
    ready(&gateway, 2).await;
    let second = ids();
    assert!(first.iter().all(|id| !second.contains(id)), "another image");
    gateway.clock.advance(Duration::from_secs(12 * 60 * 60 + 1));
    assert_eq!(gateway.desktops.reconcile().await.unwrap().pool, 2);
    ready(&gateway, 2).await;
    assert!(second.iter().all(|id| !ids().contains(id)), "too old");

    let dead = members(&gateway).remove(0);
    gateway.engine.stop(&dead, Duration::ZERO).await.unwrap();
    gateway.desktops.reconcile().await.unwrap();
    ready(&gateway, 2).await;
    gateway.stop().await;
}

#[tokio::test]
async fn one_that_has_died_is_not_handed_out() {
    let gateway = start_with(2, &[]).await;
    ready(&gateway, 2).await;
    let [dead, alive] = <[String; 2]>::try_from(members(&gateway)).unwrap();
    let alive = gateway.engine.id_of(&alive);
    // Nobody has noticed yet: the real engine tells, this one does not.
    gateway.engine.stop(&dead, Duration::ZERO).await.unwrap();
    let mut pupil = gateway.program("pupil").await;
    let container = start(&mut pupil).await;
    assert_eq!(container["status"], "running");
    assert_eq!(text(&container, "container_id"), alive);
    gateway.stop().await;

    // One that runs is asked every few minutes whether it still answers.
    let gateway = start_with(1, &[]).await;
    ready(&gateway, 1).await;
    let silent = members(&gateway).remove(0);
    drop(gateway.engine.take_desktop(&silent));
    let silent = gateway.engine.id_of(&silent);
    gateway.clock.advance(Duration::from_secs(5 * 60));
    gateway.desktops.fill_pool().await.unwrap();
    ready(&gateway, 1).await;
    let next = gateway.engine.id_of(&members(&gateway)[0]);
    assert_ne!(next, silent);
    let mut pupil = gateway.program("pupil").await;
    assert_eq!(text(&start(&mut pupil).await, "container_id"), next);
    gateway.stop().await;

    // Nobody gets one that nobody has asked for longer than that.
    let gateway = start_with(1, &[]).await;
    ready(&gateway, 1).await;
    let waiting = gateway.engine.id_of(&members(&gateway)[0]);
    gateway.clock.advance(Duration::from_secs(6 * 60));
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    assert_ne!(text(&container, "container_id"), waiting);
    gateway.stop().await;
}

#[tokio::test]
async fn a_start_that_is_killed_before_its_container_has_its_name_is_finished() {
    let gateway = start_with(1, &[]).await;
    ready(&gateway, 1).await;
    let member = gateway.engine.id_of(&members(&gateway)[0]);
    gateway.engine.unnamed.store(true, Ordering::SeqCst);
    let mut pupil = gateway.program("pupil").await;
    let session = pupil.clone();
    let started = start(&mut pupil).await;
    assert_eq!(started["status"], "creating");
    let report = gateway.desktops.reconcile().await.unwrap();
    assert_eq!((report.orphans, report.pool), (0, 0), "it is somebody's");
    let gateway = gateway.killed_and_started_again().await;
    gateway.engine.unnamed.store(false, Ordering::SeqCst);
    let mut pupil = session;
    pupil.gateway = gateway.addr;
    eventually("the next gateway gives it its name", || {
        let mut pupil = pupil.clone();
        async move {
            let status = pupil.get("/api/container/status").await.json();
            status["container"]["status"] == "running"
        }
    })
    .await;
    let status = pupil.get("/api/container/status").await.json();
    assert_eq!(status["container"]["id"], started["id"]);
    assert_eq!(text(&status["container"], "container_id"), member);
    gateway.stop().await;
}

#[tokio::test]
async fn a_container_that_two_hand_over_to_the_same_person_is_theirs() {
    let gateway = start_with(1, &[]).await;
    ready(&gateway, 1).await;
    gateway.engine.unnamed.store(true, Ordering::SeqCst);
    let mut pupil = gateway.program("pupil").await;
    let started = start(&mut pupil).await;
    assert_eq!(started["status"], "creating");
    // It takes the start for one that nobody is at, and does the same.
    let second = gateway.another().await;
    eventually("both give it its name", || async {
        let said = gateway.engine.said.lock().unwrap();
        let renames = said.iter().filter(|word| word.starts_with("rename to"));
        renames.count() == 2
    })
    .await;
    gateway.engine.unnamed.store(false, Ordering::SeqCst);
    eventually("it runs", || {
        let mut pupil = pupil.clone();
        async move {
            let status = pupil.get("/api/container/status").await.json();
            assert_eq!(
                status["container"]["status_reason"],
                Value::Null,
                "{status}"
            );
            status["container"]["status"] == "running"
        }
    })
    .await;
    // Whoever came second has had the time to fail.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = pupil.get("/api/container/status").await.json();
    assert_eq!(status["container"]["id"], started["id"]);
    assert_eq!(status["container"]["status"], "running", "{status}");
    second.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn one_that_its_maker_did_not_come_to_start_is_started_by_the_next() {
    let gateway = start_with(1, &[]).await;
    gateway.engine.held.store(true, Ordering::SeqCst);
    gateway.desktops.reconcile().await.unwrap();
    eventually("the engine is at it", || async {
        gateway.engine.starting.load(Ordering::SeqCst) == 1
    })
    .await;
    let gateway = gateway.killed_and_started_again().await;
    gateway.engine.held.store(false, Ordering::SeqCst);
    let made = gateway.engine.created.load(Ordering::SeqCst);
    let is_left = |state: ContainerState| {
        let all = gateway.engine.all();
        all.iter()
            .any(|(name, now)| is_member(name) && *now == state)
    };
    gateway.desktops.fill_pool().await.unwrap();
    assert!(is_left(ContainerState::Created), "its maker may be at it");
    gateway.clock.advance(Duration::from_secs(11));
    gateway.desktops.fill_pool().await.unwrap();
    assert!(is_left(ContainerState::Running));
    ready(&gateway, 1).await;
    assert_eq!(gateway.engine.created.load(Ordering::SeqCst), made);
    gateway.stop().await;
}

#[tokio::test]
async fn a_container_that_was_handed_out_and_has_no_row_is_an_orphan() {
    let template = exam(1);
    let settings = [(TEMPLATE, template.as_str()), ("INSTANCE", "school")];
    let gateway = TestGateway::start_with(&settings).await;
    ready(&gateway, 1).await;
    let mut pupil = gateway.program("pupil").await;
    let container = start(&mut pupil).await;
    ready(&gateway, 1).await;
    let waiting = members(&gateway);
    // An older database, in which that start is not.
    let backup = tempfile::tempdir().unwrap();
    let gateway = gateway
        .killed_and_started_with(&settings, Some(backup))
        .await;
    eventually("the orphan is gone", || async {
        let name = text(&container, "container_name");
        gateway.engine.spec_of(name).is_none()
    })
    .await;
    ready(&gateway, 1).await;
    assert_eq!(members(&gateway), waiting, "it is nobody's as before");
    gateway.stop().await;
}

#[tokio::test]
async fn the_pool_gives_way_to_people() {
    // Three at all: two members, and then a desktop in the place of one of them.
    let gateway = start_with(2, &[("MAX_DESKTOPS", "3")]).await;
    ready(&gateway, 2).await;
    let mut first = gateway.program("first").await;
    start(&mut first).await;
    ready(&gateway, 2).await;
    let mut second = gateway.program("second").await;
    start(&mut second).await;
    ready(&gateway, 1).await;
    let mut third = gateway.program("third").await;
    start(&mut third).await;
    ready(&gateway, 0).await;
    gateway.stop().await;

    // Memory limits add up in the same way: 2 GiB each.
    let gateway = start_with(2, &[("MAX_DESKTOP_MEMORY", "4g")]).await;
    ready(&gateway, 2).await;
    let mut first = gateway.program("first").await;
    start(&mut first).await;
    ready(&gateway, 1).await;
    gateway.stop().await;
}

/// Gateway with a pool on a machine with so many GiB of memory, one of which is to stay free. Each desktop may use two.
async fn start_small(warm: u32, memory: u64, settings: &[(&str, &str)]) -> TestGateway {
    let gateway = start_with(warm, &[settings, &[("MIN_FREE_MEMORY", "1g")]].concat()).await;
    gateway.engine.memory.store(memory * GIB, Ordering::SeqCst);
    gateway
}

#[tokio::test]
async fn a_pool_lets_nobody_in_but_those_who_get_its_containers() {
    // For one that is ready and has 2 GiB, and four that start.
    let gateway = start_small(1, 4, &[]).await;
    ready(&gateway, 1).await;
    gateway.engine.held.store(true, Ordering::SeqCst);
    assert_eq!(thirty_presses(&gateway).await, 5);
    gateway.engine.held.store(false, Ordering::SeqCst);
    eventually("five desktops run", || async {
        let all = gateway.engine.all();
        let run = |state: &ContainerState| *state == ContainerState::Running;
        all.iter().filter(|(_, state)| run(state)).count() == 5
    })
    .await;
    assert_eq!(members(&gateway), Vec::<String>::new());
    gateway.stop().await;
}

#[tokio::test]
async fn the_last_memory_is_for_a_person() {
    let other = "id = 'other'\nimage = 'i'\nhome = 'none'\nmemory = '4g'";
    let gateway = start_small(3, 7, &[(TEMPLATE, other)]).await;
    ready(&gateway, 3).await;
    let mut pupil = gateway.program("pupil").await;
    let (prefer, body) = ([("prefer", "wait=20")], r#"{"template":"other"}"#);
    let path = "/api/container/start";
    let started = pupil.send(Method::POST, path, &prefer, body).await;
    let container = started.json()["container"].clone();
    assert_eq!(container["status"], "running", "{}", started.text());
    ready(&gateway, 1).await;
    gateway.stop().await;

    // Somebody else on this machine takes the memory of two.
    let gateway = start_small(3, 7, &[]).await;
    ready(&gateway, 3).await;
    gateway.engine.memory.store(3 * GIB, Ordering::SeqCst);
    gateway.desktops.reconcile().await.unwrap();
    assert_eq!(members(&gateway).len(), 1, "two go in one pass");
    gateway.stop().await;
}

#[tokio::test]
async fn the_last_port_is_for_a_person() {
    let (from, to) = (own_ports(), own_ports() + 5);
    let range = format!("{from}-{to}");
    let other = "id = 'other'\nimage = 'i'\nhome = 'none'";
    let settings = [("PORT_RANGE", range.as_str()), (TEMPLATE, other)];
    let gateway = start_with(3, &settings).await;
    // Four stay free for as many starts as there may be at once.
    ready(&gateway, 2).await;
    for number in 0..6 {
        let mut pupil = gateway.program(&format!("pupil-{number}")).await;
        let prefer = [("prefer", "wait=20")];
        let body = r#"{"template":"other"}"#;
        let started = pupil
            .send(Method::POST, "/api/container/start", &prefer, body)
            .await;
        let container = started.json()["container"].clone();
        assert_eq!(container["status"], "running", "{}", started.text());
    }
    assert_eq!(members(&gateway), Vec::<String>::new());
    gateway.stop().await;
}

#[tokio::test]
async fn people_who_wait_come_first() {
    let gateway = start_with(2, &[("PARALLEL_STARTS", "1")]).await;
    ready(&gateway, 2).await;
    gateway.engine.held.store(true, Ordering::SeqCst);
    let mut pupils = JoinSet::new();
    for number in 0..4 {
        let mut pupil = gateway.program(&format!("pupil-{number}")).await;
        start(&mut pupil).await;
        pupils.spawn(async move {
            let last = async {
                loop {
                    let status = pupil.get("/api/container/status").await.json();
                    if status["container"]["status"] == "running" {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(PATIENCE, last).await.expect("it runs");
        });
    }
    gateway.desktops.fill_pool().await.unwrap();
    let new = gateway.engine.all();
    let new = new.iter().filter(|(name, _)| is_member(name)).count();
    // At most the one that was begun before anybody waited.
    assert!(new <= 1, "{new}");
    gateway.engine.held.store(false, Ordering::SeqCst);
    pupils.join_all().await;
    ready(&gateway, 2).await;
    gateway.stop().await;
}

#[tokio::test]
async fn what_no_template_wants_any_more_goes() {
    let gateway = start_with(2, &[]).await;
    ready(&gateway, 2).await;
    let repairs = gateway.desktops.repairs().await.unwrap();
    assert_eq!(repairs.len(), 0, "`deskgate cleanup` leaves the pool alone");
    let fewer = exam(1);
    let settings = [(TEMPLATE, fewer.as_str())];
    let gateway = gateway.killed_and_started_with(&settings, None).await;
    gateway.desktops.reconcile().await.unwrap();
    ready(&gateway, 1).await;
    gateway.engine.image_version.store(1, Ordering::SeqCst);
    let repairs = gateway.desktops.repairs().await.unwrap();
    let acts: Vec<_> = repairs.iter().map(Repair::as_str).collect();
    assert_eq!(
        acts,
        ["remove_member"],
        "but not what is not wanted any more"
    );
    let none = exam(0);
    let settings = [(TEMPLATE, none.as_str())];
    let gateway = gateway.killed_and_started_with(&settings, None).await;
    eventually("the pool is empty", || async {
        gateway.engine.all().is_empty()
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_kept_while_a_template_is_closed() {
    let hours =
        "hours = { timezone = 'Europe/Berlin', days = ['mon-fri'], from = '07:00', to = '18:00' }";
    let template = format!("{}\n{hours}", exam(1));
    let gateway = TestGateway::start_with(&[(TEMPLATE, &template)]).await;
    let set = |moment: &str| {
        let moment = OffsetDateTime::parse(moment, &Rfc3339).unwrap();
        gateway.clock.set(moment);
    };
    set("2026-03-27T10:00:00Z");
    ready(&gateway, 1).await;
    set("2026-03-27T17:01:00Z");
    gateway.desktops.reconcile().await.unwrap();
    ready(&gateway, 0).await;
    gateway.stop().await;
}
