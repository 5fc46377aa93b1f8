//! An end of a tunnel: bytes are pulled out of it into memory that is lent, and pushed into it the same
//! way, so that a tunnel owns no buffer.

use std::io;
use std::task::{Context, Poll};

/// The part of a lent buffer that holds bytes on their way to a socket.
pub(crate) struct Output<'a> {
    pub buffer: &'a mut [u8],
    pub used: usize,
}

impl<'a> Output<'a> {
    /// An empty one.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, used: 0 }
    }

    /// The bytes that were put in.
    pub fn filled(&self) -> &[u8] {
        &self.buffer[..self.used]
    }
}

/// An end of a tunnel.
pub(crate) trait End {
    /// Reads once, and gives what arrived to `sink`, perhaps in several pieces. Ready without any piece
    /// when the bytes were no data, or at the end, of which [`is_at_end`](Self::is_at_end) tells.
    fn poll_pull(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut [u8],
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>>;

    /// Whether nothing more will come.
    fn is_at_end(&self) -> bool;

    /// Puts bytes into `output` as they are to be written; what does not fit waits inside.
    fn push(&mut self, bytes: &[u8], output: &mut Output<'_>) -> io::Result<()>;

    /// Writes what was pushed. What the socket does not take waits inside, and
    /// [`poll_drain`](Self::poll_drain) says when it is gone.
    fn commit(&mut self, cx: &mut Context<'_>, output: &Output<'_>) -> io::Result<()>;

    /// Ready when nothing waits to be written.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends our direction, politely.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
