//! The guard on arbitrary streams: how a stream is cut changes nothing, and httparse, which is far more
//! lenient, reads all that was passed as the same messages.

#![no_main]

use deskgate::stream::guard::{Admitted, Guard, Refusal};
use libfuzzer_sys::fuzz_target;

// How many bytes are shown at a time, and the stream.
fuzz_target!(|data: &[u8]| {
    let Some((step, stream)) = data.split_first() else {
        return;
    };
    let whole = run(stream, usize::MAX / 2);
    for step in [1, usize::from(*step).max(2)] {
        let cut = run(stream, step);
        assert_eq!(cut.refusal, whole.refusal);
        assert_eq!(cut.ends, whole.ends);
        // What a whole look refuses at once, a cut one may have passed in part before it came to it.
        assert!(cut.passed >= whole.passed);
        assert!(cut.refusal.is_some() || cut.passed == whole.passed);
    }
    let mut start = 0;
    for end in whole.ends {
        let message = &stream[start..end];
        assert_eq!(other_reader(message), Ok(message.len()));
        start = end;
    }
});

/// What became of a stream.
struct Outcome {
    passed: usize,
    /// Where messages ended.
    ends: Vec<usize>,
    refusal: Option<Refusal>,
}

/// Shows `stream` to a guard, `step` bytes more each time.
fn run(stream: &[u8], step: usize) -> Outcome {
    let mut guard = Guard::new();
    let (mut shown, mut outcome) = (
        0,
        Outcome {
            passed: 0,
            ends: Vec::new(),
            refusal: None,
        },
    );
    loop {
        match guard.admit(&stream[outcome.passed..shown]) {
            Err(refusal) => {
                outcome.refusal = Some(refusal);
                return outcome;
            }
            Ok(Admitted::Pass(bytes) | Admitted::Upgrade(bytes)) => {
                assert!(bytes > 0);
                outcome.passed += bytes;
                if guard.expects_head() {
                    outcome.ends.push(outcome.passed);
                }
            }
            Ok(Admitted::NeedMore | Admitted::Cut(_)) if shown == stream.len() => return outcome,
            // Heads that are cut are longer than what a fuzzer tries.
            Ok(Admitted::Cut(_)) => return outcome,
            Ok(Admitted::NeedMore) => shown = stream.len().min(shown + step),
        }
    }
}

/// Where the first message of `bytes` ends for httparse, and that its lines are what they look like.
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
    let length = named("content-length").map_or(Ok("0"), |field| std::str::from_utf8(field.value));
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
