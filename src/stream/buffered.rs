//! Bytes that could not be written or taken yet: a queue that costs no memory while it is empty, and a
//! stream without TLS that has one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::READ_AT_ONCE;
use super::end::{End, Output};

/// A queue of bytes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    taken: usize,
}

impl Queue {
    /// What waits, oldest first.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    pub fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Adds to the end.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// `length` more bytes at the end, to be written to.
    pub fn grow(&mut self, length: usize) -> &mut [u8] {
        let end = self.bytes.len();
        self.bytes.resize(end + length, 0);
        &mut self.bytes[end..]
    }

    /// Takes back what of the last [`grow`](Self::grow) was not used.
    pub fn shrink(&mut self, length: usize) {
        self.bytes.truncate(self.bytes.len() - length);
    }

    /// Removes the oldest `count` bytes, and the memory once none is left.
    pub fn take(&mut self, count: usize) {
        self.taken += count;
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Writes all of it.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, self.rest()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.take(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what `output` holds, behind what waits. What is not taken now waits.
    pub fn commit(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
        output: &Output<'_>,
    ) -> io::Result<()> {
        if !self.is_empty() {
            self.push(output.filled());
            return match self.poll_write(cx, to) {
                Poll::Ready(written) => written,
                Poll::Pending => Ok(()),
            };
        }
        let mut rest = output.filled();
        while !rest.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => rest = &rest[written?..],
                Poll::Pending => {
                    self.push(rest);
                    break;
                }
            }
        }
        Ok(())
    }
}

/// A stream whose bytes are what they are: TCP, or a stream inside an HTTP/2 connection.
#[derive(Debug)]
pub struct Buffered<T> {
    inner: T,
    outgoing: Queue,
    at_end: bool,
}

impl<T> Buffered<T> {
    /// An end of a tunnel over `inner`.
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            outgoing: Queue::default(),
            at_end: false,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> End for Buffered<T> {
    fn poll_pull(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut [u8],
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        let mut buffer = ReadBuf::new(&mut incoming[..READ_AT_ONCE]);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            self.at_end = true;
        } else {
            sink(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }

    fn is_at_end(&self) -> bool {
        self.at_end
    }

    fn push(&mut self, bytes: &[u8], output: &mut Output<'_>) -> io::Result<()> {
        let room = &mut output.buffer[output.used..];
        if self.outgoing.is_empty() && bytes.len() <= room.len() {
            room[..bytes.len()].copy_from_slice(bytes);
            output.used += bytes.len();
        } else {
            self.outgoing.push(output.filled());
            output.used = 0;
            self.outgoing.push(bytes);
        }
        Ok(())
    }

    fn commit(&mut self, cx: &mut Context<'_>, output: &Output<'_>) -> io::Result<()> {
        self.outgoing.commit(cx, &mut self.inner, output)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outgoing.poll_write(cx, &mut self.inner))?;
        // TCP has nothing to flush; HTTP/2 has.
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Buffered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

/// As a stream it queues nothing: only a tunnel does.
impl<T: AsyncWrite + Unpin> AsyncWrite for Buffered<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_queue_keeps_no_memory() {
        let mut queue = Queue::default();
        queue.push(b"abc");
        queue.take(1);
        assert_eq!(queue.rest(), b"bc");
        queue.grow(4)[0] = b'd';
        queue.shrink(3);
        assert_eq!((queue.rest(), queue.len()), (&b"bcd"[..], 3));
        queue.take(3);
        assert!(queue.is_empty());
        assert_eq!(queue.bytes.capacity(), 0);
    }
}
