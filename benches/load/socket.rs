//! Connections of the stub and the driver: plain or TLS, read in large pieces so that they cost little.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

/// Bytes taken from the kernel at a time where much is expected. rustls alone would ask for 4 kB at a time.
pub const LARGE: usize = 256 * 1024;
/// The same where little is expected.
pub const SMALL: usize = 16 * 1024;
/// The same where there are thousands of connections.
pub const TINY: usize = 2 * 1024;

/// A TCP connection that is read ahead below TLS.
pub type Tcp = BufReader<TcpStream>;

/// Wraps a connection and switches Nagle's algorithm off.
pub fn read_ahead(tcp: TcpStream, size: usize) -> std::io::Result<Tcp> {
    tcp.set_nodelay(true)?;
    Ok(BufReader::with_capacity(size, tcp))
}

/// Either kind of connection.
pub enum Socket {
    /// Without TLS.
    Plain(Tcp),
    /// The driver's end.
    Client(Box<client::TlsStream<Tcp>>),
    /// The stub's end.
    Server(Box<server::TlsStream<Tcp>>),
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Client(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Server(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Client(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Server(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Client(stream) => Pin::new(stream).poll_flush(cx),
            Self::Server(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Client(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Server(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
