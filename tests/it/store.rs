//! The story of the store, on SQLite and, where a server is at hand, on PostgreSQL.

mod homes;
mod people;

use std::num::NonZeroU32;
use std::time::Duration;

use deskgate::authn::api_token::ApiTokenSecret;
use deskgate::authn::token::SessionSecret;
use deskgate::config::{DatabaseConfig, Secret};
use deskgate::model::desktop::{Activity, Desktop, State};
use deskgate::model::id::{DesktopId, SessionId, TokenId, UserId};
use deskgate::model::rate::Rate;
use deskgate::model::scope::Scopes;
use deskgate::model::template::Template;
use deskgate::model::time::Timestamp;
use deskgate::model::user::{Identity, Role, User};
use deskgate::store::api_tokens::NewToken;
use deskgate::store::containers::Change;
use deskgate::store::sessions::{Ending, NewSession};
use deskgate::store::starts::{Limits, Recorded};
use deskgate::store::{Database, StoreError};

use homes::homes;
use people::{audit, overview};

const ENGINE: &str = "docker";

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn identity(subject: &str) -> Identity {
    Identity {
        issuer: "https://id.test".into(),
        subject: subject.into(),
        username: format!("name of {subject}"),
        name: Some("Ünique Näme".into()),
        email: Some("mail@example.test".into()),
        role: Role::Teacher,
        groups: vec!["klasse.8a".into(), "Ümläut \"quoted\"".into()],
    }
}

fn desktop(user: &User, template: &str, port: u16) -> Desktop {
    let id = DesktopId::random();
    let name = format!("deskgate-test-{id}");
    let kasm = Template::kasm("image:1".into(), 6901);
    Desktop {
        template: template.into(),
        host_port: Some(port),
        ..Desktop::queued(&kasm, id, user.id, name, at(1000))
    }
}

async fn users(db: &Database) -> (User, User) {
    let first = db.upsert_user(&identity("one"), at(1)).await.unwrap();
    let mut renamed = identity("one");
    renamed.username = "another name".into();
    let again = db.upsert_user(&renamed, at(2)).await.unwrap();
    assert_eq!(
        again.id, first.id,
        "a user is (issuer, subject), whatever their name"
    );
    let second = db.upsert_user(&identity("two"), at(3)).await.unwrap();
    assert_ne!(second.id, first.id);
    (again, second)
}

async fn sessions(db: &Database, user: &User) -> SessionId {
    let (kept, dropped) = (
        SessionSecret::random().hash(),
        SessionSecret::random().hash(),
    );
    let kept_id = SessionId::random();
    for (id, hash, expires) in [(kept_id, &kept, 9000), (SessionId::random(), &dropped, 500)] {
        let session = NewSession {
            id,
            hash,
            user: user.id,
            id_token: Some("token"),
            provider_sid: None,
            device: "Firefox on Linux",
            address: None,
            now: at(100),
            expires_at: at(expires),
        };
        db.insert_session(session).await.unwrap();
    }
    let found = db.find_session(&kept).await.unwrap().expect("it is there");
    assert_eq!((found.id, &found.user), (kept_id, user));
    assert_eq!(
        (found.created_at, found.expires_at, found.last_seen),
        (at(100), at(9000), at(100))
    );
    db.touch_sessions(&[(kept_id, at(700), None)])
        .await
        .unwrap();
    db.touch_sessions(&[(kept_id, at(600), None)])
        .await
        .unwrap();
    assert_eq!(
        db.find_session(&kept).await.unwrap().unwrap().last_seen,
        at(700),
        "never backwards"
    );
    assert_eq!(db.count_expired_sessions(at(1000), at(0)).await.unwrap(), 1);
    assert_eq!(
        db.delete_expired_sessions(at(1000), at(0)).await.unwrap(),
        1
    );
    assert!(db.find_session(&dropped).await.unwrap().is_none());
    let ended = db.end_sessions(Ending::Hash(&dropped)).await.unwrap();
    assert_eq!(ended, []);
    kept_id
}

async fn tokens(db: &Database, first: &User, second: &User) {
    let scopes = Scopes::from_words("read desktops");
    let make = async |user: &User, name: &str, expires_at| {
        let (id, hash) = (TokenId::random(), ApiTokenSecret::random().hash());
        let token = NewToken {
            id,
            hash: &hash,
            user: user.id,
            name,
            scopes: &scopes,
            now: at(100),
            expires_at,
        };
        let made = db.insert_token(token, 2).await.unwrap();
        made.then_some((id, hash))
    };
    let (kept, kept_hash) = make(first, "kept", None).await.expect("made");
    let (_, short_hash) = make(first, "short", Some(at(500))).await.expect("made");
    assert_eq!(make(first, "third", None).await, None, "two are the limit");
    let (foreign, foreign_hash) = make(second, "foreign", None).await.expect("made");
    let hashes = [kept_hash.clone(), short_hash, foreign_hash];
    let found = db.find_tokens(&hashes).await.unwrap();
    assert_eq!(found.len(), 3);
    let read = found
        .iter()
        .find(|token| token.id == kept)
        .expect("it is there");
    assert_eq!(
        (&read.hash, &read.user, &*read.name),
        (&kept_hash, first, "kept")
    );
    assert_eq!((&read.scopes, read.created_at), (&scopes, at(100)));
    assert_eq!((read.expires_at, read.last_used), (None, None));
    for time in [700, 600] {
        db.touch_tokens(&[(kept, at(time))]).await.unwrap();
    }
    assert_eq!(db.list_tokens(None).await.unwrap().len(), 3);
    assert_eq!(db.clean_tokens(at(500), true).await.unwrap(), 1);
    assert_eq!(db.clean_tokens(at(500), false).await.unwrap(), 1);
    let own = db.list_tokens(Some(first.id)).await.unwrap();
    assert_eq!(
        (own.len(), own[0].last_used),
        (1, Some(at(700))),
        "never backwards"
    );
    db.lock_user(first.id, at(800)).await.unwrap();
    assert_eq!(
        db.find_tokens(&hashes).await.unwrap().len(),
        1,
        "a locked user's are none"
    );
    db.upsert_user(&first.identity, at(900)).await.unwrap();
    assert_eq!(db.find_tokens(&hashes).await.unwrap().len(), 2);
    assert_eq!(
        db.delete_token(foreign, Some(first.id)).await.unwrap(),
        None
    );
    let deleted = db.delete_token(kept, Some(first.id)).await.unwrap();
    assert_eq!(deleted, Some((kept_hash, first.id)));
    assert!(db.delete_token(foreign, None).await.unwrap().is_some());
    assert_eq!(
        db.find_users(&first.identity.username).await.unwrap().len(),
        1
    );
    assert_eq!(
        db.find_users(&second.id.to_string()).await.unwrap(),
        std::slice::from_ref(second)
    );
    assert!(db.find_users("nobody").await.unwrap().is_empty());
}

async fn desktops(db: &Database, first: &User, second: &User, session: SessionId) {
    let mut one = desktop(first, "a", 7000);
    one.session_id = Some(session);
    assert_eq!(record(db, &one).await, Recorded::Yes);
    assert_eq!(
        db.find_desktop(one.id).await.unwrap().as_ref(),
        Some(&one),
        "what is read is what was written"
    );
    let same = record(db, &desktop(first, "a", 7001)).await;
    assert_eq!(
        same,
        Recorded::AlreadyLive,
        "one live desktop per user and template"
    );
    let port = record(db, &desktop(second, "a", 7000)).await;
    assert_eq!(port, Recorded::PortTaken, "one desktop per port");
    let mut taken = desktop(second, "a", 7001);
    (taken.id, taken.container_name) = (one.id, one.container_name.clone());
    let id = record(db, &taken).await;
    assert_eq!(id, Recorded::IdTaken, "whoever is first has the container");
    let other = desktop(second, "a", 7001);
    assert_eq!(record(db, &other).await, Recorded::Yes);
    assert!(!db.change_port(other.id, 7000).await.unwrap());
    assert!(db.change_port(other.id, 7002).await.unwrap());
    let mut ports = db.ports_in_use(ENGINE).await.unwrap();
    ports.sort_unstable();
    assert_eq!(ports, [7000, 7002]);
    starter_gone(db, first).await;
    free_memory(db, first).await;
    pace(db, second).await;
    quotas(db, first, second).await;
    lifecycle(db, &one).await;
    let next = desktop(first, "a", 7000);
    assert_eq!(
        record(db, &next).await,
        Recorded::Yes,
        "place and port are free again"
    );
    assert_eq!(
        db.find_latest_desktop(first.id, Some("a"))
            .await
            .unwrap()
            .unwrap()
            .id,
        next.id
    );
    assert_eq!(db.list_desktops(first.id).await.unwrap().len(), 2);
    assert_eq!(db.all_desktops(ENGINE).await.unwrap().len(), 3);
    assert!(
        !db.delete_desktop(next.id).await.unwrap(),
        "a live desktop is not forgotten"
    );
    assert!(db.delete_desktop(one.id).await.unwrap());
    assert!(db.find_desktop(one.id).await.unwrap().is_none());
}

/// Memory of the story's desktops, bytes.
const MEMORY: u64 = 100;

const LIMITS: Limits = Limits {
    per_user: 1000,
    total: 1000,
    queued: 1000,
    memory: 1_000_000,
    free: None,
    rate: None,
};

async fn record(db: &Database, desktop: &Desktop) -> Recorded {
    let recorded = db.record_start(desktop, ENGINE, MEMORY, LIMITS).await;
    recorded.unwrap()
}

/// A session may end between the look at it and the start that it asked for.
async fn starter_gone(db: &Database, user: &User) {
    let mut next = desktop(user, "late", 7006);
    next.session_id = Some(SessionId::random());
    assert_eq!(record(db, &next).await, Recorded::StarterGone);
    let nobody = User {
        id: UserId::random(),
        ..user.clone()
    };
    let next = desktop(&nobody, "late", 7006);
    assert_eq!(record(db, &next).await, Recorded::StarterGone);
    assert!(db.find_desktop(next.id).await.unwrap().is_none());
}

/// Two desktops are on their way up with 100 bytes each, and neither has taken its memory yet.
async fn free_memory(db: &Database, user: &User) {
    for (free, missing) in [(-1, 301), (299, 1)] {
        let limits = Limits {
            free: Some(free),
            ..LIMITS
        };
        let next = desktop(user, "b", 7005);
        let recorded = db.record_start(&next, ENGINE, MEMORY, limits).await;
        assert_eq!(recorded.unwrap(), Recorded::FreeMemory(missing));
    }
}

/// Two desktops in an hour, whichever gateway makes them, and removed or not.
async fn pace(db: &Database, user: &User) {
    let hour = Duration::from_secs(60 * 60);
    let limits = Limits {
        rate: Some(Rate::new(NonZeroU32::new(2).unwrap(), hour)),
        ..LIMITS
    };
    let begin = at(10_000_000);
    let ask = async |after: Duration, limits: Limits| {
        let mut next = desktop(user, "pace", 7005);
        next.created_at = begin.after(after);
        let recorded = db.record_start(&next, ENGINE, MEMORY, limits).await;
        if recorded.as_ref().unwrap() == &Recorded::Yes {
            let (from, to) = (State::Queued, State::Error);
            let change = Change::default();
            assert!(db.transition(next.id, from, to, change).await.unwrap());
            assert!(db.delete_desktop(next.id).await.unwrap());
        }
        recorded.unwrap()
    };
    let full = Limits { total: 0, ..limits };
    assert_eq!(ask(Duration::ZERO, full).await, Recorded::TotalQuota);
    for _ in 0..2 {
        assert_eq!(ask(Duration::ZERO, limits).await, Recorded::Yes);
    }
    let half = hour / 2;
    for refused in [limits, full] {
        let recorded = ask(Duration::ZERO, refused).await;
        assert_eq!(recorded, Recorded::TooOften(half));
    }
    assert_eq!(ask(half, limits).await, Recorded::Yes);
    assert_eq!(ask(half, limits).await, Recorded::TooOften(half));
}

/// Two desktops of two people wait, with 100 bytes each.
async fn quotas(db: &Database, first: &User, second: &User) {
    let ask = async |limits| {
        let next = desktop(first, "b", 7005);
        let recorded = db.record_start(&next, ENGINE, MEMORY, limits).await;
        recorded.unwrap()
    };
    let per_user = Limits {
        per_user: 1,
        ..LIMITS
    };
    assert_eq!(ask(per_user).await, Recorded::UserQuota);
    assert_eq!(
        ask(Limits { total: 2, ..LIMITS }).await,
        Recorded::TotalQuota
    );
    assert_eq!(
        ask(Limits {
            queued: 2,
            ..LIMITS
        })
        .await,
        Recorded::QueueFull
    );
    assert_eq!(
        ask(Limits {
            memory: 299,
            ..LIMITS
        })
        .await,
        Recorded::Memory
    );
    let same = desktop(first, "a", 7005);
    let recorded = db.record_start(&same, ENGINE, MEMORY, per_user).await;
    assert_eq!(
        recorded.unwrap(),
        Recorded::AlreadyLive,
        "it is theirs, quota or not"
    );
    assert_eq!(
        db.all_desktops(ENGINE).await.unwrap().len(),
        2,
        "a refusal leaves no row"
    );

    let exact = Limits {
        per_user: 2,
        total: 3,
        queued: 3,
        memory: 300,
        free: Some(300),
        ..LIMITS
    };
    assert_eq!(ask(exact).await, Recorded::Yes);
    let queue = db.queued_desktops(ENGINE).await.unwrap();
    assert_eq!(queue.len(), 3);
    let third = queue
        .iter()
        .find(|waiting| waiting.template == "b")
        .unwrap();
    assert!(
        db.transition(third.id, State::Queued, State::Error, Change::default())
            .await
            .unwrap()
    );
    assert!(db.delete_desktop(third.id).await.unwrap());

    // Many at once, each of another template, so that only the count stands against them.
    let mut at_once = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (db, next) = (
            db.clone(),
            desktop(second, &format!("many-{number}"), 7100 + number),
        );
        let limits = Limits {
            per_user: 4,
            ..LIMITS
        };
        at_once.spawn(async move {
            let recorded = db
                .record_start(&next, ENGINE, MEMORY, limits)
                .await
                .unwrap();
            (recorded == Recorded::Yes).then_some(next.id)
        });
    }
    let started: Vec<DesktopId> = at_once.join_all().await.into_iter().flatten().collect();
    assert_eq!(started.len(), 3, "one was there, and four may be");
    for id in started {
        assert!(
            db.transition(id, State::Queued, State::Error, Change::default())
                .await
                .unwrap()
        );
        assert!(db.delete_desktop(id).await.unwrap());
    }
}

async fn lifecycle(db: &Database, one: &Desktop) {
    let change = Change {
        container_id: Some("abc"),
        started_at: Some(at(2000)),
        ..Change::default()
    };
    assert!(
        db.transition(one.id, State::Queued, State::Creating, change)
            .await
            .unwrap()
    );
    let stale = db
        .transition(one.id, State::Queued, State::Creating, Change::default())
        .await
        .unwrap();
    assert!(!stale, "of two who change a desktop at once one is refused");
    let seen = |accessed, input| Activity {
        desktop: one.id,
        accessed: at(accessed),
        input,
        used: input,
    };
    db.touch_desktops(&[seen(3000, Some(at(2900))), seen(2500, Some(at(2400)))])
        .await
        .unwrap();
    db.touch_desktops(&[seen(2500, None)]).await.unwrap();
    let touched = db.find_desktop(one.id).await.unwrap().unwrap();
    assert_eq!(
        (touched.last_accessed, touched.last_input, touched.last_used),
        (Some(at(3000)), Some(at(2900)), Some(at(2900))),
        "none goes back"
    );
    for (used, extended) in [(Some(at(2899)), None), (None, Some(0))] {
        let change = Change {
            unless_used_after: used,
            unless_extended_beyond: extended,
            ..Change::default()
        };
        assert_eq!(change.is_defeated_by(&touched), used.is_some());
        if used.is_some() {
            let moved = db.transition(one.id, State::Creating, State::Stopping, change);
            assert!(!moved.await.unwrap(), "newer input defeats an idle stop");
        }
    }
    let change = Change {
        reason: Some("why"),
        detail: Some("behind it"),
        stopped_at: Some(at(4000)),
        ..Change::default()
    };
    assert!(
        db.transition(one.id, State::Creating, State::Error, change)
            .await
            .unwrap()
    );
    let row = db.find_desktop(one.id).await.unwrap().unwrap();
    assert_eq!(
        (row.status, row.status_reason.as_deref()),
        (State::Error, Some("why"))
    );
    assert_eq!(row.status_detail.as_deref(), Some("behind it"));
    assert_eq!(
        (row.container_id.as_deref(), row.started_at),
        (Some("abc"), Some(at(2000)))
    );
    assert_eq!(
        (row.stopped_at, row.last_accessed),
        (Some(at(4000)), Some(at(3000)))
    );
}

async fn story(config: DatabaseConfig) {
    let db = Database::connect(&config).await.unwrap();
    let applied = db.migrate().await.unwrap();
    assert_eq!(applied.first().map(String::as_str), Some("0001 first"));
    assert_eq!(
        db.migrate().await.unwrap(),
        Vec::<String>::new(),
        "a second time there is nothing to do"
    );
    db.ping().await.unwrap();
    let instance = db.instance().await.unwrap();
    assert_eq!(
        db.instance().await.unwrap(),
        instance,
        "the installation keeps its name"
    );
    let (first, second) = users(&db).await;
    let session = sessions(&db, &first).await;
    desktops(&db, &first, &second, session).await;
    tokens(&db, &first, &second).await;
    audit(&db, &first, &second).await;
    homes(&db, &first, &second).await;
    overview(&db, &first, &second).await;
    assert!(db.list_desktops(UserId::random()).await.unwrap().is_empty());
    db.close().await;
    assert!(db.ping().await.is_err());
}

#[tokio::test]
async fn the_story_on_sqlite_in_memory() {
    story(DatabaseConfig::Sqlite(None)).await;
}

#[tokio::test]
async fn the_story_on_sqlite_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    story(DatabaseConfig::Sqlite(Some(
        directory.path().join("new/deskgate.db"),
    )))
    .await;
}

#[tokio::test]
async fn two_gateways_on_one_sqlite_file_wait_for_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let config = DatabaseConfig::Sqlite(Some(directory.path().join("deskgate.db")));
    let (a, b) = (
        Database::open(&config).await.unwrap(),
        Database::open(&config).await.unwrap(),
    );
    let user = a.upsert_user(&identity("one"), at(1)).await.unwrap();
    let write = async |db: &Database, first: u16| {
        for port in first..first + 50 {
            let row = desktop(&user, &format!("template-{port}"), port);
            assert_eq!(record(db, &row).await, Recorded::Yes);
        }
    };
    tokio::join!(write(&a, 7000), write(&b, 7100));
    assert_eq!(a.all_desktops(ENGINE).await.unwrap().len(), 100);
    tokio::time::timeout(Duration::from_secs(5), a.close())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_story_on_postgresql() {
    let Ok(url) = std::env::var("DESKGATE_TEST_POSTGRES") else {
        println!("skipped: DESKGATE_TEST_POSTGRES is not set; scripts/test sets it");
        return;
    };
    story(DatabaseConfig::Postgres(Secret::new(url))).await;
}

#[tokio::test]
async fn a_move_that_no_desktop_makes_is_refused_by_every_build() {
    let db = Database::open(&DatabaseConfig::Sqlite(None)).await.unwrap();
    for from in State::ALL {
        for to in State::ALL {
            let change = Change::default();
            let moved = db.transition(DesktopId::random(), from, to, change).await;
            match moved {
                Ok(moved) => assert!(!moved && from.may_become(to), "{from:?} to {to:?}"),
                Err(StoreError::Illegal(..)) => assert!(!from.may_become(to)),
                Err(error) => panic!("{from:?} to {to:?}: {error}"),
            }
        }
    }
    db.close().await;
}
