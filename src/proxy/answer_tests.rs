//! Tables of heads: what is read, what is refused, and that neither depends on how the network cut them.

use super::*;

/// What a reader makes of `stream` when it comes in pieces of `size` bytes.
fn read(stream: &[u8], size: usize, to_head: bool) -> Result<Option<(Answer, Vec<u8>)>, BadAnswer> {
    let (mut buffer, mut reader) = (BytesMut::new(), Reader::new(to_head));
    for piece in stream.chunks(size) {
        buffer.extend_from_slice(piece);
        if let Some(answer) = reader.read(&mut buffer)? {
            return Ok(Some((answer, buffer.to_vec())));
        }
    }
    Ok(None)
}

fn answer(head: &str, to_head: bool) -> Result<Answer, BadAnswer> {
    let (answer, _) = read(head.as_bytes(), usize::MAX, to_head)?.expect("a whole head");
    Ok(answer)
}

/// How the body ends, in a word or a number, and whether the connection can be used again.
fn outcome(head: &str, to_head: bool) -> (String, bool) {
    let answer = answer(head, to_head).expect(head);
    let framing = match answer.framing {
        Framing::Length(length) => length.to_string(),
        Framing::Chunked(_) => "chunked".to_owned(),
        Framing::Close => "close".to_owned(),
    };
    (framing, answer.keeps)
}

#[test]
fn the_end_of_a_body_is_found_as_rfc_9112_says() {
    for (head, framing, keeps) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "5", true),
        ("HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", "0", true),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
            "chunked",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", "close", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", "0", true),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            "0",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\n",
            "5",
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
            "5",
            false,
        ),
        ("HTTP/1.1 101 Switching\r\n\r\n", "0", true),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            "7",
            true,
        ),
    ] {
        assert_eq!(outcome(head, false), (framing.to_owned(), keeps), "{head}");
    }
    let to_head = outcome("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true);
    assert_eq!(to_head, ("0".to_owned(), true));
}

#[test]
fn a_head_is_the_same_however_it_is_cut() {
    let stream = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"x\"\r\nServer: x\r\n\r\nhello";
    for size in 1..=stream.len() {
        let (answer, rest) = read(stream, size, false).unwrap().expect("a whole head");
        assert_eq!(answer.headers["etag"], "\"x\"");
        assert_eq!(answer.headers.len(), 2, "{:?}", answer.headers);
        assert!(b"hello".starts_with(&rest[..]), "{size}");
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for head in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: ",
        "Content-Length: 5 5",
        "Content-Length: 9223372036854775808",
        "Content-Length: 99999999999999999999",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: ",
        "Transfer-Encoding : chunked",
        "Content-Length : 5",
        "X: y\r\n Content-Length: 5",
        "X: y\0",
        ": x",
        "no colon",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
        assert!(answer(&head, false).is_err(), "{head:?}");
    }
    for head in [
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 99 Odd\r\n\r\n",
        "<html>\r\n\r\n",
        "RFB 003.008\n",
    ] {
        assert!(answer(head, false).is_err(), "{head:?}");
    }
}

#[test]
fn heads_have_limits() {
    let fields = |count: usize| {
        let fields = "X: y\r\n".repeat(count);
        read(
            format!("HTTP/1.1 204 No\r\n{fields}\r\n").as_bytes(),
            64,
            false,
        )
    };
    assert!(fields(MAX_FIELDS).unwrap().is_some());
    assert!(fields(MAX_FIELDS + 1).is_err());
    let long = |count: usize| {
        let value = "y".repeat(count);
        read(
            format!("HTTP/1.1 204 No\r\nX: {value}\r\n\r\n").as_bytes(),
            1000,
            false,
        )
    };
    assert!(long(MAX_HEAD - 100).unwrap().is_some());
    assert!(matches!(long(MAX_HEAD), Err(BadAnswer::TooLarge)));
    let interim = |count: usize| {
        let heads = "HTTP/1.1 100 Continue\r\n\r\n".repeat(count);
        read(
            format!("{heads}HTTP/1.1 204 No\r\n\r\n").as_bytes(),
            64,
            false,
        )
    };
    assert!(interim(usize::from(MAX_INTERIM)).unwrap().is_some());
    assert!(matches!(
        interim(usize::from(MAX_INTERIM) + 1),
        Err(BadAnswer::Interim)
    ));
}
