//! A WebSocket after both answers: bytes from one side to the other, untouched and for as long as it
//! lasts. Neither side need ever say anything, so there is no idle limit here; what ends a tunnel is one
//! of its ends, its grant, or the end of the gateway. A session that nobody uses ends all the same, and its
//! grants with it: see [`DesktopGrant::traffic`].
//!
//! A tunnel owns no buffer. Bytes are decrypted in the worker's memory, looked at as they pass, and
//! encrypted for the other side from there; only what a slow peer does not take stays in the tunnel.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::frames::{Frames, close_frame};
use super::input::InputScanner;
use crate::authz::grant::DesktopGrant;
use crate::clock::Clock;
use crate::desktop::directory::StreamPlace;
use crate::stream::{DesktopStream, End, Output, Scratch};
use crate::telemetry::metrics::OpenTunnel;

/// How long the second direction may go on after the first has ended.
const HALF_CLOSED: Duration = Duration::from_secs(10);
/// How long a goodbye may take: the rest of a frame that is under way, the close frame, the end.
const GOODBYE: Duration = Duration::from_millis(500);
/// Close codes (RFC 6455 section 7.4.1).
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;
const MESSAGE_TOO_BIG: u16 = 1009;

/// The desktop's end of a WebSocket, and the right to join it to a browser's.
pub(super) struct Tunnel {
    pub grant: DesktopGrant,
    pub desktop: DesktopStream,
    /// Bytes that came right behind the desktop's 101.
    pub early: Vec<u8>,
    pub clock: Arc<dyn Clock>,
    pub metrics: OpenTunnel,
    pub scratch: Scratch,
    /// Cancelled shortly before everything is dropped.
    pub closing: CancellationToken,
    /// Its place among the streams of the desktop.
    pub place: StreamPlace,
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    BrowserClosed,
    DesktopClosed,
    SessionEnded,
    DesktopGone,
    GatewayStops,
    FrameTooLong,
}

impl Reason {
    /// What the browser is told when it is us who end the tunnel.
    const fn close_code(self) -> Option<u16> {
        match self {
            Self::BrowserClosed | Self::DesktopClosed => None,
            Self::SessionEnded => Some(POLICY_VIOLATION),
            Self::DesktopGone | Self::GatewayStops => Some(GOING_AWAY),
            Self::FrameTooLong => Some(MESSAGE_TOO_BIG),
        }
    }
}

/// What is known of the bytes that pass.
struct Watch<'a> {
    grant: &'a DesktopGrant,
    clock: &'a dyn Clock,
    metrics: &'a OpenTunnel,
    /// Finds a person's input in what the browser sends.
    input: InputScanner,
    /// Whether it is known that nobody can.
    unreadable: bool,
    /// Knows whether the browser is in the middle of a frame.
    frames: Frames,
    /// Follows what the browser sends, where the desktop takes frames up to a length only.
    limited: Option<(Frames, u64)>,
    too_long: bool,
    up: u64,
    down: u64,
}

impl Watch<'_> {
    fn up(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.up += count;
        self.metrics.up(count);
        if let Some((frames, limit)) = &mut self.limited {
            let mut longest = 0;
            frames.visit(bytes, |piece| longest = piece.left.max(longest));
            self.too_long |= longest > *limit;
        }
        let now = self.clock.timestamp();
        if self.input.scan(bytes) {
            self.grant.input(now);
        } else if self.input.is_lost() {
            // An unknown protocol or dialect: better kept too long than lost.
            self.grant.used(now);
            if !std::mem::replace(&mut self.unreadable, true) {
                self.tell_unreadable();
            }
        } else if self.input.is_following() {
            self.grant.traffic(now);
        } else {
            self.grant.touch(now);
        }
    }

    /// Says once for each desktop that idleness is blind there.
    #[cold]
    fn tell_unreadable(&self) {
        let desktop = self.grant.desktop();
        if desktop.is_first_unreadable() {
            tracing::warn!(
                desktop = %desktop.id,
                template = %desktop.template.id,
                "a stream is in no protocol that is known, so all that the browser sends there counts as a person's"
            );
        }
    }

    fn down(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.down += count;
        self.metrics.down(count);
        self.frames.advance(bytes);
    }
}

impl Tunnel {
    /// Runs until an end closes, the grant is withdrawn or the gateway stops.
    pub async fn run(self, mut browser: impl End) {
        let Self {
            grant,
            mut desktop,
            early,
            clock,
            metrics,
            scratch,
            closing,
            place: _place,
        } = self;
        let mut watch = Watch {
            grant: &grant,
            clock: &*clock,
            metrics: &metrics,
            input: InputScanner::new(),
            unreadable: false,
            frames: Frames::from_server(),
            limited: grant
                .desktop()
                .template
                .max_message
                .map(|limit| (Frames::from_client(), limit)),
            too_long: false,
            up: 0,
            down: 0,
        };
        let reason = {
            let revoked = async {
                tokio::select! {
                    () = grant.desktop_gone() => Reason::DesktopGone,
                    () = grant.principal_ended() => Reason::SessionEnded,
                    () = closing.cancelled() => Reason::GatewayStops,
                }
            };
            let moved = carry(&mut browser, &mut desktop, (&mut watch, &scratch), early);
            tokio::select! {
                biased;
                reason = moved => reason,
                reason = revoked => reason,
            }
        };
        if let Some(code) = reason.close_code() {
            let farewell = say_goodbye(&mut browser, &mut desktop, (&mut watch, &scratch), code);
            // A browser that takes nothing sees the end of its connection.
            let _ = tokio::time::timeout(GOODBYE, farewell).await;
        }
        drop(desktop);
        // Both are gone either way; this only spares the peer an error message.
        let _ = tokio::time::timeout(GOODBYE, linger(&mut browser, &scratch)).await;
        let (up, down) = (watch.up, watch.down);
        tracing::debug!(desktop = %grant.desktop().id, principal = %grant.principal(), up, down, ?reason, "tunnel ended");
    }
}

/// Moves bytes both ways until one way has ended and the other has had its time.
async fn carry(
    browser: &mut impl End,
    desktop: &mut impl End,
    (watch, scratch): (&mut Watch<'_>, &Scratch),
    early: Vec<u8>,
) -> Reason {
    let put = poll_fn(|cx| {
        let buffers = &mut *scratch.lock();
        let mut output = Output::new(&mut buffers.outgoing);
        let pushed = browser.push(&early, &mut output);
        Poll::Ready(pushed.and_then(|()| browser.commit(cx, &output)))
    });
    if put.await.is_err() {
        return Reason::BrowserClosed;
    }
    watch.down(&early);
    drop(early);
    let (mut up_ended, mut down_ended) = (false, false);
    let first = poll_fn(|cx| {
        // The picture first: it is what people wait for.
        if poll_down(cx, desktop, browser, (watch, scratch)).is_ready() {
            down_ended = true;
            return Poll::Ready(Reason::DesktopClosed);
        }
        if poll_up(cx, browser, desktop, (watch, scratch)).is_ready() {
            up_ended = true;
            return Poll::Ready(Reason::BrowserClosed);
        }
        if watch.too_long {
            return Poll::Ready(Reason::FrameTooLong);
        }
        Poll::Pending
    })
    .await;
    if first == Reason::FrameTooLong {
        return first;
    }
    let rest = poll_fn(|cx| {
        if up_ended {
            ready!(desktop.poll_end(cx))?;
            poll_down(cx, desktop, browser, (watch, scratch))
        } else {
            ready!(browser.poll_end(cx))?;
            poll_up(cx, browser, desktop, (watch, scratch))
        }
    });
    // An error in the second direction is its end as well.
    let _ = tokio::time::timeout(HALF_CLOSED, rest).await;
    first
}

fn poll_up(
    cx: &mut Context<'_>,
    browser: &mut impl End,
    desktop: &mut impl End,
    (watch, scratch): (&mut Watch<'_>, &Scratch),
) -> Poll<io::Result<()>> {
    let moved = poll_move(
        cx,
        browser,
        desktop,
        (scratch, &mut |bytes| watch.up(bytes)),
    );
    // A paused desktop takes as much as the system's buffers do. Were it left asleep when they are full,
    // nobody would see a person's input any more.
    let entry = watch.grant.desktop();
    if moved.is_pending() && entry.sleep.is_asleep() && desktop.poll_drain(cx).is_pending() {
        entry.call();
    }
    moved
}

fn poll_down(
    cx: &mut Context<'_>,
    desktop: &mut impl End,
    browser: &mut impl End,
    (watch, scratch): (&mut Watch<'_>, &Scratch),
) -> Poll<io::Result<()>> {
    poll_move(
        cx,
        desktop,
        browser,
        (scratch, &mut |bytes| watch.down(bytes)),
    )
}

/// Moves what is there. Ready at the end of `from`, or when either side fails; nothing is read while
/// `to` has not taken what was read before.
fn poll_move(
    cx: &mut Context<'_>,
    from: &mut impl End,
    to: &mut impl End,
    (scratch, seen): (&Scratch, &mut impl FnMut(&[u8])),
) -> Poll<io::Result<()>> {
    loop {
        ready!(to.poll_drain(cx))?;
        if from.is_at_end() {
            return Poll::Ready(Ok(()));
        }
        ready!(poll_once(cx, from, to, (scratch, seen)))?;
    }
}

/// Reads once and writes it.
fn poll_once(
    cx: &mut Context<'_>,
    from: &mut impl End,
    to: &mut impl End,
    (scratch, seen): (&Scratch, &mut impl FnMut(&[u8])),
) -> Poll<io::Result<()>> {
    let buffers = &mut *scratch.lock();
    let mut output = Output::new(&mut buffers.outgoing);
    let mut pushed = Ok(());
    let pulled = from.poll_pull(cx, &mut buffers.incoming, &mut |bytes| {
        if pushed.is_ok() {
            seen(bytes);
            pushed = to.push(bytes, &mut output);
        }
    });
    ready!(pulled)?;
    pushed?;
    Poll::Ready(to.commit(cx, &output))
}

/// Ends the browser's WebSocket with a close frame, once the frame that is under way has passed.
async fn say_goodbye(
    browser: &mut impl End,
    desktop: &mut impl End,
    (watch, scratch): (&mut Watch<'_>, &Scratch),
    code: u16,
) -> io::Result<()> {
    poll_fn(|cx| {
        while !watch.frames.at_boundary() && !watch.frames.is_lost() && !desktop.is_at_end() {
            ready!(browser.poll_drain(cx))?;
            let seen = &mut |bytes: &[u8]| watch.down(bytes);
            ready!(poll_once(cx, desktop, browser, (scratch, seen)))?;
        }
        Poll::Ready(io::Result::Ok(()))
    })
    .await?;
    if !watch.frames.at_boundary() || watch.frames.closed() {
        return Ok(());
    }
    poll_fn(|cx| {
        let buffers = &mut *scratch.lock();
        let mut output = Output::new(&mut buffers.outgoing);
        browser.push(&close_frame(code), &mut output)?;
        Poll::Ready(browser.commit(cx, &output))
    })
    .await?;
    poll_fn(|cx| browser.poll_drain(cx)).await
}

/// Ends our direction and reads the other one out: bytes that lie unread when a socket closes make the
/// system take back what was sent last.
async fn linger(browser: &mut impl End, scratch: &Scratch) -> io::Result<()> {
    poll_fn(|cx| browser.poll_end(cx)).await?;
    poll_fn(|cx| {
        while !browser.is_at_end() {
            ready!(browser.poll_pull(cx, &mut scratch.lock().incoming, &mut |_| {}))?;
        }
        Poll::Ready(Ok(()))
    })
    .await
}
