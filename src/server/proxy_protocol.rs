//! The PROXY protocol, versions 1 and 2: reads who connected to the balancer in front of us from the first
//! bytes of a connection. Reads no socket and trusts nobody: whether a peer may say this at all is decided
//! by the caller, which must never guess whether a header is there. Sections are those of `proxy-protocol.txt`,
//! which comes with `HAProxy`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Most bytes of an accepted header, and so all that a caller must buffer. Section 2 designs headers for
/// 536 bytes; senders that add many TLVs of a TLS session go a little beyond.
pub const MAX_LENGTH: usize = 1024;
/// Most bytes of a version 1 line, CRLF included (section 2.1).
const MAX_LINE: usize = 107;
/// Most characters of an address in a version 1 line (section 2.1).
const MAX_ADDRESS: usize = 39;
const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The header of a sender that speaks for itself, as a health check does: version 2, LOCAL (section 2.2).
pub const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// Bytes of a version 2 header before its addresses (section 2.2).
const V2_FIXED: usize = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A header may have begun; read more bytes and parse all of them again.
    NeedMore,
    /// A whole header.
    Header {
        /// Who connected to the sender; an IPv4-mapped IPv6 address is given as IPv4. `None` when the
        /// sender speaks for itself (LOCAL) or does not say (UNKNOWN, UNSPEC, a UNIX socket): then the
        /// peer's own address counts.
        source: Option<SocketAddr>,
        /// Bytes of the header; what the client sent follows.
        length: usize,
    },
}

/// Why a connection does not begin with a header that we accept. All of them end the connection (section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyProtocolError {
    /// The first bytes are no signature of either version.
    #[error("the connection does not begin with a PROXY protocol header")]
    Signature,
    /// No end within the bound.
    #[error("the PROXY protocol header is too long")]
    TooLong,
    /// Version 1: neither TCP4, TCP6 nor UNKNOWN.
    #[error("the PROXY line names no known protocol")]
    Protocol,
    /// Version 1: an address that is not canonical or not of the announced family.
    #[error("the PROXY line has a wrong address")]
    Address,
    /// Version 1: a port that is not a plain decimal number from 0 to 65535.
    #[error("the PROXY line has a wrong port")]
    Port,
    /// Version 1: too few or too many fields, a CR or LF alone, or bytes that are not text.
    #[error("the PROXY line is malformed")]
    Line,
    /// Version 2: the upper half of the 13th byte is not 2.
    #[error("the PROXY protocol has no version {0}")]
    Version(u8),
    /// Version 2: neither LOCAL (0) nor PROXY (1).
    #[error("the PROXY protocol has no command {0}")]
    Command(u8),
    /// Version 2: an unassigned address family or transport.
    #[error("the PROXY protocol has no address family and transport {0:#04x}")]
    Family(u8),
    /// Version 2: the stated length does not hold the addresses of the stated family.
    #[error("the PROXY protocol header is too short for its addresses: {0} bytes")]
    TooShort(usize),
}

/// Reads a header from the start of `bytes`; never looks beyond its end. Gives `NeedMore` exactly as long
/// as some further bytes would complete a header, and an error from the first byte on that rules this out.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(got, want)| got == want);
    if begins(V2_SIGNATURE) {
        binary(bytes)
    } else if begins(V1_SIGNATURE) {
        text(bytes)
    } else {
        Err(ProxyProtocolError::Signature)
    }
}

/// Section 2.1: one line that ends in CRLF.
fn text(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    // The line feed needs the last place, so a carriage return beyond the window comes too late.
    let window = &bytes[..bytes.len().min(MAX_LINE - 1)];
    let end = window.iter().position(|byte| *byte == b'\r');
    let line = &window[..end.unwrap_or(window.len())];
    let Some(line) = line.get(V1_SIGNATURE.len()..) else {
        return Ok(Parsed::NeedMore);
    };
    let source = match line.strip_prefix(b"UNKNOWN") {
        Some([]) => None,
        Some([b' ', ignored @ ..]) if !ignored.contains(&b'\n') => None,
        Some([b' ', ..]) => return Err(ProxyProtocolError::Line),
        Some(_) => return Err(ProxyProtocolError::Protocol),
        None => fields(line, end.is_some())?,
    };
    match end.map(|end| (end, bytes.get(end + 1))) {
        None if window.len() == MAX_LINE - 1 => Err(ProxyProtocolError::TooLong),
        None | Some((_, None)) => Ok(Parsed::NeedMore),
        Some((end, Some(b'\n'))) => {
            let length = end + 2;
            Ok(Parsed::Header { source, length })
        }
        Some(_) => Err(ProxyProtocolError::Line),
    }
}

/// The fields of a TCP line after `PROXY `. Of a line that has not `ended`, the last field may be a part.
fn fields(line: &[u8], ended: bool) -> Result<Option<SocketAddr>, ProxyProtocolError> {
    let line = std::str::from_utf8(line).map_err(|_| ProxyProtocolError::Line)?;
    let fields: Vec<&str> = line.split(' ').collect();
    let v6 = fields[0] == "TCP6";
    for (index, field) in fields.iter().enumerate() {
        let open = !ended && index + 1 == fields.len();
        let (fits, error) = match index {
            0 => (protocol(field, open), ProxyProtocolError::Protocol),
            1 | 2 if open => (begins_address(field, v6), ProxyProtocolError::Address),
            1 | 2 => (address(field, v6).is_some(), ProxyProtocolError::Address),
            3 | 4 => {
                let fits = port(field).is_some() || (open && field.is_empty());
                (fits, ProxyProtocolError::Port)
            }
            _ => (false, ProxyProtocolError::Line),
        };
        if !fits {
            return Err(error);
        }
    }
    match fields[..] {
        _ if !ended => Ok(None),
        [_, source, _, number, _] => Ok(address(source, v6)
            .zip(port(number))
            .map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))),
        _ => Err(ProxyProtocolError::Line),
    }
}

fn protocol(field: &str, open: bool) -> bool {
    let begins = |name: &str| open && name.starts_with(field);
    matches!(field, "TCP4" | "TCP6") || ["TCP4", "TCP6", "UNKNOWN"].into_iter().any(begins)
}

/// An address of the right family. Dots in an IPv6 address are taken of an IPv4-mapped one only, which
/// senders on dual-stack sockets print so (RFC 5952, section 5).
fn address(field: &str, v6: bool) -> Option<IpAddr> {
    if !v6 {
        return field.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let ip: Ipv6Addr = field.parse().ok()?;
    let dots = !field.contains('.') || ip.to_ipv4_mapped().is_some();
    (dots && field.len() <= MAX_ADDRESS).then_some(IpAddr::V6(ip))
}

/// Whether an address may begin like this: one of the shortest endings of all addresses then completes it.
fn begins_address(field: &str, v6: bool) -> bool {
    const V4: &[&str] = &["0.0.0.0", ".0.0.0", "0.0.0", ".0.0", "0.0", ".0", "0", ""];
    const V6: &[&str] = &["", ":", "::", "0", ".0", "0.0", ".0.0", "0.0.0"];
    let completes = |ending: &&str| address(&format!("{field}{ending}"), v6).is_some();
    if v6 { V6 } else { V4 }.iter().any(completes)
}

fn port(field: &str) -> Option<u16> {
    let digits = field.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (field == "0" || !field.starts_with('0'));
    plain.then(|| field.parse().ok())?
}

/// Section 2.2: sixteen fixed bytes, addresses, and TLVs, which are skipped.
fn binary(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    let fixed = |index: usize| bytes.get(index).copied();
    let relayed = match fixed(12) {
        None => return Ok(Parsed::NeedMore),
        Some(0x20) => false,
        Some(0x21) => true,
        Some(byte) if byte >> 4 == 2 => return Err(ProxyProtocolError::Command(byte & 0xf)),
        Some(byte) => return Err(ProxyProtocolError::Version(byte >> 4)),
    };
    let Some(family) = fixed(13) else {
        return Ok(Parsed::NeedMore);
    };
    // Of LOCAL, the family is ignored.
    let least = if relayed {
        addresses_length(family)?
    } else {
        0
    };
    let Some(high) = fixed(14) else {
        return Ok(Parsed::NeedMore);
    };
    // The high byte alone may pass the bound already.
    let low = fixed(15);
    let rest = usize::from(u16::from_be_bytes([high, low.unwrap_or(0)]));
    let length = V2_FIXED + rest;
    if length > MAX_LENGTH {
        return Err(ProxyProtocolError::TooLong);
    }
    if low.is_some() && rest < least {
        return Err(ProxyProtocolError::TooShort(rest));
    }
    let Some(block) = low.and_then(|_| bytes.get(V2_FIXED..length)) else {
        return Ok(Parsed::NeedMore);
    };
    let source = match family {
        _ if !relayed => None,
        0x11 | 0x12 => source::<4>(block),
        0x21 | 0x22 => source::<16>(block),
        _ => None,
    };
    Ok(Parsed::Header { source, length })
}

/// Bytes that the two addresses of a family and transport take; 0 where either is UNSPEC, whose addresses
/// are ignored.
fn addresses_length(family: u8) -> Result<usize, ProxyProtocolError> {
    match (family >> 4, family & 0xf) {
        (0..=3, 0) | (0, 1 | 2) => Ok(0),
        (1, 1 | 2) => Ok(2 * 4 + 2 * 2),
        (2, 1 | 2) => Ok(2 * 16 + 2 * 2),
        (3, 1 | 2) => Ok(2 * 108),
        _ => Err(ProxyProtocolError::Family(family)),
    }
}

/// The source in a block of two addresses of `N` bytes, then two ports.
fn source<const N: usize>(block: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let ip = IpAddr::from(*block.first_chunk::<N>()?);
    let port = u16::from_be_bytes(*block.get(2 * N..)?.first_chunk()?);
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;
