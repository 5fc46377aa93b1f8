//! A chunked body (RFC 9112 section 7.1): sizes, data and the trailer section, each with its CRLF. Chunk
//! extensions are refused altogether. Nobody who talks to us sends any, they carry nothing for us, and
//! where one ends is what readers disagree about most.

use super::line::{self, End};
use super::{MAX_LENGTH, MAX_SIZE_DIGITS, MAX_TRAILER_FIELDS, MAX_TRAILERS, Refusal, names, take};

/// Where in a chunked body the first byte not yet passed stands.
#[derive(Debug)]
pub(super) enum Chunked {
    /// Before a chunk's size.
    Size,
    /// In a chunk with so many bytes still to come.
    Data(u64),
    /// Before the CRLF behind a chunk.
    DataEnd,
    /// In the trailer section.
    Trailers(Trailers),
}

/// What has been read of a trailer section.
#[derive(Debug)]
pub(super) struct Trailers {
    /// Bytes that it may still have.
    room: usize,
    /// Up to where the end of its line under way has been looked for.
    searched: usize,
    /// Fields so far.
    fields: u8,
}

impl Chunked {
    pub(super) const fn new() -> Self {
        Self::Size
    }

    /// Reads on in `bytes`. Says how many of them are whole lines or data, and whether the body has ended.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let step = match self {
                Self::Size => size_line(rest)?,
                Self::Data(left) => Some((take(left, rest), *left)).filter(|(used, _)| *used > 0),
                Self::DataEnd => data_end(rest)?,
                Self::Trailers(trailers) => trailers.line(rest)?,
            };
            let Some((step, number)) = step else {
                return Ok((used, false));
            };
            used += step;
            *self = match (&self, number) {
                (Self::Size, 0) => Self::Trailers(Trailers::new()),
                (Self::Size | Self::Data(_), 1..) => Self::Data(number),
                (Self::Data(_), 0) => Self::DataEnd,
                (Self::DataEnd, _) => Self::Size,
                (Self::Trailers(_), 0) => return Ok((used, true)),
                (Self::Trailers(_), _) => continue,
            };
        }
    }
}

/// A chunk's size and how long its line is, if the line is whole.
fn size_line(bytes: &[u8]) -> Result<Option<(usize, u64)>, Refusal> {
    let mut size = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if at > 0 && size <= MAX_LENGTH => {
                return crlf(&bytes[at..], Refusal::BareCr).map(|end| Some((at + end?, size)));
            }
            b';' => return Err(Refusal::ChunkExtension),
            b'\n' => return Err(Refusal::BareLf),
            _ => return Err(Refusal::ChunkSize),
        };
        if at == MAX_SIZE_DIGITS {
            return Err(Refusal::ChunkSize);
        }
        size = size << 4 | u64::from(digit);
    }
    Ok(None)
}

fn data_end(bytes: &[u8]) -> Result<Option<(usize, u64)>, Refusal> {
    crlf(bytes, Refusal::ChunkEnd).map(|end| Some((end?, 0)))
}

/// How long the CRLF is with which `bytes` begin, if it is whole.
fn crlf(bytes: &[u8], refusal: Refusal) -> Result<Option<usize>, Refusal> {
    match bytes {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(2)),
        _ => Err(refusal),
    }
}

impl Trailers {
    const fn new() -> Self {
        Self {
            room: MAX_TRAILERS,
            searched: 0,
            fields: 0,
        }
    }

    /// Reads one line: how long it is with its CRLF, and 0 if it is the last one.
    fn line(&mut self, bytes: &[u8]) -> Result<Option<(usize, u64)>, Refusal> {
        let within = &bytes[..bytes.len().min(self.room)];
        let end = match line::end(within, self.searched)? {
            End::At(end) => end,
            End::NotBefore(_) if within.len() == self.room => {
                return Err(Refusal::TrailersTooLarge);
            }
            End::NotBefore(at) => {
                self.searched = at;
                return Ok(None);
            }
        };
        if end == 0 {
            return Ok(Some((2, 0)));
        }
        if self.fields == MAX_TRAILER_FIELDS {
            return Err(Refusal::TrailersTooLarge);
        }
        let (name, _) = line::field(&within[..end])?;
        if names::is_head_only(name) {
            return Err(Refusal::TrailerField);
        }
        self.fields += 1;
        self.searched = 0;
        self.room -= end + 2;
        Ok(Some((end + 2, 1)))
    }
}
