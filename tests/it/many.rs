//! Several gateways on one database: what one of them does the others see, one of them leads, and what a dead one began
//! another one finishes. On SQLite and, where a server is at hand, on PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deskgate::model::desktop::State;
use deskgate::model::id::DesktopId;
use deskgate::store::Database;
use deskgate::store::containers::Change;
use futures_util::StreamExt;
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::browser::Browser;
use crate::support::gateway::{PATIENCE, TEMPLATE, TestGateway, eventually};
use crate::support::postgres::OwnDatabase;
use crate::support::socket::{open_events, open_h1};

/// How soon another gateway tells of a change.
const SOON: Duration = Duration::from_secs(1);
/// How long a gateway that does not reach the engine goes on leading.
const USELESS: Duration = Duration::from_secs(35);

/// The next event about a desktop that is like this, and how long it took.
async fn told(socket: &mut WebSocketStream<TcpStream>, like: impl Fn(&Value) -> bool) -> Duration {
    let begun = Instant::now();
    let hearing = async {
        loop {
            if let Some(Ok(Message::Text(text))) = socket.next().await {
                let event: Value = serde_json::from_str(&text).expect("JSON");
                if like(&event) {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, hearing)
        .await
        .expect("it is told");
    begun.elapsed()
}

fn becomes(status: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["type"] == "container" && event["container"]["status"] == status
}

async fn story_of_news(here: TestGateway) {
    let there = here.another().await;
    let session = here.session("pupil").await;
    let bearer = format!("Bearer {session}");
    let mut pupil = here.browser().with("authorization", &bearer);
    let mut abroad = there.browser().with("authorization", &bearer);
    let mut socket = open_events(&there, &session).await;

    let container = here.running_desktop(&mut pupil).await;
    let took = told(&mut socket, becomes("running")).await;
    assert!(took < SOON, "running after {took:?}");
    // Any gateway serves it, with its stream.
    let id = container["id"].as_str().expect("an id");
    let page = abroad.get(&format!("/desktop/{id}/")).await;
    assert_eq!(page.status, StatusCode::OK);
    let path = format!("/desktop/{id}/websockify");
    let mut stream = open_h1(&there, &path, &session).await;
    assert!(stream.next().await.is_some_and(|first| first.is_ok()));

    pupil.post("/api/container/stop", "").await;
    let took = told(&mut socket, becomes("stopped")).await;
    assert!(took < SOON, "stopped after {took:?}");
    let ended = async { while let Some(Ok(_)) = stream.next().await {} };
    tokio::time::timeout(SOON, ended)
        .await
        .expect("the stream there ends");
    let gone = abroad.get(&format!("/desktop/{id}/")).await;
    assert_ne!(gone.status, StatusCode::OK);

    pupil.post("/api/container/remove", "").await;
    let took = told(&mut socket, |event| event["type"] == "removed").await;
    assert!(took < SOON, "removed after {took:?}");
    // One that is removed at once leaves nothing behind at the other gateway either.
    let container = here.running_desktop(&mut pupil).await;
    let id = container["id"].as_str().expect("an id");
    let page = abroad.get(&format!("/desktop/{id}/")).await;
    assert_eq!(page.status, StatusCode::OK);
    pupil.post("/api/container/remove", "").await;
    eventually("the other gateway has forgotten it", || {
        let (mut abroad, path) = (abroad.clone(), format!("/desktop/{id}/"));
        async move { abroad.get(&path).await.status == StatusCode::NOT_FOUND }
    })
    .await;
    there.stop().await;
    here.stop().await;
}

#[tokio::test]
async fn the_story_of_news_on_sqlite() {
    story_of_news(TestGateway::start().await).await;
}

#[tokio::test]
async fn the_story_of_news_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    story_of_news(on(&own, &[]).await).await;
    own.drop().await;
}

async fn on(own: &OwnDatabase, settings: &[(&str, &str)]) -> TestGateway {
    let settings = [settings, &[("DATABASE_URL", own.url.as_str())]].concat();
    TestGateway::start_with(&settings).await
}

async fn fifty_starts(here: TestGateway) {
    let there = here.another().await;
    let session = here.session("pupil").await;
    let bearer = format!("Bearer {session}");
    let mut starts = JoinSet::new();
    for number in 0..50 {
        let gateway = if number % 2 == 0 { &here } else { &there };
        let mut pupil = gateway.browser().with("authorization", &bearer);
        starts.spawn(async move {
            let prefer = [("prefer", "wait=20")];
            let path = "/api/container/start";
            pupil.send(Method::POST, path, &prefer, "").await
        });
    }
    let answers = starts.join_all().await;
    let new = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED);
    assert_eq!(new.count(), 1);
    for answer in &answers {
        let (status, text) = (&answer.json()["container"]["status"], answer.text());
        assert_eq!(status, "running", "{text}");
    }
    assert_eq!(here.engine.created.load(Ordering::SeqCst), 1);
    assert_eq!(here.engine.all().len(), 1);
    there.stop().await;
    here.stop().await;
}

#[tokio::test]
async fn fifty_starts_of_one_person_over_two_gateways_make_one_desktop_on_sqlite() {
    let rate = [("START_RATE", "100/1m")];
    fifty_starts(TestGateway::start_with(&rate).await).await;
}

#[tokio::test]
async fn fifty_starts_of_one_person_over_two_gateways_make_one_desktop_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    fifty_starts(on(&own, &[("START_RATE", "100/1m")]).await).await;
    own.drop().await;
}

/// Forty people press start at the same moment, half of them at each gateway, where there is room for ten.
async fn forty_people(here: TestGateway) {
    let there = here.another().await;
    let mut starts = JoinSet::new();
    for number in 0..40 {
        let gateway = if number % 2 == 0 { &here } else { &there };
        let mut pupil = gateway.program(&format!("pupil-{number}")).await;
        starts.spawn(async move {
            let prefer = [("prefer", "wait=20")];
            let path = "/api/container/start";
            pupil.send(Method::POST, path, &prefer, "").await
        });
    }
    let (taken, refused): (Vec<_>, Vec<_>) = starts
        .join_all()
        .await
        .into_iter()
        .partition(|answer| answer.status == StatusCode::CREATED);
    assert_eq!((taken.len(), refused.len()), (10, 30));
    for answer in taken {
        let (status, text) = (&answer.json()["container"]["status"], answer.text());
        assert_eq!(status, "running", "{text}");
    }
    for answer in refused {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.code(), "capacity_exhausted");
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
    assert_eq!(here.engine.all().len(), 10);
    there.stop().await;
    here.stop().await;
}

const TEN: [(&str, &str); 1] = [("MAX_DESKTOPS", "10")];

#[tokio::test]
async fn of_forty_people_at_two_gateways_ten_get_the_ten_desktops_on_sqlite() {
    forty_people(TestGateway::start_with(&TEN).await).await;
}

#[tokio::test]
async fn of_forty_people_at_two_gateways_ten_get_the_ten_desktops_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    forty_people(on(&own, &TEN).await).await;
    own.drop().await;
}

/// Two desktops in an hour, wherever they are asked for, removed or not.
async fn story_of_the_rate(here: TestGateway) {
    let there = here.another().await;
    let bearer = format!("Bearer {}", here.session("pupil").await);
    let mut pupil = here.browser().with("authorization", &bearer);
    let mut abroad = there.browser().with("authorization", &bearer);
    for browser in [&mut pupil, &mut abroad] {
        let started = browser.post("/api/container/start", "").await;
        assert_eq!(started.status, StatusCode::CREATED, "{}", started.text());
        // A live one does not count, wherever it is found.
        let found = browser.post("/api/container/start", "").await;
        assert_eq!(found.status, StatusCode::OK);
        browser.post("/api/container/remove", "").await;
    }
    let next = here.another().await;
    let mut later = next.browser().with("authorization", &bearer);
    for browser in [&mut pupil, &mut abroad, &mut later] {
        let refused = browser.post("/api/container/start", "").await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.code(), "rate_limited");
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1700..=1800).contains(&seconds), "{seconds}");
        let list = browser.get("/api/container/list").await.json();
        assert_eq!(list["containers"], Value::Array(Vec::new()));
    }
    let started = next.program("other").await;
    let started = started.clone().post("/api/container/start", "").await;
    assert_eq!(
        started.status,
        StatusCode::CREATED,
        "others are not concerned"
    );
    next.stop().await;
    there.stop().await;
    here.stop().await;
}

const TWO_AN_HOUR: [(&str, &str); 1] = [("START_RATE", "2/1h")];

#[tokio::test]
async fn the_rate_of_starts_holds_over_gateways_on_sqlite() {
    let gateway = TestGateway::start_with(&TWO_AN_HOUR).await;
    Box::pin(story_of_the_rate(gateway)).await;
}

#[tokio::test]
async fn the_rate_of_starts_holds_over_gateways_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    Box::pin(story_of_the_rate(on(&own, &TWO_AN_HOUR).await)).await;
    own.drop().await;
}

/// What a start is at, as another gateway tells it.
async fn story_of_progress(here: TestGateway) {
    let there = here.another().await;
    let session = here.session("pupil").await;
    let bearer = format!("Bearer {session}");
    let mut pupil = here.browser().with("authorization", &bearer);
    let mut abroad = there.browser().with("authorization", &bearer);
    let mut socket = open_events(&there, &session).await;
    let started = pupil.post("/api/container/start", "").await;
    assert_eq!(started.status, StatusCode::CREATED);
    let at_forty = |event: &Value| {
        event["progress"]["step"] == "pulling" && event["progress"]["percent"] == 40
    };
    let took = told(&mut socket, at_forty).await;
    println!("the percentage is told elsewhere after {took:?}");
    let status = abroad.get("/api/container/status").await.json();
    assert!(at_forty(&status), "{status}");

    here.engine.held.store(true, Ordering::SeqCst);
    here.engine.pull_on.notify_one();
    told(&mut socket, |event| event["progress"]["step"] == "creating").await;
    let mut next = here.program("next").await;
    next.post("/api/container/start", "").await;
    next.gateway = there.addr;
    let status = next.get("/api/container/status").await.json();
    assert_eq!(status["queue"]["position"], 1, "{status}");
    assert_eq!(status["progress"]["step"], "queued", "{status}");
    here.engine.held.store(false, Ordering::SeqCst);
    told(&mut socket, becomes("running")).await;
    there.stop().await;
    here.stop().await;
}

const FAR: [(&str, &str); 2] = [
    (TEMPLATE, "id = 'far'\nimage = 'good/desktop:1'"),
    ("PARALLEL_STARTS", "1"),
];

#[tokio::test]
async fn any_gateway_tells_how_far_a_start_is_on_sqlite() {
    story_of_progress(TestGateway::start_with(&FAR).await).await;
}

#[tokio::test]
async fn any_gateway_tells_how_far_a_start_is_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    story_of_progress(on(&own, &FAR).await).await;
    own.drop().await;
}

async fn leads(gateway: &TestGateway) {
    eventually("it leads", || async {
        gateway.desktops.leader().is_leading()
    })
    .await;
}

#[tokio::test]
async fn one_gateway_leads_and_another_follows_it_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let first = on(&own, &[]).await;
    leads(&first).await;
    let second = first.another().await;
    let mut pupil = second.program("pupil").await;
    second.engine.held.store(true, Ordering::SeqCst);
    let started = pupil.post("/api/container/start", "").await;
    assert_eq!(started.status, StatusCode::CREATED);
    eventually("the engine is at it", || async {
        second.engine.starting.load(Ordering::SeqCst) == 1
    })
    .await;
    let report = first.desktops.reconcile().await.expect("a pass");
    assert_eq!(report.resumed, 0, "somebody else is at it");
    assert!(!second.desktops.leader().is_leading());

    // A connection that the server cuts is a lost lead, until it is taken again.
    own.admin(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database
         WHERE locktype = 'advisory' AND objid = 0 AND datname = '{}'",
        own.name()
    ))
    .await;
    eventually("the lead is lost", || async {
        !first.desktops.leader().is_leading()
    })
    .await;
    eventually("exactly one leads again", || async {
        first.desktops.leader().is_leading() != second.desktops.leader().is_leading()
    })
    .await;

    let begun = Instant::now();
    let (dead, mut alive) = (second, first);
    dead.kill().await;
    leads(&alive).await;
    println!("another gateway leads after {:?}", begun.elapsed());
    alive.engine.held.store(false, Ordering::SeqCst);
    pupil = alive.program("pupil").await;
    eventually("what the dead one began is finished", || {
        let mut pupil = pupil.clone();
        async move { status(&mut pupil).await == "running" }
    })
    .await;
    println!("its start is taken up after {:?}", begun.elapsed());
    assert_eq!(alive.engine.created.load(Ordering::SeqCst), 1);

    // One that goes in good order leaves no gap.
    let next = alive.another().await;
    let begun = Instant::now();
    alive.stop().await;
    leads(&next).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    alive = next;
    alive.stop().await;
    own.drop().await;
}

#[tokio::test]
async fn a_leader_that_has_lost_its_engine_makes_room_for_another_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let first = on(&own, &[]).await;
    leads(&first).await;
    first.engine.down.store(true, Ordering::SeqCst);
    let second = first.another_on(Arc::default()).await;
    let mut pupil = second.program("pupil").await;
    let container = second.running_desktop(&mut pupil).await;
    let name = container["container_name"].as_str().expect("a name");
    second.engine.vanish(name);

    let begun = Instant::now();
    let change = async {
        while !second.desktops.leader().is_leading() {
            assert_eq!(recorded(&mut pupil).await, "running", "nobody sees it");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(USELESS + PATIENCE, change)
        .await
        .expect("the other one leads");
    println!("the other gateway leads after {:?}", begun.elapsed());
    assert!(!first.desktops.leader().is_leading());
    eventually("the end of the desktop is seen", || {
        let mut pupil = pupil.clone();
        async move { recorded(&mut pupil).await == "error" }
    })
    .await;

    // An engine that is away for both is no reason for a change, and one that is back for the first neither.
    second.engine.down.store(true, Ordering::SeqCst);
    first.engine.down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(second.desktops.leader().is_leading());
    assert!(!first.desktops.leader().is_leading());
    // Whoever is left leads, fit or not.
    second.stop().await;
    leads(&first).await;
    first.stop().await;
    own.drop().await;
}

#[tokio::test]
async fn a_gateway_that_does_not_lead_finishes_its_own_stop_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let leader = on(&own, &[]).await;
    leads(&leader).await;
    let follower = leader.another().await;
    let mut pupil = follower.program("pupil").await;
    follower.running_desktop(&mut pupil).await;
    follower.engine.down.store(true, Ordering::SeqCst);
    let stopped = pupil.post("/api/container/stop", "").await;
    assert!(stopped.status.is_server_error(), "{}", stopped.text());
    assert_eq!(status(&mut pupil).await, "stopping");
    follower.engine.down.store(false, Ordering::SeqCst);
    eventually("the stop is finished when the engine is back", || {
        let mut pupil = pupil.clone();
        async move { status(&mut pupil).await == "stopped" }
    })
    .await;
    assert!(!follower.desktops.leader().is_leading());
    follower.stop().await;
    leader.stop().await;
    own.drop().await;
}

#[tokio::test]
async fn a_gateway_that_stands_still_in_a_transaction_holds_nobody_up_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let gateway = on(&own, &[]).await;
    let still = Database::connect(&gateway.config.database).await.unwrap();
    let Database::Postgres(pool) = &still else {
        panic!("not PostgreSQL");
    };
    let mut change = pool.begin().await.unwrap();
    // What every change of a desktop writes.
    sqlx::query("INSERT INTO meta (name, value) VALUES ('deskgate_desktops', '1') ON CONFLICT (name) DO UPDATE SET value = meta.value")
        .execute(&mut *change)
        .await
        .unwrap();
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    assert!(change.commit().await.is_err(), "it was given up");
    still.close().await;
    gateway.stop().await;
    own.drop().await;
}

#[tokio::test]
async fn a_start_that_was_taken_over_does_not_fail_with_whoever_began_it_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let gateway = on(&own, &[]).await;
    gateway.engine.held.store(true, Ordering::SeqCst);
    let mut pupil = gateway.program("pupil").await;
    let started = pupil.post("/api/container/start", "").await;
    let container = started.json()["container"].clone();
    let id: DesktopId = container["id"].as_str().unwrap().parse().unwrap();
    eventually("the engine is at it", || async {
        gateway.engine.starting.load(Ordering::SeqCst) == 1
    })
    .await;
    // Another gateway has finished it before this one comes to note that its own attempt failed.
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let row = database.find_desktop(id).await.unwrap().unwrap();
    assert!(database.take_up(&row, Some(1)).await.unwrap());
    for (from, to) in [
        (State::Creating, State::Starting),
        (State::Starting, State::Running),
    ] {
        let change = Change::default();
        assert!(database.transition(id, from, to, change).await.unwrap());
    }
    gateway.engine.down.store(true, Ordering::SeqCst);
    gateway
        .engine
        .vanish(container["container_name"].as_str().unwrap());
    gateway.engine.held.store(false, Ordering::SeqCst);
    eventually("its own attempt is over", || async {
        gateway.engine.starting.load(Ordering::SeqCst) == 0
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let row = database.find_desktop(id).await.unwrap().unwrap();
    assert_eq!(row.status, State::Running, "{row:?}");
    database.close().await;
    gateway.stop().await;
    own.drop().await;
}

/// What the row says, without a question to the engine.
async fn recorded(pupil: &mut Browser) -> String {
    let list = pupil.get("/api/container/list").await.json();
    let word = list["containers"][0]["status"].as_str();
    word.unwrap_or_default().to_owned()
}

async fn status(pupil: &mut Browser) -> String {
    let status = pupil.get("/api/container/status").await.json();
    let word = status["container"]["status"].as_str();
    word.unwrap_or_default().to_owned()
}
