//! From every version forward: a database with the rows of a program of then is brought up to date by this one, which reads
//! all that was written, and writes on. On SQLite and, where a server is at hand, on PostgreSQL.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use deskgate::config::{DatabaseConfig, Secret};
use deskgate::model::desktop::{Desktop, State, Watched};
use deskgate::model::id::{SessionHash, TokenHash};
use deskgate::model::time::Timestamp;
use deskgate::model::user::{Identity, Role, User};
use deskgate::store::Database;
use deskgate::store::audit::Filter;
use deskgate::store::containers::Change;
use deskgate::store::homes::OldHome;
use deskgate::store::migrations::newest;
use deskgate::store::notify::SESSIONS;
use deskgate::store::starts::{Limits, Recorded};
use sqlx::migrate::Migrator;

use crate::support::postgres::OwnDatabase;

const USER: &str = "11111111-1111-4111-8111-111111111111";
const TEACHER: &str = "22222222-2222-4222-8222-222222222222";
const SESSION: &str = "33333333-3333-4333-8333-333333333333";
const RUNNING: &str = "44444444-4444-4444-8444-444444444444";
const STOPPED: &str = "55555555-5555-4555-8555-555555555555";
const TOKEN: &str = "66666666-6666-4666-8666-666666666666";
const AUDIT: &str = "01900000-0000-7000-8000-000000000001";
const FINGERPRINT: &str = "q1w2e3r4t5z6u7i8o9p0q1w2e3r4t5z6u7i8o9p0q1w=";

/// What programs wrote, and from which migration on until which one they wrote it so. Two people, a session, a desktop that
/// runs and one that has ended, and what was added to them.
const WRITTEN: [(RangeInclusive<i64>, &str); 20] = [
    (1..=1, "INSERT INTO users (id, issuer, subject, username, email, role, groups, created_at, last_login)
        VALUES ('{USER}', 'https://id.test', 'one', 'anna', 'anna@id.test', 'student', '[\"klasse.8a\"]', 10, 20)"),
    (2..=99, "INSERT INTO users (id, issuer, subject, username, email, role, groups, created_at, last_login, version)
        VALUES ('{USER}', 'https://id.test', 'one', 'anna', 'anna@id.test', 'student', '[\"klasse.8a\"]', 10, 20, 20)"),
    (1..=99, "INSERT INTO users (id, issuer, subject, username, name, role, groups, created_at, last_login)
        VALUES ('{TEACHER}', 'https://id.test', 'two', 'bert', 'Bert', 'teacher', '[]', 11, 21)"),
    (1..=1, "INSERT INTO oauth_sessions (id, token_hash, user_id, id_token, created_at, expires_at, last_seen)
        VALUES ('{SESSION}', '{HASH}', '{USER}', 'an id token', 20, 90000, 4000)"),
    (2..=99, "INSERT INTO oauth_sessions (id, token_hash, user_id, id_token, provider_sid, device, address, last_address,
            created_at, expires_at, last_seen)
        VALUES ('{SESSION}', '{HASH}', '{USER}', 'an id token', 'sid', 'Firefox on Linux', '192.0.2.1', '192.0.2.2',
            20, 90000, 4000)"),
    (2..=99, "INSERT INTO meta (name, value) VALUES ('deskgate_sessions', '7')"),
    (1..=99, "INSERT INTO meta (name, value) VALUES ('instance', 'a1b2c3d4')"),
    (1..=99, "INSERT INTO containers (id, user_id, session_id, engine, template, container_id, container_name, image_name,
            status, host_port, container_port, created_at, started_at, last_accessed, last_input)
        VALUES ('{RUNNING}', '{USER}', '{SESSION}', 'docker', 'desktop', 'abc', 'deskgate-a1b2c3d4-anna', 'image:1',
            'running', 7001, 6901, 1000, 2000, 5000, 4500)"),
    (1..=99, "INSERT INTO containers (id, user_id, engine, template, container_name, image_name,
            status, status_reason, host_port, container_port, created_at, started_at, stopped_at)
        VALUES ('{STOPPED}', '{TEACHER}', 'docker', 'desktop', 'deskgate-a1b2c3d4-bert', 'image:1',
            'stopped', 'asked', 7001, 6901, 100, 200, 300)"),
    (3..=99, "INSERT INTO api_tokens (id, token_hash, user_id, name, scopes, created_at, last_used)
        VALUES ('{TOKEN}', '{HASH}', '{USER}', 'a script', 'read desktops', 30, 40)"),
    (4..=99, "INSERT INTO audit_log (id, at, action, outcome, actor_kind, actor_id, actor_name, subject_id, object_kind,
            object_id, address, request_id, details)
        VALUES ('{AUDIT}', 1000, 'start', 'ok', 'user', '{USER}', 'anna', '{USER}', 'desktop', '{RUNNING}', '192.0.2.1',
            'r1', '{\"template\":\"desktop\"}')"),
    (5..=99, "INSERT INTO refresh_tokens (session_hash, sealed, due_at) VALUES ('{HASH}', 'sealed', 6000)"),
    (6..=99, "INSERT INTO desktop_certificates (desktop_id, fingerprint) VALUES ('{RUNNING}', '{FINGERPRINT}')"),
    (6..=99, "INSERT INTO homes (user_id, template, generation) VALUES ('{USER}', 'desktop', 1)"),
    (6..=99, "INSERT INTO old_homes (volume, engine, user_id, template, retired_at)
        VALUES ('deskgate-a1b2c3d4-home', 'docker', '{USER}', 'desktop', 900)"),
    (7..=99, "UPDATE containers SET last_used = 4800, extensions = 2 WHERE id = '{RUNNING}'"),
    (14..=99, "UPDATE containers SET watched_by = '{TEACHER}', watched_name = 'Bert', watched_until = 8000
        WHERE id = '{RUNNING}'"),
    (8..=99, "UPDATE containers SET memory = 1000 WHERE id = '{RUNNING}'"),
    (12..=99, "UPDATE containers SET gateway = 77 WHERE id = '{RUNNING}'"),
    (13..=99, "UPDATE containers SET status_detail = 'the last line' WHERE id = '{STOPPED}'"),
];

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn hash() -> String {
    "0123456789abcdef".repeat(4)
}

async fn write(db: &Database, sql: &str) {
    let mut sql = sql.to_owned();
    for (name, value) in [
        ("{USER}", USER),
        ("{TEACHER}", TEACHER),
        ("{SESSION}", SESSION),
        ("{RUNNING}", RUNNING),
        ("{STOPPED}", STOPPED),
        ("{TOKEN}", TOKEN),
        ("{AUDIT}", AUDIT),
        ("{FINGERPRINT}", FINGERPRINT),
        ("{HASH}", &hash()),
    ] {
        sql = sql.replace(name, value);
    }
    let query = sqlx::AssertSqlSafe(sql);
    match db {
        Database::Sqlite(pool) => drop(sqlx::query(query).execute(pool).await.unwrap()),
        Database::Postgres(pool) => drop(sqlx::query(query).execute(pool).await.unwrap()),
    }
}

fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")
}

/// The numbers of all migrations.
fn versions() -> Vec<i64> {
    let files = std::fs::read_dir(migrations()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut numbers: Vec<i64> = names.map(|name| name[..4].parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// A database as a program of then left it.
async fn left_by(config: &DatabaseConfig, version: i64) -> Database {
    let all = Migrator::new(migrations()).await.unwrap();
    let db = Database::connect(config).await.unwrap();
    match &db {
        Database::Sqlite(pool) => all.run_to(version, pool).await.unwrap(),
        Database::Postgres(pool) => all.run_to(version, pool).await.unwrap(),
    }
    for (when, sql) in WRITTEN {
        if when.contains(&version) {
            write(&db, sql).await;
        }
    }
    db
}

fn anna() -> User {
    User {
        id: USER.parse().unwrap(),
        identity: Identity {
            issuer: "https://id.test".into(),
            subject: "one".into(),
            username: "anna".into(),
            name: None,
            email: Some("anna@id.test".into()),
            role: Role::Student,
            groups: vec!["klasse.8a".into()],
        },
    }
}

/// The desktop that runs, as a program of this version wrote it.
fn running(version: i64) -> Desktop {
    let watched = Watched {
        by: Some(TEACHER.parse().unwrap()),
        name: "Bert".into(),
        until: at(8000),
    };
    Desktop {
        id: RUNNING.parse().unwrap(),
        user_id: USER.parse().unwrap(),
        session_id: Some(SESSION.parse().unwrap()),
        container_id: Some("abc".into()),
        container_name: "deskgate-a1b2c3d4-anna".into(),
        image_name: "image:1".into(),
        template: "desktop".into(),
        status: State::Running,
        status_reason: None,
        status_detail: None,
        pull_percent: None,
        host_port: Some(7001),
        container_port: 6901,
        created_at: at(1000),
        started_at: Some(at(2000)),
        stopped_at: None,
        last_accessed: Some(at(5000)),
        last_input: Some(at(4500)),
        // What is in use during an update has not been idle since its start.
        last_used: Some(at(if version < 7 { 5000 } else { 4800 })),
        extensions: if version < 7 { 0 } else { 2 },
        gateway: (version >= 12).then_some(77),
        watched: (version >= 14).then_some(watched),
    }
}

async fn people_are_read(db: &Database, version: i64) {
    assert_eq!(db.find_users("anna").await.unwrap(), [anna()]);
    let found = db.find_session(&SessionHash::from_hex(hash())).await;
    let found = found.unwrap().expect("a session");
    assert_eq!(
        (found.id.to_string(), &found.user),
        (SESSION.into(), &anna())
    );
    let times = (found.created_at, found.expires_at, found.last_seen);
    assert_eq!(times, (at(20), at(90000), at(4000)));
    assert_eq!(found.user_version, if version < 2 { 0 } else { 20 });
    let listed = db.list_sessions(anna().id, at(5000), at(0)).await.unwrap();
    assert_eq!(listed.len(), 1);
    let seen = listed[0].last_address.map(|address| address.to_string());
    assert_eq!(seen.as_deref(), (version >= 2).then_some("192.0.2.2"));
    let revision = db.revision(SESSIONS).await.unwrap();
    assert_eq!(revision, if version < 2 { 0 } else { 7 });

    let tokens = db
        .find_tokens(&[TokenHash::from_hex(hash())])
        .await
        .unwrap();
    assert_eq!(tokens.len(), usize::from(version >= 3));
    for token in tokens {
        assert_eq!(
            (token.id.to_string(), &*token.name),
            (TOKEN.into(), "a script")
        );
        assert_eq!(
            (&token.user, &*token.scopes.to_words()),
            (&anna(), "read desktops")
        );
        assert_eq!((token.expires_at, token.last_used), (None, Some(at(40))));
    }
    let entries = db.list_audit(&Filter::default(), 10).await.unwrap();
    assert_eq!(entries.len(), usize::from(version >= 4));
    for entry in entries {
        assert_eq!((&*entry.action, entry.at), ("start", at(1000)));
        assert_eq!(entry.subject_name.as_deref(), Some("anna"));
        assert_eq!(entry.details["template"], "desktop");
    }
    let due = db.claim_refresh_tokens(at(6000), at(7000), 10).await;
    let sealed: Vec<_> = due.unwrap().into_iter().map(|due| due.sealed).collect();
    assert_eq!(sealed, vec!["sealed"; usize::from(version >= 5)]);
}

async fn desktops_are_read(db: &Database, version: i64) {
    let found = db.find_desktop(running(version).id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&running(version)));
    let ended = db.find_desktop(STOPPED.parse().unwrap()).await.unwrap();
    let ended = ended.expect("the other desktop");
    assert_eq!(
        (ended.status, ended.stopped_at),
        (State::Stopped, Some(at(300)))
    );
    assert_eq!(ended.status_reason.as_deref(), Some("asked"));
    let detail = (version >= 13).then_some("the last line");
    assert_eq!(ended.status_detail.as_deref(), detail);
    assert_eq!(db.ports_in_use("docker").await.unwrap(), [7001]);

    let pinned = db.pinned_certificate(running(version).id).await.unwrap();
    assert_eq!(pinned.as_deref(), (version >= 6).then_some(FINGERPRINT));
    let generation = db.home_generation(anna().id, "desktop").await.unwrap();
    assert_eq!(generation, i64::from(version >= 6));
    let old = OldHome {
        volume: "deskgate-a1b2c3d4-home".into(),
        user_id: anna().id,
        template: "desktop".into(),
        retired_at: at(900),
    };
    let old = vec![old; usize::from(version >= 6)];
    assert_eq!(db.old_homes("docker", at(9000)).await.unwrap(), old);
    let instance = db.known_instance().await.unwrap();
    assert_eq!(instance.as_deref(), Some("a1b2c3d4"));
}

/// The old rows are in nobody's way.
async fn life_goes_on(db: &Database, version: i64) {
    let again = db.upsert_user(&anna().identity, at(9000)).await.unwrap();
    assert_eq!(again.id, anna().id);
    let next = Desktop {
        id: deskgate::model::id::DesktopId::random(),
        container_name: "deskgate-a1b2c3d4-next".into(),
        status: State::Queued,
        host_port: Some(7002),
        container_id: None,
        watched: None,
        ..running(version)
    };
    let limits = Limits {
        per_user: 9,
        total: 9,
        queued: 9,
        memory: 2000,
        free: None,
        rate: None,
    };
    let record = async || {
        db.record_start(&next, "docker", 1000, limits)
            .await
            .unwrap()
    };
    assert_eq!(record().await, Recorded::AlreadyLive);
    let id = running(version).id;
    for (from, to) in [
        (State::Running, State::Stopping),
        (State::Stopping, State::Stopped),
    ] {
        let moved = db.transition(id, from, to, Change::default()).await;
        assert!(moved.unwrap(), "{to:?}");
    }
    assert_eq!(record().await, Recorded::Yes);
    // It refuses a database that has other tables or columns than a new one.
    let counts = db.export(&mut Vec::new(), at(0)).await.unwrap();
    assert_eq!(counts["containers"], 3);
}

async fn from_each_version(mut config: impl AsyncFnMut(i64) -> DatabaseConfig) {
    let versions = versions();
    assert_eq!(versions.last(), Some(&newest()));
    for version in versions {
        println!("from {version:04}");
        let db = left_by(&config(version).await, version).await;
        let applied = db.migrate().await.unwrap();
        assert_eq!(applied.is_empty(), version == newest());
        people_are_read(&db, version).await;
        desktops_are_read(&db, version).await;
        life_goes_on(&db, version).await;
        db.close().await;
    }
}

#[tokio::test]
async fn rows_of_every_version_are_read_by_this_one_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let file = |version| directory.path().join(format!("{version}.db"));
    from_each_version(async |version| DatabaseConfig::Sqlite(Some(file(version)))).await;
}

#[tokio::test]
async fn rows_of_every_version_are_read_by_this_one_on_postgresql() {
    let mut own = Vec::new();
    for _ in versions() {
        let Some(database) = OwnDatabase::create().await else {
            return;
        };
        own.push(database);
    }
    let mut next = own.iter();
    from_each_version(async |_| {
        let url = next.next().expect("a database").url.clone();
        DatabaseConfig::Postgres(Secret::new(url))
    })
    .await;
    for database in own {
        database.drop().await;
    }
}
