//! Sessions over time and over gateways: ends that are felt everywhere, rights that change, idleness.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use deskgate::authn::session::{Login, Sessions};
use deskgate::clock::{Clock, SystemClock};
use deskgate::config::{DatabaseConfig, OnLogout, SessionConfig};
use deskgate::model::user::{Identity, Role, User};
use deskgate::store::Database;
use deskgate::telemetry::metrics::Metrics;
use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::browser::{Browser, HOST, ORIGIN, at_provider};
use crate::support::gateway::{PATIENCE, TestGateway, identity};
use crate::support::postgres::OwnDatabase;

const SESSION: &str = "__Host-Http-session";
/// How soon the end of a session is felt everywhere.
const SOON: Duration = Duration::from_secs(1);

pub fn bearer(gateway: &TestGateway, session: &str) -> Browser {
    gateway
        .browser()
        .with("authorization", &format!("Bearer {session}"))
}

/// A stream to the desktop, through this gateway.
pub async fn stream(
    gateway: &TestGateway,
    session: &str,
    path: &str,
) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{HOST}{path}").into_client_request().unwrap();
    for (name, value) in [
        ("origin", ORIGIN),
        ("sec-websocket-protocol", "binary"),
        ("cookie", &format!("{SESSION}={session}")),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let socket = TcpStream::connect(gateway.addr).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, socket)
        .await
        .expect("it opens");
    assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
    socket
}

/// Waits for the end of a stream and says with which code it was closed.
pub async fn closed(socket: &mut WebSocketStream<TcpStream>) -> Option<u16> {
    let end = async {
        let mut code = None;
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                code = frame.map(|frame| frame.code.into());
            }
        }
        code
    };
    tokio::time::timeout(PATIENCE, end).await.expect("it ends")
}

pub async fn desktop_path(program: &mut Browser, gateway: &TestGateway) -> String {
    let container = gateway.running_desktop(program).await;
    format!("/desktop/{}/websockify", container["id"].as_str().unwrap())
}

/// What somebody on another gateway sees of a logout here.
async fn a_logout_is_felt_at_the_sibling(a: &TestGateway, b: &TestGateway) {
    let session = a.session("pupil").await;
    let mut at_a = bearer(a, &session);
    let mut at_b = bearer(b, &session);
    let path = desktop_path(&mut at_a, a).await;
    let mut socket = stream(b, &session, &path).await;
    let bystander = a.session("bystander").await;
    let mut other = bearer(b, &bystander);
    assert_eq!(other.get("/session").await.status, StatusCode::OK);
    let begun = Instant::now();
    assert_eq!(at_a.post("/logout", "").await.status, StatusCode::OK);
    assert_eq!(closed(&mut socket).await, Some(1008));
    let took = begun.elapsed();
    println!("a logout was felt after {took:?}");
    assert!(took < SOON, "{took:?}");
    assert_eq!(at_b.get("/session").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(other.get("/session").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_end_of_a_session_is_felt_in_another_process_on_the_same_file() {
    let a = TestGateway::start().await;
    let b = a.sibling().await;
    a_logout_is_felt_at_the_sibling(&a, &b).await;
    b.stop().await;
    a.stop().await;
}

#[tokio::test]
async fn the_end_of_a_session_is_felt_at_another_gateway_on_postgresql() {
    let Some(database) = OwnDatabase::create().await else {
        return;
    };
    let a = TestGateway::start_with(&[("DATABASE_URL", &database.url)]).await;
    let b = a.sibling().await;
    a_login_changes_gateways(&a, &b).await;
    a_logout_is_felt_at_the_sibling(&a, &b).await;
    // Without the connection that listens, and while it comes back, the regular check is enough.
    let listeners = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND query LIKE 'LISTEN%'",
        database.name()
    );
    database.admin(&listeners).await;
    a_logout_is_felt_at_the_sibling(&a, &b).await;
    b.stop().await;
    a.stop().await;
    database.drop().await;
}

/// The database as another process sees it, and the user of this name.
async fn beside(gateway: &TestGateway, name: &str) -> (Database, Sessions, User) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let user = database
        .upsert_user(&identity(name), clock.timestamp())
        .await
        .unwrap();
    let sessions = Sessions::new(
        database.clone(),
        clock,
        gateway.config.sessions,
        &Metrics::default(),
    );
    (database, sessions, user)
}

#[tokio::test]
async fn all_sessions_of_somebody_end_but_the_one_to_keep() {
    let gateway = TestGateway::start().await;
    let (kept, dropped) = (
        gateway.session("pupil").await,
        gateway.session("pupil").await,
    );
    let mut kept = bearer(&gateway, &kept);
    let path = desktop_path(&mut kept, &gateway).await;
    let mut socket = stream(&gateway, &dropped, &path).await;
    let (database, sessions, user) = beside(&gateway, "pupil").await;
    let keep = kept.get("/session").await.json()["session"]["id"].clone();
    let keep = keep.as_str().unwrap().parse().unwrap();
    let begun = Instant::now();
    let ended = sessions.end_others(user.id, keep).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(closed(&mut socket).await, Some(1008));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(kept.get("/session").await.status, StatusCode::OK);
    assert_eq!(sessions.end_all_of(user.id).await.unwrap().len(), 1);
    tokio::time::sleep(SOON).await;
    assert_eq!(kept.get("/session").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(sessions.end_all_of(user.id).await.unwrap(), []);
    database.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_change_of_rights_reaches_live_sessions_and_makes_streams_ask_again() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let mut pupil = bearer(&gateway, &session);
    let path = desktop_path(&mut pupil, &gateway).await;
    let mut socket = stream(&gateway, &session, &path).await;
    let (database, ..) = beside(&gateway, "pupil").await;
    let now = || SystemClock.timestamp();

    let mut renamed = identity("pupil");
    renamed.name = Some("A New Name".into());
    database.upsert_user(&renamed, now()).await.unwrap();
    tokio::time::sleep(SOON).await;
    let user = pupil.get("/session").await.json()["user"].clone();
    assert_eq!(
        (&user["name"], &user["role"]),
        (&"A New Name".into(), &"student".into())
    );
    socket.send(Message::binary(vec![7; 4])).await.unwrap();
    assert!(
        matches!(socket.next().await, Some(Ok(Message::Binary(_)))),
        "a new name cuts nothing"
    );

    let promoted = Identity {
        role: Role::Teacher,
        ..renamed
    };
    let begun = Instant::now();
    database.upsert_user(&promoted, now()).await.unwrap();
    assert_eq!(closed(&mut socket).await, Some(1008));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(
        pupil.get("/session").await.json()["user"]["role"],
        "teacher"
    );
    drop(stream(&gateway, &session, &path).await);
    database.close().await;
    gateway.stop().await;
}

#[derive(Debug)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> time::OffsetDateTime {
        let millis = i128::from(self.0.load(Ordering::Relaxed));
        time::OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).unwrap()
    }
}

#[tokio::test]
async fn a_session_in_memory_is_answered_without_the_database_for_no_longer_than_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let config = DatabaseConfig::Sqlite(Some(directory.path().join("deskgate.db")));
    let database = Database::open(&config).await.unwrap();
    let clock = Arc::new(HandClock(AtomicI64::new(1_700_000_000_000)));
    let config = SessionConfig {
        ttl: Duration::from_secs(3600),
        idle: Duration::from_secs(600),
        on_logout: OnLogout::Keep,
    };
    let sessions = Sessions::new(database.clone(), clock.clone(), config, &Metrics::default());
    let pupil = identity("pupil");
    let user = database
        .upsert_user(&pupil, clock.timestamp())
        .await
        .unwrap();
    let secret = sessions.create(&user, Login::default()).await.unwrap();
    let is_live = async || sessions.find(&secret).await.unwrap().is_some();
    assert!(is_live().await);
    sessions.check().await.unwrap();

    // Nothing is announced, as if the row had vanished by itself: only a look at the row would show it.
    let Database::Sqlite(pool) = &database else {
        panic!("it is SQLite");
    };
    let delete = sqlx::query("DELETE FROM oauth_sessions");
    assert_eq!(delete.execute(pool).await.unwrap().rows_affected(), 1);
    for _ in 0..5 {
        clock.0.fetch_add(999, Ordering::Relaxed);
        assert!(is_live().await, "the row was not asked for");
        sessions.check().await.unwrap();
    }
    clock.0.fetch_add(1000, Ordering::Relaxed);
    assert!(!is_live().await, "a word of a second ago is not believed");
    database.close().await;
}

#[tokio::test]
async fn a_session_ends_at_its_absolute_end_whatever_goes_on_under_it() {
    let gateway = TestGateway::start_with(&[("SESSION_TTL", "4s"), ("SESSION_IDLE", "3s")]).await;
    let session = gateway.session("pupil").await;
    let begun = Instant::now();
    let mut pupil = bearer(&gateway, &session);
    let path = desktop_path(&mut pupil, &gateway).await;
    let mut socket = stream(&gateway, &session, &path).await;
    let code = loop {
        match tokio::time::timeout(Duration::from_millis(300), closed(&mut socket)).await {
            Ok(code) => break code,
            Err(_) => {
                let _ = socket.send(Message::binary(vec![7; 4])).await;
            }
        }
    };
    let took = begun.elapsed();
    assert_eq!(code, Some(1008));
    assert!(
        took > Duration::from_millis(3900) && took < Duration::from_secs(6),
        "{took:?}"
    );
    assert_eq!(pupil.get("/session").await.status, StatusCode::UNAUTHORIZED);
    gateway.stop().await;
}

/// What a VNC client sends by itself, and what a person causes.
const HELLO: [&[u8]; 3] = [b"RFB 003.008\n", &[1], &[1]];
const ASK_FOR_PICTURE: [u8; 10] = [3, 0, 0, 0, 0, 0, 4, 0, 3, 0];
const KEY: [u8; 8] = [4, 1, 0, 0, 0, 0, 0, 0x61];

/// Sends the same every 300 ms until the stream is closed or the time is over.
async fn keep_sending(
    socket: &mut WebSocketStream<TcpStream>,
    bytes: &[u8],
    time: Duration,
) -> Option<u16> {
    let begun = Instant::now();
    while begun.elapsed() < time {
        let _ = socket.send(Message::binary(bytes.to_vec())).await;
        if let Ok(code) = tokio::time::timeout(Duration::from_millis(300), closed(socket)).await {
            return code;
        }
    }
    None
}

#[tokio::test]
async fn a_person_at_a_desktop_is_not_idle_and_an_open_tab_without_one_is() {
    let gateway = TestGateway::start_with(&[("SESSION_IDLE", "3s")]).await;
    let session = gateway.session("pupil").await;
    let path = desktop_path(&mut bearer(&gateway, &session), &gateway).await;
    let mut socket = stream(&gateway, &session, &path).await;
    for part in HELLO {
        socket.send(Message::binary(part.to_vec())).await.unwrap();
    }
    let longer = Duration::from_secs(5);
    assert_eq!(keep_sending(&mut socket, &KEY, longer).await, None);
    let begun = Instant::now();
    let code = keep_sending(&mut socket, &ASK_FOR_PICTURE, PATIENCE).await;
    assert_eq!(code, Some(1008));
    assert!(begun.elapsed() < longer, "{:?}", begun.elapsed());
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_that_is_used_elsewhere_is_not_idle_here() {
    let a = TestGateway::start_with(&[("SESSION_IDLE", "8s")]).await;
    let b = a.sibling().await;
    let session = a.session("pupil").await;
    let (mut at_a, mut at_b) = (bearer(&a, &session), bearer(&b, &session));
    let path = desktop_path(&mut at_a, &a).await;
    let mut socket = stream(&a, &session, &path).await;
    // Last uses are written every 5 s.
    for _ in 0..10 {
        assert_eq!(at_b.get("/session").await.status, StatusCode::OK);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    socket.send(Message::binary(vec![7; 4])).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
    assert_eq!(at_a.get("/session").await.status, StatusCode::OK);
    b.stop().await;
    a.stop().await;
}

/// A login that begins at one gateway and ends at the other, as behind a balancer.
async fn a_login_changes_gateways(a: &TestGateway, b: &TestGateway) {
    let mut browser = a.browser();
    let begin = browser.get("/login?return_to=/desktop/x/").await;
    let callback = at_provider(begin.header("location").unwrap(), "student").await;
    browser.gateway = b.addr;
    let done = browser.get(&callback[url::Position::BeforePath..]).await;
    assert_eq!(done.status, StatusCode::FOUND, "{}", done.text());
    assert_eq!(done.header("location"), Some("/desktop/x/"));
    for gateway in [b, a] {
        browser.gateway = gateway.addr;
        let session = browser.get("/session").await;
        assert_eq!(session.json()["user"]["username"], "student");
    }
}

#[tokio::test]
async fn a_login_begins_at_one_gateway_and_ends_at_another() {
    let a = TestGateway::start().await;
    let b = a.sibling().await;
    a_login_changes_gateways(&a, &b).await;
    b.stop().await;
    a.stop().await;
}
