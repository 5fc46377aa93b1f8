//! Pictures of what is on the screens of desktops, for those who may see them. The gateway asks a desktop for the
//! picture that it makes of itself, or looks at it as one more client of RFB that has no keys and no pointer.
//!
//! The user of a desktop notices nothing of a picture: it is no access and no input, it wakes nothing and keeps nothing
//! awake. That they know is the business of whoever takes it. Nothing is kept on disk.

mod kept;
mod rfb;
mod screen;
mod screenshot;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jpeg_encoder::EncodingError;
use tokio_tungstenite::tungstenite;

use crate::desktop::directory::Entry;
use crate::desktop::upstream::Dialer;
use crate::model::template::View as ViewKind;
use crate::proxy::ProxyError;
use kept::Kept;
pub use rfb::RfbError;
pub use screen::Bound;
use screen::Screen;
use socket::Socket;

/// How long a desktop may take for a picture of it, from the connection on.
const DEADLINE: Duration = Duration::from_secs(5);
/// The size of a small picture.
const THUMBNAIL: Bound = Bound {
    width: 320,
    height: 240,
};
/// How often old pictures are forgotten.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(1);
/// How often a desktop that makes pictures of itself is asked whether anything has changed.
const POLL_PERIOD: Duration = Duration::from_secs(1);

/// A picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub bytes: Bytes,
    /// `image/jpeg` or `image/png`.
    pub content_type: &'static str,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picture")
            .field("content_type", &self.content_type)
            .field("length", &self.bytes.len())
            .finish()
    }
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Desktops of this template have no way to one.
    #[error("no picture can be taken of a desktop of this template")]
    NoWay,
    /// It is paused, and no picture wakes it.
    #[error("the desktop is paused")]
    Asleep,
    /// It stopped meanwhile.
    #[error("the desktop has stopped")]
    Gone,
    /// It took too long.
    #[error("the desktop gave no picture within {} s", DEADLINE.as_secs())]
    Timeout,
    /// No connection, or none that looks.
    #[error("there is no way to look at the desktop")]
    Connect(#[source] ProxyError),
    /// The connection broke.
    #[error("the connection to the desktop broke")]
    Broken(#[source] Box<tungstenite::Error>),
    /// The desktop ended the connection.
    #[error("the desktop ended the connection")]
    Ended,
    /// It sends text where bytes should be.
    #[error("the desktop speaks no RFB over its WebSocket")]
    NoBytes,
    /// It cannot be followed.
    #[error("the desktop's RFB cannot be followed")]
    Rfb(#[source] RfbError),
    /// It gave no answer to the question for its picture, or one that is too large.
    #[error("the desktop gave no answer to the question for its picture")]
    NoAnswer,
    /// It answered the question for its picture with something else.
    #[error("the desktop answered the question for its picture with {0}")]
    Status(u16),
    /// What it gave as its picture is none.
    #[error("what the desktop gave as its picture is none")]
    NoPicture,
    /// As many as may be are being taken.
    #[error("too many pictures are being taken")]
    Busy,
    /// That is what came of it, a moment ago or for somebody else.
    #[error(transparent)]
    Lately(Arc<PictureError>),
    /// The picture could not be made.
    #[error("the picture could not be encoded")]
    Encode(#[source] EncodingError),
    /// Whoever made it is gone.
    #[error("the picture was not made")]
    Made(#[source] tokio::task::JoinError),
}

/// Takes pictures.
#[derive(Clone, Debug)]
pub struct Pictures {
    dialer: Dialer,
    kept: Arc<Kept>,
}

impl Pictures {
    /// Over these connections.
    #[must_use]
    pub fn new(dialer: Dialer) -> Self {
        let kept = Arc::default();
        Self { dialer, kept }
    }

    /// A small picture of a desktop, at most 5 s old, and the same for everybody who asks meanwhile.
    ///
    /// # Errors
    /// There is none, as was found out just now or within the last 15 s; see [`PictureError`].
    pub async fn thumbnail(&self, desktop: &Arc<Entry>) -> Result<Picture, PictureError> {
        if desktop.sleep.is_asleep() {
            return Err(PictureError::Asleep);
        }
        let taking = self.take(desktop, THUMBNAIL);
        self.kept.get(desktop.id, taking).await
    }

    /// Forgets pictures that nobody may see any more. To be called every [`SWEEP_PERIOD`].
    pub fn sweep(&self) {
        self.kept.sweep();
    }

    /// A picture of a desktop as it is now, which fits into `bound`.
    ///
    /// # Errors
    /// There is none; see [`PictureError`].
    pub async fn take(&self, desktop: &Arc<Entry>, bound: Bound) -> Result<Picture, PictureError> {
        self.view(desktop.clone()).next(bound).await
    }

    /// Pictures of a desktop, one after the other. Nothing is opened before the first is asked for.
    #[must_use]
    pub fn view(&self, desktop: Arc<Entry>) -> View {
        View {
            dialer: self.dialer.clone(),
            desktop,
            way: Way::Unknown,
        }
    }
}

/// A look at one desktop. Dropping it ends the connection.
#[derive(Debug)]
pub struct View {
    dialer: Dialer,
    desktop: Arc<Entry>,
    way: Way,
}

/// How pictures come.
#[derive(Debug)]
enum Way {
    /// Nobody has tried yet.
    Unknown,
    /// The desktop makes them; this was the last.
    Screenshot(Option<Picture>),
    /// We look at its screen.
    Rfb {
        socket: Box<Socket>,
        /// Whether something has changed that nobody was given yet.
        changed: bool,
    },
}

impl View {
    /// The next picture, which fits into `bound`: the first as the desktop is now, each further one as soon as
    /// something has changed, however long that takes. A wait that is given up can be taken up again; nothing is lost.
    ///
    /// # Errors
    /// There is none, and there will be no more; see [`PictureError`].
    pub async fn next(&mut self, bound: Bound) -> Result<Picture, PictureError> {
        if self.desktop.sleep.is_asleep() {
            return Err(PictureError::Asleep);
        }
        let gone = self.desktop.gone.clone().cancelled_owned();
        let taken = tokio::select! {
            biased;
            () = gone => Err(PictureError::Gone),
            taken = self.proceed(bound) => taken,
        };
        // A desktop that was paused meanwhile says nothing.
        match taken {
            Err(_) if self.desktop.sleep.is_asleep() => Err(PictureError::Asleep),
            taken => taken,
        }
    }

    async fn proceed(&mut self, bound: Bound) -> Result<Picture, PictureError> {
        if matches!(self.way, Way::Unknown) {
            let begun = tokio::time::timeout(DEADLINE, self.begin(bound)).await;
            if let Some(first) = begun.map_err(|_| PictureError::Timeout)?? {
                return Ok(first);
            }
        }
        match &mut self.way {
            Way::Unknown => Err(PictureError::NoWay),
            Way::Screenshot(last) => {
                let path = self.desktop.template.screenshot.as_deref();
                let path = path.ok_or(PictureError::NoWay)?;
                loop {
                    tokio::time::sleep(POLL_PERIOD).await;
                    let taking = screenshot::take(&self.dialer, &self.desktop, path, bound);
                    let taken = tokio::time::timeout(DEADLINE, taking).await;
                    let picture = taken.map_err(|_| PictureError::Timeout)??;
                    if last.as_ref() != Some(&picture) {
                        *last = Some(picture.clone());
                        return Ok(picture);
                    }
                }
            }
            Way::Rfb { socket, changed } => {
                if !*changed {
                    socket.next().await?;
                    *changed = true;
                }
                let picture = develop(socket.screen().clone(), bound).await?;
                *changed = false;
                Ok(picture)
            }
        }
    }

    /// Finds the way to pictures: the first, or the screen that it is made of.
    async fn begin(&mut self, bound: Bound) -> Result<Option<Picture>, PictureError> {
        let template = self.desktop.template.clone();
        let looks = template.view == ViewKind::Rfb;
        if let Some(path) = &template.screenshot {
            let taken = screenshot::take(&self.dialer, &self.desktop, path, bound).await;
            match taken {
                // It has no such address, or nothing to show there, as KasmVNC before anybody has looked at it.
                Err(PictureError::Status(_) | PictureError::NoPicture) if looks => {}
                taken => {
                    let picture = taken?;
                    self.way = Way::Screenshot(Some(picture.clone()));
                    return Ok(Some(picture));
                }
            }
        }
        if !looks {
            return Err(PictureError::NoWay);
        }
        let mut socket = Socket::open(&self.dialer, &self.desktop).await?;
        socket.next().await?;
        self.way = Way::Rfb {
            socket: Box::new(socket),
            changed: true,
        };
        Ok(None)
    }
}

/// Makes a picture of a screen, on a thread that carries nobody's bytes: it takes milliseconds.
async fn develop(screen: Arc<Screen>, bound: Bound) -> Result<Picture, PictureError> {
    let making = tokio::task::spawn_blocking(move || screen.to_jpeg(bound));
    let jpeg = making.await.map_err(PictureError::Made)?;
    Ok(Picture {
        bytes: jpeg.map_err(PictureError::Encode)?.into(),
        content_type: "image/jpeg",
    })
}
