//! A network of addresses in CIDR notation (RFC 4632, section 3.1; RFC 4291, section 2.3).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A network, or with the full prefix length a single host. A network inside `::ffff:0:0/96` is held as the
/// IPv4 network that it means; no other IPv6 network holds an IPv4 address, not even `::/0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    /// In bits.
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// What should be an address is none.
    #[error("is not an address or a network such as 10.0.0.0/8 or 2001:db8::/32")]
    Address,
    /// The prefix length is no number or larger than the address, whose bits are given.
    #[error("has a prefix length that is not a number from 0 to {0}")]
    Prefix(u8),
    /// The address lies inside the network that is given, and does not name it.
    #[error("has bits set beyond the prefix length; the network is {0}")]
    HostBits(Cidr),
}

impl Cidr {
    /// Whether `ip` lies in this network. An IPv4-mapped address counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        masked(ip.to_canonical(), self.prefix) == self.network
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or an address alone.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let bits = bits(ip);
        let prefix = match prefix {
            None => bits,
            Some(text) => number(text)
                .filter(|prefix| *prefix <= bits)
                .ok_or(CidrError::Prefix(bits))?,
        };
        let network = masked(ip, prefix);
        let cidr = Self { network, prefix }.normalised();
        if network == ip {
            Ok(cidr)
        } else {
            Err(CidrError::HostBits(cidr))
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl Cidr {
    fn normalised(self) -> Self {
        const MAPPED: u8 = 96;
        match (self.network.to_canonical(), self.prefix.checked_sub(MAPPED)) {
            (network @ IpAddr::V4(_), Some(prefix)) if self.network.is_ipv6() => {
                Self { network, prefix }
            }
            _ => self,
        }
    }
}

fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The address with all bits after the first `prefix` cleared.
fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    let hidden = u32::from(bits(ip).saturating_sub(prefix));
    // A shift by the whole width, which `/0` asks for, is none that Rust knows.
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(hidden).unwrap_or(0);
            IpAddr::from((v4.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(hidden).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

fn number(text: &str) -> Option<u8> {
    // `u8::from_str` would take a plus sign and leading zeros.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect(text)
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::/0", "::1", "::ffff:192.0.2.1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.1", "11.0.0.1"),
            ("10.0.0.128/25", "10.0.0.128", "10.0.0.127"),
        ] {
            let network = cidr(network);
            assert!(network.contains(inside.parse().unwrap()), "{network}");
            assert!(!network.contains(outside.parse().unwrap()), "{network}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, error) in [
            ("", CidrError::Address),
            ("proxy.example", CidrError::Address),
            ("10.0.0/8", CidrError::Address),
            (" 10.0.0.0/8", CidrError::Address),
            ("fe80::1%eth0", CidrError::Address),
            ("10.0.0.0/", CidrError::Prefix(32)),
            ("10.0.0.0/33", CidrError::Prefix(32)),
            ("10.0.0.0/+8", CidrError::Prefix(32)),
            ("10.0.0.0/08", CidrError::Prefix(32)),
            ("10.0.0.0/255.0.0.0", CidrError::Prefix(32)),
            ("::/129", CidrError::Prefix(128)),
            ("10.1.0.0/8", CidrError::HostBits(cidr("10.0.0.0/8"))),
            ("2001:db8::1/32", CidrError::HostBits(cidr("2001:db8::/32"))),
            (
                "::ffff:10.1.0.0/104",
                CidrError::HostBits(cidr("10.0.0.0/8")),
            ),
            ("::ffff:10.1.0.0/80", CidrError::HostBits(cidr("::/80"))),
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(error), "{text}");
        }
        let error = "10.1.2.3/8".parse::<Cidr>().unwrap_err();
        assert!(error.to_string().contains("10.0.0.0/8"), "{error}");
    }

    fn binary(ip: IpAddr) -> String {
        match ip {
            IpAddr::V4(v4) => format!("{:032b}", v4.to_bits()),
            IpAddr::V6(v6) => format!("{:0128b}", v6.to_bits()),
        }
    }

    proptest! {
            #[test]
            fn a_network_holds_what_shares_its_first_bits(
                ip in any::<IpAddr>(),
                (noise, shift) in (any::<u128>(), 0_u32..128),
                prefix in 0_u8..=128,
            ) {
                let ip = ip.to_canonical();
                let prefix = prefix.min(bits(ip));
                let network = Cidr { network: masked(ip, prefix), prefix };
                prop_assert_eq!(network.to_string().parse(), Ok(network.normalised()));
                let other = match ip {
                    IpAddr::V4(v4) => {
     let [a, b, c, d, ..] = (noise >> (shift / 4)).to_be_bytes();
     let noise = Ipv4Addr::new(a, b, c, d).to_bits();
     Ipv4Addr::from_bits(v4.to_bits() ^ noise).into()
    },
                    IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() ^ (noise >> shift)).into(),
                };
                let shared = binary(other).starts_with(&binary(ip)[..prefix.into()]);
                prop_assert_eq!(network.contains(other), shared);
                prop_assert!(network.contains(ip));
            }
        }
}
