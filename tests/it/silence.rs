//! A database whose machine dies in the middle of a call: the call ends, its place in the pool is free again, and what runs
//! for ever goes on when the database is back. On PostgreSQL, behind a relay that falls silent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use deskgate::config::{DatabaseConfig, Secret};
use deskgate::model::desktop::State;
use deskgate::model::id::DesktopId;
use deskgate::store::containers::Change;
use deskgate::store::{Database, StoreError};
use sqlx::Row as _;
use tokio::task::JoinSet;
use url::Url;

use crate::support::gateway::{PATIENCE, TestGateway, eventually};
use crate::support::postgres::OwnDatabase;
use crate::support::relay::Relay;

/// How long a call may take, with what is around it: a connection, the call, and giving the connection back.
const LONGEST: Duration = Duration::from_secs(5 + 10 + 2);

/// A relay in front of the server, and the address of the database through it. No statement is remembered, so that each
/// is said in full.
async fn relayed(own: &OwnDatabase) -> (Relay, String) {
    let mut url: Url = own.url.parse().unwrap();
    let host = url.host_str().unwrap_or("127.0.0.1");
    let port = url.port().unwrap_or(5432);
    let server: SocketAddr = tokio::net::lookup_host((host, port))
        .await
        .unwrap()
        .next()
        .unwrap();
    let relay = Relay::before(server).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(relay.addr.port())).unwrap();
    url.query_pairs_mut()
        .append_pair("statement-cache-capacity", "0");
    (relay, url.into())
}

#[tokio::test]
async fn a_call_to_a_database_that_died_ends_and_frees_its_place_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let (relay, url) = relayed(&own).await;
    let config = DatabaseConfig::Postgres(Secret::new(url));
    let db = Database::open(&config).await.unwrap();
    let max = db.pool().max;
    // All places are taken, and one of the calls is where it cannot know that nobody answers any more.
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..max {
        let db = db.clone();
        calls.spawn(async move { db.ping().await });
    }
    relay.silent_at("SELECT 1").await;
    let answers = tokio::time::timeout(LONGEST, calls.join_all()).await;
    let answers = answers.expect("no call hangs");
    let timed_out = |answer: &Result<(), StoreError>| matches!(answer, Err(StoreError::Timeout(_)));
    assert!(answers.iter().any(timed_out), "{answers:?}");
    println!("the calls ended after {:?}", begun.elapsed());

    relay.come_back();
    // As many as there are places, at the same time.
    let begun = Instant::now();
    let mut held = Vec::new();
    let Database::Postgres(pool) = &db else {
        panic!("not PostgreSQL");
    };
    while held.len() < max as usize {
        match pool.acquire().await {
            Ok(connection) => held.push(connection),
            // One of before that was still to be found dead.
            Err(error) => println!("{error}"),
        }
        assert!(begun.elapsed() < PATIENCE, "{} places", held.len());
    }
    drop(held);
    db.ping().await.unwrap();
    db.close().await;
    own.drop().await;
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_no_transaction_to_the_next_one_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let config = DatabaseConfig::Postgres(Secret::new(own.url.clone()));
    let db = Database::open(&config).await.unwrap();
    let Database::Postgres(pool) = &db else {
        panic!("not PostgreSQL");
    };
    // Given up at every moment from the beginning on, as those are whose browser goes away.
    for micros in (0..4_000).step_by(40) {
        let change = db.transition(
            DesktopId::random(),
            State::Running,
            State::Stopping,
            Change::default(),
        );
        let _ = tokio::time::timeout(Duration::from_micros(micros), change).await;
        // Outside a transaction, one begins with each statement.
        let row = sqlx::raw_sql("SELECT now() = statement_timestamp() AS own");
        let row = row.fetch_one(pool).await.unwrap();
        let own: bool = row.get("own");
        assert!(own, "given up after {micros} us");
    }
    db.close().await;
    own.drop().await;
}

/// A loop's own statement, known by `word`, gets no answer; the loop asks again when the database is back.
async fn a_loop_goes_on(word: &'static str) {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let (relay, url) = relayed(&own).await;
    let gateway = TestGateway::start_with(&[("DATABASE_URL", &url)]).await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    tokio::time::timeout(PATIENCE, relay.silent_at(word))
        .await
        .expect("it is said");
    let name = container["container_name"].as_str().unwrap();
    gateway.engine.vanish(name);
    tokio::time::sleep(LONGEST).await;
    relay.come_back();
    relay.watch(word);
    eventually("the loop asks again", || async { relay.times() > 1 }).await;
    eventually("the end of a desktop is seen", || {
        let mut pupil = pupil.clone();
        async move {
            let list = pupil.get("/api/container/list").await.json();
            list["containers"][0]["status"] == "error"
        }
    })
    .await;
    gateway.stop().await;
    own.drop().await;
}

#[tokio::test]
async fn the_watch_over_desktops_outlives_a_database_that_died_on_postgresql() {
    a_loop_goes_on("deskgate_desktops").await;
}

#[tokio::test]
async fn the_watch_over_sessions_outlives_a_database_that_died_on_postgresql() {
    a_loop_goes_on("deskgate_sessions").await;
}

#[tokio::test]
async fn reaper_and_reconciler_outlive_a_database_that_died_on_postgresql() {
    a_loop_goes_on("engine = $1 ORDER BY created_at").await;
}
