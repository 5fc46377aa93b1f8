//! The bytes of one connection: plain TCP, or TLS whose buffers belong to the worker and not to the
//! connection.
//!
//! A desktop's picture may rest for hours while its connection stays open, and a school has hundreds of
//! them. rustls' buffered streams keep tens of kilobytes for each; here a connection that rests holds its
//! keys and nothing else. All connections of a worker share one [`Scratch`].

mod buffered;
mod end;
pub mod guard;
mod guarded;
mod records;
pub mod tls;
mod transport;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use buffered::Buffered;
pub(crate) use end::{End, Output};
pub use guarded::{Guarded, Place, Refusals};
pub use tls::{ClientStream, ServerStream};
pub use transport::Transport;

/// A browser's connection.
pub type BrowserStream = Guarded<Transport<rustls::server::UnbufferedServerConnection>>;
/// A desktop's connection.
pub type DesktopStream = Transport<rustls::client::UnbufferedClientConnection>;

/// Bytes read from a socket at once. Large reads are what makes a busy stream cheap.
const READ_AT_ONCE: usize = 64 * 1024;
/// Room for a record that was not whole at the last read (RFC 8446 section 5.2: 2^14 + 256 bytes and a
/// header), and for handshake messages that span several records.
const HELD_ROOM: usize = 72 * 1024;
/// Room for what is encrypted before it is written.
const WRITE_ROOM: usize = 96 * 1024;
/// Largest plaintext of one record (RFC 8446 section 5.1), bytes.
const MAX_PLAIN: usize = 16 * 1024;

/// Buffers that the connections of one worker take turns with. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Scratch(Arc<Mutex<Buffers>>);

impl Scratch {
    /// Whose buffers they are.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        WorkerId(Arc::as_ptr(&self.0) as usize)
    }

    /// The buffers, for the time of one poll. Never contended: the tasks of a worker run on one thread.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Buffers> {
        // Their content means nothing between two uses.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the owner of a [`Scratch`] as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId(usize);

/// What a [`Scratch`] holds.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// For bytes as they came from a socket, decrypted in place.
    pub incoming: Box<[u8]>,
    /// For bytes on their way to a socket.
    pub outgoing: Box<[u8]>,
    /// For small pieces that are to become one record.
    pub plain: Box<[u8]>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            incoming: vec![0; HELD_ROOM + READ_AT_ONCE].into(),
            outgoing: vec![0; WRITE_ROOM].into(),
            plain: vec![0; MAX_PLAIN].into(),
        }
    }
}
