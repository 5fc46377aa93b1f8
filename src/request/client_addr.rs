//! Who the client is when requests come through proxies, and how that is told to the desktop behind us.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::model::cidr::Cidr;

/// Most entries of `X-Forwarded-For` that are looked at: far more than there are proxies in a row.
const MAX_ENTRIES: usize = 32;

/// The proxies whose `X-Forwarded-For` is believed. The default believes nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Cidr>);

impl TrustedProxies {
    /// Believes the proxies in these networks.
    #[must_use]
    pub fn new(networks: Vec<Cidr>) -> Self {
        Self(networks)
    }

    /// Whether `ip` is one of the proxies.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }

    /// The client of a request that `peer` sent, given the values of its `X-Forwarded-For` fields in order.
    ///
    /// Each proxy appends whom it got the request from, so only what trusted proxies appended is true:
    /// from the right, the first address that is not trusted is the client's. When an entry is no address
    /// or the entries end, the last trusted address counts, as it vouches for nobody further. IPv4-mapped
    /// addresses are given as IPv4.
    #[must_use]
    pub fn client<V: AsRef<[u8]>>(
        &self,
        peer: IpAddr,
        forwarded_for: impl DoubleEndedIterator<Item = V>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut left = MAX_ENTRIES;
        for value in forwarded_for.rev() {
            for entry in value.as_ref().rsplit(|byte| *byte == b',') {
                // An untrusted client has said the rest itself.
                if left == 0 || !self.contains(client) {
                    return client;
                }
                let Some(ip) = address(entry) else {
                    return client;
                };
                client = ip;
                left -= 1;
            }
        }
        client
    }
}

/// One entry: an address, which may have a port behind it and, if IPv6, brackets around it.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    // A zone means nothing on another machine (RFC 4007, section 6).
    if text.contains('%') {
        return None;
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let ip = match bare {
        Some(bare) => IpAddr::V6(bare.parse().ok()?),
        None => text
            .parse()
            .or_else(|_| text.parse().map(|address: SocketAddr| address.ip()))
            .ok()?,
    };
    Some(ip.to_canonical())
}

/// The value of a `Forwarded` field (RFC 7239, section 4) that tells who the client is, and at which host
/// and by which scheme it asked.
#[must_use]
pub fn forwarded(client: IpAddr, host: &str, scheme: &str) -> String {
    format!("for={}{}", node(client), forwarded_by(host, scheme))
}

/// The client in a `Forwarded` field.
#[must_use]
pub fn node(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => value(&format!("[{v6}]")),
    }
}

/// What a `Forwarded` field has behind the client, the same for all requests to one host.
#[must_use]
pub fn forwarded_by(host: &str, scheme: &str) -> String {
    format!(";host={};proto={}", value(host), value(scheme))
}

/// A token as it is, anything else as a quoted string (RFC 9110, sections 5.6.2 and 5.6.4). What a quoted
/// string cannot hold is left out, so that nothing can end the field.
fn value(text: &str) -> String {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(token) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars().filter(|char| matches!(char, ' '..='~')) {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    quoted
}

/// What counts as one client: an IPv4 address, mapped or not, or the /64 of an IPv6 address, which is the least
/// that a network gets and whose addresses one host can take at will (RFC 4291, section 2.5.1; RFC 8981).
#[must_use]
pub fn client_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "2001:db8:1::/48"];
        TrustedProxies::new(networks.map(|text| text.parse().unwrap()).to_vec())
    }

    fn client(peer: &str, fields: &[&str]) -> String {
        let client = proxies().client(peer.parse().unwrap(), fields.iter());
        client.to_string()
    }

    #[test]
    fn the_client_is_the_first_untrusted_address_from_the_right() {
        for (peer, fields, expected) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            (
                "10.0.0.1",
                &["203.0.113.9,\t10.0.0.3 , 10.0.0.2"],
                "203.0.113.9",
            ),
            (
                "10.0.0.1",
                &["198.51.100.1", "203.0.113.9", "10.0.0.2"],
                "203.0.113.9",
            ),
            (
                "10.0.0.1",
                &["203.0.113.9, 10.0.0.2", "2001:db8:1::2"],
                "203.0.113.9",
            ),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("2001:db8:1::1", &["2001:db8:2::1"], "2001:db8:2::1"),
            ("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
        ] {
            assert_eq!(client(peer, fields), expected, "{peer} {fields:?}");
        }
    }

    #[test]
    fn entries_may_have_ports() {
        for (entry, expected) in [
            ("203.0.113.9:567", "203.0.113.9"),
            ("[2001:db8::1]:567", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(client("10.0.0.1", &[entry]), expected);
        }
    }

    #[test]
    fn a_malformed_entry_ends_the_walk() {
        for entry in [
            "",
            "unknown",
            "_hidden",
            "203.0.113.9:",
            "203.0.113.9:65536",
            "[203.0.113.9]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[[2001:db8::1]]",
            "fe80::1%eth0",
            "[fe80::1%1]:2",
            "203.0.113.09",
            "\"203.0.113.9\"",
            "for=203.0.113.9",
            "203.0.113.9 10.0.0.5",
            "ü",
        ] {
            let field = format!("198.51.100.1, {entry}, 10.0.0.2");
            assert_eq!(client("10.0.0.1", &[&field]), "10.0.0.2", "{entry:?}");
            assert_eq!(
                client("10.0.0.1", &["198.51.100.1", entry]),
                "10.0.0.1",
                "{entry:?}"
            );
        }
        let binary = proxies().client([10, 0, 0, 1].into(), [b"203.0.113.9, \xff"].into_iter());
        assert_eq!(binary, IpAddr::from([10, 0, 0, 1]));
    }

    #[test]
    fn only_so_many_entries_are_looked_at() {
        let hops = |count: usize| format!("203.0.113.9{}", ", 10.0.0.2".repeat(count));
        assert_eq!(client("10.0.0.1", &[&hops(MAX_ENTRIES - 1)]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[&hops(MAX_ENTRIES)]), "10.0.0.2");
    }

    #[test]
    fn forwarded_quotes_only_what_must_be() {
        for (ip, host, expected) in [
            (
                "192.0.2.1",
                "desk.example",
                "for=192.0.2.1;host=desk.example;proto=https",
            ),
            (
                "::ffff:192.0.2.1",
                "desk.example",
                "for=192.0.2.1;host=desk.example;proto=https",
            ),
            (
                "192.0.2.1",
                "desk.example:8443",
                "for=192.0.2.1;host=\"desk.example:8443\";proto=https",
            ),
            (
                "2001:db8::1",
                "[::1]",
                "for=\"[2001:db8::1]\";host=\"[::1]\";proto=https",
            ),
            ("192.0.2.1", "", "for=192.0.2.1;host=\"\";proto=https"),
            (
                "192.0.2.1",
                "a\"\\\r\nb",
                "for=192.0.2.1;host=\"a\\\"\\\\b\";proto=https",
            ),
        ] {
            assert_eq!(forwarded(ip.parse().unwrap(), host, "https"), expected);
        }
    }

    proptest! {
        #[test]
        fn what_a_client_claims_changes_nothing(
            claimed in prop::collection::vec(any::<Vec<u8>>(), 0..4),
            ip in any::<IpAddr>().prop_filter("untrusted", |ip| !proxies().contains(*ip)),
            hops in 0_usize..6,
        ) {
            let appended = format!("{ip}{}", ", 10.0.0.2".repeat(hops));
            let fields = claimed.into_iter().chain([appended.into_bytes()]);
            let fields: Vec<_> = fields.collect();
            let peer = IpAddr::from([10, 0, 0, 1]);
            prop_assert_eq!(proxies().client(peer, fields.iter()), ip.to_canonical());
            prop_assert_eq!(proxies().client(ip, fields.iter()), ip.to_canonical());
        }

        #[test]
        fn a_forwarded_value_can_be_read_back(ip in any::<IpAddr>(), host in "[ -~]{0,40}") {
            let text = forwarded(ip, &host, "https");
            prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            let (_, rest) = text.split_once(";host=").unwrap();
            let written = rest.strip_suffix(";proto=https").unwrap();
            let inner = written.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            let mut read = String::new();
            let mut escaped = false;
            for char in inner.unwrap_or(written).chars() {
                escaped = inner.is_some() && char == '\\' && !escaped;
                if !escaped {
                    read.push(char);
                }
            }
            prop_assert_eq!(read, host);
        }
    }
}
