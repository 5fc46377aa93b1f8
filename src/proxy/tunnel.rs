//! A WebSocket after both 101s: bytes from one side to the other, untouched and for as long as it
//! lasts. Neither side need ever say anything, so there is no idle limit here; what ends a tunnel is
//! one of its ends, or its grant.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::authz::grant::DesktopGrant;
use crate::clock::Clock;
use crate::desktop::upstream::DesktopStream;
use crate::telemetry::metrics::OpenTunnel;

/// Bytes moved at once, per direction.
const BUFFER: usize = 16 * 1024;
/// How long the second direction may go on after the first has ended.
const HALF_CLOSED: Duration = Duration::from_secs(10);
/// How long a polite end may take.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Both ends of a WebSocket, and the right to join them.
pub(super) struct Tunnel {
    pub grant: DesktopGrant,
    pub desktop: DesktopStream,
    /// Bytes that came right behind the desktop's 101.
    pub early: Vec<u8>,
    pub clock: Arc<dyn Clock>,
    pub metrics: OpenTunnel,
}

impl Tunnel {
    /// Runs until an end closes or the grant is withdrawn.
    pub async fn run(self, browser: Upgraded) {
        let Self {
            grant,
            desktop,
            early,
            clock,
            metrics,
        } = self;
        let (mut from_browser, mut to_browser) = tokio::io::split(TokioIo::new(browser));
        let (mut from_desktop, mut to_desktop) = tokio::io::split(desktop);
        let (mut up, mut down) = (0_u64, 0_u64);
        let reason = {
            let upwards = copy(&mut from_browser, &mut to_desktop, |bytes| {
                up += bytes;
                metrics.up(bytes);
                grant.touch(clock.timestamp());
            });
            let downwards = async {
                to_browser.write_all(&early).await?;
                to_browser.flush().await?;
                down += early.len() as u64;
                metrics.down(down);
                copy(&mut from_desktop, &mut to_browser, |bytes| {
                    down += bytes;
                    metrics.down(bytes);
                })
                .await
            };
            tokio::pin!(upwards, downwards);
            tokio::select! {
                () = grant.revoked() => "revoked",
                _ = &mut upwards => {
                    let _ = tokio::time::timeout(HALF_CLOSED, downwards).await;
                    "browser closed"
                }
                _ = &mut downwards => {
                    let _ = tokio::time::timeout(HALF_CLOSED, upwards).await;
                    "desktop closed"
                }
            }
        };
        // Both are gone either way; this only spares the peers an error message.
        let _ = tokio::time::timeout(SHUTDOWN, async {
            let _ = to_browser.shutdown().await;
            let _ = to_desktop.shutdown().await;
        })
        .await;
        tracing::debug!(desktop = %grant.desktop().id, session = %grant.session().id, up, down, reason, "tunnel ended");
    }
}

/// Moves bytes until `from` ends, then ends `to` for writing.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut moved: impl FnMut(u64),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        moved(count as u64);
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}
