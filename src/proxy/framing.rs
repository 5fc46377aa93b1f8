//! How the body of a desktop's answer ends (RFC 9112 section 6.3), and its content taken out of the bytes of
//! the connection. Pure. Chunks are read as strictly as those of browsers.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::stream::guard::{Chunked, Piece, Refusal};

/// What of a body is still to come.
#[derive(Debug)]
pub enum Framing {
    /// So many bytes. None: the body is over.
    Length(u64),
    /// Chunks and a trailer section.
    Chunked(Chunked),
    /// Whatever comes until the connection ends.
    Close,
}

/// Why a body that began well is cut off towards the browser.
#[derive(Debug, thiserror::Error)]
pub enum BadBody {
    /// The connection broke.
    #[error("the connection to the desktop broke")]
    Broken(#[from] std::io::Error),
    /// It ended before the body did.
    #[error("the desktop ended its answer too early")]
    Short,
    /// A chunk that two readers could understand differently.
    #[error("the chunks of the desktop's answer are malformed")]
    Chunk(#[from] Refusal),
    /// Session or desktop ended meanwhile.
    #[error("the grant was withdrawn")]
    Withdrawn,
}

impl Framing {
    /// Whether the body is over.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Takes content from the front of `buffer`, which begins where the last call left it. `None`: there is
    /// none, and more has to be read unless the body is over.
    ///
    /// # Errors
    /// The chunks are malformed.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Refusal> {
        let count = match self {
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX);
                let count = count.min(buffer.len());
                *left -= count as u64;
                count
            }
            Self::Close => buffer.len(),
            Self::Chunked(chunked) => loop {
                match chunked.next(buffer)? {
                    None => break 0,
                    Some((count, Piece::Data)) => break count,
                    Some((count, Piece::Line)) => buffer.advance(count),
                    Some((count, Piece::Last)) => {
                        buffer.advance(count);
                        *self = Self::Length(0);
                        break 0;
                    }
                }
            },
        };
        Ok((count > 0).then(|| buffer.split_to(count).freeze()))
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The body has not.
    pub fn end(&mut self) -> Result<(), BadBody> {
        match self {
            Self::Close => *self = Self::Length(0),
            Self::Length(0) => {}
            Self::Length(_) | Self::Chunked(_) => return Err(BadBody::Short),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of `stream`, which comes in pieces of `size` bytes and then ends, and what is left over.
    fn read(
        mut framing: Framing,
        stream: &[u8],
        size: usize,
    ) -> Result<(Vec<u8>, Vec<u8>), BadBody> {
        let (mut buffer, mut content) = (BytesMut::new(), Vec::new());
        let mut pieces = stream.chunks(size);
        loop {
            while let Some(bytes) = framing.take(&mut buffer)? {
                content.extend_from_slice(&bytes);
            }
            if framing.is_over() {
                let rest: Vec<u8> = pieces.flatten().copied().collect();
                return Ok((content, [&buffer[..], &rest].concat()));
            }
            match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => framing.end()?,
            }
        }
    }

    fn chunked() -> Framing {
        Framing::Chunked(Chunked::new())
    }

    #[test]
    fn the_content_is_the_same_however_it_is_cut() {
        let chunks = b"5\r\nhello\r\n00b\r\n, beautiful\r\n0\r\nX: y\r\n\r\nHTTP/1.1";
        for size in 1..=chunks.len() {
            let (content, rest) = read(chunked(), chunks, size).unwrap();
            assert_eq!(
                (&content[..], &rest[..]),
                (&b"hello, beautiful"[..], &b"HTTP/1.1"[..])
            );
            let (content, rest) = read(Framing::Length(5), b"helloHTTP", size).unwrap();
            assert_eq!((&content[..], &rest[..]), (&b"hello"[..], &b"HTTP"[..]));
            let (content, rest) = read(Framing::Close, b"hello", size).unwrap();
            assert_eq!((&content[..], &rest[..]), (&b"hello"[..], &b""[..]));
        }
    }

    #[test]
    fn a_body_that_ends_early_or_is_malformed_is_an_error() {
        for size in [1, 64] {
            for stream in ["", "5\r\nhel", "5\r\nhello\r\n", "0\r\n", "0\r\nX: y\r\n"] {
                let short = read(chunked(), stream.as_bytes(), size);
                assert!(matches!(short, Err(BadBody::Short)), "{stream:?}");
            }
            let short = read(Framing::Length(6), b"hello", size);
            assert!(matches!(short, Err(BadBody::Short)));
            for stream in [
                "5\nhello\r\n",
                "5;x=y\r\nhello\r\n",
                "-5\r\n",
                "\r\n",
                "5\r\nhello!\r\n",
                "fffffffffffffffff\r\n",
                "0\r\nContent-Length: 3\r\n\r\n",
            ] {
                let refused = read(chunked(), stream.as_bytes(), size);
                assert!(matches!(refused, Err(BadBody::Chunk(_))), "{stream:?}");
            }
        }
    }
}
