//! What an ACME authority looks for at our doors while an order is under way: a text at the plain one (RFC 8555
//! section 8.3), or a certificate at the encrypted one (RFC 8737).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, CertificateError};

/// Below this path are the texts.
pub(super) const PATH: &str = "/.well-known/acme-challenge/";
/// The protocol by whose name an authority asks for a certificate (RFC 8737 section 6.2).
pub(super) const PROTOCOL: &[u8] = b"acme-tls/1";

/// The proofs that are shown now; clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    /// By token.
    texts: HashMap<String, String>,
    /// By host.
    certificates: HashMap<String, Arc<CertifiedKey>>,
}

impl Challenges {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        // It is whole between any two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows `text` to whoever asks for `token`, as long as the returned value lives.
    #[must_use]
    pub fn show_text(&self, token: &str, text: &str) -> Proof {
        self.shown().texts.insert(token.into(), text.into());
        Proof {
            challenges: self.clone(),
            token: Some(token.into()),
            host: None,
        }
    }

    /// Shows a certificate for `host` that holds `digest`, as long as the returned value lives.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn show_certificate(
        &self,
        host: &str,
        digest: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Proof, CertificateError> {
        let key = certified(host, digest, provider)?;
        let host = host.to_ascii_lowercase();
        self.shown().certificates.insert(host.clone(), key);
        Ok(Proof {
            challenges: self.clone(),
            token: None,
            host: Some(host),
        })
    }

    /// The text that `path` asks for, if it is shown.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PATH)?;
        self.shown().texts.get(token).cloned()
    }

    fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let host = host.to_ascii_lowercase();
        self.shown().certificates.get(&host).cloned()
    }
}

/// A proof that is being shown.
#[derive(Debug)]
pub struct Proof {
    challenges: Challenges,
    token: Option<String>,
    host: Option<String>,
}

impl Drop for Proof {
    fn drop(&mut self) {
        let mut shown = self.challenges.shown();
        if let Some(token) = &self.token {
            shown.texts.remove(token);
        }
        if let Some(host) = &self.host {
            shown.certificates.remove(host);
        }
    }
}

/// A self-signed certificate for `host` alone, with the proof in a critical extension (RFC 8737 section 3).
fn certified(
    host: &str,
    digest: &[u8],
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let names = vec![host.to_owned()];
    let mut params = CertificateParams::new(names).map_err(CertificateError::Make)?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(CertificateError::Make)?;
    let certificate = params.self_signed(&key).map_err(CertificateError::Make)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(CertificateError::Unusable)?;
    // Not compared with each other: the reader of certificates refuses this critical extension.
    let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
    Ok(Arc::new(certified))
}

/// Chooses the certificate of a connection: a proof for an authority, the gateway's own for everybody else.
#[derive(Debug)]
pub(super) struct Resolver {
    pub certificate: Arc<Certificate>,
    pub challenges: Challenges,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // An authority offers this protocol and no other; a browser does not know it.
        let asks = hello.alpn().is_some_and(|mut offered| {
            offered.next() == Some(PROTOCOL) && offered.next().is_none()
        });
        if asks {
            self.challenges.certificate(hello.server_name()?)
        } else {
            self.certificate.resolve(hello)
        }
    }
}
