//! The header filters on arbitrary heads: nothing that acts on the whole origin, belongs to one hop or
//! carries rights crosses in either direction.
#![no_main]

use deskgate::proxy::headers::{ToBrowser, known};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

/// Never to a browser.
const NOT_DOWN: [&str; 12] = [
    "set-cookie",
    "clear-site-data",
    "service-worker-allowed",
    "content-security-policy",
    "permissions-policy",
    "refresh",
    "www-authenticate",
    "strict-transport-security",
    "connection",
    "transfer-encoding",
    "upgrade",
    "access-control-allow-origin",
];
/// Never to a desktop.
const NOT_UP: [&str; 9] = [
    "cookie",
    "authorization",
    "x-session-id",
    "x-csrf-token",
    "referer",
    "x-forwarded-for",
    "forwarded",
    "connection",
    "upgrade",
];

/// The longest value that a desktop is sent.
const MAX_VALUE: usize = 256;

// Two bytes of room for what goes to the desktop, then a field in each line.
fuzz_target!(|data: &[u8]| {
    let Some((room, fields)) = data.split_first_chunk() else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in fields.split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.get(1..).unwrap_or_default().trim_ascii_start();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    up(&headers, usize::from(u16::from_le_bytes(*room)));
    down(&headers);
});

/// What a desktop is sent of a browser's head.
fn up(headers: &HeaderMap, room: usize) {
    let mut up = HeaderMap::new();
    for (name, value) in known(headers, room) {
        let name: HeaderName = name.parse().expect("a name");
        assert!(!up.contains_key(&name), "{name} twice");
        up.insert(name, value.clone());
    }
    for name in NOT_UP {
        assert!(!up.contains_key(name), "{name}");
    }
    assert!(up.values().all(|value| value.len() <= MAX_VALUE));
    let fields = up
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    assert!(fields.sum::<usize>() <= room);
    for (dependent, condition) in [
        ("range", "if-range"),
        ("if-modified-since", "if-none-match"),
    ] {
        let without = up.contains_key(dependent) && !up.contains_key(condition);
        assert!(!(without && headers.contains_key(condition)), "{dependent}");
    }
    for (name, value) in &up {
        assert_eq!(Some(value), headers.get(name), "{name}");
    }
}

/// What a browser is sent of a desktop's head.
fn down(headers: &HeaderMap) {
    let mut down = ToBrowser::default();
    for (name, value) in headers {
        down.add(name.clone(), value.as_bytes()).expect("a value");
    }
    let down = down.finish();
    for name in NOT_DOWN {
        assert!(!down.contains_key(name), "{name}");
    }
    // Read as bytes (RFC 9110 section 7.6.1): commas, and blanks around what stands between them.
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut named = Vec::new();
    for value in headers.get_all("connection") {
        for option in value.as_bytes().split(|byte| *byte == b',') {
            let start = option
                .iter()
                .position(|byte| !blank(byte))
                .unwrap_or(option.len());
            let end = option
                .iter()
                .rposition(|byte| !blank(byte))
                .map_or(start, |at| at + 1);
            named.push(option[start..end].to_ascii_lowercase());
        }
    }
    for name in down.keys() {
        assert!(
            !named
                .iter()
                .any(|option| option == name.as_str().as_bytes()),
            "{name} is of one hop"
        );
        let (before, after) = (headers.get_all(name), down.get_all(name));
        assert!(before.iter().eq(after.iter()), "{name}");
    }
}
