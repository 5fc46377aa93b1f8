//! The picture that a desktop makes of itself, where it has an address for that: asked for by the gateway, and passed on
//! only if it is what it should be.

use bytes::Bytes;

use super::screen::{Bound, MAX_PIXELS};
use super::{Picture, PictureError};
use crate::desktop::directory::Entry;
use crate::desktop::readiness;
use crate::desktop::upstream::Dialer;
use crate::model::template::fill_size;

/// Largest picture, bytes.
const MAX_BODY: usize = 4 << 20;
/// Longest side of a picture, pixels. Whoever looks at it unpacks all of it.
const MAX_SIDE: u32 = 4096;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";

/// Asks a desktop for a picture at `path`.
///
/// # Errors
/// [`PictureError::Status`] if it answers with another status than 200; what it answers is no picture, or a large one.
pub async fn take(
    dialer: &Dialer,
    desktop: &Entry,
    path: &str,
    bound: Bound,
) -> Result<Picture, PictureError> {
    let path = fill_size(path, (bound.width, bound.height));
    let path = desktop.upstream.path(&path);
    let answer = readiness::fetch(dialer, &desktop.upstream, &path, MAX_BODY).await;
    match answer {
        None => Err(PictureError::NoAnswer),
        Some((200, body)) => checked(body).ok_or(PictureError::NoPicture),
        Some((status, _)) => Err(PictureError::Status(status)),
    }
}

/// A picture, if that is what the bytes are, and not a large one.
fn checked(bytes: Bytes) -> Option<Picture> {
    let (content_type, (width, height)) = if bytes.starts_with(PNG) {
        ("image/png", png_size(&bytes)?)
    } else {
        ("image/jpeg", jpeg_size(&bytes)?)
    };
    let sides = (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height);
    // Both have twelve bits, so the product fits.
    let small = sides && (width * height) as usize <= MAX_PIXELS;
    small.then_some(Picture {
        bytes,
        content_type,
    })
}

/// Width and height of a PNG (PNG specification, section 11.2.1).
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?;
        Some(u32::from_be_bytes(four.try_into().ok()?))
    };
    Some((number(PNG.len())?, number(PNG.len() + 4)?))
}

/// Width and height of a JPEG: those of its frame header (ITU-T T.81, section B.2.2), the first behind the segments
/// that tell how to read it.
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let &[0xff, marker, high, low, ..] = rest else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        match marker {
            // Frames of all kinds; among them are three tables.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let &[_, height_high, height_low, width_high, width_low, ..] = rest.get(4..)?
                else {
                    return None;
                };
                let height = u16::from_be_bytes([height_high, height_low]);
                let width = u16::from_be_bytes([width_high, width_low]);
                return Some((width.into(), height.into()));
            }
            // Tables, applications' data and comments.
            0xc4 | 0xcc | 0xdb..=0xef | 0xfe if length >= 2 => rest = rest.get(2 + length..)?,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::picture::screen::Screen;

    fn kind(bytes: &[u8]) -> Option<&'static str> {
        checked(Bytes::copy_from_slice(bytes)).map(|picture| picture.content_type)
    }

    fn png(width: u32, height: u32) -> Vec<u8> {
        [PNG, &width.to_be_bytes(), &height.to_be_bytes(), b"rest"].concat()
    }

    fn jpeg(width: u16, height: u16) -> Vec<u8> {
        let bound = Bound { width, height };
        let screen = Screen::new(width, height).expect("a screen");
        screen.to_jpeg(bound).expect("a picture")
    }

    #[test]
    fn pictures_are_told_by_their_bytes() {
        assert_eq!(kind(&jpeg(320, 180)), Some("image/jpeg"));
        assert_eq!(jpeg_size(&jpeg(320, 181)), Some((320, 181)));
        assert_eq!(kind(&png(320, 180)), Some("image/png"));
        for other in [
            &b""[..],
            b"\xff\xd8",
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xd9\0\0",
            b"<!doctype html><script>alert(1)</script>",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"GIF89a\x01\0\x01\0",
            b"\x89PNG\r\n\x1a\n",
        ] {
            assert_eq!(kind(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_picture_that_would_fill_a_browser_is_refused() {
        for (width, height) in [
            (0, 1),
            (1, 0),
            (4097, 1),
            (4096, 4096),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(kind(&png(width, height)), None, "{width} x {height}");
        }
        assert_eq!(kind(&png(4096, 2048)), Some("image/png"));
        let mut large = jpeg(8, 8);
        let frame = large.windows(2).position(|two| two == [0xff, 0xc0]);
        let at = frame.expect("a frame") + 5;
        large[at..at + 4].copy_from_slice(&[0xff; 4]);
        assert_eq!(kind(&large), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_beyond_their_end(
            mut bytes in prop::collection::vec(any::<u8>(), 0..64),
            begins in 0..3,
        ) {
            let beginning = [&b""[..], b"\xff\xd8\xff\xe0", PNG][usize::try_from(begins).unwrap_or(0)];
            bytes.splice(0..0, beginning.iter().copied());
            kind(&bytes);
        }
    }
}
