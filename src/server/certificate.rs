//! The gateway's certificate: read from PEM files, made when there are none, and read again when the
//! files change, without touching a connection.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

use crate::config::TlsConfig;

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
        source: rustls::pki_types::pem::Error,
    },
    /// The file has no certificate.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
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
    current: RwLock<(Arc<CertifiedKey>, [Option<SystemTime>; 2])>,
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
            make(&files, hosts)?;
            tracing::warn!(cert = %files.cert.display(), "made a self-signed certificate; browsers will warn of it");
        }
        let times = modified(&files);
        let key = read(&files, &provider)?;
        Ok(Self {
            files,
            provider,
            current: RwLock::new((key, times)),
        })
    }

    /// Until when it is good, seconds since 1970; `None` if it does not say so in a way that can be read.
    #[must_use]
    pub fn expires_at(&self) -> Option<i64> {
        let (key, _) = &*self.current.read().unwrap_or_else(PoisonError::into_inner);
        let (_, leaf) = x509_parser::parse_x509_certificate(key.cert.first()?).ok()?;
        Some(leaf.validity().not_after.timestamp())
    }

    /// Whether it is for `host` (RFC 6125 section 6.4): by name, by a wildcard for its first part, or by address.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        let (key, _) = &*self.current.read().unwrap_or_else(PoisonError::into_inner);
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

    /// Reads the files again if they have changed. Files that cannot be used leave the old pair.
    pub fn refresh(&self) {
        let times = modified(&self.files);
        if self
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            == times
        {
            return;
        }
        match read(&self.files, &self.provider) {
            Ok(key) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = (key, times);
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
        Some(
            self.current
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .0
                .clone(),
        )
    }
}

fn modified(files: &TlsConfig) -> [Option<SystemTime>; 2] {
    [&files.cert, &files.key].map(|path| fs::metadata(path).and_then(|data| data.modified()).ok())
}

fn read(
    files: &TlsConfig,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::Read { path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(unreadable(&files.cert))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty(files.cert.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable(&files.key))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(CertificateError::Unusable)?;
    Ok(Arc::new(key))
}

/// Writes a self-signed P-256 pair for `hosts` and for this machine.
fn make(files: &TlsConfig, hosts: &[&str]) -> Result<(), CertificateError> {
    let names: Vec<String> = hosts
        .iter()
        .chain(&["localhost"])
        .map(ToString::to_string)
        .collect();
    let mut params = CertificateParams::new(names).map_err(CertificateError::Make)?;
    for address in [
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "Deskgate self-signed");
    params.distinguished_name = name;
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2050, 1, 1);
    let key = KeyPair::generate().map_err(CertificateError::Make)?;
    let certificate = params.self_signed(&key).map_err(CertificateError::Make)?;
    write(&files.key, &key.serialize_pem(), 0o600)?;
    write(&files.cert, &certificate.pem(), 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let failed = |source| CertificateError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed)
}
