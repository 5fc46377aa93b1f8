//! The look-up that every request of a desktop begins with, without a gateway around it: a database
//! with a session and a running desktop in it, and a clock that stands still until it is told to move.
//!
//! `benches/pure.rs` uses it too.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deskgate::app::Core;
use deskgate::authn::cookies::Cookies;
use deskgate::authn::oidc::Oidc;
use deskgate::authn::origin::OriginGuard;
use deskgate::authn::recheck::RefreshTokens;
use deskgate::authn::ticket::Tickets;
use deskgate::authn::token::SessionSecret;
use deskgate::authn::{self, Authenticator};
use deskgate::authz::{self, Access};
use deskgate::clock::Clock;
use deskgate::config::Config;
use deskgate::config::raw::Raw;
use deskgate::desktop::Desktops;
use deskgate::model::desktop::{Desktop, State};
use deskgate::model::id::{DesktopId, SessionId};
use deskgate::model::template::Template;
use deskgate::model::time::Timestamp;
use deskgate::model::user::{Identity, Role};
use deskgate::respond::error::HttpError;
use deskgate::store::Database;
use deskgate::store::sessions::NewSession;
use deskgate::store::starts::{Limits, Recorded};
use hyper::header::{COOKIE, HeaderMap, HeaderValue};
use time::OffsetDateTime;

/// Where the clock stands at first: seconds since 1970.
const BEGINNING: i64 = 1_800_000_000;

/// A session that outlasts every run of the benchmark, which moves the clock with each look-up.
const LONG: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A clock that moves when it is told to.
#[derive(Debug)]
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// Moves it.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).expect("a short time");
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> OffsetDateTime {
        let nanos = i128::from(self.0.load(Ordering::Relaxed)) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("a time in range")
    }
}

/// Who may use which desktop, and how to find that out.
pub struct Lookup {
    /// Time.
    pub clock: Arc<FixedClock>,
    /// Where everything is kept.
    pub database: Database,
    /// The running desktop.
    pub id: DesktopId,
    /// What its user's browser sends along.
    pub headers: HeaderMap,
    authenticator: Authenticator,
    desktops: Desktops,
}

impl Lookup {
    /// With everything in a database in memory and nothing in the gateway's memory.
    pub async fn new() -> Self {
        Self::on("sqlite::memory:").await
    }

    /// The same on a fresh database somewhere else.
    pub async fn on(database_url: &str) -> Self {
        let clock = Arc::new(FixedClock(AtomicI64::new(BEGINNING * 1000)));
        let config = config(database_url);
        let core = Core::build(&config, clock.clone()).await.expect("a core");
        let database = core.database.clone();
        let (secret, id) = fill(&database, clock.timestamp()).await;
        let key = config.secret_key.clone();
        let refresh = RefreshTokens::new(&key, config.oidc.recheck);
        let authenticator = Authenticator::new(authn::Parts {
            refresh,
            database: database.clone(),
            clock: clock.clone(),
            sessions: core.sessions,
            tokens: core.tokens,
            oidc: Oidc::new(config.oidc, clock.clone()).expect("roots"),
            cookies: Cookies::new(&key),
            origin: OriginGuard::new(config.server.public_url, None, &key),
            tickets: Tickets::new(&key, clock.clone()),
        });
        let cookie = format!("__Host-Http-session={}", secret.expose());
        let cookie = HeaderValue::try_from(cookie).expect("a cookie");
        Self {
            clock,
            database,
            id,
            headers: HeaderMap::from_iter([(COOKIE, cookie)]),
            authenticator,
            desktops: core.desktops,
        }
    }

    /// Authenticates and authorizes, as each request of a desktop is.
    pub async fn decide(&self) -> Result<Access, HttpError> {
        let who = self.authenticator.authenticate(&self.headers).await?;
        let access = authz::authorize_desktop(&self.desktops, &who.principal, self.id).await?;
        Ok(access)
    }
}

fn config(database_url: &str) -> Config {
    let mut raw = Raw::load(None, &|_| None);
    for (key, value) in [
        ("PUBLIC_URL", "https://desk.example"),
        ("DATABASE_URL", database_url),
        ("SECRET_KEY", "an-entirely-secret-key-for-tests"),
        ("OAUTH_ISSUER", "https://id.test"),
        ("OAUTH_CLIENT_ID", "test"),
        ("INSTANCE", "test-lookup"),
    ] {
        raw.set(key, value);
    }
    Config::resolve(raw).expect("a configuration")
}

/// A user with a session and a running desktop.
async fn fill(database: &Database, now: Timestamp) -> (SessionSecret, DesktopId) {
    let identity = Identity {
        issuer: "https://id.test".into(),
        subject: "lookup".into(),
        username: "lookup".into(),
        name: None,
        email: None,
        role: Role::Student,
        groups: Vec::new(),
    };
    let user = database.upsert_user(&identity, now).await.expect("a user");
    let secret = SessionSecret::random();
    let session = NewSession {
        id: SessionId::random(),
        hash: &secret.hash(),
        user: user.id,
        id_token: None,
        provider_sid: None,
        device: "a browser",
        address: None,
        now,
        expires_at: now.after(LONG),
    };
    database.insert_session(session).await.expect("a session");
    let id = DesktopId::random();
    let name = format!("deskgate-test-{id}");
    let template = Template::kasm("image:1".into(), 6901);
    let desktop = Desktop {
        status: State::Running,
        host_port: Some(7000),
        started_at: Some(now),
        ..Desktop::queued(&template, id, user.id, name, now)
    };
    let limits = Limits {
        total: 1,
        per_user: 1,
        queued: 1,
        memory: u64::MAX,
        free: None,
        rate: None,
    };
    let recorded = database.record_start(&desktop, "docker", 0, limits).await;
    assert_eq!(recorded.expect("a desktop"), Recorded::Yes);
    (secret, id)
}
