//! Sessions in the database: how they are named, listed and ended, and that it is announced; on SQLite and, where
//! a server is at hand, on PostgreSQL.

use deskgate::authn::token::SessionSecret;
use deskgate::config::{DatabaseConfig, Secret};
use deskgate::model::id::{DesktopId, SessionHash, SessionId, UserId};
use deskgate::model::time::Timestamp;
use deskgate::model::user::{Identity, User};
use deskgate::store::Database;
use deskgate::store::notify::{News, SESSIONS};
use deskgate::store::sessions::{Ending, NewSession};

use crate::support::gateway::{PATIENCE, identity};
use crate::support::postgres::OwnDatabase;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn hash() -> SessionHash {
    SessionSecret::random().hash()
}

async fn begin(db: &Database, user: &User, (id, hash): (SessionId, &SessionHash), sid: &str) {
    let session = NewSession {
        id,
        hash,
        user: user.id,
        id_token: Some("token"),
        provider_sid: Some(sid),
        device: "Safari on iPad",
        address: Some("192.0.2.7".parse().unwrap()),
        now: at(100),
        expires_at: at(9000),
    };
    db.insert_session(session).await.unwrap();
}

async fn revision(db: &Database) -> i64 {
    db.revision(SESSIONS).await.unwrap()
}

/// Each way to name sessions finds its own and no other.
async fn endings(db: &Database, owner: &User, other: &User) {
    let (first, second) = (SessionId::random(), SessionId::random());
    let (issuer, subject) = (&*owner.identity.issuer, &*owner.identity.subject);
    let hash = hash();
    for (which, ends) in [
        (Ending::Hash(&hash), vec![first]),
        (Ending::Id(second), vec![second]),
        (Ending::Own(owner.id, first), vec![first]),
        (Ending::Own(other.id, first), vec![]),
        (Ending::User(owner.id), vec![first, second]),
        (Ending::User(other.id), vec![]),
        (Ending::Others(owner.id, first), vec![second]),
        (Ending::ProviderSid(issuer, "sid 1"), vec![first]),
        (Ending::ProviderSid("https://other.test", "sid 1"), vec![]),
        (Ending::Subject(issuer, subject), vec![first, second]),
        (Ending::Subject(issuer, "nobody"), vec![]),
    ] {
        db.end_sessions(Ending::User(owner.id)).await.unwrap();
        begin(db, owner, (first, &hash), "sid 1").await;
        begin(
            db,
            owner,
            (second, &SessionSecret::random().hash()),
            "sid 2",
        )
        .await;
        let before = revision(db).await;
        let ended = db.end_sessions(which).await.unwrap();
        let mut found: Vec<_> = ended.iter().map(|session| session.id).collect();
        found.sort_unstable_by_key(|id| *id == second);
        assert_eq!(found, ends, "{which:?}");
        let left = db.list_sessions(owner.id, at(200), at(0)).await.unwrap();
        assert_eq!(left.len() + ends.len(), 2, "{which:?}");
        let announced = revision(db).await > before;
        assert_eq!(announced, !ends.is_empty(), "{which:?}");
    }
    db.end_sessions(Ending::User(owner.id)).await.unwrap();
    let renamed = Identity {
        name: Some("A New Name".into()),
        ..owner.identity.clone()
    };
    let before = revision(db).await;
    let again = db.upsert_user(&owner.identity, at(10_000)).await.unwrap();
    assert_eq!(revision(db).await, before, "nothing is new");
    db.upsert_user(&renamed, at(10_000)).await.unwrap();
    assert!(revision(db).await > before);
    db.upsert_user(&again.identity, at(10_000)).await.unwrap();
}

async fn execute(db: &Database, sql: String) {
    let query = sqlx::AssertSqlSafe(sql);
    match db {
        Database::Sqlite(pool) => drop(sqlx::query(query).execute(pool).await.unwrap()),
        Database::Postgres(pool) => drop(sqlx::query(query).execute(pool).await.unwrap()),
    }
}

/// The desktops that a session started are known at its end, and can be another one's by then.
async fn desktops(db: &Database, user: &User) {
    let (old, new) = (hash(), hash());
    let (old_id, new_id) = (SessionId::random(), SessionId::random());
    begin(db, user, (old_id, &old), "sid 1").await;
    begin(db, user, (new_id, &new), "sid 1").await;
    let (id, owner) = (DesktopId::random(), user.id);
    let row = format!(
        "INSERT INTO containers (id, user_id, session_id, engine, template, container_name, image_name, status,
             container_port, created_at)
         VALUES ('{id}', '{owner}', '{old_id}', 'docker', 'a', 'name', 'image', 'running', 6901, 1)"
    );
    execute(db, row).await;
    let owned_by = async || db.find_desktop(id).await.unwrap().unwrap().session_id;
    let stranger = UserId::random();
    db.hand_over_desktops(stranger, &old, new_id).await.unwrap();
    assert_eq!(owned_by().await, Some(old_id), "it is somebody else's");
    db.hand_over_desktops(owner, &old, new_id).await.unwrap();
    assert_eq!(owned_by().await, Some(new_id));
    let ended = db.end_sessions(Ending::Hash(&old)).await.unwrap();
    assert_eq!(ended[0].desktops, []);
    let ended = db.end_sessions(Ending::Hash(&new)).await.unwrap();
    assert_eq!(
        (ended[0].id, &ended[0].hash, ended[0].user),
        (new_id, &new, owner)
    );
    assert_eq!(
        (&*ended[0].desktops, ended[0].id_token.as_deref()),
        (&[id][..], Some("token"))
    );
    assert_eq!(owned_by().await, None);
}

/// A list shows what lives, the last used first.
async fn lists(db: &Database, user: &User) {
    let (first, second) = (SessionId::random(), SessionId::random());
    begin(db, user, (first, &hash()), "sid 1").await;
    begin(db, user, (second, &hash()), "sid 2").await;
    let moved = "2001:db8::1".parse().unwrap();
    db.touch_sessions(&[(first, at(700), Some(moved))])
        .await
        .unwrap();
    let list = async |now, since| {
        let listed = db.list_sessions(user.id, at(now), at(since)).await.unwrap();
        listed
            .into_iter()
            .map(|session| session.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(800, 0).await, [first, second]);
    assert_eq!(list(800, 100).await, [first], "the other is idle");
    assert_eq!(list(9000, 0).await, []);
    let listed = db.list_sessions(user.id, at(800), at(0)).await.unwrap();
    let home = "192.0.2.7".parse().ok();
    assert_eq!(
        (listed[0].address, listed[0].last_address),
        (home, Some(moved))
    );
    assert_eq!(
        (listed[1].last_address, &*listed[1].device),
        (home, "Safari on iPad")
    );
    db.end_sessions(Ending::User(user.id)).await.unwrap();
}

async fn story(db: &Database) {
    let (owner, other) = (identity("owner"), identity("other"));
    let owner = db.upsert_user(&owner, at(1)).await.unwrap();
    let other = db.upsert_user(&other, at(1)).await.unwrap();
    endings(db, &owner, &other).await;
    desktops(db, &owner).await;
    lists(db, &owner).await;
}

#[tokio::test]
async fn the_story_of_sessions_on_sqlite() {
    let db = Database::open(&DatabaseConfig::Sqlite(None)).await.unwrap();
    story(&db).await;
    assert!(db.listen(&[SESSIONS]).await.unwrap().is_none());
    db.close().await;
}

#[tokio::test]
async fn the_story_of_sessions_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let config = DatabaseConfig::Postgres(Secret::new(own.url.clone()));
    let db = Database::open(&config).await.unwrap();
    story(&db).await;
    let mut listener = db
        .listen(&[SESSIONS])
        .await
        .unwrap()
        .expect("it can listen");
    let user = db.upsert_user(&identity("news"), at(1)).await.unwrap();
    begin(&db, &user, (SessionId::random(), &hash()), "sid").await;
    let heard = async |listener: &mut deskgate::store::notify::Listener| {
        let next = tokio::time::timeout(PATIENCE, listener.next()).await;
        next.expect("in time")
    };
    let announced = News::Announced {
        channel: SESSIONS.into(),
        payload: String::new(),
    };
    assert_eq!(
        heard(&mut listener).await.unwrap(),
        announced,
        "the new user"
    );
    db.end_sessions(Ending::User(user.id)).await.unwrap();
    assert_eq!(heard(&mut listener).await.unwrap(), announced);
    // A listener whose connection is lost says so, in one way or the other.
    own.admin(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND query LIKE 'LISTEN%'",
        own.name()
    ))
    .await;
    assert!(!matches!(
        heard(&mut listener).await,
        Ok(News::Announced { .. })
    ));
    drop(listener);
    db.close().await;
    own.drop().await;
}
