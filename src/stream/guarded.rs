//! A connection whose HTTP/1.1 messages were judged by the [`Guard`](super::guard::Guard) before the HTTP
//! library sees a byte of them, under deadlines for heads and bodies that do not come.
//!
//! What is refused never reaches the library: it reads a small request of ours instead, which whoever
//! answers requests recognises by the [`Refusals`] of the connection, and then nothing more.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::guard::{Admitted, Guard, Refusal};

/// From the first byte of a head to its last.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Silence in the middle of a body.
const BODY_SILENCE: Duration = Duration::from_secs(30);
/// What the library reads instead of a head that is refused.
const INSTEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// Why the guard refused, once it has: the next request that the library reports stands for it.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<OnceLock<Refusal>>);

impl Refusals {
    /// The refusal, if there was one.
    #[must_use]
    pub fn get(&self) -> Option<Refusal> {
        self.0.get().copied()
    }
}

/// A connection behind the guard.
#[derive(Debug)]
pub struct Guarded<T> {
    inner: T,
    guard: Guard,
    refusals: Refusals,
    /// Bytes that were read and not passed on.
    held: Vec<u8>,
    /// How many of them may be passed on.
    allowed: usize,
    /// The held ones were judged, and are too few to be passed on.
    starved: bool,
    then: Then,
    deadline: Option<(Part, Pin<Box<Sleep>>)>,
    place: Place,
}

/// What a connection holds as long as it lives, upgraded or not: its places under the server's limits.
pub struct Place(
    #[expect(dead_code, reason = "it is held, and given back when it is dropped")] Box<dyn Send>,
);

impl Place {
    /// Holds `places`.
    pub fn new(places: impl Send + 'static) -> Self {
        Self(Box::new(places))
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").finish_non_exhaustive()
    }
}

/// What follows the bytes that may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// More of them.
    Read,
    /// The answer to an upgrade: nothing is read before it.
    Wait,
    /// Nothing: the peer is not listened to any more.
    End,
}

/// What is to be done with bytes that were judged.
#[derive(Debug)]
enum Verdict {
    /// So many of them may be passed on.
    Allow(usize),
    /// These have to be taken out first.
    Cut(Range<usize>),
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Body,
}

impl<T> Guarded<T> {
    /// A new connection, and its place.
    pub fn new(inner: T, place: Place) -> Self {
        Self {
            inner,
            guard: Guard::new(),
            refusals: Refusals::default(),
            held: Vec::new(),
            allowed: 0,
            starved: false,
            then: Then::Read,
            deadline: None,
            place,
        }
    }

    /// Where a refusal will be found.
    pub fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// The connection behind it, its place, and what the peer sent without waiting for the answer to its
    /// upgrade.
    pub fn into_parts(self) -> (T, Place, Vec<u8>) {
        (self.inner, self.place, self.held)
    }

    fn judge(&mut self, bytes: &[u8]) -> io::Result<Verdict> {
        let at_head = self.guard.expects_head();
        match self.guard.admit(bytes) {
            Ok(Admitted::Pass(count)) => Ok(Verdict::Allow(count)),
            Ok(Admitted::NeedMore) => Ok(Verdict::Allow(0)),
            Ok(Admitted::Cut(range)) => Ok(Verdict::Cut(range)),
            Ok(Admitted::Upgrade(count)) => {
                self.then = Then::Wait;
                Ok(Verdict::Allow(count))
            }
            Err(refusal) if at_head => {
                // Only the first one counts, and nothing is judged after it.
                let _ = self.refusals.0.set(refusal);
                self.then = Then::End;
                Ok(Verdict::Allow(0))
            }
            Err(refusal) => Err(io::Error::new(io::ErrorKind::InvalidData, refusal)),
        }
    }

    /// Judges what is held.
    fn judge_held(&mut self) -> io::Result<()> {
        self.allowed = loop {
            let held = std::mem::take(&mut self.held);
            let judged = self.judge(&held);
            self.held = held;
            match judged? {
                Verdict::Allow(count) => break count,
                Verdict::Cut(range) => drop(self.held.drain(range)),
            }
        };
        self.starved = self.allowed == 0;
        if self.then == Then::End {
            self.held = INSTEAD.to_vec();
            self.allowed = INSTEAD.len();
        }
        Ok(())
    }

    fn pass_on(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.allowed.min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.allowed -= count;
        if count == self.held.len() {
            self.held = Vec::new();
        } else {
            self.held.drain(..count);
        }
    }

    /// Judges what was just read into `buf` behind its first `begun` bytes, and leaves there what may be
    /// passed on.
    fn sort(&mut self, buf: &mut ReadBuf<'_>, begun: usize) -> io::Result<()> {
        let read = &buf.filled()[begun..];
        if self.held.is_empty() {
            let count = match self.judge(read)? {
                Verdict::Allow(count) => count,
                Verdict::Cut(range) => {
                    self.held.extend_from_slice(read);
                    self.held.drain(range);
                    buf.set_filled(begun);
                    return self.judge_held();
                }
            };
            if self.then == Then::End {
                self.held = INSTEAD.to_vec();
                self.allowed = INSTEAD.len();
            } else if count < read.len() {
                self.held.extend_from_slice(&read[count..]);
                self.starved = count == 0;
            }
            buf.set_filled(begun + if self.then == Then::End { 0 } else { count });
            return Ok(());
        }
        self.held.extend_from_slice(read);
        buf.set_filled(begun);
        self.judge_held()
    }

    /// While the peer is waited for: whether it has taken too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (part, time) = if self.guard.in_head() {
            (Part::Head, HEAD_TIME)
        } else if self.guard.expects_head() {
            // Between messages the connection's idle limit counts.
            self.deadline = None;
            return Poll::Pending;
        } else {
            (Part::Body, BODY_SILENCE)
        };
        if self.deadline.as_ref().is_none_or(|(what, _)| *what != part) {
            self.deadline = Some((part, Box::pin(tokio::time::sleep(time))));
        }
        self.deadline
            .as_mut()
            .map_or(Poll::Pending, |(_, sleep)| sleep.as_mut().poll(cx))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let begun = buf.filled().len();
        loop {
            if this.allowed > 0 {
                this.pass_on(buf);
                return Poll::Ready(Ok(()));
            }
            match this.then {
                Then::Read => {}
                // The library ends the connection itself after the answer to the last request that it
                // was given; the end of the stream would make it think that nobody waits for that.
                Then::Wait | Then::End => return Poll::Pending,
            }
            if !this.held.is_empty() && !this.starved {
                this.judge_held()?;
                continue;
            }
            if Pin::new(&mut this.inner).poll_read(cx, buf)?.is_pending() {
                ready!(this.poll_deadline(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if buf.filled().len() == begun {
                return Poll::Ready(Ok(()));
            }
            // Each byte of a body shows that its sender lives; a head has to be whole in time.
            if matches!(this.deadline, Some((Part::Body, _))) {
                this.deadline = None;
            }
            this.sort(buf, begun)?;
            if buf.filled().len() > begun {
                this.deadline = None;
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
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
        pieces: &[IoSlice<'_>],
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What the library would read, if the peer sends `pieces` and then ends.
    async fn read(pieces: &[&[u8]]) -> (io::Result<Vec<u8>>, Option<Refusal>) {
        let (mut peer, near) = tokio::io::duplex(64 * 1024);
        let mut guarded = Guarded::new(near, Place::new(()));
        let refusals = guarded.refusals();
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let send = async move {
            for piece in pieces {
                peer.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let mut seen = Vec::new();
        let receive = guarded.read_to_end(&mut seen);
        // After a refusal there is no end to wait for.
        let receive = tokio::time::timeout(Duration::from_secs(1), receive);
        let (received, ()) = tokio::join!(receive, send);
        let received = received.map_or(Ok(()), |done| done.map(|_| ()));
        (received.map(|()| seen), refusals.get())
    }

    #[tokio::test]
    async fn good_messages_pass_however_they_are_cut() {
        let stream = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for at in 0..stream.len() {
            let (seen, refusal) = read(&[&stream[..at], &stream[at..]]).await;
            assert_eq!((seen.unwrap(), refusal), (stream.to_vec(), None), "{at}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_head_is_replaced_and_nothing_follows() {
        let good = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let bad = b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: x\r\n\r\n";
        for whole in [true, false] {
            let pieces: Vec<&[u8]> = if whole {
                vec![bad]
            } else {
                bad.chunks(7).collect()
            };
            let (seen, refusal) = read(&[&[&good[..]], &pieces[..]].concat()).await;
            assert_eq!(seen.unwrap(), [good, INSTEAD].concat());
            assert!(refusal.is_some());
        }
    }

    #[tokio::test]
    async fn nothing_is_read_behind_an_upgrade() {
        let head =
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let (mut peer, near) = tokio::io::duplex(1024);
        peer.write_all(&[&head[..], b"early"].concat())
            .await
            .unwrap();
        let mut guarded = Guarded::new(near, Place::new(()));
        let mut seen = vec![0; 1024];
        assert_eq!(guarded.read(&mut seen).await.unwrap(), head.len());
        let wait = Duration::from_millis(20);
        let more = tokio::time::timeout(wait, guarded.read(&mut seen)).await;
        assert!(more.is_err(), "{more:?}");
        assert_eq!(guarded.into_parts().2, b"early");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_and_a_body_that_do_not_come_run_out_of_time() {
        for (begun, seconds) in [
            (&b"GET / HTTP/1.1\r\nHo"[..], HEAD_TIME.as_secs()),
            (
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
                BODY_SILENCE.as_secs(),
            ),
        ] {
            let (mut peer, near) = tokio::io::duplex(1024);
            peer.write_all(begun).await.unwrap();
            let started = tokio::time::Instant::now();
            let mut seen = Vec::new();
            let error = Guarded::new(near, Place::new(()))
                .read_to_end(&mut seen)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(started.elapsed().as_secs(), seconds);
        }
    }
}
