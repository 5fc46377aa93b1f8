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

/// Names that may pass, if `Connection` does not name them.
const PASS: [&str; 4] = ["content-type", "etag", "accept", "range"];

fuzz_target!(|fields: Vec<(u8, &str, &[u8])>| {
    let mut headers = HeaderMap::new();
    for (choice, other, value) in fields {
        // Names that matter come by their number, since chance would hardly spell them.
        let mut names = NOT_DOWN.iter().chain(&NOT_UP).chain(&PASS);
        let name = names.nth(usize::from(choice)).map_or(other, |name| name);
        if let (Some(name), Ok(value)) = (name_of(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let mut up = HeaderMap::new();
    for (name, value) in known(&headers) {
        let name = name_of(&name.to_ascii_lowercase()).expect("a name");
        assert!(!up.contains_key(&name), "{name} twice");
        up.insert(name, value.clone());
    }
    for name in NOT_UP {
        assert!(!up.contains_key(name), "{name}");
    }
    assert!(up.values().all(|value| value.len() <= 256));
    let named: Vec<HeaderName> = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name_of(name.trim()))
        .collect();
    let mut down = ToBrowser::default();
    for (name, value) in &headers {
        down.add(name.clone(), value.as_bytes()).expect("a value");
    }
    let down = down.finish();
    for name in NOT_DOWN {
        assert!(!down.contains_key(name), "{name}");
    }
    for name in named {
        assert!(!down.contains_key(&name), "{name} is of one hop");
    }
});

fn name_of(text: &str) -> Option<HeaderName> {
    text.parse().ok()
}
