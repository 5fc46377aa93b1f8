//! The rules of a head, row by row. Each row is tried whole and cut at every byte.

use super::Refusal;
use super::tests::{chunked, each, each_head, passes, refusal, with};

#[test]
fn lines_end_in_crlf_only() {
    each(
        Refusal::BareLf,
        &["GET / HTTP/1.1\nHost: x\n\n", "\n", "GET / HTTP/1.1\r\n\n"],
    );
    each_head(Refusal::BareLf, &["A: b\nTransfer-Encoding: chunked\r\n"]);
    each_head(
        Refusal::BareCr,
        &["A: b\rX: y\r\n", "A: b\r\r\n", "\rA: b\r\n"],
    );
    each_head(
        Refusal::Control,
        &[
            "A: \0\r\n",
            "A\0: b\r\n",
            "A: \x0bb\r\n",
            "A: \x7f\r\n",
            "Content-Length:\x0c5\r\n",
        ],
    );
    each(
        Refusal::Control,
        &["\x16\x03\x01\x02", "GET /\0 HTTP/1.1\r\n"],
    );
}

#[test]
fn request_lines_have_one_form() {
    each(
        Refusal::RequestLine,
        &[
            "GET /\r\n",
            " GET / HTTP/1.1\r\n",
            "GET /  HTTP/1.1x\r\n",
            "GET / http/1.1\r\n",
            "G@T / HTTP/1.1\r\n",
            "\r\n\r\n",
            "GET / HTTP/1.10\r\n",
            "GET HTTP/1.1\r\n",
            "GET\r\n",
            " HTTP/1.1\r\n",
            "GET\t/ HTTP/1.1\r\n",
        ],
    );
    each(
        Refusal::Version,
        &[
            "PRI * HTTP/2.0\r\n",
            "GET / HTTP/1.2\r\n",
            "GET / HTTP/0.9\r\n",
            "GET / HTTP/3.0\r\n",
        ],
    );
    each(Refusal::Connect, &["CONNECT desk.test:443 HTTP/1.1\r\n"]);
    each(
        Refusal::TargetForm,
        &[
            "GET http://desk.test/ HTTP/1.1\r\n",
            "GET desk.test:443 HTTP/1.1\r\n",
            "GET * HTTP/1.1\r\n",
            "OPTIONS ** HTTP/1.1\r\n",
            "GET  / HTTP/1.1\r\n",
            "GET  HTTP/1.1\r\n",
            "GET \\ HTTP/1.1\r\n",
        ],
    );
    each(
        Refusal::TargetByte,
        &[
            "GET /# HTTP/1.1\r\n",
            "GET /<script> HTTP/1.1\r\n",
            "GET /?a>b HTTP/1.1\r\n",
            "GET /?q=\"a\" HTTP/1.1\r\n",
            "GET / HTTP/1.1 HTTP/1.1\r\n",
            "GET /\t HTTP/1.1\r\n",
            "GET /\u{e4} HTTP/1.1\r\n",
            "GET /  HTTP/1.1\r\n",
        ],
    );
}

#[test]
fn fields_have_a_name_a_colon_and_one_line() {
    each_head(
        Refusal::Folded,
        &[" A: b\r\n", "A: b\r\n c\r\n", "A: b\r\n\tc: d\r\n", " \r\n"],
    );
    each_head(Refusal::EmptyName, &[": a\r\n", ":method: GET\r\n"]);
    each_head(
        Refusal::FieldName,
        &[
            "A\r\n",
            "A;: b\r\n",
            "A\u{e4}: b\r\n",
            "(a): b\r\n",
            "\"A\": b\r\n",
        ],
    );
    each_head(
        Refusal::SpacedName,
        &[
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding\t: chunked\r\n",
            "Content Length: 5\r\n",
        ],
    );
    each_head(
        Refusal::Lookalike,
        &["Content_Length: 5\r\n", "TRANSFER_encoding: chunked\r\n"],
    );
}

#[test]
fn there_is_one_host() {
    each(
        Refusal::NoHost,
        &[
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nX-Host: x\r\n\r\n",
        ],
    );
    each_head(
        Refusal::ManyHosts,
        &["Host: desk.test\r\n", "hOST: other.test\r\n"],
    );
    each(
        Refusal::ManyHosts,
        &["GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n"],
    );
    for host in [
        "",
        "a, b",
        "a b",
        "u@a",
        "a/b",
        "http://a",
        "a:",
        "a:b",
        "a:65536",
        "a:000001",
        ":80",
        "[]",
        "[::1",
        "[::1]x",
        "[g::]",
        "a:1:2",
        "\u{e4}",
        "a%00",
        "a?b",
        "a#b",
        "a\tb",
        "[::1%25eth0]",
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(refusal(head), Some(Refusal::Host), "{host:?}");
    }
}

#[test]
fn there_is_one_length() {
    each_head(
        Refusal::ManyLengths,
        &[
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\ncontent-length: 6\r\n",
        ],
    );
    for value in [
        "",
        "+5",
        "-5",
        "5, 5",
        "5,",
        "5 5",
        "0x5",
        "5.0",
        "5e0",
        "05",
        "00",
        "\"5\"",
        "five",
        "\u{b2}",
        "9223372036854775808",
        "99999999999999999999",
        "18446744073709551621",
        "5;",
        "_5",
        "1_0",
    ] {
        let head = with(&format!("Content-Length: {value}\r\n"));
        assert_eq!(refusal(head), Some(Refusal::Length), "{value:?}");
    }
    let most = with("Content-Length: 9223372036854775807\r\n");
    passes(most + "hello");
}

#[test]
fn there_is_one_coding() {
    each_head(
        Refusal::LengthAndCoding,
        &[
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        ],
    );
    each_head(
        Refusal::ManyCodings,
        &["Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"],
    );
    for value in [
        "",
        "identity",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "chunked, identity",
        "\"chunked\"",
        "'chunked'",
        "chunked, chunked",
        "gzip",
        "chunked,",
        "chunke\u{e4}",
        "chu nked",
        "gzip;x, chunked",
    ] {
        let head = with(&format!("Transfer-Encoding: {value}\r\n"));
        assert_eq!(refusal(head), Some(Refusal::Coding), "{value:?}");
    }
    each_head(
        Refusal::UnknownCoding,
        &[
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: x,CHUNKED\r\n",
        ],
    );
    let old = chunked("0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(refusal(old), Some(Refusal::OldCoding));
}

#[test]
fn connection_and_expect_are_narrow() {
    each_head(
        Refusal::Connection,
        &[
            "Connection: close;x\r\n",
            "Connection: a b\r\n",
            "Connection: \"a\"\r\n",
        ],
    );
    for name in [
        "Content-Length",
        "transfer_encoding",
        "HOST",
        "Cookie",
        "Authorization",
        "X-Forwarded-For",
        "Sec-Fetch-Site",
        "X-Original-Url",
        "Origin",
    ] {
        let head = with(&format!("Connection: close, {name}\r\n"));
        assert_eq!(refusal(head), Some(Refusal::ConnectionNames), "{name}");
    }
    each_head(
        Refusal::Expectation,
        &[
            "Expect: 200-ok\r\n",
            "Expect:\r\n",
            "Expect: 100-continue\r\nExpect: 100-continue\r\n",
        ],
    );
}
