//! Where the gateway orders its certificate, and how it proves that its names are its own.

use std::path::PathBuf;

use url::Url;

use super::Secret;

/// An ACME authority (RFC 8555) and our account there.
#[derive(Clone, Debug)]
pub struct AcmeConfig {
    /// The authority's directory (section 7.1.1); scheme https.
    pub directory: Url,
    /// Where the authority may write to when something is wrong, if anywhere.
    pub email: Option<String>,
    /// How names are proven.
    pub challenge: AcmeChallenge,
    /// Further trusted roots, PEM.
    pub ca_file: Option<PathBuf>,
    /// The account elsewhere that ours belongs to (section 7.3.4), if the authority wants one.
    pub external_account: Option<ExternalAccount>,
    /// The names to be certified: those of the portal and of the desktops' origin.
    pub hosts: Vec<String>,
}

/// How a name is proven to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// A text at the plain door, which the authority reaches at port 80 (RFC 8555 section 8.3).
    Http01,
    /// A certificate at the encrypted door, which the authority reaches at port 443 (RFC 8737).
    TlsAlpn01,
}

impl AcmeChallenge {
    /// Its name in the protocol and in the settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// An account that somebody opened at the authority by other means.
#[derive(Clone, Debug)]
pub struct ExternalAccount {
    /// Its name.
    pub kid: String,
    /// The key that binds ours to it, base64url.
    pub key: Secret,
}
