//! Sessions: made at login, checked at every request, ended at logout or by time. A session that ends
//! cancels its token, and with it every stream that was opened under it.
//!
//! Sessions in use are kept in memory and answered from there. One small query, however many sessions there are,
//! asks twice a second whether any session or user has changed anywhere, and news on PostgreSQL bring it forward.
//! What memory says is never older than [`RECHECK`]: without that query's word, the database is asked.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::live::Live;
use super::token::SessionSecret;
use crate::clock::Clock;
use crate::config::SessionConfig;
use crate::model::id::{SessionHash, SessionId, UserId};
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::store::notify::SESSIONS;
use crate::store::sessions::{EndedSession, Ending, ListedSession, NewSession, StoredSession};
use crate::store::{Database, StoreError};
use crate::telemetry::ErrorChain;
use crate::telemetry::metrics::{Metrics, SessionLookups};

/// How old the memory's word may be: a session revoked elsewhere passes at most this much longer.
pub const RECHECK: Duration = Duration::from_secs(1);
/// How often the database is asked for changes; half of [`RECHECK`], so that a slow answer is still in time.
const CHECK_PERIOD: Duration = Duration::from_millis(500);
/// How long news wait for others like them, before the database is asked once for all.
const SETTLE: Duration = Duration::from_millis(30);

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
    /// Cancelled when it ends, or when its user's rights change: whoever still has it then asks again.
    pub ended: CancellationToken,
    pub(super) user_version: i64,
    pub(super) usage: Arc<Usage>,
}

/// When and where a session was used, whatever its user was called meanwhile.
#[derive(Debug)]
pub(super) struct Usage {
    last_seen: AtomicI64,
    checked: AtomicI64,
    pub(super) unsaved: AtomicBool,
    address: Mutex<Option<IpAddr>>,
}

impl Usage {
    pub fn new(last_seen: Timestamp, checked: Timestamp) -> Self {
        Self {
            last_seen: AtomicI64::new(last_seen.millis()),
            checked: AtomicI64::new(checked.millis()),
            unsaved: AtomicBool::new(false),
            address: Mutex::default(),
        }
    }

    /// Adds what was read from the database meanwhile.
    pub fn merge(&self, fresh: &Self) {
        let newer = |ours: &AtomicI64, theirs: &AtomicI64| {
            ours.fetch_max(theirs.load(Ordering::Relaxed), Ordering::Relaxed)
        };
        newer(&self.last_seen, &fresh.last_seen);
        newer(&self.checked, &fresh.checked);
    }

    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.last_seen.load(Ordering::Relaxed))
    }

    pub fn is_unsaved(&self) -> bool {
        self.unsaved.load(Ordering::Acquire)
    }

    pub fn address(&self) -> Option<IpAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn new(hash: SessionHash, stored: StoredSession, now: Timestamp) -> Self {
        Self {
            id: stored.id,
            hash,
            user: stored.user,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            ended: CancellationToken::new(),
            user_version: stored.user_version,
            usage: Arc::new(Usage::new(stored.last_seen, now)),
        }
    }

    /// Notes that it is in use.
    pub fn touch(&self, now: Timestamp) {
        let usage = &self.usage;
        usage.last_seen.fetch_max(now.millis(), Ordering::Relaxed);
        usage.unsaved.store(true, Ordering::Release);
    }

    /// Notes where the request comes from that has just been found to be this session's.
    pub fn seen_from(&self, address: IpAddr) {
        let address = Some(address);
        let mut last = self
            .usage
            .address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *last != address {
            *last = address;
        }
    }

    /// When it was last used, as far as this gateway knows.
    #[must_use]
    pub fn last_seen(&self) -> Timestamp {
        self.usage.last_seen()
    }

    fn is_over(&self, now: Timestamp, idle: Duration) -> bool {
        now >= self.expires_at || now >= self.last_seen().after(idle)
    }
}

/// What is known of a login besides whose it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Login<'a> {
    /// The ID token, which the provider wants back at logout.
    pub id_token: Option<&'a str>,
    /// What the provider calls its own session (`sid`).
    pub provider_sid: Option<&'a str>,
    /// What the person uses, for people.
    pub device: &'a str,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// The browser's session until now. Its desktops become the new one's if it was the same person's.
    pub replaces: Option<&'a SessionHash>,
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    database: Database,
    clock: Arc<dyn Clock>,
    config: SessionConfig,
    lookups: SessionLookups,
    live: Live,
    /// When the database last said that nothing has changed, or what.
    word: AtomicI64,
    /// The revision that it said that of.
    revision: AtomicI64,
    /// Somebody announced something.
    news: Notify,
}

impl Sessions {
    /// Sessions kept in `database`.
    #[must_use]
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        config: SessionConfig,
        metrics: &Metrics,
    ) -> Self {
        Self {
            database,
            clock,
            config,
            lookups: metrics.session_lookups().clone(),
            live: Live::default(),
            word: AtomicI64::new(0),
            revision: AtomicI64::new(-1),
            news: Notify::new(),
        }
    }

    /// Makes a session for a user who has just logged in, and returns its secret.
    pub async fn create(&self, user: &User, login: Login<'_>) -> Result<SessionSecret, StoreError> {
        let secret = SessionSecret::random();
        let now = self.clock.timestamp();
        let id = SessionId::random();
        let session = NewSession {
            id,
            hash: &secret.hash(),
            user: user.id,
            id_token: login.id_token,
            provider_sid: login.provider_sid,
            device: login.device,
            address: login.address,
            now,
            expires_at: now.after(self.config.ttl),
        };
        self.database.insert_session(session).await?;
        if let Some(old) = login.replaces {
            self.database.hand_over_desktops(user.id, old, id).await?;
        }
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
        let found = self.look_up(&hash).await?;
        if let Some(session) = &found {
            session.touch(self.clock.timestamp());
        }
        Ok(found)
    }

    /// The same without using it: for what a page asks by itself.
    pub async fn look_up(&self, hash: &SessionHash) -> Result<Option<Arc<Session>>, StoreError> {
        let now = self.clock.timestamp();
        if let Some(session) = self.live.get(hash)
            && !session.is_over(now, self.config.idle)
            && now < self.known_at(&session).after(RECHECK)
        {
            self.lookups.memory();
            return Ok(Some(session));
        }
        self.lookups.database();
        self.load(hash, now).await
    }

    /// When the database last vouched for a session.
    fn known_at(&self, session: &Session) -> Timestamp {
        let checked = session.usage.checked.load(Ordering::Relaxed);
        Timestamp::from_millis(checked.max(self.word.load(Ordering::Relaxed)))
    }

    /// Asks the database for a session.
    async fn load(
        &self,
        hash: &SessionHash,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let epoch = self.live.epoch();
        let Some(stored) = self.database.find_session(hash).await? else {
            self.live.end(hash);
            return Ok(None);
        };
        let session = self
            .live
            .put(Session::new(hash.clone(), stored, now), epoch);
        // It may have been used here or elsewhere, whichever was later.
        if session.is_over(now, self.config.idle) {
            self.live.end(hash);
            return Ok(None);
        }
        Ok(Some(session))
    }

    /// The live sessions of a user, the last used first, as of the last write of every gateway.
    pub async fn list(&self, user: UserId) -> Result<Vec<ListedSession>, StoreError> {
        let now = self.clock.timestamp();
        self.flush().await?;
        let idle_since = now.before(self.config.idle);
        self.database.list_sessions(user, now, idle_since).await
    }

    /// Ends sessions: here and now, elsewhere within [`RECHECK`]. Says which there were.
    async fn end_where(&self, which: Ending<'_>) -> Result<Vec<EndedSession>, StoreError> {
        let ended = self.database.end_sessions(which).await?;
        for session in &ended {
            self.live.end(&session.hash);
        }
        Ok(ended)
    }

    /// Ends one session; `None` if it was over already.
    pub async fn end(&self, hash: &SessionHash) -> Result<Option<EndedSession>, StoreError> {
        let mut ended = self.end_where(Ending::Hash(hash)).await?;
        self.live.end(hash);
        Ok(ended.pop())
    }

    /// Ends the session with this public id, whosever it is.
    pub async fn end_id(&self, id: SessionId) -> Result<Option<EndedSession>, StoreError> {
        Ok(self.end_where(Ending::Id(id)).await?.pop())
    }

    /// Ends the session with this public id if it is this user's.
    pub async fn end_own(
        &self,
        user: UserId,
        id: SessionId,
    ) -> Result<Option<EndedSession>, StoreError> {
        Ok(self.end_where(Ending::Own(user, id)).await?.pop())
    }

    /// Ends all sessions of a user.
    pub async fn end_all_of(&self, user: UserId) -> Result<Vec<EndedSession>, StoreError> {
        self.end_where(Ending::User(user)).await
    }

    /// Ends all sessions of a user but one.
    pub async fn end_others(
        &self,
        user: UserId,
        keep: SessionId,
    ) -> Result<Vec<EndedSession>, StoreError> {
        self.end_where(Ending::Others(user, keep)).await
    }

    /// Ends the sessions that stand on the provider's session `sid`.
    pub async fn end_by_provider_sid(
        &self,
        issuer: &str,
        sid: &str,
    ) -> Result<Vec<EndedSession>, StoreError> {
        self.end_where(Ending::ProviderSid(issuer, sid)).await
    }

    /// Ends all sessions of the person whom the provider calls `subject`.
    pub async fn end_by_subject(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Vec<EndedSession>, StoreError> {
        self.end_where(Ending::Subject(issuer, subject)).await
    }

    /// Keeps the memory's word young, for ever.
    pub async fn watch(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(CHECK_PERIOD) => {}
                () = self.news.notified() => tokio::time::sleep(SETTLE).await,
            }
            if let Err(error) = self.check().await {
                tracing::debug!(error = %ErrorChain(&error), "changes of sessions are not known");
            }
        }
    }

    /// Hears of changes as they happen, for ever; on SQLite there is nothing to hear, and this returns.
    pub async fn listen(&self) {
        self.database.hear(SESSIONS, &self.news).await;
    }

    /// Ends what is over, lets go of what nobody uses, and asks the database what has changed.
    ///
    /// # Errors
    /// The database does not answer. Open streams go on then; requests ask it themselves.
    pub async fn check(&self) -> Result<(), StoreError> {
        let now = self.clock.timestamp();
        for hash in self.live.sweep(now, self.config.idle) {
            self.load(&hash, now).await?;
        }
        if self.live.is_empty() {
            return Ok(());
        }
        let revision = self.database.revision(SESSIONS).await?;
        if revision != self.revision.load(Ordering::Relaxed) || self.live.is_doubtful() {
            let known = self.live.begin_check();
            if let Err(error) = self.compare(known, now).await {
                self.live.doubt();
                return Err(error);
            }
            self.revision.store(revision, Ordering::Relaxed);
        }
        self.word.store(now.millis(), Ordering::Relaxed);
        Ok(())
    }

    async fn compare(
        &self,
        known: Vec<(SessionHash, i64)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (hashes, versions): (Vec<_>, Vec<_>) = known.into_iter().unzip();
        let found = self.database.versions_of(&hashes).await?;
        for (hash, version) in hashes.iter().zip(versions) {
            match found.get(hash) {
                None => self.live.end(hash),
                Some(current) if *current != version => {
                    self.load(hash, now).await?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Writes last uses since the last time.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.database
            .touch_sessions(&self.live.take_unsaved())
            .await
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
