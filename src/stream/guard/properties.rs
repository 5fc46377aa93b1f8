//! Properties of the guard: a good stream passes whole however it is cut, a damaged one has one end, and
//! another parser reads all that was passed as the same messages.

use proptest::collection::vec;
use proptest::prelude::*;

use super::Refusal;
use super::tests::{Outcome, run};

/// Where the first message of `bytes` ends as httparse understands it, which is far more lenient.
fn other_reader(bytes: &[u8]) -> Result<usize, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(head)) = request.parse(bytes) else {
        return Err("no whole head");
    };
    check_head(&bytes[..head], &request)?;
    let named = |name| {
        let mut all = request.headers.iter();
        all.find(|field| field.name.eq_ignore_ascii_case(name))
    };
    if named("transfer-encoding").is_some() {
        return other_chunks(bytes, head);
    }
    let length = named("content-length").map_or(Ok("0"), |field| str::from_utf8(field.value));
    let length: usize = length
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or("length")?;
    Ok(head + length)
}

/// Whether the naive reading of `head`, cut at each CRLF and colon, is that of httparse.
fn check_head(head: &[u8], request: &httparse::Request<'_, '_>) -> Result<(), &'static str> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let text: Vec<&[u8]> = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    let [first, fields @ .., b"", b""] = text.as_slice() else {
        return Err("no empty line");
    };
    let version = request.version.ok_or("version")?;
    let line = [request.method.ok_or("method")?, request.path.ok_or("path")?];
    if format!("{} HTTP/1.{version}", line.join(" ")).as_bytes() != *first {
        return Err("request line");
    }
    let same = |(line, field): (&&[u8], &httparse::Header<'_>)| {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let value = line[colon + 1..].trim_ascii();
        line[..colon] == *field.name.as_bytes() && value == field.value.trim_ascii()
    };
    let equal = fields.len() == request.headers.len()
        && std::iter::zip(fields, request.headers.iter()).all(same);
    equal.then_some(()).ok_or("fields")
}

/// Where the chunked body ends that begins at `at`.
fn other_chunks(bytes: &[u8], mut at: usize) -> Result<usize, &'static str> {
    loop {
        let rest = bytes.get(at..).ok_or("short")?;
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(rest) else {
            return Err("chunk size");
        };
        at += line;
        if size == 0 {
            break;
        }
        at += usize::try_from(size).map_err(|_| "large")? + 2;
    }
    let mut fields = [httparse::EMPTY_HEADER; 64];
    match httparse::parse_headers(bytes.get(at..).ok_or("short")?, &mut fields) {
        Ok(httparse::Status::Complete((trailers, _))) => Ok(at + trailers),
        _ => Err("trailers"),
    }
}

/// That httparse sees the messages of `outcome` where the guard saw them.
fn agree(stream: &[u8], outcome: &Outcome) {
    let mut start = 0;
    for end in &outcome.ends {
        let message = &stream[start..*end];
        let text = message.escape_ascii();
        assert_eq!(other_reader(message), Ok(message.len()), "{text}");
        start = *end;
    }
}

fn field() -> impl Strategy<Value = String> {
    let names = "X-[A-Za-z0-9_-]{1,12}|Cookie|Accept|Sec-Fetch-Site|User-Agent|Pragma";
    (
        names,
        "[ \t]{0,2}",
        "([!-~\u{e4}]([ \t!-~\u{e4}]{0,40}[!-~])?)?",
    )
        .prop_map(|(name, space, value)| format!("{name}:{space}{value}{space}\r\n"))
}

fn fields() -> impl Strategy<Value = String> {
    vec(field(), 0..6).prop_map(|fields| fields.concat())
}

fn body() -> impl Strategy<Value = (String, String)> {
    let data = "[a-zA-Z0-9 :\r\n]{1,40}";
    let trailers = vec("X-[a-z]{1,5}: [a-z]{0,9}\r\n", 0..3);
    let chunks = (vec((data, 0_usize..4), 0..4), trailers).prop_map(|(chunks, trailers)| {
        let chunk = |(data, zeros): (String, usize)| {
            format!("{}{:X}\r\n{data}\r\n", "0".repeat(zeros), data.len())
        };
        let chunks: String = chunks.into_iter().map(chunk).collect();
        let body = format!("{chunks}0\r\n{}\r\n", trailers.concat());
        ("transfer-encoding: Chunked\r\n".to_owned(), body)
    });
    prop_oneof![
        Just((String::new(), String::new())),
        data.prop_map(|data| (format!("Content-LENGTH:{}\r\n", data.len()), data)),
        chunks,
    ]
}

fn message() -> impl Strategy<Value = String> {
    let targets = "/[!$-;=?-~]{0,40}";
    (
        "(\r\n)?",
        "GET|POST|PATCH|X!",
        targets,
        fields(),
        fields(),
        body(),
    )
        .prop_map(|(blank, method, target, before, after, (framing, body))| {
            let first = format!("{blank}{method} {target} HTTP/1.1\r\n{before}");
            format!("{first}Host: desk.test\r\n{framing}{after}\r\n{body}")
        })
}

/// Bytes that matter to a reader of HTTP more often than others.
fn telling_byte() -> impl Strategy<Value = u8> {
    let telling = b"\r\n\t :;,0123aA+-_/\0\x0b\x7f\xff*#chunked".as_slice();
    prop_oneof![proptest::sample::select(telling), any::<u8>()]
}

/// Replaces, puts in or takes out a byte at each of some places.
fn damage(stream: &mut Vec<u8>, places: &[(prop::sample::Index, u8, u8)]) {
    for (index, how, byte) in places {
        if stream.is_empty() {
            return;
        }
        let at = index.index(stream.len());
        match how % 3 {
            0 => stream[at] = *byte,
            1 => stream.insert(at, *byte),
            _ => drop(stream.remove(at)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn good_streams_pass_however_they_are_cut(
        messages in vec(message(), 1..4),
        steps in vec(1_usize..60, 1..12),
    ) {
        let mut end = 0;
        let ends: Vec<usize> = messages.iter().map(|message| { end += message.len(); end }).collect();
        let stream = messages.concat();
        let outcome = run(stream.as_bytes(), &steps);
        prop_assert_eq!(&outcome, &Outcome { passed: end, ends, refusal: None });
        agree(stream.as_bytes(), &outcome);
    }

    #[test]
    fn damaged_streams_have_one_end(
        messages in vec(message(), 1..3),
        places in vec((any::<prop::sample::Index>(), any::<u8>(), telling_byte()), 1..4),
        steps in vec(1_usize..60, 1..12),
    ) {
        let mut stream = messages.concat().into_bytes();
        damage(&mut stream, &places);
        let whole = run(&stream, &[usize::MAX / 2]);
        agree(&stream, &whole);
        for steps in [&[1], steps.as_slice()] {
            let cut = run(&stream, steps);
            prop_assert_eq!(cut.refusal, whole.refusal);
            prop_assert_eq!(&cut.ends, &whole.ends);
            prop_assert!(cut.passed >= whole.passed);
        }
    }

    #[test]
    fn nothing_makes_it_panic(stream in vec(telling_byte(), 0..200), steps in vec(1_usize..20, 1..5)) {
        let outcome = run(&stream, &steps);
        agree(&stream, &outcome);
        let shown: Vec<_> = stream.chunks(7).collect();
        let mut guard = super::Guard::new();
        // A caller that forgets what it has shown gets nonsense, but no panic.
        let _: Vec<Result<_, Refusal>> = shown.into_iter().rev().map(|part| guard.admit(part)).collect();
    }
}
