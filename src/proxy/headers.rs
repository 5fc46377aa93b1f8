//! Which headers cross. To the desktop: a short list, made fresh, because KasmVNC reads no more than
//! 4095 bytes of head and because nothing of the gateway's is a desktop's business. To the browser:
//! what describes the answer, and nothing that could act on the whole origin.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};

use crate::model::template::HeaderRules;

/// Longest value that is forwarded, bytes. A longer one is left out: all of them are optional.
const MAX_VALUE: usize = 256;
/// Longest head that a desktop is sent, bytes: KasmVNC 1.3 reads no more, and closes the connection on a longer
/// one.
pub(super) const MAX_HEAD: usize = 4095;

/// Whether a response header is passed on to the browser. A list of what may pass, since new headers that
/// act on a whole origin are invented all the time. What is on it describes the body, says how long it may be
/// kept, or makes the page stricter with itself; none acts beyond the answer that it comes with. Headers of
/// one hop (RFC 9110 section 7.6.1) are not on it.
fn may_pass(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "accept-ranges"
            | "age"
            | "allow"
            | "cache-control"
            | "content-disposition"
            | "content-encoding"
            | "content-language"
            | "content-length"
            | "content-range"
            | "content-type"
            | "cross-origin-embedder-policy"
            | "cross-origin-opener-policy"
            | "cross-origin-resource-policy"
            | "date"
            | "etag"
            | "expires"
            | "last-modified"
            | "location"
            | "pragma"
            | "retry-after"
            | "vary"
            | "x-content-type-options"
    )
}

/// Request headers that a desktop may see.
const KNOWN: usize = 10;

/// The place of a request header that a desktop may see among all of them, and its name in the spelling that old
/// servers know. Where there is no room for all, the last ones stay behind.
fn known_name(name: &HeaderName) -> Option<(usize, &'static str)> {
    Some(match *name {
        header::CONTENT_TYPE => (0, "Content-Type"),
        header::CONTENT_ENCODING => (1, "Content-Encoding"),
        header::IF_RANGE => (2, "If-Range"),
        header::RANGE => (3, "Range"),
        header::IF_NONE_MATCH => (4, "If-None-Match"),
        header::IF_MODIFIED_SINCE => (5, "If-Modified-Since"),
        header::ACCEPT_ENCODING => (6, "Accept-Encoding"),
        header::CACHE_CONTROL => (7, "Cache-Control"),
        header::ACCEPT => (8, "Accept"),
        header::USER_AGENT => (9, "User-Agent"),
        _ => return None,
    })
}

/// Whether the header at this place means something else without the one before it, if that was sent as well
/// (RFC 9110 sections 13.1.3 and 13.1.5): a part of another version of a file, or "not modified" of one that was.
const fn needs_the_one_before(place: usize) -> bool {
    matches!(place, 3 | 5)
}

/// What a desktop may see of a browser's headers: of each known one the first, if it is short enough and there is
/// `room` for it, bytes.
pub fn known(
    from_browser: &HeaderMap,
    mut room: usize,
) -> impl Iterator<Item = (&'static str, &HeaderValue)> {
    let mut known = [None; KNOWN];
    for (name, value) in from_browser {
        if let Some((place, name)) = known_name(name) {
            known[place].get_or_insert((name, value));
        }
    }
    let mut before_is_lost = false;
    for (place, field) in known.iter_mut().enumerate() {
        let Some((name, value)) = *field else {
            before_is_lost = false;
            continue;
        };
        let length = name.len() + ": ".len() + value.len() + "\r\n".len();
        before_is_lost = value.len() > MAX_VALUE
            || length > room
            || (before_is_lost && needs_the_one_before(place));
        if before_is_lost {
            *field = None;
        } else {
            room -= length;
        }
    }
    known.into_iter().flatten()
}

/// What of a desktop's headers may reach the browser.
#[derive(Debug)]
pub struct ToBrowser {
    headers: HeaderMap,
    /// Names that the desktop declared to be of one hop.
    hop: Vec<HeaderName>,
}

impl Default for ToBrowser {
    fn default() -> Self {
        Self {
            // Room for what is added to it later as well.
            headers: HeaderMap::with_capacity(24),
            hop: Vec::new(),
        }
    }
}

impl ToBrowser {
    /// Adds a header, if it may pass.
    ///
    /// # Errors
    /// The value is none that a header may have.
    pub fn add(&mut self, name: HeaderName, value: &[u8]) -> Result<(), InvalidHeaderValue> {
        if may_pass(&name) {
            self.headers.append(name, HeaderValue::from_bytes(value)?);
        } else if name == header::CONNECTION {
            // As bytes: one odd byte must not hide the other names.
            let named = value.split(|byte| *byte == b',');
            let named = named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
            self.hop.extend(named);
        }
        Ok(())
    }

    /// All of them, without those of one hop.
    #[must_use]
    pub fn finish(mut self) -> HeaderMap {
        for name in self.hop {
            self.headers.remove(name);
        }
        self.headers
    }
}

/// Changes an answer as its template wants it. What confines the desktop is set after this.
pub fn apply(rules: &HeaderRules, headers: &mut HeaderMap) {
    for name in &rules.remove {
        headers.remove(name);
    }
    for (name, value) in &rules.set {
        headers.insert(name.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_browser(headers: &mut HeaderMap) {
        let mut passed = ToBrowser::default();
        for (name, value) in &*headers {
            passed.add(name.clone(), value.as_bytes()).unwrap();
        }
        *headers = passed.finish();
    }

    #[test]
    fn a_desktop_sees_the_first_of_what_it_knows() {
        let mut headers = HeaderMap::new();
        let long = "x".repeat(MAX_VALUE + 1);
        for (name, value) in [
            ("cookie", "x"),
            ("accept", "first"),
            ("authorization", "x"),
            ("accept", "second"),
            ("user-agent", &long),
            ("user-agent", "second"),
            ("if-none-match", "\"x\""),
            ("x-forwarded-for", "x"),
        ] {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let seen: Vec<_> = known(&headers, MAX_HEAD)
            .map(|(name, value)| (name, value.to_str().unwrap()))
            .collect();
        assert_eq!(seen, [("If-None-Match", "\"x\""), ("Accept", "first")]);
    }

    #[test]
    fn what_has_no_room_stays_behind_and_takes_along_what_needs_it() {
        let sent = |fields: &[(&'static str, usize)], room| {
            let mut from_browser = HeaderMap::new();
            for (name, length) in fields {
                let value = HeaderValue::try_from("x".repeat(*length)).unwrap();
                from_browser.insert(*name, value);
            }
            let fields: Vec<_> = known(&from_browser, room).collect();
            let lengths = fields
                .iter()
                .map(|(name, value)| name.len() + value.len() + 4);
            assert!(lengths.sum::<usize>() <= room, "{fields:?} in {room}");
            let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
            names.join(" ")
        };
        let all = [
            ("accept", MAX_VALUE),
            ("accept-encoding", MAX_VALUE),
            ("cache-control", MAX_VALUE),
            ("content-encoding", MAX_VALUE),
            ("content-type", MAX_VALUE),
            ("if-modified-since", MAX_VALUE),
            ("if-none-match", MAX_VALUE),
            ("if-range", MAX_VALUE),
            ("range", MAX_VALUE),
            ("user-agent", MAX_VALUE),
        ];
        for room in 0..3000 {
            sent(&all, room);
        }
        assert_eq!(sent(&all, 3000).split(' ').count(), KNOWN);
        assert_eq!(sent(&all, 600), "Content-Type Content-Encoding");
        assert_eq!(sent(&[("range", 9)], 99), "Range");
        assert_eq!(sent(&[("range", 9), ("if-range", 9)], 99), "If-Range Range");
        assert_eq!(sent(&[("range", 9), ("if-range", 257)], 9999), "");
        let both = [("if-modified-since", 9), ("if-none-match", 99)];
        assert_eq!(sent(&both, 99), "");
        assert_eq!(sent(&both, 999), "If-None-Match If-Modified-Since");
    }

    #[test]
    fn nothing_that_acts_on_the_origin_reaches_the_browser() {
        let mut headers = HeaderMap::new();
        for name in [
            "access-control-allow-origin",
            "accept-ch",
            "alt-svc",
            "clear-site-data",
            "connection",
            "content-security-policy",
            "keep-alive",
            "link",
            "origin-trial",
            "permissions-policy",
            "refresh",
            "server",
            "service-worker-allowed",
            "set-cookie",
            "speculation-rules",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "use-as-dictionary",
            "www-authenticate",
            "x-invented-tomorrow",
        ] {
            headers.append(name, HeaderValue::from_static("x"));
        }
        headers.append("set-cookie", HeaderValue::from_static("second"));
        headers.append("content-type", HeaderValue::from_static("text/html"));
        to_browser(&mut headers);
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(headers["content-type"], "text/html");
    }

    #[test]
    fn what_describes_the_body_passes_with_all_its_values() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/html"),
            ("content-encoding", "br"),
            ("vary", "accept"),
            ("vary", "accept-encoding"),
            ("etag", "\"1\""),
            ("cross-origin-embedder-policy", "require-corp"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let expected = headers.clone();
        headers.insert("server", HeaderValue::from_static("x"));
        to_browser(&mut headers);
        assert_eq!(headers, expected);
    }

    #[test]
    fn what_is_named_as_of_one_hop_stays() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, ETag"),
            ("etag", "\"1\""),
            ("connection", " vary,, ,no name"),
            ("vary", "a"),
            ("pragma", "no-cache"),
            ("age", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        // A byte that is no text hides neither the names before it nor those behind it.
        let odd = HeaderValue::from_bytes(b"\xff, Pragma, \xe4\xf6").unwrap();
        headers.append("connection", odd);
        to_browser(&mut headers);
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(headers["age"], "1");
    }
}
