//! The range of addresses from which each desktop gets a small network of its own.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Prefix length of a desktop's network: the engine's side, the container, and room for what the engine adds.
const SMALL: u8 = 29;
/// Addresses of such a network.
const SIZE: u32 = 1 << (32 - SMALL);
/// Prefix lengths of ranges that make sense: from all of a private class A network to 32 small ones.
const LARGEST: u8 = 8;
const SMALLEST: u8 = 24;

/// A range of IPv4 addresses, cut into networks of one desktop each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnetPool {
    first: u32,
    prefix: u8,
}

/// Text that is no range of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an IPv4 network between /{LARGEST} and /{SMALLEST}")]
pub struct InvalidPool;

impl SubnetPool {
    /// How many networks there are.
    #[must_use]
    pub fn count(self) -> u32 {
        1 << (SMALL - self.prefix)
    }

    /// The networks, lowest first.
    pub fn subnets(self) -> impl Iterator<Item = Subnet> {
        (0..self.count()).map(move |index| Subnet {
            first: self.first + index * SIZE,
            last: self.first + index * SIZE + (SIZE - 1),
        })
    }

    /// The engine's side of the network of a desktop with this address.
    #[must_use]
    pub fn engine_side(self, desktop: Ipv4Addr) -> Ipv4Addr {
        Ipv4Addr::from_bits(Subnet::of(desktop, SMALL).first + 1)
    }

    /// The whole range.
    #[must_use]
    pub fn range(self) -> Subnet {
        Subnet {
            first: self.first,
            last: self.first + (self.count() * SIZE - 1),
        }
    }
}

impl FromStr for SubnetPool {
    type Err = InvalidPool;

    fn from_str(text: &str) -> Result<Self, InvalidPool> {
        let (address, prefix) = text.split_once('/').ok_or(InvalidPool)?;
        let prefix: u8 = prefix.parse().map_err(|_| InvalidPool)?;
        if !(LARGEST..=SMALLEST).contains(&prefix) {
            return Err(InvalidPool);
        }
        let whole = Subnet::from_str(text)?;
        let address: Ipv4Addr = address.parse().map_err(|_| InvalidPool)?;
        (whole.first == address.to_bits())
            .then_some(Self {
                first: whole.first,
                prefix,
            })
            .ok_or(InvalidPool)
    }
}

impl fmt::Display for SubnetPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.first), self.prefix)
    }
}

/// IPv4 addresses that follow each other: a network, ours or anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    first: u32,
    last: u32,
}

impl Subnet {
    /// The network of an address and a prefix length.
    #[must_use]
    pub fn of(address: Ipv4Addr, prefix: u8) -> Self {
        let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        Self {
            first: address.to_bits() & !hosts,
            last: address.to_bits() | hosts,
        }
    }

    /// Whether some address is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Name of the engine's side of a desktop's network: at most 15 characters (Linux, `IFNAMSIZ`), unique as the
    /// network is, and told from all other interfaces by its beginning; that of a network without the outside from ours
    /// with it, so that a firewall can close more there.
    #[must_use]
    pub fn bridge(self, internal: bool) -> String {
        let kind = if internal { "n" } else { "" };
        format!("dg-{kind}{:08x}", self.first)
    }
}

impl FromStr for Subnet {
    type Err = InvalidPool;

    /// Reads `10.0.0.0/8`, or with any address of the network in front.
    fn from_str(text: &str) -> Result<Self, InvalidPool> {
        let (address, prefix) = text.split_once('/').ok_or(InvalidPool)?;
        let address = address.parse().map_err(|_| InvalidPool)?;
        let prefix: u8 = prefix.parse().map_err(|_| InvalidPool)?;
        (prefix <= 32)
            .then(|| Self::of(address, prefix))
            .ok_or(InvalidPool)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.last - self.first;
        let prefix = 32 - hosts.count_ones();
        write!(f, "{}/{prefix}", Ipv4Addr::from_bits(self.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_networks_that_do_not_meet() {
        let pool: SubnetPool = "10.213.0.0/16".parse().expect("a range");
        assert_eq!(pool.count(), 8192);
        let subnets: Vec<Subnet> = pool.subnets().collect();
        assert_eq!(subnets.len(), 8192);
        assert_eq!(subnets[0].to_string(), "10.213.0.0/29");
        assert_eq!(subnets[1].to_string(), "10.213.0.8/29");
        assert_eq!(subnets[8191].to_string(), "10.213.255.248/29");
        assert!(subnets.windows(2).all(|two| !two[0].overlaps(two[1])));
        assert!(subnets.iter().all(|one| pool.range().overlaps(*one)));
        assert_eq!(pool.range().to_string(), pool.to_string());
        assert_eq!(subnets[1].bridge(false), "dg-0ad50008");
        assert_eq!(subnets[1].bridge(true), "dg-n0ad50008");
        let side = pool.engine_side(Ipv4Addr::new(10, 213, 0, 10));
        assert_eq!(side, Ipv4Addr::new(10, 213, 0, 9));
    }

    #[test]
    fn networks_meet_in_an_address_of_both() {
        let subnet = |text: &str| text.parse::<Subnet>().expect(text);
        let one = subnet("10.213.0.8/29");
        for other in [
            "10.213.0.12/30",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "10.213.0.15/32",
        ] {
            assert!(one.overlaps(subnet(other)), "{other}");
        }
        for other in ["10.213.0.0/29", "10.213.0.16/28", "10.212.0.0/16"] {
            assert!(!one.overlaps(subnet(other)), "{other}");
        }
        assert_eq!(subnet("10.213.0.9/29"), one);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "off",
            "10.0.0.0",
            "10.0.0.0/7",
            "10.0.0.0/25",
            "10.1.0.0/8",
            "fd00::/16",
            "10.0.0.0/x",
        ] {
            assert_eq!(text.parse::<SubnetPool>(), Err(InvalidPool), "{text}");
        }
    }
}
