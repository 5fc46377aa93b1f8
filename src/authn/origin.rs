//! Where a request comes from and which of our hosts it is for: that of the portal, that of the desktops, or
//! the one that both share. Where they share it, a desktop's page has the portal's origin, so unsafe calls by
//! cookie also need the token that only our pages carry.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderMap, ORIGIN, REFERER, UPGRADE};
use url::Url;

use crate::config::Secret;
use crate::model::id::SessionHash;

/// Header that carries the token.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// What is served under the host that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Everything: there is one origin.
    Both,
    /// Everything but what desktops serve.
    Portal,
    /// What desktops serve, and nothing else.
    Desktops,
}

/// One origin of ours, as browsers write it.
#[derive(Clone, Debug)]
pub struct Origin {
    text: String,
    /// Where the host begins.
    host: usize,
}

impl Origin {
    fn of(url: &Url) -> Self {
        let text = url.origin().ascii_serialization();
        let host = text.find("//").map_or(text.len(), |slashes| slashes + 2);
        Self { text, host }
    }

    /// `https://host[:port]`
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host and, unless it is the usual one, port, as browsers write them in `Host`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.text[self.host..]
    }

    /// Whether the request names exactly this origin; a WebSocket handshake must.
    #[must_use]
    pub fn is_named_in(&self, headers: &HeaderMap) -> bool {
        let mut sent = headers.get_all(ORIGIN).iter();
        let first = sent.next();
        sent.next().is_none()
            && first.is_some_and(|origin| origin.as_bytes() == self.text.as_bytes())
    }
}

/// Whether a page in a browser made this request, as far as one can tell: a desktop's page must not use an API
/// token that was typed into it, and no page of ours uses one. Browsers say so in Fetch Metadata, which no
/// script can leave out (`Sec-Fetch-Mode` alone is what Node says of itself), older ones in Origin or Referer.
/// In a WebSocket no page can set the header that shows a token, and every program sends our Origin.
#[must_use]
pub fn is_of_page(headers: &HeaderMap) -> bool {
    let metadata = ["sec-fetch-site", "sec-fetch-dest", "sec-fetch-user"];
    let marked = metadata.iter().any(|name| headers.contains_key(*name));
    let websocket = headers.contains_key(UPGRADE);
    marked || headers.contains_key(REFERER) || (headers.contains_key(ORIGIN) && !websocket)
}

/// Knows our origins and makes CSRF tokens.
#[derive(Clone, Debug)]
pub struct OriginGuard {
    public_url: Url,
    portal: Origin,
    desktops: Option<Origin>,
    frames: bool,
    key: hmac::Key,
}

impl OriginGuard {
    /// For the origin of `public_url`, and for that of desktops if it is another.
    #[must_use]
    pub fn new(public_url: Url, desktop_origin: Option<&Url>, secret_key: &Secret) -> Self {
        Self {
            portal: Origin::of(&public_url),
            desktops: desktop_origin.map(Origin::of),
            frames: false,
            public_url,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret_key.expose().as_bytes()),
        }
    }

    /// The same, with desktops in frames of the portal's pages or without.
    #[must_use]
    pub fn framing(self, frames: bool) -> Self {
        Self { frames, ..self }
    }

    /// The origin whose pages may hold desktops in a frame, if there is one: never that of the desktops themselves.
    #[must_use]
    pub fn framed_by(&self) -> Option<&Origin> {
        let apart = self.desktops.is_some();
        (self.frames && apart).then_some(&self.portal)
    }

    /// The origin of the portal.
    #[must_use]
    pub fn portal(&self) -> &Origin {
        &self.portal
    }

    /// The origin of desktops, which may be that of the portal.
    #[must_use]
    pub fn desktops(&self) -> &Origin {
        self.desktops.as_ref().unwrap_or(&self.portal)
    }

    /// The origin of a side.
    #[must_use]
    pub fn of(&self, side: Side) -> &Origin {
        match side {
            Side::Both | Side::Portal => self.portal(),
            Side::Desktops => self.desktops(),
        }
    }

    /// The side of a request, where `is_host` says whether it names a host. The host of a request that names
    /// neither is that of the portal's side, which refuses it.
    pub fn side(&self, is_host: impl Fn(&str) -> bool) -> Side {
        match &self.desktops {
            None => Side::Both,
            Some(desktops) if is_host(desktops.host()) => Side::Desktops,
            Some(_) => Side::Portal,
        }
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

    /// A path to return to after login: `text` if it stays on the portal's origin, otherwise the start page.
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
        OriginGuard::new(url, None, &Secret::new("k".repeat(32)))
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
            guard().portal().is_named_in(&headers)
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
    fn a_second_origin_has_a_side_of_its_own() {
        let one = guard();
        assert_eq!(one.side(|_| true), Side::Both);
        assert_eq!(one.desktops().as_str(), "https://desk.example:8443");
        let url = |text: &str| Url::parse(text).expect("a URL");
        let desktops = url("https://desktops.example");
        let secret = Secret::new("k".repeat(32));
        let two = OriginGuard::new(url("https://desk.example:8443"), Some(&desktops), &secret);
        for (host, side) in [
            ("desk.example:8443", Side::Portal),
            ("desktops.example", Side::Desktops),
            ("elsewhere.example", Side::Portal),
        ] {
            assert_eq!(two.side(|ours| ours == host), side, "{host}");
        }
        assert_eq!(two.of(Side::Desktops).as_str(), "https://desktops.example");
        assert_eq!(two.of(Side::Portal).host(), "desk.example:8443");
        assert!(two.framed_by().is_none() && one.clone().framing(true).framed_by().is_none());
        let framed = two.framing(true);
        let by = framed.framed_by().map(Origin::as_str);
        assert_eq!(by, Some("https://desk.example:8443"));
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
