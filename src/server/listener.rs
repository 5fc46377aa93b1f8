//! The listening socket: opened here, or inherited from systemd. All workers accept from the same one, so
//! that closing a gateway's copy of an inherited socket loses nobody who waits in its queue.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// Silence after which the kernel asks whether the other side still exists: a picture that does not
/// change sends nothing for hours.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Listens for connections.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
}

impl Listener {
    /// Listens on `address`, which another gateway may do as well (`SO_REUSEPORT`).
    ///
    /// # Errors
    /// The address is in use by a program without `SO_REUSEPORT`, not of this machine, or not permitted.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Self::from_std(socket.into())
    }

    /// The sockets that systemd opened for us (`sd_listen_fds(3)`), in its order.
    ///
    /// # Errors
    /// One of them is not a listening TCP socket.
    pub fn inherited() -> io::Result<Vec<Self>> {
        let mut given = listenfd::ListenFd::from_env();
        let mut listeners = Vec::new();
        for index in 0..given.len() {
            if let Some(listener) = given.take_tcp_listener(index)? {
                listeners.push(Self::from_std(listener)?);
            }
        }
        Ok(listeners)
    }

    fn from_std(inner: TcpListener) -> io::Result<Self> {
        // What is accepted inherits this.
        SockRef::from(&inner).set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE)
                .with_interval(KEEPALIVE / 4),
        )?;
        inner.set_nonblocking(true)?;
        Ok(Self { inner })
    }

    /// Where it listens, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The same socket for the runtime that calls this.
    pub(super) fn register(&self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.inner.try_clone()?)
    }
}
