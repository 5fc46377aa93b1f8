//! A client that only looks, fed by hand.

use proptest::prelude::*;

use super::*;
use crate::picture::screen::Bound;

/// A server's side up to the first request: no security, and a screen of this size.
fn greeting(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = VERSION.to_vec();
    bytes.extend([1, NO_SECURITY]);
    bytes.extend([0; 4]);
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([0; 16]);
    bytes.extend(4_u32.to_be_bytes());
    bytes.extend(b"desk");
    bytes
}

fn update(rects: u16) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(rects.to_be_bytes());
    bytes
}

fn rect([x, y, width, height]: [u16; 4], encoding: i32) -> Vec<u8> {
    let mut bytes: Vec<u8> = [x, y, width, height]
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect();
    bytes.extend(encoding.to_be_bytes());
    bytes
}

/// Blue, green and red of every pixel.
fn raw([x, y, width, height]: [u16; 4], pixel: [u8; 3]) -> Vec<u8> {
    let [blue, green, red] = pixel;
    let count = usize::from(width) * usize::from(height);
    let pixels = [blue, green, red, 0].repeat(count);
    [rect([x, y, width, height], RAW), pixels].concat()
}

/// Feeds everything in pieces of this size; how many pictures there were, and what was said.
fn feed(client: &mut Client, bytes: &[u8], size: usize) -> Result<(usize, Vec<u8>), RfbError> {
    let (mut pictures, mut said) = (0, Vec::new());
    for mut piece in bytes.chunks(size) {
        while !piece.is_empty() {
            pictures += usize::from(client.feed(&mut piece)?);
            said.extend(client.take_unsent());
        }
    }
    Ok((pictures, said))
}

fn fails(bytes: &[u8]) -> Option<RfbError> {
    feed(&mut Client::new(), bytes, bytes.len()).err()
}

#[test]
fn it_says_what_a_client_has_to_say_and_nothing_that_is_input() {
    let mut client = Client::new();
    let stream = [greeting(4, 2), update(1), raw([0, 0, 4, 2], [1, 2, 3])].concat();
    for size in [stream.len(), 1, 7] {
        client = Client::new();
        let (pictures, said) = feed(&mut client, &stream, size).unwrap();
        let mut expected = VERSION.to_vec();
        expected.extend([NO_SECURITY, 1]);
        expected.extend([0, 0, 0, 0]);
        expected.extend([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
        expected.extend([2, 0, 0, 3, 0, 0, 0, 0]);
        expected.extend([0xff, 0xff, 0xff, 0x21, 0xff, 0xff, 0xff, 0x20]);
        expected.extend([3, 0, 0, 0, 0, 0, 0, 4, 0, 2]);
        assert_eq!((pictures, said), (1, expected));
    }
    client.ask();
    assert_eq!(client.take_unsent(), [3, 1, 0, 0, 0, 0, 0, 4, 0, 2]);
}

#[test]
fn an_empty_password_is_answered_as_vncauth_wants_it() {
    let mut stream = VERSION.to_vec();
    stream.extend([2, 16, VNC_AUTHENTICATION]);
    stream.extend([0; 16]);
    let (_, said) = feed(&mut Client::new(), &stream, 5).unwrap();
    // DES of zeros with the key of zeros (NIST SP 800-17, table A.1 begins with its like).
    let block = [0x8c, 0xa6, 0x4d, 0xe9, 0xc1, 0xb1, 0x23, 0xa7];
    let expected = [VERSION.as_slice(), &[VNC_AUTHENTICATION], &block, &block].concat();
    assert_eq!(said, expected);
}

#[test]
fn what_is_no_picture_is_passed_over() {
    let clipboard = [&[3, 0, 0, 0, 0, 0, 0, 6][..], b"secret"].concat();
    let colours = [&[1, 0, 0, 0, 0, 2][..], &[9; 12]].concat();
    let stream = [
        greeting(2, 1),
        vec![2],
        clipboard.clone(),
        colours,
        update(0),
        update(2),
        raw([0, 0, 1, 1], [255, 0, 0]),
        raw([1, 0, 1, 1], [0, 0, 255]),
    ]
    .concat();
    for size in 1..stream.len() {
        let mut client = Client::new();
        let (pictures, said) = feed(&mut client, &stream, size).unwrap();
        assert_eq!(pictures, 1);
        // The update in which nothing was is followed by another request.
        assert!(said.ends_with(&[3, 1, 0, 0, 0, 0, 0, 2, 0, 1]), "{said:?}");
        assert!(
            !format!("{client:?}").contains("115, 101, 99, 114"),
            "{client:?}"
        );
    }
}

#[test]
fn a_screen_that_changes_its_size_is_drawn_from_the_beginning() {
    let stream = [
        greeting(2, 1),
        update(UNCOUNTED),
        raw([0, 0, 2, 1], [0; 3]),
        rect([0, 0, 3, 2], DESKTOP_SIZE),
        rect([0; 4], LAST_RECT),
    ]
    .concat();
    let mut client = Client::new();
    let (pictures, said) = feed(&mut client, &stream, 9).unwrap();
    assert_eq!(pictures, 0);
    assert!(said.ends_with(&[3, 0, 0, 0, 0, 0, 0, 3, 0, 2]), "{said:?}");
    let whole = [update(1), raw([0, 0, 3, 2], [7; 3])].concat();
    assert_eq!(feed(&mut client, &whole, 4).unwrap().0, 1);
    assert_eq!(client.screen().size(), (3, 2));
}

#[test]
fn a_server_that_lies_is_left() {
    let after = |bytes: &[u8]| fails(&[&greeting(4, 4)[..], bytes].concat());
    let updated = |bytes: &[u8]| after(&[&update(1)[..], bytes].concat());
    assert_eq!(fails(b"HTTP/1.1 400"), Some(RfbError::Version));
    assert_eq!(fails(b"RFB 003.003\n"), Some(RfbError::Version));
    let with = |bytes: &[u8]| fails(&[VERSION.as_slice(), bytes].concat());
    assert_eq!(with(&[0]), Some(RfbError::Refused));
    assert_eq!(with(&[2, 16, 19]), Some(RfbError::Security));
    assert_eq!(with(&[1, 1, 0, 0, 0, 1]), Some(RfbError::Refused));
    for (width, height) in [(0, 0), (0, 9), (65535, 65535), (8192, 1025)] {
        let expected = RfbError::Size(width, height);
        assert_eq!(fails(&greeting(width, height)), Some(expected));
        if width > 0 {
            let resized = rect([0, 0, width, height], DESKTOP_SIZE);
            assert_eq!(updated(&resized), Some(expected));
        }
    }
    for place in [
        [0, 0, 5, 1],
        [4, 0, 1, 1],
        [0, 3, 1, 2],
        [65535, 0, 2, 1],
        [1, 1, 65535, 65535],
    ] {
        assert_eq!(
            updated(&rect(place, RAW)),
            Some(RfbError::Outside),
            "{place:?}"
        );
    }
    assert_eq!(updated(&rect([0; 4], 7)), Some(RfbError::Encoding(7)));
    assert_eq!(after(&[248]), Some(RfbError::Message(248)));
    let endless = [3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(after(&endless), Some(RfbError::Text(u32::MAX)));
    assert_eq!(after(&update(0).repeat(17)), Some(RfbError::Empty));
    let mut named = greeting(1, 1);
    named.truncate(named.len() - 8);
    named.extend([1, 0, 0, 0]);
    assert_eq!(fails(&named), Some(RfbError::Text(1 << 24)));
}

#[test]
fn a_server_that_never_ends_is_left() {
    let mut client = Client::new();
    feed(
        &mut client,
        &[greeting(64, 64), update(UNCOUNTED)].concat(),
        512,
    )
    .unwrap();
    let more = raw([0, 0, 64, 64], [5; 3]);
    let rounds = MAX_UPDATE / more.len() + 1;
    let ended = (0..rounds).find_map(|_| feed(&mut client, &more, more.len()).err());
    assert_eq!(ended, Some(RfbError::TooMuch));
}

/// Messages of a server of a 9 x 7 screen, some of them wrong.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let place = prop::array::uniform4(0_u16..10);
    let encodings = prop::sample::select(vec![RAW, DESKTOP_SIZE, LAST_RECT, 7]);
    let message = prop_oneof![
        4 => (0_u16..9, 0_u16..7).prop_map(|(x, y)| {
            [update(1), raw([x, y, 9 - x, 7 - y], [x.to_le_bytes()[0], 9, 200])].concat()
        }),
        1 => (place, encodings).prop_map(|(place, encoding)| [update(1), rect(place, encoding)].concat()),
        1 => Just(vec![2]),
        1 => prop::collection::vec(any::<u8>(), 0..9)
            .prop_map(|text| [&[3, 0, 0, 0, 0, 0, 0, text.len().to_le_bytes()[0]][..], &text].concat()),
        1 => prop::collection::vec(any::<u8>(), 1..40),
    ];
    prop::collection::vec(message, 0..12).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut(bytes in messages(), size in 1_usize..40) {
        let stream = [greeting(9, 7), bytes].concat();
        let run = |size: usize| {
            let mut client = Client::new();
            let fed = feed(&mut client, &stream, size);
            let picture = client.screen().to_jpeg(Bound { width: 9, height: 7 }).ok();
            (fed, picture)
        };
        prop_assert_eq!(run(size), run(stream.len()));
    }

    #[test]
    fn no_bytes_make_it_panic_or_say_input(bytes in prop::collection::vec(any::<u8>(), 0..300), greeted: bool) {
        let stream = if greeted { [greeting(9, 7), bytes].concat() } else { bytes };
        let mut client = Client::new();
        let mut said = Vec::new();
        let mut rest = &stream[..];
        while !rest.is_empty() && client.feed(&mut rest).is_ok() {
            said.extend(client.take_unsent());
        }
        if greeted {
            // Behind the handshake there are only requests of ten bytes.
            let requests = said.split_off(said.len().min(12 + 2 + 20 + 16));
            prop_assert!(requests.chunks(10).all(|one| one[0] == 3 && one.len() == 10));
        }
    }
}
