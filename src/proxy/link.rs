//! One connection to a desktop and the exchange that it carries: the request goes out, its body as fast as
//! the desktop takes it, while the answer may already come back. Whoever uses a link drives it; dropping it
//! ends the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, Sleep};

use super::ProxyError;
use super::answer::{Answer, Reader};
use super::framing::{BadBody, Framing};
use crate::authz::grant::{DesktopGrant, Revocation};
use crate::stream::{DesktopStream, End as _, Output, Scratch};

/// How long a desktop may take to begin its answer, and to take a piece of an upload.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to a desktop.
pub struct Link {
    stream: DesktopStream,
    scratch: Scratch,
    /// What was read and not used.
    read: BytesMut,
    reader: Reader,
    upload: Option<Upload>,
    /// Why the rest of the upload was not sent.
    broken: Option<io::Error>,
    /// A byte of the answer has come.
    answered: bool,
    /// When the desktop last took something.
    since: Instant,
    /// Goes off no later than the answer is late, and perhaps earlier: it is set anew only then.
    alarm: Option<Pin<Box<Sleep>>>,
    revocation: Option<Revocation>,
}

/// A request's body on its way to a desktop.
pub struct Upload {
    body: Incoming,
    /// How much is left of a body whose length was said; otherwise it goes in chunks.
    left: Option<u64>,
}

impl Upload {
    /// Of a request; `None` if it has no body.
    pub fn of(body: Incoming) -> Option<Self> {
        let left = body.size_hint().exact();
        (!body.is_end_stream()).then_some(Self { body, left })
    }

    /// The header line that frames it.
    pub fn header(&self) -> String {
        match self.left {
            Some(length) => format!("Content-Length: {length}\r\n"),
            None => "Transfer-Encoding: chunked\r\n".to_owned(),
        }
    }

    /// The next bytes to be sent; `None` after the last ones.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                return Poll::Ready(match self.left {
                    None | Some(0) => None,
                    Some(_) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
                });
            };
            // Trailers stay here: nothing that a desktop needs is in them.
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else {
                continue;
            };
            if data.is_empty() {
                continue;
            }
            let Some(left) = &mut self.left else {
                let size = format!("{:x}\r\n", data.len());
                return Poll::Ready(Some(Ok([size.as_bytes(), &data, b"\r\n"].concat().into())));
            };
            let rest = left.checked_sub(data.len() as u64);
            *left = rest.ok_or(io::ErrorKind::InvalidData)?;
            return Poll::Ready(Some(Ok(data)));
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// A link over a fresh connection.
    pub fn over(stream: DesktopStream, scratch: Scratch) -> Self {
        Self {
            stream,
            scratch,
            read: BytesMut::new(),
            reader: Reader::new(false),
            upload: None,
            broken: None,
            answered: false,
            since: Instant::now(),
            alarm: None,
            revocation: None,
        }
    }

    /// Whether nothing has come since the last request was sent.
    pub fn is_untouched(&self) -> bool {
        !self.answered
    }

    /// Whether another exchange may follow, for all that is known: everything was sent, and nothing came
    /// behind the answer.
    pub fn is_settled(&self) -> bool {
        self.read.is_empty() && self.upload.is_none() && self.broken.is_none()
    }

    /// Whether a link that rests has neither ended nor said anything unasked.
    pub fn is_quiet(&mut self) -> bool {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        self.is_settled() && self.poll_read(cx).is_pending()
    }

    /// Keeps no memory while it rests.
    pub fn rest(&mut self) {
        self.read = BytesMut::new();
    }

    /// Sends the head of a request, and queues its body.
    ///
    /// # Errors
    /// The connection broke.
    pub fn begin(
        &mut self,
        cx: &mut Context<'_>,
        (head, upload): (&[u8], &mut Option<Upload>),
        to_head: bool,
    ) -> io::Result<()> {
        self.reader = Reader::new(to_head);
        self.upload = upload.take();
        self.answered = false;
        self.write(cx, head)
    }

    /// Writes bytes; what the socket does not take waits in the stream.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        self.since = Instant::now();
        let mut buffers = self.scratch.lock();
        let mut output = Output::new(&mut buffers.outgoing);
        self.stream.push(bytes, &mut output)?;
        self.stream.commit(cx, &output)
    }

    /// Reads once: how many bytes more there are, none at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let before = self.read.len();
        loop {
            let mut buffers = self.scratch.lock();
            let sink = &mut |bytes: &[u8]| self.read.extend_from_slice(bytes);
            let pulled = self.stream.poll_pull(cx, &mut buffers.incoming, sink);
            drop(buffers);
            if pulled.is_pending() {
                // Nobody writes while the desktop is waited for, so what is queued has to go now.
                if let Poll::Ready(Err(error)) = self.stream.poll_drain(cx) {
                    return Poll::Ready(Err(error));
                }
                return Poll::Pending;
            }
            ready!(pulled)?;
            let count = self.read.len() - before;
            if count > 0 || self.stream.is_at_end() {
                self.answered |= count > 0;
                return Poll::Ready(Ok(count));
            }
        }
    }

    /// Sends on what is left of the upload. A desktop that takes no more of it may still answer.
    fn drive_upload(&mut self, cx: &mut Context<'_>) {
        if self.upload.is_some()
            && let Poll::Ready(Err(error)) = self.poll_upload(cx)
        {
            self.upload = None;
            self.broken = Some(error);
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(upload) = &mut self.upload {
            ready!(self.stream.poll_drain(cx))?;
            if let Some(bytes) = ready!(upload.poll_next(cx)) {
                self.write(cx, &bytes?)?;
                continue;
            }
            let chunked = upload.left.is_none();
            self.upload = None;
            if chunked {
                self.write(cx, b"0\r\n\r\n")?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The head of the answer.
    ///
    /// # Errors
    /// The connection broke, what came is not HTTP, or nothing came in time.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, ProxyError>> {
        self.drive_upload(cx);
        loop {
            let error = match self.poll_read(cx) {
                Poll::Ready(Ok(1..)) => match self.reader.read(&mut self.read) {
                    Ok(Some(answer)) => return Poll::Ready(Ok(answer)),
                    Ok(None) => continue,
                    Err(error) => return Poll::Ready(Err(ProxyError::Upstream(error))),
                },
                Poll::Ready(Ok(0)) => io::ErrorKind::UnexpectedEof.into(),
                Poll::Ready(Err(error)) => error,
                Poll::Pending => {
                    ready!(self.poll_late(cx));
                    return Poll::Ready(Err(ProxyError::Timeout));
                }
            };
            let error = self.broken.take().unwrap_or(error);
            return Poll::Ready(Err(ProxyError::Broken(error)));
        }
    }

    /// Ready when the grant is withdrawn on which the exchange stands.
    pub fn poll_revoked(&mut self, cx: &mut Context<'_>, grant: &DesktopGrant) -> Poll<()> {
        match &mut self.revocation {
            Some(revocation) if revocation.is_of(grant) => revocation.poll(cx),
            other => other.insert(Revocation::of(grant.clone())).poll(cx),
        }
    }

    /// Ready once the answer is late.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.since + HEAD_TIMEOUT;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        while alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// The next bytes of the answer's body; `None` at its end.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        framing: &mut Framing,
    ) -> Poll<Option<Result<Bytes, BadBody>>> {
        self.drive_upload(cx);
        loop {
            if let Some(bytes) = framing.take(&mut self.read)? {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if framing.is_over() {
                return Poll::Ready(None);
            }
            if ready!(self.poll_read(cx))? == 0 {
                framing.end()?;
            }
        }
    }
}
