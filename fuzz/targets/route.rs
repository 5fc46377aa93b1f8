//! Routes and targets of arbitrary requests: nothing panics, and whatever is sent to a desktop stays below
//! its path, however often the desktop decodes it.
#![no_main]

use deskgate::gateway::route::{Route, check_head, check_host};
use deskgate::proxy::target::{MAX_TARGET, Target};
use hyper::{Method, Request, Uri};
use libfuzzer_sys::fuzz_target;

const ID: &str = "0b5a4e3e-6a4f-4f1c-9d7e-1c2d3e4f5a6b";
/// More rounds than anything that is accepted can be decoded.
const ROUNDS: usize = 5;

// Path, query and Host, a line each; without a second line there is no query.
fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let path = lines.next().unwrap_or_default();
    let (query, host) = (lines.next(), lines.next().unwrap_or_default());
    let _ = Route::parse(&Method::GET, path);
    // A URI's path ends there, so that no route ever sees these.
    if path.contains(['?', '#']) {
        return;
    }
    let below = format!("/desktop/{ID}/{path}");
    if let Ok(Route::Desktop { rest, .. }) = Route::parse(&Method::GET, &below) {
        assert_eq!(&rest[1..], path, "kept byte for byte");
        if let Ok(target) = Target::parse(rest, query) {
            let query = query.map(|query| format!("?{query}"));
            let sent = format!("{rest}{}", query.unwrap_or_default());
            assert_eq!(target.as_str(), sent, "kept byte for byte");
            stays_below(&target, rest);
        }
    }
    if let Ok(uri) = Uri::try_from(path)
        && let Ok(request) = Request::builder().uri(uri).header("host", host).body(())
    {
        let _ = check_head(&request);
        let _ = check_host(&request, "desk.example");
    }
});

/// However often the desktop decodes the path, it has the same segments, none of them empty or made of dots, and
/// in the end it is what the gateway takes it for.
fn stays_below(target: &Target, path: &str) {
    let text = target.as_str();
    assert!(text.len() <= MAX_TARGET && text.starts_with('/') && !text.contains("../"));
    let mut bytes = path.as_bytes().to_vec();
    let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/').count();
    let expected = slashes(&bytes);
    for _ in 0..ROUNDS {
        assert_eq!(slashes(&bytes), expected, "{text}");
        assert!(!bytes.windows(2).any(|pair| pair == b"//"), "{text}");
        assert!(!bytes.contains(&b'\\') && !bytes.contains(&0), "{text}");
        for segment in bytes.split(|byte| *byte == b'/') {
            assert!(segment != b"." && segment != b"..", "{text}");
        }
        bytes = decoded(&bytes);
    }
    assert!(!bytes.contains(&b'%'), "{text}");
    assert_eq!(bytes, target.decoded_path().as_bytes(), "{text}");
}

/// Percent escapes decoded once, and what is no escape left alone, as lenient servers do.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let escape = tail.get(..2).filter(|_| first == b'%');
        let value = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(value) = value {
            out.push(value);
            rest = &tail[2..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}
