//! TCP with or without TLS, as one type.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::buffered::Buffered;
use super::end::{End, Output};
use super::records::Side;
use super::tls::TlsStream;

/// A connection, encrypted or not.
#[derive(Debug)]
pub enum Transport<S> {
    /// Plain TCP.
    Plain(Buffered<TcpStream>),
    /// TLS.
    Tls(Box<TlsStream<S>>),
}

impl<S> Transport<S> {
    /// A connection without TLS.
    #[must_use]
    pub fn plain(socket: TcpStream) -> Self {
        Self::Plain(Buffered::new(socket))
    }

    /// A connection with TLS.
    #[must_use]
    pub fn tls(stream: TlsStream<S>) -> Self {
        Self::Tls(Box::new(stream))
    }
}

impl<S: Side> End for Transport<S> {
    fn poll_pull(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut [u8],
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_pull(cx, incoming, sink),
            Self::Tls(stream) => stream.poll_pull(cx, incoming, sink),
        }
    }

    fn is_at_end(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_at_end(),
            Self::Tls(stream) => stream.is_at_end(),
        }
    }

    fn push(&mut self, bytes: &[u8], output: &mut Output<'_>) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.push(bytes, output),
            Self::Tls(stream) => stream.push(bytes, output),
        }
    }

    fn commit(&mut self, cx: &mut Context<'_>, output: &Output<'_>) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.commit(cx, output),
            Self::Tls(stream) => stream.commit(cx, output),
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_drain(cx),
            Self::Tls(stream) => stream.poll_drain(cx),
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_end(cx),
            Self::Tls(stream) => stream.poll_end(cx),
        }
    }
}

impl<S: Side> AsyncRead for Transport<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl<S: Side> AsyncWrite for Transport<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
