//! What the store keeps of the provider's word, on SQLite and, where a server is at hand, on PostgreSQL.

use deskgate::authn::token::SessionSecret;
use deskgate::config::{DatabaseConfig, Secret};
use deskgate::model::id::{SessionHash, SessionId};
use deskgate::model::time::Timestamp;
use deskgate::model::user::{Role, User};
use deskgate::store::Database;
use deskgate::store::identity::DueToken;
use deskgate::store::notify::SESSIONS;
use deskgate::store::sessions::{Ending, NewSession};

use crate::support::gateway::identity;
use crate::support::postgres::OwnDatabase;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A session whose refresh token is due at 100.
async fn with_refresh_token(db: &Database, user: &User) -> SessionHash {
    let hash = SessionSecret::random().hash();
    let session = NewSession {
        id: SessionId::random(),
        hash: &hash,
        user: user.id,
        id_token: Some("id token"),
        provider_sid: None,
        device: "",
        address: None,
        now: at(1),
        expires_at: at(9000),
    };
    db.insert_session(session).await.unwrap();
    let sealed = format!("sealed for {}", hash.as_str());
    let token = DueToken {
        session: hash.clone(),
        sealed,
    };
    db.keep_refresh_token(&token, at(100)).await.unwrap();
    hash
}

async fn story(config: &DatabaseConfig) {
    let db = Database::open(config).await.unwrap();
    let user = db.upsert_user(&identity("anna"), at(1)).await.unwrap();
    let mut hashes = Vec::new();
    for _ in 0..5 {
        hashes.push(with_refresh_token(&db, &user).await);
    }
    assert!(!db.has_due_refresh_tokens(at(99)).await.unwrap());
    assert!(db.has_due_refresh_tokens(at(100)).await.unwrap());
    // However many ask at the same time, each token is given to one of them.
    let claim = || async { db.claim_refresh_tokens(at(100), at(300), 2).await.unwrap() };
    let (a, b, c, d) = tokio::join!(claim(), claim(), claim(), claim());
    let mut claimed = [a, b, c, d].concat();
    while db.has_due_refresh_tokens(at(100)).await.unwrap() {
        claimed.extend(claim().await);
    }
    let mut seen: Vec<_> = claimed.iter().map(|due| due.session.clone()).collect();
    seen.sort_by_key(|hash| hash.as_str().to_owned());
    hashes.sort_by_key(|hash| hash.as_str().to_owned());
    assert_eq!(seen, hashes);
    assert!(
        claimed
            .iter()
            .all(|due| due.sealed.ends_with(due.session.as_str()))
    );

    let [first, second, third, ..] = &hashes[..] else {
        panic!("five of them")
    };
    let found = db.find_checked_session(first).await.unwrap().unwrap();
    assert_eq!(
        (found.user.id, found.id_token.as_deref()),
        (user.id, Some("id token"))
    );
    db.postpone_refresh_token(first, at(150)).await.unwrap();
    db.forget_refresh_token(second).await.unwrap();
    db.end_sessions(Ending::Hash(third)).await.unwrap();
    let gone = DueToken {
        session: third.clone(),
        sealed: "too late".into(),
    };
    db.keep_refresh_token(&gone, at(150)).await.unwrap();
    let left = db.claim_refresh_tokens(at(150), at(400), 9).await.unwrap();
    assert_eq!(
        left.iter().map(|due| &due.session).collect::<Vec<_>>(),
        [first]
    );
    let left = db.claim_refresh_tokens(at(300), at(400), 9).await.unwrap();
    assert_eq!(left.len(), 2, "nobody came back with theirs");

    let before = db.revision(SESSIONS).await.unwrap();
    let mut promoted = user.identity.clone();
    promoted.role = Role::Teacher;
    db.update_user(user.id, &promoted, at(5)).await.unwrap();
    assert!(db.revision(SESSIONS).await.unwrap() > before);
    let found = db.find_checked_session(first).await.unwrap().unwrap();
    assert_eq!(found.user.identity, promoted);
    for hash in &hashes {
        db.end_sessions(Ending::Hash(hash)).await.unwrap();
    }

    assert!(db.take_logout_token("j", at(500)).await.unwrap());
    assert!(!db.take_logout_token("j", at(600)).await.unwrap());
    assert_eq!(db.forget_logout_tokens(at(499)).await.unwrap(), 0);
    assert_eq!(db.forget_logout_tokens(at(500)).await.unwrap(), 1);
    assert!(db.take_logout_token("j", at(600)).await.unwrap());
    db.close().await;
}

#[tokio::test]
async fn the_providers_word_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deskgate.db");
    story(&DatabaseConfig::Sqlite(Some(path))).await;
}

#[tokio::test]
async fn the_providers_word_on_postgresql() {
    let Some(database) = OwnDatabase::create().await else {
        return;
    };
    story(&DatabaseConfig::Postgres(Secret::new(database.url.clone()))).await;
    database.drop().await;
}
