//! A chunked body (RFC 9112 section 7.1): sizes, data and the trailer section, each with its CRLF. Chunk
//! extensions are refused altogether. Nobody who talks to us sends any, they carry nothing for us, and
//! where one ends is what readers disagree about most.

use super::line::{self, End};
use super::{MAX_LENGTH, MAX_SIZE_DIGITS, MAX_TRAILER_FIELDS, MAX_TRAILERS, Refusal, names, take};

/// A chunked body, as far as it has been read.
#[derive(Debug)]
pub struct Chunked(Place);

/// What a piece of a chunked body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Content.
    Data,
    /// A line or the end of one.
    Line,
    /// The line that ends the body.
    Last,
}

/// Where in a chunked body the first byte not yet read stands.
#[derive(Debug)]
enum Place {
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
struct Trailers {
    /// Bytes that it may still have.
    room: usize,
    /// Up to where the end of its line under way has been looked for.
    searched: usize,
    /// Fields so far.
    fields: u8,
}

impl Chunked {
    /// At its beginning.
    #[must_use]
    pub const fn new() -> Self {
        Self(Place::Size)
    }

    /// Reads on in `bytes`. Says how many of them are whole lines or data, and whether the body has ended.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut used = 0;
        while let Some((step, piece)) = self.next(&bytes[used..])? {
            used += step;
            if piece == Piece::Last {
                return Ok((used, true));
            }
        }
        Ok((used, false))
    }

    /// Reads the next piece in `bytes`, which begin where the last one ended: how long it is, and what.
    /// `None`: it is not whole; after the last piece nothing may be read.
    ///
    /// # Errors
    /// Two readers could understand the bytes differently.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Option<(usize, Piece)>, Refusal> {
        let step = match &mut self.0 {
            Place::Size => size_line(bytes)?,
            Place::Data(left) => Some((take(left, bytes), *left)).filter(|(used, _)| *used > 0),
            Place::DataEnd => data_end(bytes)?,
            Place::Trailers(trailers) => trailers.line(bytes)?,
        };
        let Some((used, number)) = step else {
            return Ok(None);
        };
        let (place, piece) = match (&self.0, number) {
            (Place::Size, 0) => (Place::Trailers(Trailers::new()), Piece::Line),
            (Place::Size, 1..) => (Place::Data(number), Piece::Line),
            (Place::Data(_), 0) => (Place::DataEnd, Piece::Data),
            (Place::Data(_), 1..) => (Place::Data(number), Piece::Data),
            (Place::DataEnd, _) => (Place::Size, Piece::Line),
            (Place::Trailers(_), 0) => return Ok(Some((used, Piece::Last))),
            (Place::Trailers(_), _) => return Ok(Some((used, Piece::Line))),
        };
        self.0 = place;
        Ok(Some((used, piece)))
    }
}

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
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
