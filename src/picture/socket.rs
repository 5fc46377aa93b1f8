//! The client of [`super::rfb`] on a WebSocket of a desktop.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf as _, Bytes};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::PictureError;
use super::rfb::Client;
use super::screen::Screen;
use crate::desktop::directory::Entry;
use crate::desktop::upstream::Dialer;
use crate::proxy::{self, ProxyError};
use crate::stream::DesktopStream;

/// Longest message of a desktop, bytes. Servers cut a picture into many.
const MAX_MESSAGE: usize = 4 << 20;
/// Where RFB is spoken unless the template says another path.
const PATH: &str = "/websockify";

/// A connection to a desktop that looks at its screen.
pub struct Socket {
    stream: WebSocketStream<DesktopStream>,
    client: Client,
    /// What came and was not read yet.
    unread: Bytes,
    /// Whether what comes next is asked for.
    asked: bool,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl Socket {
    /// A connection to this desktop, which takes no place of its user's.
    ///
    /// # Errors
    /// It does not accept, or speaks no WebSocket there.
    pub async fn open(dialer: &Dialer, desktop: &Entry) -> Result<Self, PictureError> {
        let path = desktop.template.ws_paths.first();
        let path = path.map_or(PATH, String::as_str);
        let opened = connect(dialer, desktop, path).await;
        let (stream, early) = opened.map_err(PictureError::Connect)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream =
            WebSocketStream::from_partially_read(stream, early, Role::Client, Some(config)).await;
        Ok(Self {
            stream,
            client: Client::new(),
            unread: Bytes::new(),
            // The client asks for the first one by itself.
            asked: true,
        })
    }

    /// Waits for the next picture, at first of the whole screen as it is, later until something has changed. Nothing is
    /// lost if the wait is given up and taken up again.
    ///
    /// # Errors
    /// The desktop ended the connection, or cannot be followed.
    pub async fn next(&mut self) -> Result<(), PictureError> {
        if !self.asked {
            self.client.ask();
            self.asked = true;
        }
        loop {
            let mut bytes: &[u8] = &self.unread;
            let whole = self.client.feed(&mut bytes).map_err(PictureError::Rfb)?;
            let read = self.unread.len() - bytes.len();
            self.unread.advance(read);
            if whole {
                self.asked = false;
                return Ok(());
            }
            // First room, then the message: a wait that is given up in between loses none.
            let room = poll_fn(|cx| self.stream.poll_ready_unpin(cx)).await;
            room.map_err(broken)?;
            let unsent = self.client.take_unsent();
            if !unsent.is_empty() {
                let message = Message::binary(unsent);
                self.stream.start_send_unpin(message).map_err(broken)?;
            }
            self.stream.flush().await.map_err(broken)?;
            match self.stream.next().await {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // The stream answers pings by itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(_)) => return Err(PictureError::NoBytes),
                None => return Err(PictureError::Ended),
                Some(Err(error)) => return Err(broken(error)),
            }
        }
    }

    /// What is on the screen since the last picture.
    pub fn screen(&self) -> &Arc<Screen> {
        self.client.screen()
    }
}

/// A WebSocket as the user who only sees, where the template has one and the desktop knows them.
async fn connect(
    dialer: &Dialer,
    desktop: &Entry,
    path: &str,
) -> Result<(DesktopStream, Vec<u8>), ProxyError> {
    let way = &desktop.upstream;
    if way.viewer.is_some() && !desktop.viewer_refused.load(Ordering::Relaxed) {
        match proxy::socket(dialer, &way.for_viewer(), path).await {
            Err(ProxyError::Unauthorized) => {
                desktop.viewer_refused.store(true, Ordering::Relaxed);
                tracing::warn!(desktop = %desktop.id, template = desktop.template.id, "the desktop does not know the user of viewer_auth: it is looked at as its own user");
            }
            other => return other,
        }
    }
    proxy::socket(dialer, way, path).await
}

fn broken(error: tokio_tungstenite::tungstenite::Error) -> PictureError {
    PictureError::Broken(Box::new(error))
}
