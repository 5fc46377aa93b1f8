//! The provider's later word: people are asked about again while they are signed in, as long as it gave a refresh
//! token, and it tells of logouts of its own.
//!
//! Each refresh token has its turn once per `IDENTITY_RECHECK`, at a moment that depends on its session, so that a
//! morning's logins do not come back as one. Whichever gateway moves that moment in the database asks, and no other
//! one: a token that is spent by asking is never shown twice. What it becomes is kept before anything else is done.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::oidc::logout_token::SignedOut;
use super::oidc::{LoginError, RefreshError};
use super::seal::Seal;
use super::{Authenticator, FinishError};
use crate::config::Secret;
use crate::model::id::{SessionHash, SessionId};
use crate::model::time::Timestamp;
use crate::model::user::{Role, User};
use crate::store::StoreError;
use crate::store::identity::{CheckedSession, DueToken};
use crate::store::sessions::EndedSession;
use crate::telemetry::ErrorChain;

/// What the sealed tokens are for.
const PURPOSE: &str = "refresh token";
/// How many tokens are taken at a time.
const BATCH: i64 = 16;
/// How long a batch may take at most before another gateway may take it over.
const LEASE: Duration = Duration::from_secs(300);
/// How soon a provider that could not be asked is asked again, at the latest.
const RETRY: Duration = Duration::from_secs(60);

/// What the provider let us know.
#[derive(Debug)]
pub enum Finding {
    /// It no longer vouches for somebody, whose session has been ended.
    Ended(EndedSession),
    /// Somebody has another role.
    Role {
        /// Who, as they were.
        user: User,
        /// The session that was asked for.
        session: SessionId,
        /// What they are now.
        role: Role,
    },
}

/// Refresh tokens: sealed, and when their turn is.
#[derive(Debug)]
pub struct RefreshTokens {
    seal: Seal,
    every: Duration,
}

impl RefreshTokens {
    /// With a key derived from `secret_key`; each token has its turn once in `every`.
    #[must_use]
    pub fn new(secret_key: &Secret, every: Duration) -> Self {
        Self {
            seal: Seal::new(secret_key),
            every,
        }
    }

    /// A token sealed for its session.
    fn seal(&self, session: &SessionHash, token: &str) -> DueToken {
        DueToken {
            session: session.clone(),
            sealed: self.seal.seal(PURPOSE, &(session.as_str(), token)),
        }
    }

    /// The token, if it was sealed with our key for this session.
    fn open(&self, due: &DueToken) -> Option<String> {
        let (session, token): (String, String) = self.seal.open(PURPOSE, &due.sealed)?;
        (session == due.session.as_str()).then_some(token)
    }

    /// When a session's next turn is: between six and nine tenths of the time from now.
    fn next(&self, session: &SessionHash, now: Timestamp) -> Timestamp {
        let digits = session.as_str().get(..4).unwrap_or_default();
        let share = u16::from_str_radix(digits, 16).unwrap_or_default();
        let share = f64::from(share) / f64::from(u16::MAX);
        now.after(self.every.mul_f64(0.6 + 0.3 * share))
    }

    /// How often to look whose turn it is.
    #[must_use]
    pub fn period(&self) -> Duration {
        (self.every / 10).clamp(Duration::from_millis(500), Duration::from_secs(10))
    }
}

impl Authenticator {
    /// Keeps a session's refresh token.
    pub(super) async fn keep_refresh_token(
        &self,
        session: &SessionHash,
        token: &str,
    ) -> Result<(), StoreError> {
        let due_at = self.refresh.next(session, self.clock.timestamp());
        let sealed = self.refresh.seal(session, token);
        self.database.keep_refresh_token(&sealed, due_at).await
    }

    /// How often [`Self::recheck_due`] should be called.
    #[must_use]
    pub fn recheck_period(&self) -> Duration {
        self.refresh.period()
    }

    /// Asks the provider about everybody whose turn it is, a few at a time, until `stop`. Whoever is left then has
    /// their turn when the claim on them is over.
    ///
    /// # Errors
    /// The database does not answer. A provider that does not is logged, and asked again later.
    pub async fn recheck_due(
        &self,
        stop: &CancellationToken,
        found: &(dyn Fn(Finding) + Sync),
    ) -> Result<(), StoreError> {
        if let Err(error) = self
            .database
            .forget_logout_tokens(self.clock.timestamp())
            .await
        {
            tracing::warn!(error = %ErrorChain(&error), "old logout tokens could not be removed");
        }
        while !stop.is_cancelled() {
            let now = self.clock.timestamp();
            if !self.database.has_due_refresh_tokens(now).await? {
                return Ok(());
            }
            let until = now.after(LEASE);
            let due = self
                .database
                .claim_refresh_tokens(now, until, BATCH)
                .await?;
            if due.is_empty() {
                return Ok(());
            }
            let due = Mutex::new(VecDeque::from(due));
            let next = || {
                let mut due = due.lock().unwrap_or_else(PoisonError::into_inner);
                due.pop_front().filter(|_| !stop.is_cancelled())
            };
            let work = || Box::pin(self.recheck_each(&next, found));
            tokio::join!(work(), work(), work(), work());
        }
        Ok(())
    }

    async fn recheck_each(
        &self,
        next: &(dyn Fn() -> Option<DueToken> + Sync),
        found: &(dyn Fn(Finding) + Sync),
    ) {
        while let Some(token) = next() {
            if let Err(error) = self.recheck(&token, found).await {
                tracing::warn!(error = %ErrorChain(&error), "a person could not be checked again");
            }
        }
    }

    async fn recheck(
        &self,
        due: &DueToken,
        found: &(dyn Fn(Finding) + Sync),
    ) -> Result<(), StoreError> {
        let Some(session) = self.database.find_checked_session(&due.session).await? else {
            return Ok(());
        };
        let Some(token) = self.refresh.open(due) else {
            tracing::info!(session = %session.id, "a refresh token of another SECRET_KEY is forgotten");
            return self.database.forget_refresh_token(&due.session).await;
        };
        let refreshed = match self.oidc.refresh(&token).await {
            Ok(refreshed) => refreshed,
            Err(error @ RefreshError::Ended(_)) => {
                let (user, session) = (session.user.id, session.id);
                tracing::info!(%user, %session, error = %ErrorChain(&error), "session ended by the OpenID provider");
                // Until they sign in again, which the provider will not let them.
                let now = self.clock.timestamp();
                self.database.lock_user(user, now).await?;
                let ended = self.sessions.end(&due.session).await?;
                if let Some(ended) = ended {
                    found(Finding::Ended(ended));
                }
                return Ok(());
            }
            Err(error @ RefreshError::Failed(_)) => {
                tracing::warn!(session = %session.id, error = %ErrorChain(&error), "a person could not be checked again");
                let again = self.clock.timestamp().after(RETRY.min(self.refresh.every));
                return self
                    .database
                    .postpone_refresh_token(&due.session, again)
                    .await;
            }
        };
        let token = refreshed.refresh_token().unwrap_or(&token);
        self.keep_refresh_token(&due.session, token).await?;
        let id_token = session.id_token.as_deref();
        let subject = &session.user.identity.subject;
        match self.oidc.identify(&refreshed, subject, id_token).await {
            Ok(identity) if identity == session.user.identity => Ok(()),
            Ok(identity) => {
                let (now, role) = (self.clock.timestamp(), identity.role);
                self.database
                    .update_user(session.user.id, &identity, now)
                    .await?;
                note_role(session, role, found);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(session = %session.id, error = %ErrorChain(&error), "a person's rights could not be checked again");
                Ok(())
            }
        }
    }

    /// Ends what the provider says is over, in a logout token (Back-Channel Logout 1.0).
    ///
    /// # Errors
    /// The token is not good or was used before, or provider or database do not answer.
    pub async fn log_out_by_token(&self, token: &str) -> Result<Vec<EndedSession>, FinishError> {
        let logout = self.oidc.read_logout(token).await?;
        let first = self
            .database
            .take_logout_token(&logout.id, logout.expires_at);
        if !first.await? {
            let replayed = LoginError::Unacceptable("its logout token came before", None);
            return Err(replayed.into());
        }
        Ok(match &logout.who {
            SignedOut::Session(sid) => {
                self.sessions
                    .end_by_provider_sid(&logout.issuer, sid)
                    .await?
            }
            SignedOut::Subject(sub) => self.sessions.end_by_subject(&logout.issuer, sub).await?,
        })
    }

    /// Ends the sessions that stand on a session of the provider, whose name only the two of us know
    /// (Front-Channel Logout 1.0).
    ///
    /// # Errors
    /// Provider or database do not answer. Another provider's word ends nothing.
    pub async fn log_out_by_sid(
        &self,
        iss: &str,
        sid: &str,
    ) -> Result<Vec<EndedSession>, FinishError> {
        if sid.is_empty() || self.oidc.issuer().await? != iss {
            return Ok(Vec::new());
        }
        Ok(self.sessions.end_by_provider_sid(iss, sid).await?)
    }
}

/// Tells of a role that has changed.
fn note_role(session: CheckedSession, role: Role, found: &(dyn Fn(Finding) + Sync)) {
    let CheckedSession { id, user, .. } = session;
    let former = user.identity.role;
    if former != role {
        tracing::info!(user = %user.id, from = former.as_str(), to = role.as_str(), "role changed");
        found(Finding::Role {
            user,
            session: id,
            role,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::token::SessionSecret;

    fn tokens(key: &str, every: u64) -> RefreshTokens {
        RefreshTokens::new(&Secret::new(key.repeat(32)), Duration::from_secs(every))
    }

    #[test]
    fn a_token_opens_for_its_session_and_with_its_key_only() {
        let (one, other) = (
            SessionSecret::random().hash(),
            SessionSecret::random().hash(),
        );
        let tokens_ours = tokens("k", 60);
        let mut due = tokens_ours.seal(&one, "refresh me");
        assert!(!due.sealed.contains("refresh me"));
        assert_eq!(tokens_ours.open(&due).as_deref(), Some("refresh me"));
        assert_eq!(tokens("x", 60).open(&due), None);
        due.session = other;
        assert_eq!(tokens_ours.open(&due), None);
    }

    #[test]
    fn turns_are_spread_and_in_time() {
        let tokens = tokens("k", 1000);
        let at = |digits: &str| {
            let hash = SessionHash::from_hex(digits.repeat(16));
            tokens.next(&hash, Timestamp::from_millis(0)).millis()
        };
        assert_eq!((at("0000"), at("ffff")), (600_000, 900_000));
        assert!((700_000..800_000).contains(&at("8000")));
        assert_eq!(tokens.period(), Duration::from_secs(10));
    }
}
