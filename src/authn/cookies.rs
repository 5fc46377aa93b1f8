//! Our cookies. The session cookie's prefix `__Host-Http-` keeps scripts from overwriting or
//! planting it; the login cookie carries a login in progress, encrypted, so that any gateway with the
//! same key can finish it.

use cookie::{Cookie, CookieJar, Key, SameSite};
use hyper::header::{COOKIE, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::ticket::DESKTOP_COOKIE;
use super::token::SessionSecret;
use crate::config::Secret;
use crate::request::lang::{LANGUAGE_COOKIE, Lang};

/// Name of the session cookie.
pub const SESSION_COOKIE: &str = "__Host-Http-session";
/// Name of the cookie of a login in progress.
pub const LOGIN_COOKIE: &str = "__Host-Http-login";
/// How long a choice of language is kept.
const LANGUAGE_LIFETIME: time::Duration = time::Duration::days(365);
/// How long a person may take at the provider.
pub const LOGIN_LIFETIME: std::time::Duration = std::time::Duration::from_secs(600);

/// A login between `/login` and `/authorize`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingLogin {
    /// `state` that the provider must give back.
    pub state: String,
    /// `nonce` that the ID token must carry.
    pub nonce: String,
    /// PKCE verifier.
    pub verifier: String,
    /// Where to go afterwards; a local path.
    pub return_to: String,
    /// End of its life, epoch milliseconds.
    pub expires_at: i64,
}

/// Reads and makes our cookies.
#[derive(Clone)]
pub struct Cookies {
    key: Key,
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cookies").finish_non_exhaustive()
    }
}

impl Cookies {
    /// With a key derived from `secret_key`, which has at least 32 bytes.
    #[must_use]
    pub fn new(secret_key: &Secret) -> Self {
        Self {
            key: Key::derive_from(secret_key.expose().as_bytes()),
        }
    }

    /// The session that the browser sent, if it sent exactly one.
    #[must_use]
    pub fn session(headers: &HeaderMap) -> Option<SessionSecret> {
        let mut sent = values(headers, SESSION_COOKIE);
        let first = sent.next()?;
        if sent.next().is_some() {
            return None;
        }
        SessionSecret::parse(first)
    }

    /// Leaves of a request's cookies only our sessions, so that nobody has to hold the others.
    pub fn forget_others(headers: &mut HeaderMap) {
        let of = |name| values(headers, name).map(move |value| format!("{name}={value}"));
        let ours: Vec<String> = of(SESSION_COOKIE).chain(of(DESKTOP_COOKIE)).collect();
        headers.remove(COOKIE);
        if let Ok(ours) = HeaderValue::try_from(ours.join("; ")) {
            headers.insert(COOKIE, ours);
        }
    }

    /// `Set-Cookie` that gives the browser its session.
    #[must_use]
    pub fn set_session(secret: &SessionSecret) -> String {
        ours(SESSION_COOKIE, secret.expose().to_owned()).to_string()
    }

    /// `Set-Cookie` that keeps the language that a person chose.
    #[must_use]
    pub fn set_language(lang: Lang) -> String {
        let mut cookie = ours(LANGUAGE_COOKIE, lang.code().to_owned());
        cookie.set_max_age(LANGUAGE_LIFETIME);
        cookie.to_string()
    }

    /// `Set-Cookie` that takes it away.
    #[must_use]
    pub fn clear_session() -> String {
        expired(SESSION_COOKIE)
    }

    /// `Set-Cookie` that carries a login to its end.
    ///
    /// # Panics
    /// Never: strings and numbers can always be written as JSON.
    #[must_use]
    pub fn set_login(&self, login: &PendingLogin) -> String {
        let text = serde_json::to_string(login).expect("five strings and a number are JSON");
        let mut jar = CookieJar::new();
        let mut cookie = ours(LOGIN_COOKIE, text);
        cookie.set_max_age(time::Duration::try_from(LOGIN_LIFETIME).ok());
        jar.private_mut(&self.key).add(cookie);
        jar.get(LOGIN_COOKIE)
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// `Set-Cookie` that ends it.
    #[must_use]
    pub fn clear_login() -> String {
        expired(LOGIN_COOKIE)
    }

    /// The login in progress that the browser sent, unless it was tampered with.
    #[must_use]
    pub fn login(&self, headers: &HeaderMap) -> Option<PendingLogin> {
        let value = values(headers, LOGIN_COOKIE).next()?;
        let plain = CookieJar::new()
            .private(&self.key)
            .decrypt(Cookie::new(LOGIN_COOKIE, value.to_owned()))?;
        serde_json::from_str(plain.value()).ok()
    }
}

/// What the request's cookies of this name say. Cut into bytes and compared byte for byte: what a script
/// wrote into its own cookies must neither hide ours nor pass for it, as it could where all of the field has
/// to be text, or where a name loses the Unicode spaces around it.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let fields = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    fields
        .flat_map(|field| field.split(|byte| *byte == b';'))
        .filter_map(move |pair| {
            let value = trim(pair)
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b"=")?;
            str::from_utf8(value).ok().filter(|value| value.is_ascii())
        })
}

/// `text` without the spaces and tabs around it (RFC 9110 section 5.6.3).
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

pub(super) fn ours(name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build((name, value))
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(SameSite::Lax)
        .build()
}

fn expired(name: &'static str) -> String {
    let mut cookie = ours(name, String::new());
    cookie.make_removal();
    cookie.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: impl AsRef<[u8]>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(cookie.as_ref()).expect("a header value");
        headers.insert(COOKIE, value);
        headers
    }

    fn pair(set_cookie: &str) -> &str {
        set_cookie.split(';').next().unwrap_or_default()
    }

    #[test]
    fn the_session_cookie_is_bound_to_host_and_hidden_from_scripts() {
        let secret = SessionSecret::random();
        let set = Cookies::set_session(&secret);
        for part in [
            "__Host-Http-session=",
            "HttpOnly",
            "Secure",
            "SameSite=Lax",
            "Path=/",
        ] {
            assert!(set.contains(part), "{set}");
        }
        assert!(!set.contains("Domain"));
        assert_eq!(
            Cookies::session(&headers(format!("a=b; {}; c=d", pair(&set)))),
            Some(secret)
        );
    }

    #[test]
    fn two_session_cookies_are_none() {
        let (a, b) = (SessionSecret::random(), SessionSecret::random());
        let both = format!(
            "{SESSION_COOKIE}={}; {SESSION_COOKIE}={}",
            a.expose(),
            b.expose()
        );
        assert_eq!(Cookies::session(&headers(both)), None);
    }

    #[test]
    fn what_scripts_write_into_their_cookies_neither_hides_ours_nor_passes_for_it() {
        let secret = SessionSecret::random();
        let ours = format!("{SESSION_COOKIE}={}", secret.expose());
        let planted = SessionSecret::random();
        for theirs in [
            &b"x=\xfc"[..],
            "x=\u{fc}\u{4e2d}".as_bytes(),
            b"\xff\xfe",
            b"",
            b"=",
            b"x",
            b"x=\"",
            format!("\u{2000}{SESSION_COOKIE}={}", planted.expose()).as_bytes(),
            format!("\u{a0}{SESSION_COOKIE}={}", planted.expose()).as_bytes(),
            format!("{SESSION_COOKIE} ={}", planted.expose()).as_bytes(),
            format!("{}={}", SESSION_COOKIE.to_lowercase(), planted.expose()).as_bytes(),
            format!("x{SESSION_COOKIE}={}", planted.expose()).as_bytes(),
            format!("\"{SESSION_COOKIE}\"={}", planted.expose()).as_bytes(),
        ] {
            let shown = theirs.escape_ascii();
            for (first, second) in [(theirs, ours.as_bytes()), (ours.as_bytes(), theirs)] {
                let both = [first, b"; \t", second].concat();
                let found = Cookies::session(&headers(both));
                assert_eq!(found.as_ref(), Some(&secret), "{shown}");
            }
            assert_eq!(Cookies::session(&headers(theirs)), None, "{shown}");
        }
    }

    #[test]
    fn what_others_wrote_can_be_forgotten() {
        let ours = format!("{SESSION_COOKIE}=a");
        for (sent, left) in [
            (vec!["x=1", &ours, "y=\u{fc}"], ours.clone()),
            (vec!["x=1"], String::new()),
            (vec![], String::new()),
            (vec![&ours, &ours], format!("{ours}; {ours}")),
        ] {
            let mut headers = headers(sent.join("; "));
            headers.append(COOKIE, HeaderValue::from_static("z=3"));
            Cookies::forget_others(&mut headers);
            let found: Vec<_> = headers.get_all(COOKIE).iter().collect();
            assert_eq!(found, [&left], "{sent:?}");
        }
    }

    #[test]
    fn a_pending_login_survives_only_unchanged_and_with_the_same_key() {
        let cookies = Cookies::new(&Secret::new("k".repeat(32)));
        let login = PendingLogin {
            state: "s".into(),
            nonce: "n".into(),
            verifier: "v".into(),
            return_to: "/".into(),
            expires_at: 7,
        };
        let set = cookies.set_login(&login);
        assert!(!set.contains("return_to"), "it is encrypted: {set}");
        assert_eq!(cookies.login(&headers(pair(&set))), Some(login));
        let other = Cookies::new(&Secret::new("x".repeat(32)));
        assert_eq!(other.login(&headers(pair(&set))), None);
        let mut broken = pair(&set).to_owned();
        let last = broken.pop().expect("not empty");
        broken.push(if last == 'A' { 'B' } else { 'A' });
        assert_eq!(cookies.login(&headers(broken)), None);
    }
}
