//! What passes, what is bounded and how chunks are read, row by row. Each row is tried whole and cut at
//! every byte. The rules of a head have their own file.

use super::*;

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Leading bytes passed.
    pub(super) passed: usize,
    /// Where messages ended.
    pub(super) ends: Vec<usize>,
    pub(super) refusal: Option<Refusal>,
}

/// Shows `stream` to a guard, so many bytes more each time as `steps` say, repeating.
pub(super) fn run(stream: &[u8], steps: &[usize]) -> Outcome {
    run_cutting(&mut stream.to_vec(), steps)
}

/// The same, and leaves in `stream` what was not taken out.
pub(super) fn run_cutting(stream: &mut Vec<u8>, steps: &[usize]) -> Outcome {
    let mut guard = Guard::new();
    let (mut passed, mut shown, mut ends) = (0, 0, Vec::new());
    let mut steps = steps.iter().cycle();
    loop {
        match guard.admit(&stream[passed..shown]) {
            Err(refusal) => {
                assert_eq!(guard.admit(b"GET"), Err(refusal), "a refusal is final");
                let refusal = Some(refusal);
                return Outcome {
                    passed,
                    ends,
                    refusal,
                };
            }
            Ok(Admitted::Pass(bytes) | Admitted::Upgrade(bytes)) => {
                assert!(bytes > 0, "a pass is not empty");
                passed += bytes;
                assert!(passed <= shown, "nothing unseen is passed");
                assert!(!guard.in_head(), "a pass ends no head in its middle");
                if guard.expects_head() {
                    ends.push(passed);
                }
            }
            Ok(Admitted::Cut(range)) => {
                assert!(range.end <= shown - passed, "nothing unseen is taken out");
                shown -= range.len();
                stream.drain(passed + range.start..passed + range.end);
            }
            Ok(Admitted::NeedMore) if shown < stream.len() => {
                shown = stream.len().min(shown + steps.next().expect("a cycle"));
            }
            Ok(Admitted::NeedMore) => {
                let refusal = None;
                return Outcome {
                    passed,
                    ends,
                    refusal,
                };
            }
        }
    }
}

/// The refusal of `stream`, which must be the same however it is cut.
pub(super) fn refusal(stream: impl AsRef<[u8]>) -> Option<Refusal> {
    let stream = stream.as_ref();
    let whole = run(stream, &[usize::MAX / 2]).refusal;
    assert_eq!(run(stream, &[1]).refusal, whole, "cut everywhere");
    whole
}

/// A head with these lines behind a good request line and a Host.
pub(super) fn with(lines: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: desk.test\r\n{lines}\r\n")
}

pub(super) fn chunked(body: &str) -> String {
    with("Transfer-Encoding: chunked\r\n") + body
}

fn opening(lines: &str) -> String {
    format!("GET /ws HTTP/1.1\r\nHost: desk.test\r\n{lines}\r\n")
}

#[track_caller]
pub(super) fn each(expected: Refusal, streams: &[&str]) {
    for stream in streams {
        assert_eq!(refusal(stream), Some(expected), "{stream:?}");
    }
}

#[track_caller]
pub(super) fn each_head(expected: Refusal, lines: &[&str]) {
    for lines in lines {
        assert_eq!(refusal(with(lines)), Some(expected), "{lines:?}");
    }
}

#[track_caller]
fn each_body(expected: Refusal, bodies: &[&str]) {
    for body in bodies {
        assert_eq!(refusal(chunked(body)), Some(expected), "{body:?}");
    }
}

#[track_caller]
pub(super) fn passes(stream: impl AsRef<[u8]>) {
    let stream = stream.as_ref();
    let outcome = run(stream, &[usize::MAX / 2]);
    let text = stream.escape_ascii();
    assert_eq!(outcome.refusal, None, "{text}");
    assert_eq!(outcome.passed, stream.len(), "{text}");
    assert_eq!(run(stream, &[1]), outcome, "{text}");
}

#[test]
fn what_browsers_and_probes_send_passes() {
    for stream in [
        "GET / HTTP/1.1\r\nHost: desk.test\r\n\r\n",
        "\r\nGET /?q=^`{|}\\ HTTP/1.1\r\nHost: desk.test:8443\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: [::1]:80\r\nConnection: keep-alive\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHOST:\t10.0.0.1 \t\r\n\r\n",
        "FOO //x/../%2e\\ HTTP/1.1\r\nhost: a_b\r\nX_y: 1\r\nEmpty:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        passes(stream.replace('\\', "%5c"));
        passes(stream);
    }
    for lines in [
        "Content-Length: 0\r\n",
        "Cookie: a=\u{e4}; b=\tc\r\nTE: trailers\r\nKeep-Alive: 5\r\n",
        "Connection: TE, close,, Keep-Alive\r\nConnection: upgrade\r\nTrailer: a\r\n",
        "Expect: 100-Continue\r\nProxy-Connection: x\r\n",
        "Upgrade-Insecure-Requests: 1\r\nX-Content-Length: 7\r\n",
    ] {
        passes(with(lines));
    }
    passes(with("transfer-ENCODING:\t Chunked \r\n") + "0\r\n\r\n");
    for body in [
        "0\r\n\r\n",
        "5\r\nhello\r\n000F\r\n0\r\n\r\nGET / HTTP\r\n0\r\nx: y\r\nZ:\r\n\r\n",
    ] {
        passes(chunked(body) + &with("") + &chunked(body));
    }
}

#[test]
fn one_message_at_a_time() {
    let (first, second) = (with("Content-Length: 5\r\n") + "hello", with(""));
    let stream = first.clone() + &second;
    let mut guard = Guard::new();
    assert!(guard.expects_head() && !guard.in_head());
    let start = &stream.as_bytes()[..9];
    assert_eq!(guard.admit(start), Ok(Admitted::NeedMore));
    assert!(guard.expects_head() && guard.in_head());
    let head = first.len() - 3;
    let part = &stream.as_bytes()[..head];
    assert_eq!(guard.admit(part), Ok(Admitted::Pass(head)));
    assert!(!guard.expects_head() && !guard.in_head());
    assert_eq!(guard.admit(b""), Ok(Admitted::NeedMore));
    let rest = &stream.as_bytes()[head..];
    assert_eq!(guard.admit(rest), Ok(Admitted::Pass(3)));
    assert!(guard.expects_head() && !guard.in_head());
    let rest = &rest[3..];
    assert_eq!(guard.admit(rest), Ok(Admitted::Pass(second.len())));
}

#[test]
fn a_websocket_stops_the_reading() {
    let asks = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
    for more in ["", "Content-Length: 0\r\n"] {
        let head = opening(&format!("{asks}{more}"));
        let stream = head.clone() + "\x02\x00GET / HTTP/1.1\r\n\r\n";
        let mut guard = Guard::new();
        let expected = Ok(Admitted::Upgrade(head.len()));
        assert_eq!(guard.admit(stream.as_bytes()), expected);
        assert!(guard.expects_head(), "an answer other than 101");
    }
    for lines in [
        "Upgrade: websocket\r\n",
        "Connection: close\r\nUpgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: upgrade\r\nUpgrade: websocket/13\r\n",
        "Connection: upgrade\r\nUpgrade:\r\n",
        &format!("{asks}Upgrade: websocket\r\n"),
        &format!("{asks}Content-Length: 1\r\n"),
        &format!("{asks}Transfer-Encoding: chunked\r\n"),
        &format!("{asks}Expect: 100-continue\r\n"),
    ] {
        assert_eq!(refusal(opening(lines)), Some(Refusal::Upgrade), "{lines:?}");
    }
    assert_eq!(refusal(with(asks)), Some(Refusal::Upgrade), "not GET");
    let old = opening(asks).replace("1.1", "1.0");
    assert_eq!(refusal(old), Some(Refusal::Upgrade), "HTTP/1.0");
    let h2c = "Connection: HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    assert_eq!(refusal(opening(h2c)), Some(Refusal::Http2Settings));
}

#[test]
fn everything_has_a_bound() {
    let target = |length| {
        format!(
            "GET /{} HTTP/1.1\r\nHost: x\r\n\r\n",
            "a".repeat(length - 1)
        )
    };
    passes(target(MAX_TARGET));
    for length in [MAX_TARGET + 1, MAX_HEAD, 2 * MAX_HEAD] {
        assert_eq!(refusal(target(length)), Some(Refusal::TargetTooLong));
    }
    let whole = target(MAX_TARGET).split_off("GET".len());
    passes("A".repeat(54) + &whole);
    let method = "A".repeat(55);
    assert_eq!(refusal(method + &whole), Some(Refusal::TargetTooLong));
    let method = "A".repeat(2 * MAX_TARGET);
    assert_eq!(refusal(method), Some(Refusal::TargetTooLong), "no end");
    let room = MAX_HEAD - with("A: \r\n").len();
    let head = |length| with(&format!("A: {}\r\n", "b".repeat(length)));
    passes(head(room));
    for length in [room + 1, room + 2, room + 3, room + 4, 2 * MAX_HEAD] {
        assert_eq!(refusal(head(length)), Some(Refusal::HeadTooLarge));
    }
    let most = usize::from(MAX_FIELDS) - 1;
    passes(with(&"A: b\r\n".repeat(most)));
    let more = with(&"A: b\r\n".repeat(most + 1));
    assert_eq!(refusal(more), Some(Refusal::TooManyFields));
    let most = usize::from(MAX_TRAILER_FIELDS);
    let trailers = |count| chunked(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(count)));
    passes(trailers(most));
    assert_eq!(refusal(trailers(most + 1)), Some(Refusal::TrailersTooLarge));
    let trailer = |length| chunked(&format!("0\r\nA: {}\r\n\r\n", "b".repeat(length)));
    passes(trailer(MAX_TRAILERS - "A: \r\n\r\n".len()));
    for length in [MAX_TRAILERS - 6, MAX_TRAILERS, 2 * MAX_TRAILERS] {
        assert_eq!(refusal(trailer(length)), Some(Refusal::TrailersTooLarge));
    }
}

#[test]
fn chunks_are_exact() {
    each_body(
        Refusal::ChunkSize,
        &[
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\n",
            "1\t\r\n",
            "1_0\r\n",
            "g\r\n",
            "00000000000000001\r\n",
            "8000000000000000\r\n",
            "FFFFFFFFFFFFFFFFF\r\n",
            "1\0\r\n",
            "1,\r\n",
        ],
    );
    each_body(
        Refusal::ChunkExtension,
        &[
            "5;\r\nhello\r\n",
            "5;a=b\r\n",
            "0;\r\n",
            "5;\nhello\r\n",
            "5;\r5\r\n",
            ";\r\n",
        ],
    );
    each_body(
        Refusal::BareLf,
        &["5\nhello\r\n", "0\n\n", "0\r\n\n", "0\r\nA: b\n\r\n"],
    );
    each_body(
        Refusal::BareCr,
        &[
            "5\rhello\r\n",
            "0\r0\r\n",
            "0\r\n\r0",
            "0\r\nA: b\rC\r\n\r\n",
        ],
    );
    each_body(
        Refusal::ChunkEnd,
        &[
            "5\r\nhello\n0\r\n",
            "5\r\nhello!\r\n",
            "5\r\nhell\r\n0\r\n\r\n",
            "5\r\nhelloXX0\r\n",
            "5\r\nhello\rx",
        ],
    );
    each_body(Refusal::Folded, &["0\r\nA: b\r\n c\r\n\r\n"]);
    each_body(
        Refusal::FieldName,
        &["0\r\nA\r\n\r\n", "0\r\n(A): b\r\n\r\n"],
    );
    each_body(Refusal::SpacedName, &["0\r\nGET / HTTP/1.1\r\n\r\n"]);
    for name in [
        "Content-Length",
        "Transfer_Encoding",
        "Host",
        "Authorization",
        "Cookie",
        "TE",
        "If-Match",
        "Via",
    ] {
        let body = chunked(&format!("0\r\n{name}: x\r\n\r\n"));
        assert_eq!(refusal(body), Some(Refusal::TrailerField), "{name}");
    }
}

#[test]
fn a_bad_chunk_stops_the_head_that_came_with_it() {
    let stream = chunked("5;a\r\nhello\r\n0\r\n\r\n");
    let outcome = run(stream.as_bytes(), &[usize::MAX / 2]);
    assert_eq!(outcome.passed, 0, "the parser has seen nothing of it");
}

#[test]
fn refusals_say_what_and_with_which_status() {
    for (refusal, status) in [
        (Refusal::BareLf, 400),
        (Refusal::TargetTooLong, 414),
        (Refusal::Expectation, 417),
        (Refusal::HeadTooLarge, 431),
        (Refusal::CookiesTooLarge, 431),
        (Refusal::TooManyFields, 431),
        (Refusal::UnknownCoding, 400),
        (Refusal::Connect, 400),
        (Refusal::Version, 505),
    ] {
        assert_eq!(refusal.status(), status);
        assert_eq!(refusal.to_string(), refusal.text());
        assert!(!refusal.text().ends_with('.'));
    }
}
