//! The gateway's certificate: read from PEM files, made when there are none, and read again when the
//! files change, without touching a connection.

mod files;
mod leaf;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::TlsConfig;
pub use leaf::Facts;

/// How often the files are looked at.
pub const WATCH_PERIOD: std::time::Duration = std::time::Duration::from_secs(10);

/// What is wrong with the certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The file has no certificate.
    #[error("{} holds no certificate", .0.display())]
    EmptyFile(PathBuf),
    /// There is no certificate in the chain.
    #[error("the chain holds no certificate")]
    Empty,
    /// The chain is not PEM.
    #[error("the chain cannot be read")]
    Chain(#[source] pem::Error),
    /// The key is not PEM.
    #[error("the key cannot be read")]
    Key(#[source] pem::Error),
    /// It is for others, or not good now.
    #[error("the certificate does not name all hosts, or is not good at this time")]
    Unfit,
    /// Key and certificate do not fit, or the key is of an unknown kind.
    #[error("certificate and key cannot be used together")]
    Unusable(#[source] rustls::Error),
    /// A self-signed pair cannot be made.
    #[error("a self-signed certificate cannot be made")]
    Make(#[source] rcgen::Error),
    /// It cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The certificate in use; replaced as a whole.
#[derive(Debug)]
pub struct Certificate {
    files: TlsConfig,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// When the files were written that it is from. Held while they are read or written, so that nobody sees them
    /// between the one and the other.
    times: Mutex<[Option<SystemTime>; 2]>,
}

impl Certificate {
    /// Reads the files, or makes a self-signed pair for `hosts` when neither is there.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood; the error names it.
    pub fn load(
        files: TlsConfig,
        hosts: &[&str],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, CertificateError> {
        if !files.cert.exists() && !files.key.exists() {
            files::make(&files, hosts)?;
            tracing::warn!(cert = %files.cert.display(), "made a self-signed certificate; browsers will warn of it");
        }
        let times = files::modified(&files);
        let key = read(&files, &provider)?;
        Ok(Self {
            files,
            provider,
            current: RwLock::new(key),
            times: Mutex::new(times),
        })
    }

    /// What it says of itself; `None` if that cannot be read.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        leaf::facts(&self.key())
    }

    /// Until when it is good, seconds since 1970; `None` if it does not say so in a way that can be read.
    #[must_use]
    pub fn expires_at(&self) -> Option<i64> {
        self.facts().map(|facts| facts.ends)
    }

    /// Whether it is for `host` (RFC 6125 section 6.4): by name, by a wildcard for its first part, or by address.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        leaf::names(&self.key(), host)
    }

    fn key(&self) -> Arc<CertifiedKey> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, key: Arc<CertifiedKey>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    fn times(&self) -> MutexGuard<'_, [Option<SystemTime>; 2]> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays the key of the next pair beside that of this one.
    ///
    /// # Errors
    /// It cannot be written there.
    pub fn lay_key(&self, key: &str) -> Result<(), CertificateError> {
        files::lay_key(&self.files, key)
    }

    /// Puts the key that lies there and this chain in the place of the pair in use, and uses them, if they fit each
    /// other and are good now for all `hosts`.
    ///
    /// # Errors
    /// They are not, or cannot be written.
    pub fn replace(
        &self,
        (chain, key): (&str, &str),
        hosts: &[String],
        now: i64,
    ) -> Result<(), CertificateError> {
        let certified = parse(chain.as_bytes(), key.as_bytes(), &self.provider)?;
        let good =
            leaf::facts(&certified).is_some_and(|facts| (facts.begins..facts.ends).contains(&now));
        if !good || !hosts.iter().all(|host| leaf::names(&certified, host)) {
            return Err(CertificateError::Unfit);
        }
        let mut times = self.times();
        files::replace(&self.files, chain)?;
        *times = files::modified(&self.files);
        self.set(certified);
        Ok(())
    }

    /// Finishes a replacement that was interrupted by the end of a process. For whoever is alone with the files.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn finish_replacement(files: &TlsConfig) -> Result<(), CertificateError> {
        files::finish(files)
    }

    /// Reads the files again if they have changed. Files that cannot be used leave the old pair.
    pub fn refresh(&self) {
        let mut known = self.times();
        let times = files::modified(&self.files);
        if *known == times {
            return;
        }
        match read(&self.files, &self.provider) {
            Ok(key) => {
                *known = times;
                self.set(key);
                tracing::info!(cert = %self.files.cert.display(), "certificate replaced");
            }
            Err(error) => {
                tracing::error!(error = %crate::telemetry::ErrorChain(&error), "changed certificate is unusable");
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

fn read(
    files: &TlsConfig,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::Read { path, source }
    };
    let bytes = |path: &Path| {
        std::fs::read(path)
            .map_err(pem::Error::Io)
            .map_err(unreadable(path))
    };
    let (chain, key) = (bytes(&files.cert)?, bytes(&files.key)?);
    parse(&chain, &key, provider).map_err(|error| match error {
        CertificateError::Empty => CertificateError::EmptyFile(files.cert.clone()),
        CertificateError::Chain(source) => unreadable(&files.cert)(source),
        CertificateError::Key(source) => unreadable(&files.key)(source),
        error => error,
    })
}

fn parse(
    chain: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(CertificateError::Chain)?;
    if chain.is_empty() {
        return Err(CertificateError::Empty);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateError::Key)?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(CertificateError::Unusable)?;
    Ok(Arc::new(key))
}
