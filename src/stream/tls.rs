//! A TLS connection over TCP. As an ordinary stream it carries HTTP; a tunnel takes its records directly
//! (see `End`), so that a picture is copied as little as
//! possible.
//!
//! The end of the TCP stream without a `close_notify` is an ordinary end: KasmVNC never says goodbye, and
//! whoever needs to know whether a message was cut short counts its length.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::end::{End, Output};
use super::records::{Records, Side};
use super::{Buffers, MAX_PLAIN, READ_AT_ONCE, Scratch};

/// Encrypted bytes that may wait before a writer has to wait as well.
const MAX_WAITING: usize = 16 * 1024;
/// Plaintext that one write takes.
const MAX_WRITE: usize = 64 * 1024;
/// A piece that is at least this large gets its own record instead of being copied into a shared one.
const LARGE_PIECE: usize = 8 * 1024;
/// Least room for a read: a record may be larger than what the reader asks for.
const LEAST_READ: usize = 4 * 1024;

/// A TLS connection of which we are the server.
pub type ServerStream = TlsStream<UnbufferedServerConnection>;
/// A TLS connection of which we are the client.
pub type ClientStream = TlsStream<UnbufferedClientConnection>;

/// A TLS connection.
pub struct TlsStream<S> {
    socket: TcpStream,
    records: Records<S>,
    scratch: Scratch,
}

impl<S> std::fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl ServerStream {
    /// Does the handshake as a server.
    ///
    /// # Errors
    /// The peer breaks the rules of TLS, has nothing in common with us, or goes away.
    pub async fn accept(
        socket: TcpStream,
        config: Arc<ServerConfig>,
        scratch: Scratch,
    ) -> io::Result<Self> {
        let session = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = Self::handshake(socket, session, scratch).await?;
        // In TLS 1.3 only tickets are left to send, which may travel with the first answer; in TLS 1.2 the
        // client still waits for our last message.
        if stream.records.session().protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            std::future::poll_fn(|cx| stream.poll_drain(cx)).await?;
        }
        Ok(stream)
    }
}

impl ClientStream {
    /// Does the handshake as a client.
    ///
    /// # Errors
    /// The peer breaks the rules of TLS, has nothing in common with us, or goes away.
    pub async fn connect(
        socket: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        scratch: Scratch,
    ) -> io::Result<Self> {
        let session = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = Self::handshake(socket, session, scratch).await?;
        // A server that waits for our last message would otherwise wait for our first data.
        std::future::poll_fn(|cx| stream.poll_drain(cx)).await?;
        Ok(stream)
    }

    /// The certificate that the server showed.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.records.session().peer_certificates()?.first()
    }
}

impl<S: Side> TlsStream<S> {
    async fn handshake(socket: TcpStream, session: S, scratch: Scratch) -> io::Result<Self> {
        let mut stream = Self {
            socket,
            records: Records::new(session),
            scratch,
        };
        stream.records.proceed()?;
        let result = std::future::poll_fn(|cx| stream.poll_handshake(cx)).await;
        if result.is_err() {
            // The alert, if the socket takes it at once.
            let _ = stream.socket.try_write(stream.records.outgoing.rest());
        }
        result.map(|()| stream)
    }

    /// Ends as soon as data may be sent. Our last messages of the handshake may still be queued then.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.records.session().is_handshaking() {
            ready!(self.records.outgoing.poll_write(cx, &mut self.socket))?;
            let mut early = Vec::new();
            let scratch = self.scratch.clone();
            let pulled = self.poll_pull(cx, &mut scratch.lock().incoming, &mut |bytes| {
                early.extend_from_slice(bytes);
            });
            ready!(pulled)?;
            self.records.plain.push(&early);
            if self.records.closed {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The protocol agreed on by ALPN (RFC 7301).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.records.session().alpn_protocol()
    }

    fn poll_pull_up_to(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut [u8],
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        if !self.records.plain.is_empty() {
            sink(self.records.plain.rest());
            self.records.plain.take(self.records.plain.len());
            return Poll::Ready(Ok(()));
        }
        let held = self.records.held();
        let mut buffer = ReadBuf::new(&mut incoming[held..held + limit]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            self.records.closed = true;
            return Poll::Ready(Ok(()));
        }
        self.records.lay_out(incoming);
        Poll::Ready(self.records.receive(&mut incoming[..held + count], sink))
    }

    /// Ready when so little waits that more may be pushed.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.records.outgoing.len() < MAX_WAITING {
            return Poll::Ready(Ok(()));
        }
        self.poll_drain(cx)
    }

    fn push_pieces(
        &mut self,
        pieces: &[IoSlice<'_>],
        (plain, output): (&mut [u8], &mut Output<'_>),
    ) -> io::Result<usize> {
        let (mut taken, mut gathered) = (0, 0);
        for piece in pieces {
            let mut piece = &piece[..piece.len().min(MAX_WRITE - taken)];
            taken += piece.len();
            while !piece.is_empty() {
                if gathered == 0 && piece.len() >= LARGE_PIECE {
                    self.push(piece, output)?;
                    break;
                }
                let count = piece.len().min(MAX_PLAIN - gathered);
                plain[gathered..gathered + count].copy_from_slice(&piece[..count]);
                gathered += count;
                piece = &piece[count..];
                if gathered == MAX_PLAIN {
                    self.push(plain, output)?;
                    gathered = 0;
                }
            }
        }
        if gathered > 0 {
            self.push(&plain[..gathered], output)?;
        }
        Ok(taken)
    }
}

impl<S: Side> End for TlsStream<S> {
    fn poll_pull(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut [u8],
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        self.poll_pull_up_to(cx, incoming, READ_AT_ONCE, sink)
    }

    fn is_at_end(&self) -> bool {
        self.records.closed && self.records.plain.is_empty()
    }

    fn push(&mut self, bytes: &[u8], output: &mut Output<'_>) -> io::Result<()> {
        self.records.send(bytes, output)
    }

    fn commit(&mut self, cx: &mut Context<'_>, output: &Output<'_>) -> io::Result<()> {
        self.records.outgoing.commit(cx, &mut self.socket, output)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.records.outgoing.poll_write(cx, &mut self.socket)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.records.say_goodbye();
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl<S: Side> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let waiting = this.records.plain.rest();
        if !waiting.is_empty() {
            let count = waiting.len().min(buf.remaining());
            buf.put_slice(&waiting[..count]);
            this.records.plain.take(count);
            return Poll::Ready(Ok(()));
        }
        let begun = buf.filled().len();
        let limit = buf.remaining().clamp(LEAST_READ, READ_AT_ONCE);
        let mut over = Vec::new();
        let scratch = this.scratch.clone();
        let incoming = &mut scratch.lock().incoming;
        while buf.filled().len() == begun && !this.records.closed {
            let pulled = this.poll_pull_up_to(cx, incoming, limit, &mut |bytes| {
                let count = bytes.len().min(buf.remaining());
                buf.put_slice(&bytes[..count]);
                over.extend_from_slice(&bytes[count..]);
            });
            if pulled.is_pending() {
                // Nobody writes while the peer is waited for, so what is queued has to go now.
                if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
                    return Poll::Ready(Err(error));
                }
                return Poll::Pending;
            }
            ready!(pulled)?;
        }
        this.records.plain.push(&over);
        Poll::Ready(Ok(()))
    }
}

impl<S: Side> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_writable(cx))?;
        let scratch = this.scratch.clone();
        let Buffers {
            outgoing, plain, ..
        } = &mut *scratch.lock();
        let mut output = Output::new(outgoing);
        let taken = this.push_pieces(pieces, (plain, &mut output))?;
        this.commit(cx, &output)?;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_end(cx)
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
