//! Sizes, averages, and what becomes of a picture.

use proptest::prelude::*;
use zune_jpeg::JpegDecoder;

use super::*;

const BOUND: Bound = Bound {
    width: 320,
    height: 240,
};

/// A screen whose pixels are said by their place: red, green and blue.
fn screen(width: u16, height: u16, pixel: impl Fn(u16, u16) -> [u8; 3]) -> Screen {
    let mut screen = Screen::new(width, height).expect("a screen");
    for y in 0..height {
        for x in 0..width {
            let [red, green, blue] = pixel(x, y);
            let place = screen.rect((x, y), (1, 1)).expect("on it");
            screen.paint(place, 0, &[blue, green, red, 0]);
        }
    }
    screen
}

#[test]
fn a_picture_keeps_its_shape_and_is_never_larger() {
    for (size, expected) in [
        ((1280, 720), (320, 180)),
        ((1024, 768), (320, 240)),
        ((720, 1280), (135, 240)),
        ((320, 240), (320, 240)),
        ((10, 7), (10, 7)),
        ((65535, 1), (320, 1)),
        ((1, 65535), (1, 240)),
        ((321, 1), (320, 1)),
    ] {
        assert_eq!(BOUND.fit(size), expected, "{size:?}");
    }
    let nothing = Bound {
        width: 0,
        height: 0,
    };
    assert_eq!(nothing.fit((1280, 720)), (1, 1));
}

#[test]
fn a_small_pixel_is_the_average_of_what_it_covers() {
    // Columns of black and white; three of the screen are two of the small one.
    let striped = screen(6, 2, |x, _| [if x % 2 == 0 { 255 } else { 0 }; 3]);
    let small = striped.shrink(4, 1);
    let third = 255 / 3;
    let reds: Vec<u8> = small.chunks(3).map(|pixel| pixel[0]).collect();
    assert_eq!(reds, [2 * third, 2 * third, third, third]);
    let halves = screen(1, 4, |_, y| [0, if y < 2 { 200 } else { 100 }, 7]);
    assert_eq!(halves.shrink(1, 1), [0, 150, 7]);
    assert_eq!(halves.shrink(1, 2), [0, 200, 7, 0, 100, 7]);
}

#[test]
fn a_jpeg_of_it_has_its_colours_in_the_right_places() {
    let coloured = screen(
        64,
        32,
        |x, _| if x < 32 { [255, 0, 0] } else { [0, 0, 255] },
    );
    let bound = Bound {
        width: 32,
        height: 32,
    };
    let jpeg = coloured.to_jpeg(bound).expect("a picture");
    let mut decoder = JpegDecoder::new(std::io::Cursor::new(jpeg));
    let pixels = decoder.decode().expect("a JPEG");
    assert_eq!(decoder.dimensions(), Some((32, 16)));
    let at = |x: usize, y: usize| &pixels[(y * 32 + x) * 3..][..3];
    assert!(at(2, 8)[0] > 200 && at(2, 8)[2] < 50, "{:?}", at(2, 8));
    assert!(at(29, 8)[2] > 200 && at(29, 8)[0] < 50, "{:?}", at(29, 8));
}

#[test]
fn the_longest_screens_are_made_small() {
    for (width, height) in [(65535, 3), (3, 65535), (641, 480)] {
        let white = screen_of(width, height, 255);
        let (w, h) = BOUND.fit((width, height));
        let small = white.shrink(w, h);
        assert_eq!(small.len(), usize::from(w) * usize::from(h) * 3);
        assert!(
            small.iter().all(|value| *value == 255),
            "{width} x {height}"
        );
    }
    assert!(Screen::new(0, 5).is_none() && Screen::new(5, 0).is_none());
    assert!(Screen::new(65535, 65535).is_none());
}

fn screen_of(width: u16, height: u16, value: u8) -> Screen {
    let mut screen = Screen::new(width, height).expect("a screen");
    let all = screen.rect((0, 0), (width, height)).expect("on it");
    screen.paint(all, 0, &vec![value; all.bytes()]);
    screen
}

proptest! {
    #[test]
    fn one_colour_stays_that_colour_in_any_size(
        (width, height) in (1_u16..90, 1_u16..90),
        (w, h) in (1_u16..90, 1_u16..90),
        value: u8,
    ) {
        let bound = Bound { width: w, height: h };
        let (w, h) = bound.fit((width, height));
        prop_assert!(w <= bound.width.max(width) && h <= bound.height.max(height));
        prop_assert!(w <= bound.width && h <= bound.height);
        let small = screen_of(width, height, value).shrink(w, h);
        prop_assert_eq!(small.len(), usize::from(w) * usize::from(h) * 3);
        prop_assert!(small.iter().all(|seen| *seen == value));
    }

    #[test]
    fn pixels_land_where_their_rectangle_is_however_they_are_cut(
        (x, y, width, height) in (0_u16..8, 0_u16..8, 1_u16..9, 1_u16..9),
        size in 1_usize..50,
    ) {
        let (width, height) = (width.min(8 - x.min(7)), height.min(8 - y.min(7)));
        let mut painted = Screen::new(8, 8).expect("a screen");
        let place = painted.rect((x, y), (width, height)).expect("on it");
        let bytes: Vec<u8> = (1..=255).cycle().take(place.bytes()).collect();
        let mut at = 0;
        for piece in bytes.chunks(size) {
            painted.paint(place, at, piece);
            at += piece.len();
        }
        let row = usize::from(width) * PIXEL;
        for (index, line) in painted.pixels.chunks(8 * PIXEL).enumerate() {
            let (from, inside) = (usize::from(x) * PIXEL, usize::from(y)..usize::from(y + height));
            let expected = inside.contains(&index).then(|| &bytes[(index - usize::from(y)) * row..][..row]);
            prop_assert!(line[..from].iter().all(|byte| *byte == 0));
            prop_assert!(line[from + row..].iter().all(|byte| *byte == 0));
            let empty = vec![0; row];
            prop_assert_eq!(&line[from..from + row], expected.unwrap_or(&empty));
        }
    }
}
