//! Responsible for the tests of the PROXY protocol: tables of both versions, and that the parser never waits in
//! vain nor fails early.

use proptest::prelude::*;

use super::*;

type Error = ProxyProtocolError;

fn v2(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE, &[version_command, family], &length, block].concat()
}

fn header(source: Option<&str>, length: usize) -> Parsed {
    let source = source.map(|text| text.parse().unwrap());
    Parsed::Header { source, length }
}

/// Adds bytes that the parser allows until a header is whole. Never stuck, if `NeedMore` is never said
/// in vain: the bytes are tried in an order that ends lines and fields first.
fn complete(mut bytes: Vec<u8>) -> Vec<u8> {
    while parse(&bytes) == Ok(Parsed::NeedMore) {
        let next = b"\n\r 0.:PROXYTC4UNKNW\0QIT\x20\x21\x11\xff".iter();
        let next = next.copied().find(|byte| {
            let longer = [&bytes[..], &[*byte]].concat();
            parse(&longer).is_ok()
        });
        bytes.push(next.expect("a byte that leads on"));
    }
    bytes
}

#[test]
fn a_sender_that_speaks_for_itself() {
    let read = Parsed::Header {
        source: None,
        length: LOCAL.len(),
    };
    assert_eq!(parse(LOCAL), Ok(read));
}

#[test]
fn lines_name_their_source() {
    for (line, source) in [
        ("TCP4 192.0.2.1 198.51.100.2 56324 443", "192.0.2.1:56324"),
        ("TCP4 255.255.255.255 0.0.0.0 0 65535", "255.255.255.255:0"),
        ("TCP6 2001:DB8::1 ::2 1 2", "[2001:db8::1]:1"),
        ("TCP6 2001:db8:0:0:0:0:0:1 :: 1 2", "[2001:db8::1]:1"),
        ("TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2", "192.0.2.1:1"),
        ("UNKNOWN", ""),
        ("UNKNOWN ", ""),
        ("UNKNOWN ::1 anything \0 at all", ""),
    ] {
        let bytes = format!("PROXY {line}\r\n");
        let source = Some(source).filter(|source| !source.is_empty());
        assert_eq!(
            parse(bytes.as_bytes()),
            Ok(header(source, bytes.len())),
            "{line:?}"
        );
    }
}

#[test]
fn malformed_lines_are_refused() {
    for (line, error) in [
        ("UNKNOWN a\nb", Error::Line),
        ("UNKNOWN a\rb", Error::Line),
        ("UNKNOWNS", Error::Protocol),
        ("tcp4 192.0.2.1 192.0.2.2 1 2", Error::Protocol),
        ("UDP4 192.0.2.1 192.0.2.2 1 2", Error::Protocol),
        (" TCP4 192.0.2.1 192.0.2.2 1 2", Error::Protocol),
        ("TCP4", Error::Line),
        ("TCP4 192.0.2.1 192.0.2.2 1", Error::Line),
        ("TCP4 192.0.2.1 192.0.2.2 1 2 ", Error::Line),
        ("TCP4 192.0.2.1 192.0.2.2 1 2 3", Error::Line),
        ("TCP4 192.0.2.1 192.0.2.2 1 2\rX", Error::Line),
        ("TCP4  192.0.2.1 192.0.2.2 1 2", Error::Address),
        ("TCP4 192.0.2.01 192.0.2.2 1 2", Error::Address),
        ("TCP4 192.0.2 192.0.2.2 1 2", Error::Address),
        ("TCP4 2001:db8::1 192.0.2.2 1 2", Error::Address),
        ("TCP6 192.0.2.1 2001:db8::1 1 2", Error::Address),
        ("TCP6 2001:db8::1 192.0.2.1 1 2", Error::Address),
        ("TCP6 2001:db8::192.0.2.1 ::1 1 2", Error::Address),
        ("TCP6 fe80::1%1 ::1 1 2", Error::Address),
        (
            "TCP6 0000:0000:0000:0000:0000:ffff:192.0.2.10 ::1 1 2",
            Error::Address,
        ),
        ("TCP6 1::2::3 ::1 1 2", Error::Address),
        ("TCP4 192.0.2.1 192.0.2.2 01 2", Error::Port),
        ("TCP4 192.0.2.1 192.0.2.2 +1 2", Error::Port),
        ("TCP4 192.0.2.1 192.0.2.2 1 65536", Error::Port),
        ("TCP4 192.0.2.1 192.0.2.2 1\t2", Error::Port),
        ("TCP4 192.0.2.1 192.0.2.2 1 2\n", Error::Port),
    ] {
        let bytes = format!("PROXY {line}\r\n");
        assert_eq!(parse(bytes.as_bytes()), Err(error), "{line:?}");
    }
}

#[test]
fn a_line_has_at_most_107_bytes() {
    let line = |length: usize| format!("PROXY UNKNOWN {:x<1$}\r\n", "", length - 16);
    assert_eq!(parse(line(107).as_bytes()), Ok(header(None, 107)));
    assert_eq!(parse(line(108).as_bytes()), Err(Error::TooLong));
    assert_eq!(parse(&line(107).as_bytes()[..106]), Ok(Parsed::NeedMore));
    assert_eq!(parse(&line(108).as_bytes()[..106]), Err(Error::TooLong));
}

#[test]
fn blocks() {
    let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 187, 4, 0, 0];
    let mut mapped = [0; 36];
    mapped[10..16].copy_from_slice(&[255, 255, 192, 0, 2, 1]);
    for (command, family, block, expected) in [
        (0x21, 0x11, &v4[..], Ok(Some("192.0.2.1:56324"))),
        (0x21, 0x12, &v4[..12], Ok(Some("192.0.2.1:56324"))),
        (0x21, 0x11, &v4[..11], Err(Error::TooShort(11))),
        (0x21, 0x21, &mapped, Ok(Some("192.0.2.1:0"))),
        (0x21, 0x22, &mapped[..35], Err(Error::TooShort(35))),
        (0x21, 0x31, &[1; 216], Ok(None)),
        (0x21, 0x32, &[1; 215], Err(Error::TooShort(215))),
        (0x21, 0x00, &v4, Ok(None)),
        (0x21, 0x10, &[], Ok(None)),
        (0x21, 0x41, &v4, Err(Error::Family(0x41))),
        (0x21, 0x13, &v4, Err(Error::Family(0x13))),
        (0x20, 0x11, &v4, Ok(None)),
        (0x20, 0xff, &[], Ok(None)),
        (0x22, 0x11, &v4, Err(Error::Command(2))),
        (0x11, 0x11, &v4, Err(Error::Version(1))),
        (0x20, 0x00, &[0; MAX_LENGTH - 16], Ok(None)),
        (0x20, 0x00, &[0; MAX_LENGTH - 15], Err(Error::TooLong)),
    ] {
        let bytes = v2(command, family, block);
        let expected = expected.map(|source| header(source, bytes.len()));
        assert_eq!(parse(&bytes), expected, "{command:#x} {family:#x}");
        for end in 0..bytes.len() {
            let needs_more = parse(&bytes[..end]) == Ok(Parsed::NeedMore);
            assert!(needs_more || expected.is_err(), "{end} of {family:#x}");
        }
    }
}

#[test]
fn other_protocols_are_told_at_once() {
    for bytes in [
        "GET / HTTP/1.1\r\n",
        "\x16\x03\x01",
        "p",
        "PROXY\t",
        "\r\n\r\nG",
    ] {
        assert_eq!(parse(bytes.as_bytes()), Err(Error::Signature), "{bytes:?}");
    }
    let long = [V2_SIGNATURE, &[0x21, 0x11, 4]].concat();
    assert_eq!(parse(&long), Err(Error::TooLong));
    assert_eq!(parse(b""), Ok(Parsed::NeedMore));
}

/// Addresses with runs of zeros and mapped ones among them, which are written in short forms.
fn any_ip() -> impl Strategy<Value = IpAddr> {
    let group = prop_oneof![Just(0), Just(0xffff), any::<u16>()];
    let v6 = prop::array::uniform8(group).prop_map(IpAddr::from);
    let mapped = any::<Ipv4Addr>().prop_map(|ip| ip.to_ipv6_mapped().into());
    prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::V4), v6, mapped]
}

fn any_header() -> impl Strategy<Value = (SocketAddr, Vec<u8>)> {
    let ends = || (any_ip(), any::<u16>(), any::<u16>());
    let line = ends().prop_map(|(ip, port, other)| {
        let family = if ip.is_ipv4() { 4 } else { 6 };
        let line = format!("PROXY TCP{family} {ip} {ip} {port} {other}\r\n");
        (SocketAddr::new(ip.to_canonical(), port), line.into_bytes())
    });
    let tlvs = prop::collection::vec(any::<u8>(), 0..300);
    let block = (ends(), tlvs).prop_map(|((ip, port, other), tlvs)| {
        let (family, octets) = match ip {
            IpAddr::V4(v4) => (0x11, v4.octets().to_vec()),
            IpAddr::V6(v6) => (0x21, v6.octets().to_vec()),
        };
        let ports = [port.to_be_bytes(), other.to_be_bytes()].concat();
        let block = [octets.clone(), octets, ports, tlvs].concat();
        (
            SocketAddr::new(ip.to_canonical(), port),
            v2(0x21, family, &block),
        )
    });
    prop_oneof![line, block]
}

proptest! {
    #[test]
    fn headers_round_trip_and_their_prefixes_need_more(
        (source, bytes) in any_header(),
        after in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (source, length) = (Some(source), bytes.len());
        prop_assert_eq!(parse(&bytes), Ok(Parsed::Header { source, length }));
        prop_assert_eq!(parse(&[&bytes[..], &after].concat()), parse(&bytes));
        for end in 0..length {
            prop_assert_eq!(parse(&bytes[..end]), Ok(Parsed::NeedMore));
        }
    }

    #[test]
    fn whatever_needs_more_can_become_a_header(
        (_, mut bytes) in any_header(),
        place in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(b" .:0a\r\n".to_vec())],
    ) {
        let place = place.index(bytes.len());
        bytes.truncate(place + 1);
        bytes[place] = byte;
        let whole = complete(bytes.clone());
        prop_assert!(whole.len() <= MAX_LENGTH);
        let is_header = matches!(parse(&whole), Ok(Parsed::Header { .. }));
        prop_assert!(is_header || (whole == bytes && parse(&bytes).is_err()));
    }

    #[test]
    fn no_bytes_panic_and_errors_are_final(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "PROXY (TCP[46]|UNKNOWN) [0-9a-f.: \r\n]{0,100}".prop_map(String::into_bytes),
        ],
        after in any::<u8>(),
    ) {
        let longer = [&bytes[..], &[after]].concat();
        if let error @ Err(_) = parse(&bytes) {
            prop_assert!(parse(&longer).is_err(), "{error:?}");
        }
        complete(bytes);
    }
}
