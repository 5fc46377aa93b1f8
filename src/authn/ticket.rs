//! The way into the desktops' own host: a ticket that the portal gives to one browser for one desktop, and
//! the cookie that it becomes there. Both are sealed references to a session, never its secret, and the
//! session's end is theirs.
//!
//! The ticket stands in an address, and addresses can be passed on. So it is good once, for half a minute,
//! and only in the browser that asked for it, which proves itself by a cookie of its own. Otherwise somebody
//! could send a ticket of theirs to others, who would then work, and type passwords, in a foreign desktop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::HeaderMap;
use serde::{Deserialize, Serialize};

use super::cookies::{ours, values};
use super::seal::Seal;
use super::token::SessionSecret;
use crate::clock::Clock;
use crate::config::Secret;
use crate::model::id::SessionHash;
use crate::model::time::Timestamp;

/// Name of the cookie that stands for a session on the desktops' host.
pub const DESKTOP_COOKIE: &str = "__Host-Http-desktop";
/// Name of the cookie by which a browser proves that it asked for a ticket.
pub const BROWSER_COOKIE: &str = "__Host-Http-browser";
/// How long a ticket is good.
pub const LIFETIME: Duration = Duration::from_secs(30);
/// How long a browser may take at the portal, a login included, before it asks again.
const BROWSER_LIFETIME: time::Duration = time::Duration::hours(1);
/// How many spent tickets are remembered. Beyond that none is taken until some have expired.
const MAX_SPENT: usize = 16 * 1024;

const TICKET: &str = "ticket";
const COOKIE: &str = "desktop cookie";

/// A browser, known by the hash of the secret that it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserId(SessionHash);

impl BrowserId {
    /// From an address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digest.then(|| Self(SessionHash::from_hex(text.to_owned())))
    }

    /// For an address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The browser that sent these headers, if it has a secret.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let secret = only(headers, BROWSER_COOKIE)?;
        Some(Self(SessionSecret::parse(secret)?.hash()))
    }

    /// A browser that gets its secret now, and the `Set-Cookie` that gives it.
    #[must_use]
    pub fn random() -> (Self, String) {
        let secret = SessionSecret::random();
        let mut cookie = ours(BROWSER_COOKIE, secret.expose().to_owned());
        cookie.set_max_age(BROWSER_LIFETIME);
        (Self(secret.hash()), cookie.to_string())
    }
}

/// What a ticket says.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// Random; by it the ticket is known when it comes back.
    id: String,
    session: String,
    browser: String,
    /// Below which desktop's path, and so for which desktop.
    to: String,
    expires_at: i64,
}

/// What the cookie says.
#[derive(Debug, Serialize, Deserialize)]
struct SealedCookie {
    session: String,
    expires_at: i64,
}

/// A ticket that was good.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whose it is.
    pub session: SessionHash,
    /// The path that it leads to.
    pub to: String,
}

/// Makes tickets and cookies, and takes them back.
#[derive(Debug)]
pub struct Tickets {
    seal: Seal,
    clock: Arc<dyn Clock>,
    /// Ids of tickets that were used, and until when they would have been good.
    spent: Mutex<HashMap<String, Timestamp>>,
}

impl Tickets {
    /// With a key derived from `secret_key`, which the gateways of an installation share.
    #[must_use]
    pub fn new(secret_key: &Secret, clock: Arc<dyn Clock>) -> Self {
        Self {
            seal: Seal::new(secret_key),
            clock,
            spent: Mutex::default(),
        }
    }

    /// A ticket for `session` in `browser`, to the path `to` of a desktop.
    #[must_use]
    pub fn issue(&self, session: &SessionHash, browser: &BrowserId, to: &str) -> String {
        let sealed = Sealed {
            id: SessionSecret::random().expose().to_owned(),
            session: session.as_str().to_owned(),
            browser: browser.as_str().to_owned(),
            to: to.to_owned(),
            expires_at: self.clock.timestamp().after(LIFETIME).millis(),
        };
        self.seal.seal(TICKET, &sealed)
    }

    /// Takes a ticket from the browser that sent `headers`. Only the right browser uses it up.
    #[must_use]
    pub fn redeem(&self, ticket: &str, headers: &HeaderMap) -> Option<Ticket> {
        let sealed: Sealed = self.seal.open(TICKET, ticket)?;
        let (now, until) = (
            self.clock.timestamp(),
            Timestamp::from_millis(sealed.expires_at),
        );
        let asked_here = BrowserId::of(headers)?.as_str() == sealed.browser;
        let good = asked_here && now < until && self.spend(sealed.id, until, now);
        good.then(|| Ticket {
            session: SessionHash::from_hex(sealed.session),
            to: sealed.to,
        })
    }

    /// Notes that a ticket is used. `false` if it was used before, or if that cannot be told.
    fn spend(&self, id: String, until: Timestamp, now: Timestamp) -> bool {
        // The map is whole between any two calls, whatever happened to another holder of the lock.
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= MAX_SPENT {
            spent.retain(|_, until| now < *until);
        }
        spent.len() < MAX_SPENT && spent.insert(id, until).is_none()
    }

    /// `Set-Cookie` that lets the browser into the session's desktops.
    #[must_use]
    pub fn set_desktop(&self, session: &SessionHash, expires_at: Timestamp) -> String {
        let sealed = SealedCookie {
            session: session.as_str().to_owned(),
            expires_at: expires_at.millis(),
        };
        ours(DESKTOP_COOKIE, self.seal.seal(COOKIE, &sealed)).to_string()
    }

    /// The session that the browser's cookie stands for, if it sent exactly one. Whether it lives is not
    /// known here.
    #[must_use]
    pub fn desktop_session(&self, headers: &HeaderMap) -> Option<SessionHash> {
        let sealed: SealedCookie = self.seal.open(COOKIE, only(headers, DESKTOP_COOKIE)?)?;
        let over = self.clock.timestamp() >= Timestamp::from_millis(sealed.expires_at);
        (!over).then(|| SessionHash::from_hex(sealed.session))
    }
}

/// The value of a cookie that was sent once.
fn only<'a>(headers: &'a HeaderMap, name: &'a str) -> Option<&'a str> {
    let mut sent = values(headers, name);
    let first = sent.next()?;
    sent.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use ::time::OffsetDateTime;
    use hyper::header::COOKIE;

    use super::*;

    #[derive(Debug, Default)]
    struct HandClock(AtomicI64);

    impl Clock for HandClock {
        fn now(&self) -> OffsetDateTime {
            let seconds = self.0.load(Ordering::Relaxed);
            OffsetDateTime::from_unix_timestamp(seconds).expect("a time")
        }
    }

    fn tickets(key: &str) -> (Tickets, Arc<HandClock>) {
        let clock = Arc::new(HandClock::default());
        let secret = Secret::new(key.repeat(32));
        (Tickets::new(&secret, clock.clone()), clock)
    }

    fn session() -> SessionHash {
        SessionSecret::random().hash()
    }

    fn headers(set_cookies: &[&str]) -> HeaderMap {
        let pairs = set_cookies
            .iter()
            .map(|set| set.split(';').next().expect("a pair"));
        let cookie = pairs.collect::<Vec<_>>().join("; ");
        [(COOKIE, cookie.parse().expect("a header value"))]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_ticket_is_good_once_in_its_own_browser() {
        let (tickets, _) = tickets("k");
        let (browser, cookie) = BrowserId::random();
        let (_, other) = BrowserId::random();
        let session = session();
        let ticket = tickets.issue(&session, &browser, "/desktop/x/");
        assert!(!ticket.contains(session.as_str()));
        assert_eq!(tickets.redeem(&ticket, &headers(&[&other])), None);
        assert_eq!(tickets.redeem(&ticket, &HeaderMap::new()), None);
        assert_eq!(tickets.redeem(&ticket, &headers(&[&cookie, &other])), None);
        let good = Ticket {
            session,
            to: "/desktop/x/".into(),
        };
        // Those who could not use it did not use it up.
        assert_eq!(tickets.redeem(&ticket, &headers(&[&cookie])), Some(good));
        assert_eq!(tickets.redeem(&ticket, &headers(&[&cookie])), None);
    }

    #[test]
    fn a_ticket_expires_and_only_the_installation_makes_one() {
        let (ours, clock) = tickets("k");
        let (browser, cookie) = BrowserId::random();
        let ticket = || ours.issue(&session(), &browser, "/desktop/x/");
        let (late, early) = (ticket(), ticket());
        clock.0.store(29, Ordering::Relaxed);
        assert!(ours.redeem(&early, &headers(&[&cookie])).is_some());
        clock.0.store(30, Ordering::Relaxed);
        assert_eq!(ours.redeem(&late, &headers(&[&cookie])), None);
        let fresh = ticket();
        assert_eq!(tickets("x").0.redeem(&fresh, &headers(&[&cookie])), None);
        let (sibling, its_clock) = tickets("k");
        its_clock.0.store(30, Ordering::Relaxed);
        assert!(sibling.redeem(&fresh, &headers(&[&cookie])).is_some());
    }

    #[test]
    fn the_cookie_stands_for_its_session_until_that_is_over() {
        let (tickets, clock) = tickets("k");
        let session = session();
        let cookie = tickets.set_desktop(&session, Timestamp::from_millis(5000));
        for part in [
            "__Host-Http-desktop=",
            "HttpOnly",
            "Secure",
            "SameSite=Lax",
            "Path=/",
        ] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains("Domain"));
        let sent = headers(&[&cookie]);
        assert_eq!(tickets.desktop_session(&sent), Some(session.clone()));
        let double = headers(&[&cookie, &cookie]);
        assert_eq!(tickets.desktop_session(&double), None);
        let (browser, of_browser) = BrowserId::random();
        let ticket = tickets.issue(&session, &browser, "/desktop/x/");
        let swapped = headers(&[&format!("{DESKTOP_COOKIE}={ticket}")]);
        assert_eq!(
            tickets.desktop_session(&swapped),
            None,
            "a ticket is no cookie"
        );
        let value = &cookie[DESKTOP_COOKIE.len() + 1..cookie.find(';').expect("attributes")];
        assert_eq!(
            tickets.redeem(value, &headers(&[&of_browser])),
            None,
            "nor the reverse"
        );
        clock.0.store(5, Ordering::Relaxed);
        assert_eq!(tickets.desktop_session(&sent), None);
    }

    #[test]
    fn the_memory_of_spent_tickets_is_bounded_and_clears_itself() {
        let (tickets, _) = tickets("k");
        let at = Timestamp::from_millis;
        for number in 0..MAX_SPENT {
            assert!(tickets.spend(number.to_string(), at(100), at(0)));
        }
        assert!(!tickets.spend("one more".into(), at(100), at(0)));
        assert!(tickets.spend("one more".into(), at(300), at(100)));
        assert!(!tickets.spend("one more".into(), at(300), at(100)));
    }
}
