//! Who is it: logins through the OpenID provider, sessions, API tokens, and the one decision per request
//! about which of them it comes with.

pub mod api_token;
pub mod api_tokens;
pub mod claims;
pub mod cookies;
mod live;
pub mod oidc;
pub mod origin;
pub mod principal;
pub mod recheck;
pub mod seal;
pub mod session;
pub mod sign_out;
pub mod ticket;
pub mod token;

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use url::Url;

use crate::clock::Clock;
use crate::model::audit::Actor;
use crate::model::device;
use crate::model::id::SessionId;
use crate::model::time::Timestamp;
use crate::model::user::{Role, User};
use crate::request::RequestContext;
use crate::store::sessions::EndedSession;
use crate::store::{Database, StoreError};
use api_token::ApiTokenSecret;
use api_tokens::ApiTokens;
use cookies::{Cookies, PendingLogin};
use oidc::{Callback, LoginError, Oidc};
use origin::{CSRF_HEADER, OriginGuard, Side};
use principal::Principal;
use recheck::RefreshTokens;
use session::{Login, Session, Sessions};
use ticket::Tickets;
use token::SessionSecret;

/// Header that carries a session id as an alternative to Bearer.
const SESSION_HEADER: HeaderName = HeaderName::from_static("x-session-id");

/// Header of a request that nobody caused: a page asks by itself how things are. It does not count as use of the
/// session, which would never be idle otherwise while a page is open somewhere.
pub const BACKGROUND: HeaderName = HeaderName::from_static("x-background");

/// Why a request belongs to no session, or may not act for the one it names.
#[derive(Debug, thiserror::Error)]
pub enum AuthnError {
    /// It names none.
    #[error("the request carries no session")]
    NoSession,
    /// It names one that does not exist or is over.
    #[error("the session does not exist or is over")]
    InvalidSession,
    /// It shows an API token that does not exist or is over.
    #[error("the API token does not exist or is over")]
    InvalidToken,
    /// It shows an API token and comes from a page.
    #[error("a page of a browser shows an API token")]
    TokenInBrowser,
    /// It would change something, comes with a cookie, and lacks the page's token.
    #[error("the request lacks the CSRF token of the page")]
    NoCsrfToken,
    /// Only a person who signed in may do this.
    #[error("this needs a session")]
    SessionRequired,
    /// The ticket to a desktop is used up, too old, or somebody else's.
    #[error("the ticket is not good in this browser, or no longer")]
    BadTicket,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a request named its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// By cookie: a browser, perhaps a page that is not ours.
    Cookie,
    /// By header: a program, or script that knows the secret.
    Header,
}

/// A request of which it is known who it comes from.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who.
    pub principal: Principal,
    /// How it was named.
    pub means: Means,
}

impl Authenticated {
    /// Whose request it is.
    #[must_use]
    pub fn user(&self) -> &User {
        self.principal.user()
    }

    /// Who acts in the request of this context, for the audit log.
    #[must_use]
    pub fn actor(&self, context: &RequestContext) -> Actor {
        self.principal.actor().at(context.client, context.id)
    }

    /// Notes where the request comes from.
    pub fn seen_from(&self, address: IpAddr) {
        if let Some(session) = self.principal.session() {
            session.seen_from(address);
        }
    }

    /// The session, for what only a person who signed in may do.
    pub fn session(&self) -> Result<&Arc<Session>, AuthnError> {
        self.principal.session().ok_or(AuthnError::SessionRequired)
    }
}

/// Decides who a request comes from.
#[derive(Debug)]
pub struct Authenticator {
    database: Database,
    clock: Arc<dyn Clock>,
    sessions: Arc<Sessions>,
    tokens: ApiTokens,
    oidc: Oidc,
    cookies: Cookies,
    origin: OriginGuard,
    tickets: Tickets,
    refresh: RefreshTokens,
}

/// What an [`Authenticator`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// Users and sessions.
    pub database: Database,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// API tokens.
    pub tokens: ApiTokens,
    /// The provider.
    pub oidc: Oidc,
    /// Our cookies.
    pub cookies: Cookies,
    /// Our origins.
    pub origin: OriginGuard,
    /// The way from one to the other.
    pub tickets: Tickets,
    /// With which the provider is asked again.
    pub refresh: RefreshTokens,
}

/// The end of a login.
#[derive(Debug)]
pub struct Welcome {
    /// The new session's secret.
    pub secret: SessionSecret,
    /// The browser's session until now.
    pub replaced: Option<EndedSession>,
    /// Where to go; a local path.
    pub return_to: String,
    /// Public handle of the new session.
    pub session: Option<SessionId>,
    /// Who signed in.
    pub user: User,
    /// Their role at the login before, if that was another one.
    pub former_role: Option<Role>,
}

impl Authenticator {
    /// Made of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            database,
            clock,
            sessions,
            tokens,
            oidc,
            cookies,
            origin,
            tickets,
            refresh,
        } = parts;
        Self {
            database,
            clock,
            sessions,
            tokens,
            oidc,
            cookies,
            origin,
            tickets,
            refresh,
        }
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The API tokens.
    #[must_use]
    pub fn tokens(&self) -> &ApiTokens {
        &self.tokens
    }

    /// The tickets to the desktops' own host.
    #[must_use]
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Our origins.
    #[must_use]
    pub fn origin(&self) -> &OriginGuard {
        &self.origin
    }

    /// What time it is here.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.timestamp()
    }

    /// The provider's name for people.
    #[must_use]
    pub fn provider_name(&self) -> String {
        self.oidc.provider_name()
    }

    /// The origin of the provider's pages.
    #[must_use]
    pub fn provider_origin(&self) -> String {
        self.oidc.origin()
    }

    /// Who a request is from. A header counts before a cookie.
    ///
    /// # Errors
    /// Nobody is named, the session or token that is named does not exist or is over, a page shows a token, or
    /// the database does not answer.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Authenticated, AuthnError> {
        self.authenticate_at(Side::Portal, headers).await
    }

    /// The same on either side. The portal's cookie is worth nothing on that of desktops, and the other way
    /// round.
    pub async fn authenticate_at(
        &self,
        side: Side,
        headers: &HeaderMap,
    ) -> Result<Authenticated, AuthnError> {
        let (hash, means) = match header_secret(headers)? {
            Some(Shown::Token(secret)) => return self.token(&secret, headers).await,
            Some(Shown::Session(secret)) => (Some(secret.hash()), Means::Header),
            None if side == Side::Desktops => {
                (self.tickets.desktop_session(headers), Means::Cookie)
            }
            None => {
                let secret = Cookies::session(headers);
                (secret.map(|secret| secret.hash()), Means::Cookie)
            }
        };
        let hash = hash.ok_or(AuthnError::NoSession)?;
        let session = if headers.contains_key(BACKGROUND) {
            self.sessions.look_up(&hash).await?
        } else {
            self.sessions.find_hashed(hash).await?
        };
        let session = session.ok_or(AuthnError::InvalidSession)?;
        let principal = Principal::Session(session);
        Ok(Authenticated { principal, means })
    }

    async fn token(
        &self,
        secret: &ApiTokenSecret,
        headers: &HeaderMap,
    ) -> Result<Authenticated, AuthnError> {
        if origin::is_of_page(headers) {
            return Err(AuthnError::TokenInBrowser);
        }
        let token = self.tokens.find(secret).await?;
        let principal = Principal::Token(token.ok_or(AuthnError::InvalidToken)?);
        let means = Means::Header;
        Ok(Authenticated { principal, means })
    }

    /// Takes a ticket: the `Set-Cookie` of the desktops' host, and the path to go on to.
    pub async fn redeem(
        &self,
        ticket: &str,
        headers: &HeaderMap,
    ) -> Result<(String, String), AuthnError> {
        let ticket = self.tickets.redeem(ticket, headers);
        let ticket = ticket.ok_or(AuthnError::BadTicket)?;
        let session = self.sessions.find_hashed(ticket.session).await?;
        let session = session.ok_or(AuthnError::BadTicket)?;
        let cookie = self.tickets.set_desktop(&session.hash, session.expires_at);
        Ok((cookie, ticket.to))
    }

    /// Refuses a request that would change something, came by cookie, and lacks the page's token.
    pub fn check_csrf(
        &self,
        who: &Authenticated,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), AuthnError> {
        if method.is_safe() || who.means == Means::Header {
            return Ok(());
        }
        let token = headers
            .get(CSRF_HEADER)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if self.origin.is_csrf_token(&who.session()?.hash, token) {
            Ok(())
        } else {
            Err(AuthnError::NoCsrfToken)
        }
    }

    /// Begins a login that ends at `return_to`: where to send the browser, and its cookie.
    pub async fn begin_login(&self, return_to: &str) -> Result<(Url, String), LoginError> {
        let (url, pending) = self.oidc.begin(self.origin.local_path(return_to)).await?;
        Ok((url, self.cookies.set_login(&pending)))
    }

    /// Ends a login with what the provider sent back in `query`, through a browser at `client`.
    pub async fn finish_login(
        &self,
        query: &str,
        headers: &HeaderMap,
        client: IpAddr,
    ) -> Result<Welcome, FinishError> {
        let answer = Callback::parse(query);
        let pending = self.pending(headers, answer.state.as_deref())?;
        let logged_in = self.oidc.finish(answer, &pending).await?;
        let known = self
            .database
            .find_user_of(&logged_in.identity.issuer, &logged_in.identity.subject)
            .await?;
        let user = self
            .database
            .upsert_user(&logged_in.identity, self.clock.timestamp())
            .await?;
        // A login always makes a new session; the old one ends, so that none can be fixed beforehand.
        let old = Cookies::session(headers).map(|secret| secret.hash());
        let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
        let login = Login {
            id_token: Some(&logged_in.id_token),
            device: &device::from_user_agent(&String::from_utf8_lossy(agent.unwrap_or_default())),
            address: Some(client),
            replaces: old.as_ref(),
            provider_sid: logged_in.sid.as_deref(),
        };
        let secret = self.sessions.create(&user, login).await?;
        if let Some(token) = &logged_in.refresh_token {
            self.keep_refresh_token(&secret.hash(), token).await?;
        }
        let replaced = match &old {
            Some(old) => self.sessions.end(old).await?,
            None => None,
        };
        let session = self.sessions.find(&secret).await?;
        tracing::info!(user = %user.id, role = user.identity.role.as_str(), "logged in");
        Ok(Welcome {
            secret,
            session: session.map(|session| session.id),
            replaced,
            return_to: pending.return_to,
            former_role: known
                .map(|known| known.identity.role)
                .filter(|role| *role != user.identity.role),
            user,
        })
    }

    fn pending(
        &self,
        headers: &HeaderMap,
        state: Option<&str>,
    ) -> Result<PendingLogin, LoginError> {
        let pending = self.cookies.login(headers).ok_or(LoginError::NoLogin)?;
        let state = state.unwrap_or_default();
        let same =
            constant_time::verify_slices_are_equal(pending.state.as_bytes(), state.as_bytes());
        let expired = self.clock.timestamp() >= Timestamp::from_millis(pending.expires_at);
        if same.is_err() || expired {
            Err(LoginError::NoLogin)
        } else {
            Ok(pending)
        }
    }

    /// Ends a session here; returns where the provider ends its own, if it can, and what was ended.
    pub async fn log_out(
        &self,
        session: &Session,
    ) -> Result<(Option<Url>, Option<EndedSession>), StoreError> {
        let ended = self.sessions.end(&session.hash).await?;
        let id_token = ended.as_ref().and_then(|ended| ended.id_token.as_deref());
        Ok((self.oidc.logout_url(id_token).await, ended))
    }
}

/// Why a login could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The provider or the browser.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a header shows.
enum Shown {
    Session(SessionSecret),
    Token(ApiTokenSecret),
}

impl Shown {
    fn parse(text: &str) -> Result<Self, AuthnError> {
        if ApiTokenSecret::is_meant_by(text) {
            let token = ApiTokenSecret::parse(text);
            return token.map(Self::Token).ok_or(AuthnError::InvalidToken);
        }
        let session = SessionSecret::parse(text);
        session.map(Self::Session).ok_or(AuthnError::InvalidSession)
    }
}

/// The secret in a header, if there is such a header; what it says may be no secret at all.
fn header_secret(headers: &HeaderMap) -> Result<Option<Shown>, AuthnError> {
    let text = if let Some(value) = headers.get(AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        let (scheme, secret) = text.split_once(' ').unwrap_or_default();
        let bearer = scheme.eq_ignore_ascii_case("bearer");
        if bearer { secret.trim() } else { "" }
    } else if let Some(value) = headers.get(SESSION_HEADER) {
        value.to_str().unwrap_or_default()
    } else {
        return Ok(None);
    };
    Shown::parse(text).map(Some)
}
