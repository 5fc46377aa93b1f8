//! API tokens: made and revoked by their owner or the operator, and looked up at every use. A token that ends
//! cancels its `ended`, and with it every stream that was opened under it.
//!
//! A cache keeps the database out of requests. All of it is compared with the database every [`RECHECK`], in
//! one statement, so that what another gateway or a command revoked, and a new role, count within that time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::api_token::ApiTokenSecret;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::model::audit::{Action, Actor, Event, Object};
use crate::model::id::{TokenHash, TokenId, UserId};
use crate::model::scope::{Scope, Scopes};
use crate::model::time::Timestamp;
use crate::model::user::{Role, User};
use crate::store::api_tokens::{NewToken, StoredToken};
use crate::store::{Database, StoreError};

/// How often the cache is compared with the database.
pub const RECHECK: Duration = Duration::from_secs(1);
/// How long the cache is believed when the comparison does not come about.
const BELIEVED: Duration = Duration::from_secs(2);
/// How long an unused token stays in the cache.
const CACHE_LIFETIME: Duration = Duration::from_secs(60);
/// Tokens in the cache beyond which those without an open stream are let go of.
const MAX_CACHED: usize = 10_000;
/// Tokens that are compared by one statement.
const CHUNK: usize = 200;
/// Tokens of one user.
pub const MAX_PER_USER: u32 = 50;
/// Longest name, characters.
pub const MAX_NAME: usize = 64;
/// Longest life that can be asked for, days; without one a token has no end.
pub const MAX_DAYS: u64 = 3650;

/// Why a token is not made.
#[derive(Debug, thiserror::Error)]
pub enum ApiTokenError {
    /// Its name is empty, too long, or holds control characters.
    #[error("the name is not one of 1 to {MAX_NAME} printable characters")]
    Name,
    /// It would be good for nothing.
    #[error("the token has no scope")]
    NoScope,
    /// Only admins have something that this scope opens.
    #[error("the user is no admin")]
    NotAdmin,
    /// It would end at once, or in another age.
    #[error("the lifetime is not between one second and {MAX_DAYS} days")]
    Lifetime,
    /// The user has as many as they may.
    #[error("the user has {MAX_PER_USER} tokens already")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What somebody wants a token for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What they call it.
    pub name: String,
    /// What it shall be good for.
    pub scopes: Scopes,
    /// How long; for ever if not said.
    pub lifetime: Option<Duration>,
}

/// A token in use by this gateway.
#[derive(Debug)]
pub struct ApiToken {
    /// Public handle.
    pub id: TokenId,
    /// In whose name it acts.
    pub user: User,
    /// What its owner calls it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// Cancelled when it ends, or when its user's rights change.
    pub ended: CancellationToken,
    last_used: AtomicI64,
    checked: AtomicI64,
    unsaved: AtomicBool,
}

impl ApiToken {
    fn new(stored: StoredToken, now: Timestamp) -> Self {
        Self {
            id: stored.id,
            user: stored.user,
            name: stored.name,
            scopes: stored.scopes,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            ended: CancellationToken::new(),
            last_used: AtomicI64::new(stored.last_used.map_or(i64::MIN, Timestamp::millis)),
            checked: AtomicI64::new(now.millis()),
            unsaved: AtomicBool::new(false),
        }
    }

    /// Notes that it is in use.
    pub fn touch(&self, now: Timestamp) {
        self.last_used.fetch_max(now.millis(), Ordering::Relaxed);
        self.unsaved.store(true, Ordering::Release);
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }

    fn is_as_stored(&self, stored: &StoredToken) -> bool {
        self.user == stored.user && self.scopes == stored.scopes
    }
}

type Cache = HashMap<TokenHash, Arc<ApiToken>>;

/// All API tokens. Clones share the cache.
#[derive(Clone, Debug)]
pub struct ApiTokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    clock: Arc<dyn Clock>,
    audit: Audit,
    cache: Mutex<Cache>,
}

impl ApiTokens {
    /// Tokens kept in `database`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>, audit: Audit) -> Self {
        Self(Arc::new(Inner {
            database,
            clock,
            audit,
            cache: Mutex::default(),
        }))
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // The map is whole between any two calls, whatever happened to another holder of the lock.
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a token for `user`, as `by` asked. Its secret is never seen again.
    pub async fn create(
        &self,
        user: &User,
        wish: &Wish,
        by: &Actor,
    ) -> Result<(ApiTokenSecret, StoredToken), ApiTokenError> {
        let name = wish.name.trim();
        let fits = (1..=MAX_NAME).contains(&name.chars().count());
        if !fits || name.chars().any(char::is_control) {
            return Err(ApiTokenError::Name);
        }
        if wish.scopes.is_empty() {
            return Err(ApiTokenError::NoScope);
        }
        if wish.scopes.contains(Scope::Admin) && user.identity.role != Role::Admin {
            return Err(ApiTokenError::NotAdmin);
        }
        let longest = Duration::from_secs(MAX_DAYS * 86_400);
        if wish
            .lifetime
            .is_some_and(|span| span.is_zero() || span > longest)
        {
            return Err(ApiTokenError::Lifetime);
        }
        let (secret, now) = (ApiTokenSecret::random(), self.0.clock.timestamp());
        let token = StoredToken {
            id: TokenId::random(),
            hash: secret.hash(),
            user: user.clone(),
            name: name.to_owned(),
            scopes: wish.scopes.clone(),
            created_at: now,
            expires_at: wish.lifetime.map(|span| now.after(span)),
            last_used: None,
        };
        let row = NewToken {
            id: token.id,
            hash: &token.hash,
            user: user.id,
            name,
            scopes: &token.scopes,
            now,
            expires_at: token.expires_at,
        };
        if !self
            .0
            .database
            .insert_token(row, i64::from(MAX_PER_USER))
            .await?
        {
            return Err(ApiTokenError::TooMany);
        }
        tracing::info!(user = %user.id, token = %token.id, scopes = token.scopes.to_words(), "API token made");
        let end = token
            .expires_at
            .map_or_else(|| "never".to_owned(), |end| end.to_string());
        let event = Event::new(Action::TokenCreated, by).detail("scopes", &token.scopes.to_words());
        self.note(event.detail("expires", &end), user.id, token.id);
        Ok((secret, token))
    }

    /// A user's tokens, or everybody's, newest first.
    pub async fn list(&self, user: Option<UserId>) -> Result<Vec<StoredToken>, StoreError> {
        let mut tokens = self.0.database.list_tokens(user).await?;
        let cache = self.cache();
        for token in &mut tokens {
            // What was used just now is not written yet.
            let cached = cache.get(&token.hash);
            let at = cached.map(|cached| cached.last_used.load(Ordering::Relaxed));
            let at = at.filter(|at| *at > i64::MIN).map(Timestamp::from_millis);
            token.last_used = token.last_used.max(at);
        }
        Ok(tokens)
    }

    /// Ends a token, of `owner` if one is named, and every stream under it, as `by` asked. `false` when there is
    /// none such.
    pub async fn revoke(
        &self,
        id: TokenId,
        owner: Option<UserId>,
        by: &Actor,
    ) -> Result<bool, StoreError> {
        let Some((hash, user)) = self.0.database.delete_token(id, owner).await? else {
            return Ok(false);
        };
        self.forget(&hash);
        tracing::info!(%user, token = %id, "API token revoked");
        self.note(Event::new(Action::TokenRevoked, by), user, id);
        Ok(true)
    }

    fn note(&self, event: Event, user: UserId, token: TokenId) {
        let object = Object::Token(token.to_string());
        self.0.audit.record(event.subject(user).object(object));
    }

    /// The live token of this secret.
    ///
    /// # Errors
    /// The database does not answer. A token that is unknown or over, or whose user is locked out, is `None`.
    pub async fn find(&self, secret: &ApiTokenSecret) -> Result<Option<Arc<ApiToken>>, StoreError> {
        let (hash, now) = (secret.hash(), self.0.clock.timestamp());
        let cached = self.cache().get(&hash).cloned();
        let checked =
            |token: &ApiToken| Timestamp::from_millis(token.checked.load(Ordering::Relaxed));
        let token = match cached {
            Some(token) if now < checked(&token).after(BELIEVED) => Some(token),
            _ => self.load(&hash, now).await?,
        };
        match token {
            Some(token) if !token.is_over(now) => {
                token.touch(now);
                Ok(Some(token))
            }
            Some(_) => {
                self.forget(&hash);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    async fn load(
        &self,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<Arc<ApiToken>>, StoreError> {
        let found = self
            .0
            .database
            .find_tokens(std::slice::from_ref(hash))
            .await?;
        let Some(stored) = found.into_iter().next() else {
            self.forget(hash);
            return Ok(None);
        };
        let mut cache = self.cache();
        if cache.len() >= MAX_CACHED {
            cache.retain(|_, token| Arc::strong_count(token) > 1);
        }
        Ok(Some(renew(&mut cache, stored, now)))
    }

    fn forget(&self, hash: &TokenHash) {
        if let Some(token) = self.cache().remove(hash) {
            token.ended.cancel();
        }
    }

    /// Compares the cache with the database, ends what is gone or over, and lets go of what nobody uses. Runs
    /// every [`RECHECK`].
    pub async fn recheck(&self) -> Result<(), StoreError> {
        let now = self.0.clock.timestamp();
        self.sweep(now);
        let hashes: Vec<TokenHash> = self.cache().keys().cloned().collect();
        for chunk in hashes.chunks(CHUNK) {
            let found = self.0.database.find_tokens(chunk).await?;
            let mut cache = self.cache();
            for hash in chunk
                .iter()
                .filter(|hash| !found.iter().any(|token| token.hash == **hash))
            {
                if let Some(token) = cache.remove(hash) {
                    token.ended.cancel();
                }
            }
            for stored in found {
                // What was revoked here meanwhile stays away.
                if cache.contains_key(&stored.hash) {
                    renew(&mut cache, stored, now);
                }
            }
        }
        Ok(())
    }

    fn sweep(&self, now: Timestamp) {
        self.cache().retain(|_, token| {
            if token.is_over(now) {
                token.ended.cancel();
                return false;
            }
            let used = Timestamp::from_millis(token.last_used.load(Ordering::Relaxed));
            let in_use = Arc::strong_count(token) > 1 || token.unsaved.load(Ordering::Acquire);
            in_use || now < used.after(CACHE_LIFETIME)
        });
    }

    /// Writes last uses since the last time.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let used: Vec<(TokenId, Timestamp)> = {
            let cache = self.cache();
            let unsaved = cache
                .values()
                .filter(|token| token.unsaved.swap(false, Ordering::Acquire));
            unsaved
                .map(|token| {
                    (
                        token.id,
                        Timestamp::from_millis(token.last_used.load(Ordering::Relaxed)),
                    )
                })
                .collect()
        };
        self.0.database.touch_tokens(&used).await
    }

    /// Removes expired tokens from the database; with `dry_run` only counts them.
    pub async fn clean(&self, dry_run: bool) -> Result<u64, StoreError> {
        self.0
            .database
            .clean_tokens(self.0.clock.timestamp(), dry_run)
            .await
    }
}

/// The cached token, if it still says what the database says; otherwise a new one in its place.
fn renew(cache: &mut Cache, stored: StoredToken, now: Timestamp) -> Arc<ApiToken> {
    if let Some(token) = cache.get(&stored.hash) {
        if token.is_as_stored(&stored) {
            token.checked.store(now.millis(), Ordering::Relaxed);
            return token.clone();
        }
        token.ended.cancel();
    }
    let hash = stored.hash.clone();
    let token = Arc::new(ApiToken::new(stored, now));
    cache.insert(hash, token.clone());
    token
}
