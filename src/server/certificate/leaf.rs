//! What a certificate says of itself: for whom it is, and until when.

use std::net::IpAddr;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

/// What is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// From when on it is good, seconds since 1970.
    pub begins: i64,
    /// Until when.
    pub ends: i64,
    /// Whether nobody else vouches for it.
    pub self_signed: bool,
    /// SHA-256 of it, base64url.
    pub fingerprint: String,
}

/// `None` for one that cannot be read.
pub(super) fn facts(key: &CertifiedKey) -> Option<Facts> {
    let der = key.cert.first()?;
    let (_, leaf) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(Facts {
        begins: leaf.validity().not_before.timestamp(),
        ends: leaf.validity().not_after.timestamp(),
        self_signed: leaf.issuer() == leaf.subject() && key.cert.len() == 1,
        fingerprint: BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, der)),
    })
}

/// Whether it is for `host` (RFC 6125 section 6.4): by name, by a wildcard for its first part, or by address.
pub(super) fn names(key: &CertifiedKey, host: &str) -> bool {
    let Some(leaf) = key.cert.first() else {
        return false;
    };
    let Ok((_, leaf)) = x509_parser::parse_x509_certificate(leaf) else {
        return false;
    };
    let Ok(Some(names)) = leaf.subject_alternative_name() else {
        return false;
    };
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let parent = host.split_once('.').map(|(_, parent)| parent);
    names.value.general_names.iter().any(|name| match name {
        GeneralName::DNSName(name) => {
            let wild = name.strip_prefix("*.");
            name.eq_ignore_ascii_case(host)
                || wild.is_some_and(|wild| {
                    parent.is_some_and(|parent| wild.eq_ignore_ascii_case(parent))
                })
        }
        GeneralName::IPAddress(bytes) => match address {
            Some(IpAddr::V4(address)) => address.octets() == **bytes,
            Some(IpAddr::V6(address)) => address.octets() == **bytes,
            None => false,
        },
        _ => false,
    })
}
