//! TLS records in and out of memory that the caller lends: rustls' unbuffered API, driven to the point
//! where it needs the peer. Keys, key updates, alerts and limits stay inside rustls.

use std::io;
use std::ops::DerefMut;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedConnectionCommon,
    UnbufferedStatus,
};

use super::HELD_ROOM;
use super::buffered::Queue;
use super::end::Output;

/// One side of a TLS connection.
pub trait Side: DerefMut<Target = UnbufferedConnectionCommon<Self::Data>> + Send + Unpin {
    /// What rustls keeps for this side.
    type Data;

    /// Looks at received bytes until something is to be done.
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// A TLS session, and what of it could not be handed on yet.
pub(super) struct Records<S> {
    session: S,
    /// Received bytes that are less than a record, or handshake messages that are not whole. Never a
    /// whole record of application data.
    held: Vec<u8>,
    /// Decrypted bytes that nobody has taken.
    pub plain: Queue,
    /// Encrypted bytes that are not written.
    pub outgoing: Queue,
    /// The peer said that it will send no more.
    pub closed: bool,
    said_goodbye: bool,
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: Side> Records<S> {
    pub fn new(session: S) -> Self {
        Self {
            session,
            held: Vec::new(),
            plain: Queue::default(),
            outgoing: Queue::default(),
            closed: false,
            said_goodbye: false,
        }
    }

    pub fn session(&self) -> &S {
        &self.session
    }

    /// How many bytes [`receive`](Self::receive) wants at the start of its buffer.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Puts the held bytes at the start of a lent buffer; the next bytes belong right behind them.
    pub fn lay_out(&self, incoming: &mut [u8]) {
        incoming[..self.held.len()].copy_from_slice(&self.held);
    }

    /// Works through received bytes, which begin with the held ones, and gives the plaintext of each whole
    /// record to `sink`.
    ///
    /// # Errors
    /// The peer broke the rules of TLS. The alert that tells it so is then in `outgoing`.
    pub fn receive(&mut self, incoming: &mut [u8], sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut begin = 0;
        let result = loop {
            let UnbufferedStatus { mut discard, state } =
                self.session.process(&mut incoming[begin..]);
            let proceed = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        Some(Ok(record)) => {
                            discard += record.discard;
                            sink(record.payload);
                        }
                        Some(Err(error)) => break Err(broken(error)),
                        None => break Ok(true),
                    }
                },
                Ok(other) => settle(other, &mut self.outgoing, &mut self.closed),
                Err(error) => Err(broken(error)),
            };
            begin += discard;
            match proceed {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => {
                    self.take_alert(&mut incoming[begin..]);
                    break Err(error);
                }
            }
        };
        let rest = &incoming[begin..];
        if rest.len() > HELD_ROOM {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a TLS message is too large",
            ));
        }
        if rest.is_empty() {
            // A connection that rests keeps no buffer.
            self.held = Vec::new();
        } else {
            self.held.clear();
            self.held.extend_from_slice(rest);
        }
        result
    }

    /// After an error: the alert that rustls wants the peer to have. It is asked once, since it would look
    /// at the bad bytes again the second time.
    fn take_alert(&mut self, incoming: &mut [u8]) {
        if let Ok(state @ ConnectionState::EncodeTlsData(_)) = self.session.process(incoming).state
        {
            // The connection is lost either way.
            let _ = settle(state, &mut self.outgoing, &mut self.closed);
        }
    }

    /// Goes on without new bytes: a client's first message, for instance.
    pub fn proceed(&mut self) -> io::Result<()> {
        let mut held = std::mem::take(&mut self.held);
        let plain = &mut Queue::default();
        let result = self.receive(&mut held, &mut |bytes| plain.push(bytes));
        self.plain.push(plain.rest());
        result
    }

    /// Encrypts `plain`. What does not fit into `output` is kept in `outgoing`, in order.
    ///
    /// # Errors
    /// The session is not open for data.
    pub fn send(&mut self, plain: &[u8], output: &mut Output<'_>) -> io::Result<()> {
        loop {
            // rustls counts handshake bytes that it has seen in the held ones, so it must see them again.
            let UnbufferedStatus { discard, state } = self.session.process(&mut self.held);
            let proceed = match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    encrypt(&mut self.outgoing, output, |buffer| {
                        traffic.encrypt(plain, buffer)
                    })?;
                    return Ok(());
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        self.plain.push(record.payload);
                    }
                    true
                }
                Ok(other) => {
                    spill(&mut self.outgoing, output);
                    settle(other, &mut self.outgoing, &mut self.closed)?
                }
                Err(error) => return Err(broken(error)),
            };
            if discard > 0 {
                self.held.drain(..discard);
            }
            if !proceed {
                return Err(io::ErrorKind::NotConnected.into());
            }
        }
    }

    /// Queues the last message that we send, once.
    pub fn say_goodbye(&mut self) {
        if std::mem::replace(&mut self.said_goodbye, true) {
            return;
        }
        for _ in 0..8 {
            match self.session.process(&mut self.held).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let nothing = &mut Output::new(&mut []);
                    // A peer that gets no goodbye sees the end of the stream.
                    let _ = encrypt(&mut self.outgoing, nothing, |buffer| {
                        traffic.queue_close_notify(buffer)
                    });
                    return;
                }
                Ok(ConnectionState::ReadTraffic(_)) | Err(_) => return,
                Ok(other) => {
                    if !settle(other, &mut self.outgoing, &mut self.closed).unwrap_or(false) {
                        return;
                    }
                }
            }
        }
    }
}

/// Does what a state between two records asks for. Whether to go on; if not, the peer's turn has come.
fn settle<D>(
    state: ConnectionState<'_, '_, D>,
    outgoing: &mut Queue,
    closed: &mut bool,
) -> io::Result<bool> {
    match state {
        ConnectionState::EncodeTlsData(mut message) => {
            let mut wanted = match message.encode(&mut []) {
                Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                    required_size
                }
                _ => 0,
            };
            let room = outgoing.grow(wanted);
            if let Ok(used) = message.encode(room) {
                wanted -= used;
            }
            outgoing.shrink(wanted);
            Ok(true)
        }
        ConnectionState::TransmitTlsData(message) => {
            message.done();
            Ok(true)
        }
        ConnectionState::PeerClosed => {
            *closed = true;
            Ok(true)
        }
        ConnectionState::WriteTraffic(_)
        | ConnectionState::BlockedHandshake
        | ConnectionState::Closed => Ok(false),
        // Early data is never offered and never accepted, and traffic is read by the caller.
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Encrypts into `output`, or into the queue when bytes wait there already or the room is too small.
fn encrypt(
    outgoing: &mut Queue,
    output: &mut Output<'_>,
    mut encrypt: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> io::Result<()> {
    if outgoing.is_empty() {
        match encrypt(&mut output.buffer[output.used..]) {
            Ok(used) => {
                output.used += used;
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(_)) => spill(outgoing, output),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    let wanted = match encrypt(&mut []) {
        Ok(_) => return Ok(()),
        Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
            required_size
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    let used = encrypt(outgoing.grow(wanted)).map_err(io::Error::other)?;
    outgoing.shrink(wanted - used);
    Ok(())
}

/// Moves what `output` holds into the queue, so that whatever comes next stays behind it.
fn spill(outgoing: &mut Queue, output: &mut Output<'_>) {
    outgoing.push(output.filled());
    output.used = 0;
}
