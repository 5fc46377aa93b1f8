//! Sessions: made at login, checked at every request, ended at logout or by time. A session that ends
//! cancels its token, and with it every stream that was opened under it.
//!
//! A cache keeps the database out of most requests; what it says is never older than [`RECHECK`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::token::SessionSecret;
use crate::clock::Clock;
use crate::config::SessionConfig;
use crate::model::id::{SessionHash, SessionId};
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::store::sessions::NewSession;
use crate::store::{Database, StoreError};

/// How old the cache's word may be: a session revoked elsewhere passes at most this much longer.
pub const RECHECK: Duration = Duration::from_secs(1);
/// How long an unused session stays in the cache.
const CACHE_LIFETIME: Duration = Duration::from_secs(60);

/// A session in use by this gateway.
#[derive(Debug)]
pub struct Session {
    /// Public handle.
    pub id: SessionId,
    /// Its key in the database.
    pub hash: SessionHash,
    /// Whose it is.
    pub user: User,
    /// When it began.
    pub created_at: Timestamp,
    /// Its absolute end.
    pub expires_at: Timestamp,
    /// Cancelled when it ends.
    pub ended: CancellationToken,
    last_seen: AtomicI64,
    checked: AtomicI64,
    unsaved: AtomicBool,
}

impl Session {
    /// Notes that it is in use.
    pub fn touch(&self, now: Timestamp) {
        self.last_seen.fetch_max(now.millis(), Ordering::Relaxed);
        self.unsaved.store(true, Ordering::Release);
    }

    fn is_over(&self, now: Timestamp, idle: Duration) -> bool {
        let seen = Timestamp::from_millis(self.last_seen.load(Ordering::Relaxed));
        now >= self.expires_at || now >= seen.after(idle)
    }
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    database: Database,
    clock: Arc<dyn Clock>,
    config: SessionConfig,
    cache: Mutex<HashMap<SessionHash, Arc<Session>>>,
}

impl Sessions {
    /// Sessions kept in `database`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>, config: SessionConfig) -> Self {
        Self {
            database,
            clock,
            config,
            cache: Mutex::default(),
        }
    }

    fn cache(&self) -> MutexGuard<'_, HashMap<SessionHash, Arc<Session>>> {
        // The map is whole between any two calls, whatever happened to another holder of the lock.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a session for a user who has just logged in, and returns its secret.
    pub async fn create(
        &self,
        user: &User,
        id_token: Option<&str>,
    ) -> Result<SessionSecret, StoreError> {
        let secret = SessionSecret::random();
        let now = self.clock.timestamp();
        let session = NewSession {
            id: SessionId::random(),
            hash: &secret.hash(),
            user: user.id,
            id_token,
            now,
            expires_at: now.after(self.config.ttl),
        };
        self.database.insert_session(session).await?;
        Ok(secret)
    }

    /// The live session of this secret.
    ///
    /// # Errors
    /// The database does not answer. A session that is unknown or over is `None`.
    pub async fn find(&self, secret: &SessionSecret) -> Result<Option<Arc<Session>>, StoreError> {
        self.find_hashed(secret.hash()).await
    }

    /// The same for somebody who holds a sealed reference to it.
    pub async fn find_hashed(&self, hash: SessionHash) -> Result<Option<Arc<Session>>, StoreError> {
        let now = self.clock.timestamp();
        let cached = self.cache().get(&hash).cloned();
        if let Some(session) = cached {
            if session.is_over(now, self.config.idle) {
                self.forget(&hash);
                return Ok(None);
            }
            let checked = Timestamp::from_millis(session.checked.load(Ordering::Relaxed));
            if now < checked.after(RECHECK) {
                session.touch(now);
                return Ok(Some(session));
            }
        }
        self.load(hash, now).await
    }

    async fn load(
        &self,
        hash: SessionHash,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let Some(stored) = self.database.find_session(&hash).await? else {
            self.forget(&hash);
            return Ok(None);
        };
        let fresh = Session {
            id: stored.id,
            hash: hash.clone(),
            user: stored.user,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            ended: CancellationToken::new(),
            last_seen: AtomicI64::new(stored.last_seen.millis()),
            checked: AtomicI64::new(now.millis()),
            unsaved: AtomicBool::new(false),
        };
        if fresh.is_over(now, self.config.idle) {
            self.forget(&hash);
            return Ok(None);
        }
        let mut cache = self.cache();
        let session = cache.entry(hash).or_insert_with(|| Arc::new(fresh)).clone();
        session.checked.store(now.millis(), Ordering::Relaxed);
        session.touch(now);
        Ok(Some(session))
    }

    /// Ends a session here and in the database; returns its ID token.
    pub async fn end(&self, hash: &SessionHash) -> Result<Option<String>, StoreError> {
        let id_token = self.database.delete_session(hash).await?.flatten();
        self.forget(hash);
        Ok(id_token)
    }

    fn forget(&self, hash: &SessionHash) {
        if let Some(session) = self.cache().remove(hash) {
            session.ended.cancel();
        }
    }

    /// Ends what is over, and lets go of what nobody uses. Runs every [`RECHECK`].
    pub fn sweep(&self) {
        let now = self.clock.timestamp();
        self.cache().retain(|_, session| {
            if session.is_over(now, self.config.idle) {
                session.ended.cancel();
                return false;
            }
            let seen = Timestamp::from_millis(session.last_seen.load(Ordering::Relaxed));
            let in_use = Arc::strong_count(session) > 1 || session.unsaved.load(Ordering::Acquire);
            in_use || now < seen.after(CACHE_LIFETIME)
        });
    }

    /// Asks the database whether sessions with open streams still exist; another gateway may have
    /// ended them. Runs every [`RECHECK`].
    pub async fn recheck_in_use(&self) -> Result<(), StoreError> {
        let in_use: Vec<SessionHash> = {
            let cache = self.cache();
            let held = cache
                .values()
                .filter(|session| Arc::strong_count(session) > 1);
            held.map(|session| session.hash.clone()).collect()
        };
        for hash in in_use {
            if self.database.find_session(&hash).await?.is_none() {
                self.forget(&hash);
            }
        }
        Ok(())
    }

    /// Writes last uses since the last time.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let seen: Vec<(SessionId, Timestamp)> = {
            let cache = self.cache();
            let unsaved = cache
                .values()
                .filter(|session| session.unsaved.swap(false, Ordering::Acquire));
            unsaved
                .map(|session| {
                    (
                        session.id,
                        Timestamp::from_millis(session.last_seen.load(Ordering::Relaxed)),
                    )
                })
                .collect()
        };
        self.database.touch_sessions(&seen).await
    }

    /// Removes expired sessions from the database; with `dry_run` only counts them.
    pub async fn clean(&self, dry_run: bool) -> Result<u64, StoreError> {
        let now = self.clock.timestamp();
        let idle_since = now.before(self.config.idle);
        if dry_run {
            let count = self
                .database
                .count_expired_sessions(now, idle_since)
                .await?;
            return Ok(u64::try_from(count).unwrap_or_default());
        }
        self.database.delete_expired_sessions(now, idle_since).await
    }
}
