//! Counts the large heads of HTTP/2. One is read up to a megabyte, because a script can fill the cookies of
//! its browser that far and the answer that clears them needs the request; so only a few may be under way at
//! a time, and none is collected faster than it is answered. Looks at the frames' headers, not into them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Length of what a client sends before its first frame (RFC 9113 section 3.4).
const PREFACE: usize = 24;
/// Length of a frame's header (RFC 9113 section 4.1).
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// Bytes of heads that are read before other tasks have their turn, those that answer them above all. Each
/// byte can name a field of the compression's table, which takes a hundred times as much.
const AT_ONCE: usize = 64 * 1024;

/// An HTTP/2 connection whose large heads are counted.
#[derive(Debug)]
pub(super) struct LargeHeads<S> {
    inner: S,
    frames: Frames,
    places: Arc<Semaphore>,
    /// Of the head that is under way, if that did not fit into one frame.
    place: Option<OwnedSemaphorePermit>,
    /// Bytes of heads since others last had their turn.
    read: usize,
}

impl<S> LargeHeads<S> {
    /// Heads of more than one frame need one of the `places`; without one the connection ends.
    pub(super) fn counted(inner: S, places: Arc<Semaphore>) -> Self {
        Self {
            inner,
            frames: Frames::default(),
            places,
            place: None,
            read: 0,
        }
    }
}

/// Where in the stream of frames the next byte stands.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of the preface that were seen.
    preface: usize,
    header: [u8; FRAME_HEADER],
    /// How much of the header was seen.
    seen: usize,
    /// What of the payload is still to come.
    payload: usize,
    /// A head goes on in the next frame.
    unfinished: bool,
}

impl Frames {
    /// Moves on over `bytes`, and says how many bytes of heads were announced there.
    fn pass(&mut self, mut bytes: &[u8]) -> usize {
        let mut heads = 0;
        let preface = bytes.len().min(PREFACE - self.preface);
        self.preface += preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = bytes.len().min(self.payload);
                self.payload -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[self.seen] = bytes[0];
            self.seen += 1;
            bytes = &bytes[1..];
            if self.seen == FRAME_HEADER {
                self.seen = 0;
                let [high, middle, low, kind, flags, ..] = self.header;
                self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
                if matches!(kind, HEADERS | CONTINUATION) {
                    self.unfinished = flags & END_HEADERS == 0;
                    heads += self.payload;
                }
            }
        }
        heads
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LargeHeads<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read > AT_ONCE {
            this.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let begun = buf.filled().len();
        if Pin::new(&mut this.inner).poll_read(cx, buf)?.is_pending() {
            this.read = 0;
            return Poll::Pending;
        }
        this.read += this.frames.pass(&buf.filled()[begun..]);
        if !this.frames.unfinished {
            this.place = None;
        } else if this.place.is_none() {
            let Ok(place) = this.places.clone().try_acquire_owned() else {
                buf.set_filled(begun);
                let error = io::Error::other("too many large heads at a time");
                return Poll::Ready(Err(error));
            };
            this.place = Some(place);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LargeHeads<S> {
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn frame(kind: u8, flags: u8, length: u16) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let header = [0, high, low, kind, flags, 0, 0, 0, 1];
        [&header[..], &vec![0xff; usize::from(length)]].concat()
    }

    /// Whether all of these frames are read, after the preface and cut into `pieces`.
    async fn read(places: &Arc<Semaphore>, frames: &[Vec<u8>], pieces: usize) -> io::Result<usize> {
        let (mut peer, near) = tokio::io::duplex(1024 * 1024);
        let sent = [vec![b'x'; PREFACE], frames.concat()].concat();
        for piece in sent.chunks(pieces) {
            peer.write_all(piece).await.unwrap();
        }
        drop(peer);
        let mut counted = LargeHeads::counted(near, places.clone());
        let mut buffer = vec![0; pieces];
        let mut seen = 0;
        loop {
            match counted.read(&mut buffer).await? {
                0 => break,
                count => seen += count,
            }
        }
        assert_eq!(seen, sent.len());
        let held = usize::from(counted.frames.unfinished);
        assert_eq!(places.available_permits(), 1 - held);
        Ok(seen)
    }

    #[tokio::test]
    async fn a_head_of_several_frames_needs_a_place_while_it_is_under_way() {
        let (whole, begun) = (frame(HEADERS, END_HEADERS, 200), frame(HEADERS, 0, 16_000));
        let (more, end) = (
            frame(CONTINUATION, 0, 16_000),
            frame(CONTINUATION, END_HEADERS, 9),
        );
        let data = frame(0, 0, 900);
        let large = [begun.clone(), more.clone(), more, end.clone()].concat();
        for pieces in [1, 7, 4096, 100_000] {
            let places = Arc::new(Semaphore::new(1));
            let all = [
                whole.clone(),
                data.clone(),
                large.clone(),
                data.clone(),
                large.clone(),
            ];
            read(&places, &all, pieces).await.unwrap();
            read(&places, std::slice::from_ref(&begun), pieces)
                .await
                .unwrap();
            let taken = places.clone().try_acquire_owned().unwrap();
            let (mut peer, near) = tokio::io::duplex(1024 * 1024);
            peer.write_all(&[&[b'x'; PREFACE][..], &whole, &begun].concat())
                .await
                .unwrap();
            let mut counted = LargeHeads::counted(near, places.clone());
            let refused = counted.read_to_end(&mut Vec::new()).await;
            assert!(refused.is_err(), "{pieces}");
            drop(taken);
        }
    }

    #[tokio::test]
    async fn others_have_their_turn_between_many_heads() {
        let (mut peer, near) = tokio::io::duplex(1024 * 1024);
        let many = frame(HEADERS, END_HEADERS, 16_000).repeat(20);
        peer.write_all(&[&[b'x'; PREFACE][..], &many].concat())
            .await
            .unwrap();
        let mut counted = LargeHeads::counted(near, Arc::new(Semaphore::new(1)));
        let mut room = vec![0; 1024 * 1024];
        let mut buffer = ReadBuf::new(&mut room);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut turns = 1;
        while buffer.filled().len() < PREFACE + many.len() {
            let begun = buffer.filled().len();
            let mut piece = buffer.take(16_000);
            let polled = Pin::new(&mut counted).poll_read(&mut context, &mut piece);
            let read = piece.filled().len();
            // The bytes were written by the inner stream.
            buffer.initialize_unfilled_to(read);
            buffer.set_filled(begun + read);
            turns += usize::from(polled.is_pending());
        }
        assert!(turns >= 4, "{turns} turns");
    }
}
