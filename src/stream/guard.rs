//! A strict reader of HTTP/1.x requests that stands between the socket and the HTTP parser. It sees the
//! raw bytes first, passes on only what it has judged, and refuses every head and every chunk that two
//! readers could understand differently (RFC 9110, RFC 9112). Pure: it owns no buffer and no socket, and
//! it does not know routes; which method, path and host are right is decided behind it.

mod chunked;
mod cookies;
mod head;
mod line;
mod names;
mod refusal;

use std::ops::Range;

use head::{Framing, Head, Step};

pub use chunked::{Chunked, Piece};
pub use refusal::Refusal;

/// Largest head of a request, bytes, from its request line to its empty line.
pub const MAX_HEAD: usize = 32 * 1024;
/// Bytes of cookies that may be taken out of a head. Browsers keep some 180 cookies of 4 KiB for a site.
pub const MAX_CUT: usize = 1024 * 1024;
/// Header fields of a request.
pub const MAX_FIELDS: u8 = 100;
/// Longest request target, bytes.
pub const MAX_TARGET: usize = 8 * 1024;
/// Hexadecimal digits of a chunk's size: as many as 64 bits need. Longer ones only pad with zeros, and a
/// reader with a narrower counter would lose the digits in front.
pub const MAX_SIZE_DIGITS: usize = 16;
/// Largest trailer section of a chunked body, bytes, its empty line included.
pub const MAX_TRAILERS: usize = 8 * 1024;
/// Trailer fields of a chunked body.
pub const MAX_TRAILER_FIELDS: u8 = 32;
/// Largest length of a body or a chunk, bytes. Above it a reader with signed counters sees a negative one.
const MAX_LENGTH: u64 = u64::MAX >> 1;

/// What a strict reader of RFC 9112 makes of one connection's bytes.
///
/// One guard belongs to one connection and is asked again and again with all bytes that it has not yet
/// passed. It looks at each byte of a head once, however the head was cut by the network.
#[derive(Debug)]
pub struct Guard {
    state: State,
}

/// There are many connections, and most of them are idle.
const _: () = assert!(size_of::<Guard>() <= 64);

/// Where in a message the first byte not yet passed stands.
#[derive(Debug)]
enum State {
    /// In a head, or before one.
    Head(Head),
    /// In a body with so many bytes still to come, at least one.
    Sized(u64),
    /// In a chunked body.
    Chunked(Chunked),
    /// Nothing is read any more.
    Refused(Refusal),
}

/// What may happen with the bytes shown to [`Guard::admit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Nothing yet: show the same bytes again, with more behind them.
    NeedMore,
    /// These bytes are cookies that a head has no room for: take them out, and show the rest again. Enough
    /// of them stays to show that they are too many; whoever reads the head has to refuse it for that, or
    /// to do without them.
    Cut(Range<usize>),
    /// So many leading bytes, at least one and all of one message, may go to the HTTP parser now.
    Pass(usize),
    /// So many leading bytes are a whole head that asks for a WebSocket (RFC 9110 section 7.8). They may go
    /// to the HTTP parser; nothing behind them may be read before the answer is known, because only the
    /// answer says in which protocol it is written (RFC 9931). After a 101 the guard's work is done; after
    /// any other answer it expects the next head.
    Upgrade(usize),
}

impl Guard {
    /// A guard of a connection from which nothing has been read.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Head(Head::new()),
        }
    }

    /// Judges `bytes`: all bytes not yet passed, in order, beginning where the last pass ended. A head is
    /// passed only once it is whole, and a pass never reaches beyond the end of a message. Call again with
    /// the rest after a pass; `NeedMore` and an empty rest mean that more must be read.
    ///
    /// # Errors
    /// The [`Refusal`], as soon as it is certain; none of `bytes` may be used then. It is final: every
    /// later call repeats it, because nobody knows where the next message would begin.
    pub fn admit(&mut self, bytes: &[u8]) -> Result<Admitted, Refusal> {
        let admitted = self.judge(bytes);
        if let Err(refusal) = &admitted {
            self.state = State::Refused(*refusal);
        }
        admitted
    }

    /// Whether the next byte belongs to a head: no message is under way in the HTTP parser's eyes.
    #[must_use]
    pub const fn expects_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Whether a part of a head has been seen and not yet passed, so that its deadline runs.
    #[must_use]
    pub const fn in_head(&self) -> bool {
        matches!(&self.state, State::Head(head) if head.begun())
    }

    fn judge(&mut self, bytes: &[u8]) -> Result<Admitted, Refusal> {
        let mut used = 0;
        if let State::Head(head) = &mut self.state {
            let (end, framing) = match head.read(bytes)? {
                Step::More => return Ok(Admitted::NeedMore),
                Step::Cut(range) => return Ok(Admitted::Cut(range)),
                Step::Whole(end, framing) => (end, framing),
            };
            self.state = match framing {
                Framing::Upgrade | Framing::Length(0) => State::Head(Head::new()),
                Framing::Length(length) => State::Sized(length),
                Framing::Chunked => State::Chunked(Chunked::new()),
            };
            match framing {
                Framing::Upgrade => return Ok(Admitted::Upgrade(end)),
                Framing::Length(0) => return Ok(Admitted::Pass(end)),
                Framing::Length(_) | Framing::Chunked => used = end,
            }
        }
        used += self.body(bytes.get(used..).unwrap_or_default())?;
        Ok(if used == 0 {
            Admitted::NeedMore
        } else {
            Admitted::Pass(used)
        })
    }

    /// How many of `bytes` belong to the body under way and are whole enough to be passed.
    fn body(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let (used, ended) = match &mut self.state {
            State::Head(_) => (0, false),
            State::Sized(left) => {
                let used = take(left, bytes);
                (used, *left == 0)
            }
            State::Chunked(chunked) => chunked.read(bytes)?,
            State::Refused(refusal) => return Err(*refusal),
        };
        if ended {
            self.state = State::Head(Head::new());
        }
        Ok(used)
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts as many of `bytes` as are `left`, and says how many those are.
fn take(left: &mut u64, bytes: &[u8]) -> usize {
    let used = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *left -= used as u64;
    used
}

#[cfg(test)]
mod head_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
