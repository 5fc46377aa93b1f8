//! Which headers cross. To the desktop: a short list, made fresh, because KasmVNC reads no more than
//! 4095 bytes of head and because nothing of the gateway's is a desktop's business. To the browser:
//! what describes the answer, and nothing that could act on the whole origin.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::authz::grant::DesktopGrant;
use crate::request::RequestContext;
use crate::request::client_addr::forwarded;

/// Request headers that a desktop may see.
const TO_DESKTOP: [HeaderName; 10] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::RANGE,
    header::USER_AGENT,
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

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

/// What a desktop is told about a request, apart from the request itself.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// May use the desktop.
    pub grant: &'a DesktopGrant,
    /// Who asks.
    pub context: &'a RequestContext,
    /// Our host as browsers write it.
    pub host: &'a HeaderValue,
    /// How browsers reach us.
    pub scheme: &'a HeaderValue,
}

/// The head of a request to a desktop, with none of the browser's credentials.
#[must_use]
pub fn to_desktop<'a>(from_browser: &HeaderMap, sender: Sender<'a>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    let client = sender.context.client;
    let text = |value: &'a HeaderValue| value.to_str().unwrap_or_default();
    let forwarded = forwarded(client, text(sender.host), text(sender.scheme));
    headers.insert(header::HOST, sender.host.clone());
    headers.insert(X_FORWARDED_PROTO, sender.scheme.clone());
    headers.insert(X_FORWARDED_HOST, sender.host.clone());
    for (name, value) in [
        (X_FORWARDED_FOR, client.to_string()),
        (header::FORWARDED, forwarded),
    ] {
        // Host and address are made of characters that a header may hold.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    if let Some(credentials) = &sender.grant.desktop().upstream.authorization {
        headers.insert(header::AUTHORIZATION, credentials.clone());
    }
    copy_known(from_browser, &mut headers);
    headers
}

/// Copies what a desktop may see of a browser's request.
pub fn copy_known(from_browser: &HeaderMap, headers: &mut HeaderMap) {
    for name in &TO_DESKTOP {
        if let Some(value) = from_browser
            .get(name)
            .filter(|value| value.len() <= MAX_VALUE)
        {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Leaves of a desktop's answer only what may reach the browser.
pub fn to_browser(headers: &mut HeaderMap) {
    let from_desktop = std::mem::replace(headers, HeaderMap::with_capacity(16));
    let mut hop = Vec::new();
    // Of a header with several values only the first comes with its name.
    let mut current = None;
    for (name, value) in from_desktop {
        current = name.or(current);
        match &current {
            Some(name) if may_pass(name) => {
                headers.append(name.clone(), value);
            }
            Some(name) if *name == header::CONNECTION => hop.push(value),
            _ => {}
        }
    }
    // As bytes: one odd byte must not hide the other names.
    let named = hop
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    for name in named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
