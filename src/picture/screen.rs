//! What is on a screen, and a small picture of it. Pure.

use jpeg_encoder::{ColorType, Encoder, EncodingError};

/// Largest screen, pixels: a little more than 3840 x 2160.
pub const MAX_PIXELS: usize = 8 << 20;
/// Blue, green, red, and one that means nothing.
const PIXEL: usize = 4;
/// Of the JPEG, from 1 to 100. Text of a screen is still read at this.
const QUALITY: u8 = 75;

/// The largest picture that is wanted, pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Across.
    pub width: u16,
    /// Down.
    pub height: u16,
}

impl Bound {
    /// The size in which a screen fits into it: its shape is kept, and nothing is made larger.
    #[must_use]
    fn fit(self, (width, height): (u16, u16)) -> (u16, u16) {
        let (across, down) = (u32::from(self.width.max(1)), u32::from(self.height.max(1)));
        let (w, h) = (u32::from(width), u32::from(height));
        if w <= across && h <= down {
            return (width, height);
        }
        // Both products fit: each factor has 16 bits.
        let (fit_w, fit_h) = if w * down >= h * across {
            (across, (h * across / w).max(1))
        } else {
            ((w * down / h).max(1), down)
        };
        let narrow = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
        (narrow(fit_w), narrow(fit_h))
    }
}

/// A rectangle that is on the screen that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Rect {
    /// How many bytes its pixels are.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.width * self.height * PIXEL
    }
}

/// The pixels of a screen. One of no size until somebody says what it is.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    width: u16,
    height: u16,
    pixels: Vec<u8>,
}

impl Screen {
    /// A black one; `None` if it has no pixels, or more than [`MAX_PIXELS`].
    #[must_use]
    pub fn new(width: u16, height: u16) -> Option<Self> {
        let count = usize::from(width) * usize::from(height);
        (1..=MAX_PIXELS).contains(&count).then(|| Self {
            width,
            height,
            pixels: vec![0; count * PIXEL],
        })
    }

    /// Width and height, pixels.
    #[must_use]
    pub const fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    /// A rectangle on it; `None` if it reaches beyond.
    #[must_use]
    pub fn rect(&self, (x, y): (u16, u16), (width, height): (u16, u16)) -> Option<Rect> {
        let inside =
            |at: u16, length: u16, end: u16| at.checked_add(length).is_some_and(|to| to <= end);
        let fits = inside(x, width, self.width) && inside(y, height, self.height);
        fits.then(|| Rect {
            x: x.into(),
            y: y.into(),
            width: width.into(),
            height: height.into(),
        })
    }

    /// Puts pixels into a rectangle of it, from the byte `from` of the rectangle on.
    pub fn paint(&mut self, rect: Rect, from: usize, mut bytes: &[u8]) {
        let row_length = rect.width * PIXEL;
        let mut at = from;
        while !bytes.is_empty() && row_length > 0 {
            let (row, column) = (at / row_length, at % row_length);
            let count = bytes.len().min(row_length - column);
            let (piece, left) = bytes.split_at(count);
            let start = ((rect.y + row) * usize::from(self.width) + rect.x) * PIXEL + column;
            // Always there: the rectangle is on this screen.
            if let Some(target) = self.pixels.get_mut(start..start + count) {
                target.copy_from_slice(piece);
            }
            at += count;
            bytes = left;
        }
    }

    /// A JPEG of it that fits into `bound`, each of its pixels the average of what it covers.
    ///
    /// # Errors
    /// The encoder fails, which it has no reason to.
    pub fn to_jpeg(&self, bound: Bound) -> Result<Vec<u8>, EncodingError> {
        let (width, height) = bound.fit(self.size());
        let small = self.shrink(width, height);
        let mut jpeg = Vec::with_capacity(small.len() / 8);
        Encoder::new(&mut jpeg, QUALITY).encode(&small, width, height, ColorType::Rgb)?;
        Ok(jpeg)
    }

    /// Red, green and blue of a smaller one. In units in which a pixel of the screen is as long as the small one has
    /// pixels, and the other way round, all that they share is whole numbers.
    fn shrink(&self, width: u16, height: u16) -> Vec<u8> {
        let (across, down) = (usize::from(width), usize::from(height));
        let row_length = usize::from(self.width) * PIXEL;
        let mut small = Vec::with_capacity(across * down * 3);
        let mut row = vec![0_u32; across * 3];
        let mut sums = vec![0_u64; across * 3];
        let mut room = u32::from(self.height);
        for pixels in self.pixels.chunks_exact(row_length.max(1)) {
            shrink_row(pixels, (self.width, width), &mut row);
            let mut share = u32::from(height);
            while share > 0 {
                let part = share.min(room);
                for (sum, value) in sums.iter_mut().zip(&row) {
                    *sum += u64::from(part) * u64::from(*value);
                }
                share -= part;
                room -= part;
                if room == 0 {
                    let area = u64::from(self.width) * u64::from(self.height);
                    let average = |sum: &mut u64| {
                        let average = std::mem::take(sum) / area;
                        u8::try_from(average).unwrap_or(u8::MAX)
                    };
                    small.extend(sums.iter_mut().map(average));
                    room = u32::from(self.height);
                }
            }
        }
        small
    }
}

/// Adds up a row of a screen into the pixels of a row that is `to` instead of `from` pixels long. Each is then as many
/// times too bright as the screen is wide.
fn shrink_row(pixels: &[u8], (from, to): (u16, u16), row: &mut [u32]) {
    let mut sources = pixels.chunks_exact(PIXEL);
    let (mut pixel, mut share) = ([0_u32; 3], 0);
    for target in row.chunks_exact_mut(3) {
        let mut room = u32::from(from);
        target.fill(0);
        while room > 0 {
            if share == 0 {
                let Some(&[blue, green, red, _]) = sources.next() else {
                    return;
                };
                pixel = [red.into(), green.into(), blue.into()];
                share = u32::from(to);
            }
            let part = share.min(room);
            for (sum, value) in target.iter_mut().zip(pixel) {
                *sum += part * value;
            }
            share -= part;
            room -= part;
        }
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
