//! How bytes are cut must not matter, and no bytes may panic: the framing of both directions, and the
//! input scanner on the bytes as they are and as the payload of a client of either kind that has connected.

#![no_main]

use deskgate::proxy::{frames, input};
use libfuzzer_sys::fuzz_target;

/// A handshake without security, and `KasmVNC`'s list of encodings.
const OPENING: &[u8] = b"RFB 003.008\n\x01\x01\x02\0\0\x02\0\0\0\x07\xff\xff\xf8\x33";

// How many cuts there are, the cuts, and the bytes.
fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else {
        return;
    };
    let (cuts, bytes) = rest.split_at(usize::from(*count).min(rest.len()));
    for new in [frames::Frames::from_server, frames::Frames::from_client] {
        let mut whole = new();
        whole.advance(bytes);
        let mut cut = new();
        for part in parts(bytes, cuts) {
            cut.advance(part);
            assert!(!(cut.at_boundary() && cut.is_lost()));
        }
        assert_eq!(cut, whole);
    }
    check(bytes, cuts);
    check(&framed(0x82, &[OPENING, bytes].concat(), cuts), cuts);
    let selkies = [framed(0x81, b"_gz,1", &[]), framed(0x81, bytes, cuts)];
    check(&selkies.concat(), cuts);
});

fn check(bytes: &[u8], cuts: &[u8]) {
    let mut whole = input::InputScanner::new();
    let found = whole.scan(bytes);
    let mut cut = input::InputScanner::new();
    let mut found_in_parts = false;
    for part in parts(bytes, cuts) {
        found_in_parts |= cut.scan(part);
    }
    assert_eq!(cut, whole);
    assert_eq!(cut.inputs(), whole.inputs());
    assert_eq!(found_in_parts, found);
}

/// `bytes` in parts of the given sizes, and the rest.
fn parts<'a>(bytes: &'a [u8], cuts: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let sizes = cuts.iter().map(|&size| usize::from(size));
    sizes.chain([usize::MAX]).map(move |size| {
        let (part, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        part
    })
}

/// A client's frames, which begin with `first`, around the parts of `payload`.
fn framed(first: u8, payload: &[u8], cuts: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = Vec::new();
    for part in parts(payload, cuts) {
        bytes.extend([first, 0xff]);
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(key);
        bytes.extend(part.iter().zip(key.iter().cycle()).map(|(p, k)| p ^ k));
    }
    bytes
}
