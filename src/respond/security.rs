//! The headers that answers get from the gateway: pages, API, and what `proxy::confine` leaves to it.

use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// Everything of a page comes from its own origin, nothing is inline, and nobody frames it.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A year, as browsers want it for certainty.
const HSTS: &str = "max-age=31536000";

const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

fn set(headers: &mut HeaderMap, fields: [(HeaderName, &'static str); 3]) {
    for (name, value) in fields {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// For our pages. Without an opener no other window can read them, a desktop's included.
pub fn protect_page(headers: &mut HeaderMap) {
    let fields = [
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    set(headers, fields);
}

/// For a page of ours that holds a frame: with what is at `sources`, and with nothing else.
pub fn hold_frame(headers: &mut HeaderMap, sources: &str) {
    set_policy(headers, &format!("{PAGE_POLICY}; frame-src {sources}"));
}

/// For an answer that, if it is a page of ours, pages of this origin may hold in a frame, and of no other.
pub fn appear_in(headers: &mut HeaderMap, origin: &str) {
    if headers.remove(X_FRAME_OPTIONS).is_none() {
        return;
    }
    let ancestors = format!("frame-ancestors {origin}");
    set_policy(
        headers,
        &PAGE_POLICY.replace("frame-ancestors 'none'", &ancestors),
    );
}

/// One that is no header's value leaves the stricter one that is there.
fn set_policy(headers: &mut HeaderMap, policy: &str) {
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
}

/// For every answer; a content security policy that is there stays.
pub fn protect(headers: &mut HeaderMap) {
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(CONTENT_SECURITY_POLICY, nothing);
    }
    let fields = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ];
    set(headers, fields);
}

/// For an answer whose own address is a secret.
pub fn send_no_referrer(headers: &mut HeaderMap) {
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// For every answer at all, unless `host` is this machine, where other services have their own rules.
pub fn insist_on_tls(headers: &mut HeaderMap, host: &str) {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let here = name == "localhost" || name.starts_with("127.") || name.starts_with('[');
    if !here {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
}
