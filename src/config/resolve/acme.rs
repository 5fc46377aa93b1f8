//! The ACME settings. What an authority cannot do is a mistake here, and not a failed order later.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use url::{Host, Url};

use super::super::{AcmeChallenge, AcmeConfig, ExternalAccount, Secret};
use super::Reader;

impl Reader {
    /// `origins` are those that the certificate has to name; `None` where they could not be read.
    pub(super) fn acme(&mut self, origins: &[Option<&Url>], tls: bool) -> Option<AcmeConfig> {
        let challenge = self.parsed("ACME_CHALLENGE", "http-01 or tls-alpn-01", |text| {
            [AcmeChallenge::Http01, AcmeChallenge::TlsAlpn01]
                .into_iter()
                .find(|kind| kind.as_str() == text)
        });
        let email = self.parsed("ACME_EMAIL", "a mail address", |text| {
            let (name, host) = text.split_once('@')?;
            let fits = !name.is_empty() && !host.is_empty() && !text.contains([' ', ',', '?']);
            fits.then(|| text.to_owned())
        });
        let ca_file = self.parsed("ACME_CA_FILE", "a PEM file that exists", |text| {
            let path = PathBuf::from(text);
            path.is_file().then_some(path)
        });
        let external_account = self.external_account();
        let directory = self.parsed(
            "ACME_DIRECTORY",
            "the https:// address of an ACME authority's directory",
            |text| {
                let url: Url = text.parse().ok()?;
                (url.scheme() == "https" && url.has_host()).then_some(url)
            },
        )?;
        if !tls {
            let expected = "unset while TLS is off: whatever stands in front of the gateway has the certificate";
            self.wrong("ACME_DIRECTORY", expected);
        }
        if challenge == Some(AcmeChallenge::Http01) && self.text("HTTP_LISTEN").is_none() {
            let expected =
                "tls-alpn-01, or http-01 together with HTTP_LISTEN, where the authority asks";
            self.wrong("ACME_CHALLENGE", expected);
        }
        Some(AcmeConfig {
            directory,
            email,
            challenge: challenge.unwrap_or(AcmeChallenge::TlsAlpn01),
            ca_file,
            external_account,
            hosts: self.certifiable(origins),
        })
    }

    /// The hosts of `origins`, each of which has to be a name that can be somebody's.
    fn certifiable(&mut self, origins: &[Option<&Url>]) -> Vec<String> {
        let mut hosts = Vec::new();
        for url in origins.iter().copied().flatten() {
            match url.host() {
                Some(Host::Domain(name))
                    if name != "localhost" && !name.ends_with(".localhost") =>
                {
                    hosts.push(name.to_owned());
                }
                _ => {
                    let host = url.host_str().unwrap_or_default();
                    let expected = format!(
                        "unset, since no authority certifies {host}: PUBLIC_URL and DESKTOP_ORIGIN need host names of yours"
                    );
                    self.wrong("ACME_DIRECTORY", &expected);
                }
            }
        }
        hosts
    }

    fn external_account(&mut self) -> Option<ExternalAccount> {
        let (kid, key) = (self.text("ACME_EAB_KID"), self.text("ACME_EAB_KEY"));
        let key = key.map(|key| key.trim_end_matches('=').to_owned());
        match (kid, key) {
            (Some(kid), Some(key)) => {
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(&key);
                if bytes.is_ok_and(|bytes| !bytes.is_empty()) {
                    let key = Secret::new(key);
                    return Some(ExternalAccount { kid, key });
                }
                self.wrong(
                    "ACME_EAB_KEY",
                    "a key in base64url, as the authority shows it",
                );
            }
            (Some(_), None) => self.wrong("ACME_EAB_KID", "set together with ACME_EAB_KEY"),
            (None, Some(_)) => self.wrong("ACME_EAB_KEY", "set together with ACME_EAB_KID"),
            (None, None) => {}
        }
        None
    }
}
