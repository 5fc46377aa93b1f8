//! Where a request comes from: our own pages or somewhere else. A desktop's page has our origin too,
//! so unsafe calls by cookie also need the token that only our pages carry.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderMap, ORIGIN};
use url::Url;

use crate::config::Secret;
use crate::model::id::SessionHash;

/// Header that carries the token.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// Knows our origin and makes CSRF tokens.
#[derive(Clone, Debug)]
pub struct OriginGuard {
    public_url: Url,
    origin: String,
    key: hmac::Key,
}

impl OriginGuard {
    /// For the origin of `public_url`.
    #[must_use]
    pub fn new(public_url: Url, secret_key: &Secret) -> Self {
        Self {
            origin: public_url.origin().ascii_serialization(),
            public_url,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret_key.expose().as_bytes()),
        }
    }

    /// Our origin, as browsers write it.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Our host and, unless it is the usual one, port, as browsers write them in `Host`.
    #[must_use]
    pub fn host(&self) -> &str {
        self.origin.split_once("//").map_or("", |(_, host)| host)
    }

    /// Whether the request names exactly our origin; a WebSocket handshake must.
    #[must_use]
    pub fn is_own(&self, headers: &HeaderMap) -> bool {
        let mut sent = headers.get_all(ORIGIN).iter();
        let first = sent.next();
        sent.next().is_none()
            && first.is_some_and(|origin| origin.as_bytes() == self.origin.as_bytes())
    }

    /// The token of a session's pages.
    #[must_use]
    pub fn csrf_token(&self, session: &SessionHash) -> String {
        let tag = hmac::sign(&self.key, format!("csrf {}", session.as_str()).as_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref())
    }

    /// Whether `token` is the one of this session.
    #[must_use]
    pub fn is_csrf_token(&self, session: &SessionHash, token: &str) -> bool {
        let expected = self.csrf_token(session);
        constant_time::verify_slices_are_equal(expected.as_bytes(), token.as_bytes()).is_ok()
    }

    /// A path to return to after login: `text` if it stays on our origin, otherwise the start page.
    #[must_use]
    pub fn local_path(&self, text: &str) -> String {
        self.resolve_local(text).unwrap_or_else(|| "/".to_owned())
    }

    fn resolve_local(&self, text: &str) -> Option<String> {
        let plain = text.starts_with('/')
            && text
                .bytes()
                .all(|byte| (0x20..0x7f).contains(&byte) && byte != b'\\');
        let url = plain.then(|| self.public_url.join(text).ok())??;
        let path = &url[url::Position::BeforePath..];
        // Dot segments can leave two slashes in front, which a browser takes for another host.
        let local = url.origin() == self.public_url.origin() && !path.starts_with("//");
        local.then(|| path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> OriginGuard {
        let url = Url::parse("https://desk.example:8443").expect("a URL");
        OriginGuard::new(url, &Secret::new("k".repeat(32)))
    }

    #[test]
    fn only_local_paths_are_returned_to() {
        for (text, expected) in [
            ("/", "/"),
            ("/desktop/1/?path=a%20b#c", "/desktop/1/?path=a%20b#c"),
            ("//evil.example/", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example/", "/"),
            ("javascript:alert(1)", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("/\t/evil.example", "/"),
            ("", "/"),
            ("/../..//evil.example", "/"),
        ] {
            let path = guard().local_path(text);
            if expected == "/" && text.contains("evil") {
                let joined = guard().public_url.join(&path).expect("joins");
                assert_eq!(
                    joined.host_str(),
                    Some("desk.example"),
                    "{text} gives {path}"
                );
            } else {
                assert_eq!(path, expected, "{text}");
            }
        }
    }

    #[test]
    fn a_path_with_a_climbing_double_slash_does_not_leave() {
        let path = guard().local_path("/a/..//evil.example/");
        assert!(!path.starts_with("//"), "{path}");
    }

    #[test]
    fn a_foreign_missing_or_double_origin_is_not_ours() {
        let check = |origins: &[&str]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(ORIGIN, origin.parse().expect("a value"));
            }
            guard().is_own(&headers)
        };
        assert!(check(&["https://desk.example:8443"]));
        assert!(!check(&[]));
        assert!(!check(&["null"]));
        assert!(!check(&["https://desk.example"]));
        assert!(!check(&["http://desk.example:8443"]));
        assert!(!check(&[
            "https://desk.example:8443",
            "https://desk.example:8443"
        ]));
    }

    #[test]
    fn a_token_belongs_to_one_session() {
        let (a, b) = (
            SessionHash::from_hex("a".into()),
            SessionHash::from_hex("b".into()),
        );
        let token = guard().csrf_token(&a);
        assert!(guard().is_csrf_token(&a, &token));
        assert!(!guard().is_csrf_token(&b, &token));
        assert!(!guard().is_csrf_token(&a, ""));
    }
}
