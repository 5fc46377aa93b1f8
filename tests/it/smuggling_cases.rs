//! Requests that two readers could understand differently, each with a second request in its tail that
//! must never arrive, and a few honest ones that only look alike.

use Expect::{Passed, Refused};

/// The text of the request that must not arrive, for `concat!`.
macro_rules! canary {
    () => {
        "GET /desktop/ID/canary HTTP/1.1\r\nHost: desk.test\r\n\r\n"
    };
}

/// The request that must not arrive.
pub const CANARY: &str = canary!();

/// What the guard makes of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Refused with this status, and the connection is closed.
    Refused(u16),
    /// Passed whole to the HTTP parser, as one message; the answer is the gateway's own matter.
    Passed,
}

/// One raw request, with `desk.test` as its Host.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is tried.
    pub name: &'static str,
    /// The bytes, with the placeholders of [`Case::render`].
    pub raw: &'static [u8],
    /// What must come of it.
    pub expect: Expect,
}

impl Case {
    /// The bytes for the desktop `id`: `ID` stands in `/desktop/ID/`, `{len}` and `{hex}` are the length of
    /// the canary request with this id.
    ///
    /// Each request, the canary as well, carries the `session`: what is not stopped at the door would arrive.
    pub fn render(&self, id: &str, session: &str) -> Vec<u8> {
        let fill = |text: &str| {
            let text = text.replace("/desktop/ID/", &format!("/desktop/{id}/"));
            let host = "Host: desk.test\r\n";
            text.replace(host, &format!("{host}X-Session-ID: {session}\r\n"))
        };
        let length = fill(CANARY).len();
        let raw = str::from_utf8(self.raw).expect("the cases are text");
        let raw = fill(raw).replace("{len}", &length.to_string());
        raw.replace("{hex}", &format!("{length:x}")).into_bytes()
    }
}

/// `name, expectation, first line, lines of the head, what follows the head`
macro_rules! case {
    ($name:literal, $expect:expr, $first:expr, $lines:expr, $tail:expr) => {
        Case {
            name: $name,
            raw: concat!($first, "\r\n", $lines, "\r\n", $tail).as_bytes(),
            expect: $expect,
        }
    };
}

/// A POST with these lines behind its Host.
macro_rules! post {
    ($name:literal, $expect:expr, $lines:expr, $tail:expr) => {
        case!(
            $name,
            $expect,
            "POST /desktop/ID/ HTTP/1.1",
            concat!("Host: desk.test\r\n", $lines),
            $tail
        )
    };
}

/// A POST refused with 400 whose body is the canary.
macro_rules! bad {
    ($name:literal, $lines:expr) => {
        post!($name, Refused(400), $lines, canary!())
    };
}

/// A POST with a chunked body that is refused with 400.
macro_rules! bad_chunks {
    ($name:literal, $body:expr) => {
        post!(
            $name,
            Refused(400),
            "Transfer-Encoding: chunked\r\n",
            concat!($body, canary!())
        )
    };
}

/// A GET with this first line, refused.
macro_rules! bad_line {
    ($name:literal, $status:literal, $first:expr) => {
        case!(
            $name,
            Refused($status),
            $first,
            "Host: desk.test\r\n",
            canary!()
        )
    };
}

/// Everything that is tried.
pub const CASES: &[Case] = &[
    // Two lengths of one body.
    post!(
        "CL.TE",
        Refused(400),
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        concat!("0\r\n\r\n", canary!())
    ),
    post!(
        "TE.CL",
        Refused(400),
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        concat!("{hex}\r\n", canary!(), "\r\n0\r\n\r\n")
    ),
    post!(
        "CL.TE with length 0",
        Refused(400),
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        concat!("0\r\n\r\n", canary!())
    ),
    bad!(
        "CL.CL, different",
        "Content-Length: 0\r\nContent-Length: 50\r\n"
    ),
    bad!("CL.CL, equal", "Content-Length: 0\r\nContent-Length: 0\r\n"),
    bad!("CL as a list", "Content-Length: 0, 0\r\n"),
    bad!("CL with two numbers", "Content-Length: 0 50\r\n"),
    bad!("CL with a plus", "Content-Length: +0\r\n"),
    bad!("CL with a minus", "Content-Length: -0\r\n"),
    bad!("CL in hexadecimal", "Content-Length: 0x00\r\n"),
    bad!("CL in octal", "Content-Length: 010\r\n"),
    bad!("CL with a point", "Content-Length: 0.0\r\n"),
    bad!("CL in quotes", "Content-Length: \"0\"\r\n"),
    bad!("CL with an underscore", "Content-Length: 1_0\r\n"),
    bad!("CL in Arabic digits", "Content-Length: \u{0660}\r\n"),
    bad!("CL without a value", "Content-Length:\r\n"),
    bad!("CL behind a vertical tab", "Content-Length:\x0b0\r\n"),
    bad!("CL before a form feed", "Content-Length: 0\x0c\r\n"),
    bad!(
        "CL that wraps 64 bits",
        "Content-Length: 18446744073709551616\r\n"
    ),
    bad!(
        "CL that is negative to some",
        "Content-Length: 18446744073709551615\r\n"
    ),
    bad!("CL with a space in its name", "Content-Length : 0\r\n"),
    bad!("CL with an underscore in its name", "Content_Length: 0\r\n"),
    // Transfer codings that only some recognise.
    bad!("TE identity", "Transfer-Encoding: identity\r\n"),
    bad!("TE xchunked", "Transfer-Encoding: xchunked\r\n"),
    bad!("TE in quotes", "Transfer-Encoding: \"chunked\"\r\n"),
    bad!(
        "TE behind a vertical tab",
        "Transfer-Encoding: \x0bchunked\r\n"
    ),
    bad!("TE before a NUL", "Transfer-Encoding: chunked\0\r\n"),
    bad!(
        "TE behind a no-break space",
        "Transfer-Encoding: \u{a0}chunked\r\n"
    ),
    bad!(
        "TE with letters that fold to ASCII",
        "Transfer-Encoding: chun\u{212a}ed\r\n"
    ),
    bad!("TE with a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
    bad!(
        "TE with a comma behind it",
        "Transfer-Encoding: chunked,\r\n"
    ),
    bad!(
        "TE chunked, identity",
        "Transfer-Encoding: chunked, identity\r\n"
    ),
    bad!(
        "TE chunked, chunked",
        "Transfer-Encoding: chunked, chunked\r\n"
    ),
    bad!("TE without a value", "Transfer-Encoding:\r\n"),
    post!(
        "TE gzip, chunked",
        Refused(400),
        "Transfer-Encoding: gzip, chunked\r\n",
        concat!("0\r\n\r\n", canary!())
    ),
    bad!(
        "TE.TE, equal",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
    ),
    bad!(
        "TE.TE, second unknown",
        "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n"
    ),
    bad!(
        "TE with a space behind its name",
        "Transfer-Encoding : chunked\r\n"
    ),
    bad!(
        "TE with a tab behind its name",
        "Transfer-Encoding\t: chunked\r\n"
    ),
    bad!(
        "TE with a NUL in its name",
        "Transfer-\0Encoding: chunked\r\n"
    ),
    bad!(
        "TE with an underscore in its name",
        "Transfer_Encoding: chunked\r\n"
    ),
    bad!(
        "TE with a soft hyphen in its name",
        "Transfer\u{ad}Encoding: chunked\r\n"
    ),
    bad!("TE behind a space", " Transfer-Encoding: chunked\r\n"),
    bad!(
        "TE behind a bare LF",
        "X: y\nTransfer-Encoding: chunked\r\n"
    ),
    bad!(
        "TE behind a bare CR",
        "X: y\rTransfer-Encoding: chunked\r\n"
    ),
    bad!(
        "TE with a folded value",
        "Transfer-Encoding:\r\n chunked\r\n"
    ),
    bad!(
        "TE behind a folded line",
        "X: y\r\n\tTransfer-Encoding: chunked\r\n"
    ),
    bad!("TE without a colon", "Transfer-Encoding chunked\r\n"),
    case!(
        "TE in HTTP/1.0",
        Refused(400),
        "POST /desktop/ID/ HTTP/1.0",
        "Host: desk.test\r\nTransfer-Encoding: chunked\r\n",
        concat!("0\r\n\r\n", canary!())
    ),
    // Chunks whose end is in doubt.
    bad_chunks!("chunk extension", "0;a=b\r\n\r\n"),
    bad_chunks!("chunk extension without a name", "0;\r\n\r\n"),
    bad_chunks!("TERM.EXT", "1;\nx\r\n0\r\n\r\n"),
    bad_chunks!("EXT.TERM", "1;a\rb\r\nx\r\n0\r\n\r\n"),
    bad_chunks!(
        "extension in quotes with a line end",
        "1;a=\"\r\nx\"\r\n0\r\n\r\n"
    ),
    bad_chunks!("chunk size with a bare LF", "0\n\r\n"),
    bad_chunks!("chunk size with a bare CR", "0\r\r\n\r\n"),
    bad_chunks!("chunk size with a prefix", "0x0\r\n\r\n"),
    bad_chunks!("chunk size with a plus", "+0\r\n\r\n"),
    bad_chunks!("chunk size with a minus", "-0\r\n\r\n"),
    bad_chunks!("chunk size with an underscore", "0_0\r\n\r\n"),
    bad_chunks!("chunk size behind a space", " 0\r\n\r\n"),
    bad_chunks!("chunk size before a space", "0 \r\n\r\n"),
    bad_chunks!("chunk size before a tab", "0\t\r\n\r\n"),
    bad_chunks!("chunk size before a NUL", "0\0\r\n\r\n"),
    bad_chunks!("chunk size that wraps 64 bits", "10000000000000000\r\n"),
    bad_chunks!(
        "chunk size that wraps 32 bits by length",
        "00000000000000000000\r\n\r\n"
    ),
    bad_chunks!(
        "chunk size that is negative to some",
        "FFFFFFFFFFFFFFFE\r\n"
    ),
    bad_chunks!("chunk without a size", "\r\n\r\n"),
    bad_chunks!("chunk data that goes on", "1\r\nxy\r\n0\r\n\r\n"),
    bad_chunks!("chunk data with a bare LF", "1\r\nx\n0\r\n\r\n"),
    bad_chunks!("chunk data without a line end", "1\r\nx0\r\n\r\n"),
    bad_chunks!(
        "chunk data with other two bytes behind it",
        "1\r\nxXX0\r\n\r\n"
    ),
    bad_chunks!("last chunk with a bare LF", "0\r\n\n"),
    bad_chunks!("no empty line behind the last chunk", "0\r\n"),
    bad_chunks!("trailer Content-Length", "0\r\nContent-Length: 0\r\n\r\n"),
    bad_chunks!(
        "trailer Transfer-Encoding",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    bad_chunks!("trailer Host", "0\r\nHost: other.test\r\n\r\n"),
    bad_chunks!(
        "trailer Authorization",
        "0\r\nAuthorization: Basic eDp5\r\n\r\n"
    ),
    bad_chunks!(
        "trailer X-Forwarded-For",
        "0\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
    ),
    bad_chunks!("trailer with a bare LF", "0\r\nX: y\n\r\n"),
    bad_chunks!("trailer folded", "0\r\nX: y\r\n z\r\n\r\n"),
    // Heads that say two things.
    bad!("two Hosts, equal", "Host: desk.test\r\n"),
    bad!("two Hosts, different", "hOsT: other.test\r\n"),
    bad!("field without a name", ": chunked\r\n"),
    bad!("pseudo field", ":path: /api/container/list\r\n"),
    bad!("NUL in a value", "X: y\0\r\n"),
    case!(
        "no Host",
        Refused(400),
        "GET /desktop/ID/ HTTP/1.1",
        "X: y\r\n",
        canary!()
    ),
    case!(
        "Host without a value",
        Refused(400),
        "GET /desktop/ID/ HTTP/1.1",
        "Host:\r\n",
        canary!()
    ),
    case!(
        "Host as a list",
        Refused(400),
        "GET /desktop/ID/ HTTP/1.1",
        "Host: desk.test, other.test\r\n",
        canary!()
    ),
    case!(
        "Host with a user",
        Refused(400),
        "GET /desktop/ID/ HTTP/1.1",
        "Host: desk.test@other.test\r\n",
        canary!()
    ),
    case!(
        "Host with a path",
        Refused(400),
        "GET /desktop/ID/ HTTP/1.1",
        "Host: desk.test/x\r\n",
        canary!()
    ),
    case!(
        "Host with a port of letters",
        Refused(400),
        "GET /desktop/ID/ HTTP/1.1",
        "Host: desk.test:http\r\n",
        canary!()
    ),
    case!(
        "space before the first field",
        Refused(400),
        "GET /desktop/ID/ HTTP/1.1",
        " X: y\r\nHost: desk.test\r\n",
        canary!()
    ),
    bad_line!(
        "absolute form with another host",
        400,
        "GET http://other.test/desktop/ID/ HTTP/1.1"
    ),
    bad_line!(
        "absolute form with our host",
        400,
        "GET http://desk.test/desktop/ID/ HTTP/1.1"
    ),
    bad_line!("authority form", 400, "GET desk.test:443 HTTP/1.1"),
    bad_line!("asterisk without OPTIONS", 400, "GET * HTTP/1.1"),
    bad_line!("CONNECT", 400, "CONNECT desk.test:443 HTTP/1.1"),
    bad_line!("opening of HTTP/2", 505, "PRI * HTTP/2.0"),
    bad_line!("HTTP/1.2", 505, "GET /desktop/ID/ HTTP/1.2"),
    bad_line!("HTTP/0.9", 400, "GET /desktop/ID/"),
    bad_line!("two versions", 400, "GET /desktop/ID/ HTTP/1.1 HTTP/1.0"),
    bad_line!("two spaces", 400, "GET  /desktop/ID/ HTTP/1.1"),
    bad_line!("tabs for spaces", 400, "GET\t/desktop/ID/\tHTTP/1.1"),
    bad_line!(
        "space before the line end",
        400,
        "GET /desktop/ID/ HTTP/1.1 "
    ),
    bad_line!("fragment", 400, "GET /desktop/ID/#/../canary HTTP/1.1"),
    bad_line!(
        "non-ASCII target",
        400,
        "GET /desktop/ID/\u{ff0e}\u{ff0e}/ HTTP/1.1"
    ),
    bad_line!(
        "bare LF behind the request line",
        400,
        "GET /desktop/ID/ HTTP/1.1\nX: y"
    ),
    bad_line!("bare CR in the target", 400, "GET /desktop/ID/\rx HTTP/1.1"),
    bad_line!(
        "two empty lines in front",
        400,
        "\r\n\r\nGET /desktop/ID/ HTTP/1.1"
    ),
    bad_line!("space in front", 400, " GET /desktop/ID/ HTTP/1.1"),
    // Protocols, connections and expectations.
    bad!(
        "Upgrade: h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    ),
    bad!(
        "Upgrade with two protocols",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"
    ),
    bad!(
        "Upgrade with a body",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 50\r\n"
    ),
    bad!(
        "Upgrade with POST",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    ),
    case!(
        "Upgrade without Connection",
        Refused(400),
        "GET /desktop/ID/ HTTP/1.1",
        "Host: desk.test\r\nUpgrade: websocket\r\n",
        canary!()
    ),
    case!(
        "Upgrade in HTTP/1.0",
        Refused(400),
        "GET /desktop/ID/ HTTP/1.0",
        "Host: desk.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
        canary!()
    ),
    case!(
        "Upgrade with chunks",
        Refused(400),
        "GET /desktop/ID/ HTTP/1.1",
        "Host: desk.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
        concat!("0\r\n\r\n", canary!())
    ),
    bad!(
        "Connection names Content-Length",
        "Connection: close, Content-Length\r\nContent-Length: 0\r\n"
    ),
    bad!(
        "Connection names Transfer-Encoding",
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n"
    ),
    bad!("Connection names Host", "Connection: Host\r\n"),
    bad!("Connection names Cookie", "Connection: Cookie\r\n"),
    bad!(
        "Connection names X-Forwarded-For",
        "Connection: X-Forwarded-For\r\n"
    ),
    bad!(
        "Connection that is no list",
        "Connection: close; Content-Length\r\n"
    ),
    post!(
        "0.CL by an unknown expectation",
        Refused(417),
        "Expect: y 100-continue\r\nContent-Length: 50\r\n",
        canary!()
    ),
    post!(
        "0.CL by two expectations",
        Refused(417),
        "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 50\r\n",
        canary!()
    ),
    post!(
        "0.CL by a folded expectation",
        Refused(417),
        "Expect:\r\n 100-continue\r\nContent-Length: 50\r\n",
        canary!()
    ),
    // Honest messages: the canary is their body, and no reader takes it for a request.
    post!("CL.0", Passed, "Content-Length: {len}\r\n", canary!()),
    post!(
        "CL.0 with an expectation",
        Passed,
        "Expect: 100-continue\r\nContent-Length: {len}\r\n",
        canary!()
    ),
    post!(
        "TE.0",
        Passed,
        "Transfer-Encoding: chunked\r\n",
        concat!("{hex}\r\n", canary!(), "\r\n0\r\n\r\n")
    ),
    post!(
        "TE.0 with a trailer",
        Passed,
        "Transfer-Encoding:CHUNKED \r\n",
        concat!("{hex}\r\n", canary!(), "\r\n0\r\nX: y\r\n\r\n")
    ),
    case!(
        "GET with a body",
        Passed,
        "GET /desktop/ID/ HTTP/1.1",
        "Host: desk.test\r\nContent-Length: {len}\r\n",
        canary!()
    ),
    case!(
        "HTTP/1.0 with a body",
        Passed,
        "POST /desktop/ID/ HTTP/1.0",
        "Host: desk.test\r\nContent-Length: {len}\r\n",
        canary!()
    ),
    case!(
        "an empty line in front",
        Passed,
        "\r\nGET /desktop/ID/ HTTP/1.1",
        "Host: desk.test\r\n",
        ""
    ),
    post!(
        "fields that look like framing",
        Passed,
        "X-Content-Length: 0\r\nTE: trailers\r\nX-Transfer-Encoding: chunked\r\nContent-Length: {len}\r\n",
        canary!()
    ),
];
