//! The PROXY header in front of a connection from a balancer: read up to its last byte and no further.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::proxy_protocol::{self, MAX_LENGTH, Parsed};

/// How long a balancer may take; at least 3 s by the specification (section 2).
const PREFACE_TIME: Duration = Duration::from_secs(5);
/// How long to wait for the rest of a header that came in parts.
const PART_PAUSE: Duration = Duration::from_millis(5);

/// The client that the balancer speaks for; `None` when it speaks for itself.
///
/// # Errors
/// There is no PROXY header, or it does not come in time.
pub(super) async fn read(socket: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    tokio::time::timeout(PREFACE_TIME, header(socket))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn header(socket: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut buffer = [0; MAX_LENGTH];
    loop {
        let count = socket.peek(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match proxy_protocol::parse(&buffer[..count]).map_err(io::Error::other)? {
            Parsed::Header { source, length } => {
                socket.read_exact(&mut buffer[..length]).await?;
                return Ok(source);
            }
            Parsed::NeedMore => tokio::time::sleep(PART_PAUSE).await,
        }
    }
}
