//! Which headers cross. To the desktop: a short list, made fresh, because KasmVNC reads no more than
//! 4095 bytes of head and because nothing of the gateway's is a desktop's business. To the browser:
//! what describes the answer, and nothing that could act on the whole origin.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};

use crate::model::template::HeaderRules;

/// Longest value that is forwarded, bytes. A longer one is left out: all of them are optional.
const MAX_VALUE: usize = 256;

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

/// The name under which a desktop may see a request header, in the spelling that old servers know.
fn known_name(name: &HeaderName) -> Option<&'static str> {
    Some(match *name {
        header::ACCEPT => "Accept",
        header::ACCEPT_ENCODING => "Accept-Encoding",
        header::CACHE_CONTROL => "Cache-Control",
        header::CONTENT_TYPE => "Content-Type",
        header::CONTENT_ENCODING => "Content-Encoding",
        header::IF_MODIFIED_SINCE => "If-Modified-Since",
        header::IF_NONE_MATCH => "If-None-Match",
        header::IF_RANGE => "If-Range",
        header::RANGE => "Range",
        header::USER_AGENT => "User-Agent",
        _ => return None,
    })
}

/// What a desktop may see of a browser's headers: of each known one the first, if it is short enough.
pub fn known(from_browser: &HeaderMap) -> impl Iterator<Item = (&'static str, &HeaderValue)> {
    let mut last = None;
    from_browser.iter().filter_map(move |(name, value)| {
        // All values of a name come one after the other.
        let name = known_name(name)?;
        let first = last.replace(name) != Some(name);
        (first && value.len() <= MAX_VALUE).then_some((name, value))
    })
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
        let seen: Vec<_> = known(&headers)
            .map(|(name, value)| (name, value.to_str().unwrap()))
            .collect();
        assert_eq!(seen, [("Accept", "first"), ("If-None-Match", "\"x\"")]);
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
            ("age", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        to_browser(&mut headers);
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(headers["age"], "1");
    }
}
