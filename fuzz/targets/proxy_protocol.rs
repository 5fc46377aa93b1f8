//! Fuzzes the parser of the PROXY protocol: what it accepts, it accepts at the last byte and not before; what
//! it refuses, it refuses for good; and the line that a sender would write is read back.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use deskgate::server::proxy_protocol::{MAX_LENGTH, Parsed, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match parse(data) {
        Ok(Parsed::Header { length, .. }) => header(data, length),
        Ok(Parsed::NeedMore) => assert!(data.len() < MAX_LENGTH),
        Err(_) => {
            for byte in [0, b'\r', b'\n', b' ', b'0', 0xff] {
                assert!(parse(&[data, &[byte]].concat()).is_err());
            }
        }
    }
    if let Some((octets, rest)) = data.split_first_chunk::<4>() {
        round_trip(IpAddr::from(*octets), rest);
    }
    if let Some((octets, rest)) = data.split_first_chunk::<16>() {
        round_trip(IpAddr::from(*octets), rest);
    }
});

/// What follows a header changes nothing, and every part of it needs more.
fn header(data: &[u8], length: usize) {
    let (bytes, after) = data.split_at(length);
    assert!((1..=MAX_LENGTH).contains(&length));
    assert_eq!(parse(bytes), parse(data));
    let other: Vec<u8> = after.iter().map(|byte| !byte).collect();
    assert_eq!(parse(&[bytes, &other].concat()), parse(data));
    for end in 0..length {
        assert_eq!(parse(&bytes[..end]), Ok(Parsed::NeedMore));
    }
}

/// A version 1 line from `ip`, with ports out of `rest`.
fn round_trip(ip: IpAddr, rest: &[u8]) {
    let port = |index: usize| {
        let pair = rest.get(index..index + 2).and_then(<[u8]>::first_chunk);
        pair.map_or(0, |pair| u16::from_be_bytes(*pair))
    };
    let (source, destination) = (port(0), port(2));
    let family = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
    let line = format!("PROXY {family} {ip} {ip} {source} {destination}\r\n");
    let expected = Parsed::Header {
        source: Some(SocketAddr::new(ip.to_canonical(), source)),
        length: line.len(),
    };
    assert_eq!(parse(line.as_bytes()), Ok(expected));
}
