//! Which headers cross. To the desktop: a short list, made fresh, because KasmVNC reads no more than
//! 4095 bytes of head and because nothing of the gateway's is a desktop's business. To the browser:
//! everything but what would act on the whole origin.

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

/// Longest value that is forwarded, bytes. A longer one is left out: all of them are optional.
const MAX_VALUE: usize = 256;

/// Response headers that never reach the browser: they would act beyond `/desktop/<id>/`, reveal the
/// gateway's own credentials, or weaken what the gateway sets itself.
const NOT_TO_BROWSER: [&str; 27] = [
    "set-cookie",
    "set-cookie2",
    "service-worker-allowed",
    "clear-site-data",
    "refresh",
    "www-authenticate",
    "proxy-authenticate",
    "authentication-info",
    "alt-svc",
    "strict-transport-security",
    "public-key-pins",
    "expect-ct",
    "report-to",
    "reporting-endpoints",
    "nel",
    "server",
    "x-powered-by",
    "link",
    "sourcemap",
    "origin-agent-cluster",
    "content-security-policy",
    "content-security-policy-report-only",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "x-frame-options",
    "set-login",
    "accept-ch",
];

/// Headers of one hop (RFC 9110 section 7.6.1), whatever `Connection` says.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authorization",
];

/// What a desktop is told about a request, apart from the request itself.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// May use the desktop.
    pub grant: &'a DesktopGrant,
    /// Who asks.
    pub context: &'a RequestContext,
    /// Our host as browsers write it.
    pub host: &'a str,
    /// How browsers reach us.
    pub scheme: &'a str,
}

/// The head of a request to a desktop, with none of the browser's credentials.
#[must_use]
pub fn to_desktop(from_browser: &HeaderMap, sender: Sender<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    let mut own = |name: HeaderName, value: String| {
        // Host and address are made of characters that a header may hold.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    own(header::HOST, sender.host.to_owned());
    own(
        HeaderName::from_static("x-forwarded-for"),
        sender.context.client.to_string(),
    );
    own(
        HeaderName::from_static("x-forwarded-proto"),
        sender.scheme.to_owned(),
    );
    own(
        HeaderName::from_static("x-forwarded-host"),
        sender.host.to_owned(),
    );
    own(
        header::FORWARDED,
        forwarded(sender.context.client, sender.host, sender.scheme),
    );
    if let Some(credentials) = &sender.grant.desktop().upstream.authorization {
        headers.insert(header::AUTHORIZATION, credentials.clone());
    }
    for name in &TO_DESKTOP {
        if let Some(value) = from_browser
            .get(name)
            .filter(|value| value.len() <= MAX_VALUE)
        {
            headers.insert(name.clone(), value.clone());
        }
    }
    headers
}

/// Removes what must not reach the browser from a desktop's answer.
pub fn to_browser(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP.iter().chain(&NOT_TO_BROWSER) {
        headers.remove(*name);
    }
    let cors: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in cors {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_the_origin_reaches_the_browser() {
        let mut headers = HeaderMap::new();
        for name in NOT_TO_BROWSER.iter().chain(&HOP_BY_HOP) {
            headers.append(*name, HeaderValue::from_static("x"));
        }
        headers.append("set-cookie", HeaderValue::from_static("second"));
        headers.insert("access-control-max-age", HeaderValue::from_static("1"));
        headers.insert("connection", HeaderValue::from_static("close, X-Private"));
        headers.insert("x-private", HeaderValue::from_static("1"));
        headers.insert("content-type", HeaderValue::from_static("text/html"));
        headers.insert(
            "cross-origin-embedder-policy",
            HeaderValue::from_static("require-corp"),
        );
        to_browser(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "cross-origin-embedder-policy"]);
    }
}
