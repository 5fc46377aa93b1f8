//! Fields on which the end of a message, its way or its rights depend. They must reach their reader, and
//! they must be known before a body is read.

/// Fields that a Connection must not have removed and that must not come in a trailer section.
const PROTECTED: [&[u8]; 15] = [
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"origin",
    b"proxy-authorization",
    b"referer",
    b"transfer-encoding",
    b"via",
    b"x-csrf-token",
    b"x-real-ip",
];
/// How more such fields begin.
const PROTECTED_FAMILIES: [&[u8]; 3] = [b"sec-", b"x-forwarded-", b"x-original-"];
/// Further fields that mean nothing, or too much, in a trailer section (RFC 9110 section 6.5.1).
const HEAD_ONLY: [&[u8]; 13] = [
    b"cache-control",
    b"connection",
    b"content-range",
    b"date",
    b"keep-alive",
    b"max-forwards",
    b"pragma",
    b"proxy-connection",
    b"range",
    b"set-cookie",
    b"te",
    b"trailer",
    b"upgrade",
];
/// How more such fields begin.
const HEAD_ONLY_FAMILIES: [&[u8]; 3] = [b"accept", b"if-", b"http2-"];

/// Whether a Connection must not name `name` (RFC 9110 section 7.6.1).
pub(super) fn is_protected(name: &[u8]) -> bool {
    listed(name, &PROTECTED, &PROTECTED_FAMILIES)
}

/// Whether `name` must not be a trailer field (RFC 9110 section 6.5.1).
pub(super) fn is_head_only(name: &[u8]) -> bool {
    is_protected(name) || listed(name, &HEAD_ONLY, &HEAD_ONLY_FAMILIES)
}

/// Whether `name` is `known`, but for case and for underscores in the place of hyphens.
pub(super) fn looks_like(name: &[u8], known: &[u8]) -> bool {
    let hyphened = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    name.len() == known.len()
        && std::iter::zip(name, known).all(|(a, b)| hyphened(a).eq_ignore_ascii_case(b))
}

fn listed(name: &[u8], names: &[&[u8]], families: &[&[u8]]) -> bool {
    names.iter().any(|known| looks_like(name, known))
        || families.iter().any(|family| {
            let start = name.get(..family.len());
            start.is_some_and(|start| looks_like(start, family))
        })
}
