//! TLS of the stub and the driver, the same for every proxy: TLS 1.3, AES-128-GCM (what browsers prefer), X25519,
//! P-256 certificates, and session tickets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

/// Where the certificate goes.
#[derive(clap::Args)]
pub struct Options {
    /// Directory that gets cert.pem, key.pem and both.pem, which has both as one proxy wants it
    #[arg(long)]
    dir: PathBuf,
    /// Name in the certificate
    #[arg(long, default_value = "localhost")]
    host: String,
}

/// A certificate and key on disk, in PEM.
#[derive(clap::Args)]
pub struct Pair {
    /// Certificate to present
    #[arg(long)]
    pub certificate: PathBuf,
    /// Its key
    #[arg(long)]
    pub key: PathBuf,
}

/// Writes a self-signed P-256 certificate and its key.
pub fn write_certificate(options: &Options) -> anyhow::Result<()> {
    // rcgen's default key is ECDSA on P-256.
    let names = [options.host.clone(), "127.0.0.1".to_owned()];
    let pair = rcgen::generate_simple_self_signed(names).context("no certificate")?;
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    write(&options.dir.join("cert.pem"), &certificate)?;
    write(&options.dir.join("key.pem"), &key)?;
    write(
        &options.dir.join("both.pem"),
        &format!("{certificate}{key}"),
    )
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}

/// The stub's side.
pub fn server(pair: &Pair) -> anyhow::Result<Arc<ServerConfig>> {
    let certificate = CertificateDer::from_pem_file(&pair.certificate).context("no certificate")?;
    let key = PrivateKeyDer::from_pem_file(&pair.key).context("no key")?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// The driver's side, with a session store of its own: whoever wants to resume keeps the configuration.
pub fn client(resume: bool) -> anyhow::Result<Arc<ClientConfig>> {
    client_for(resume, b"http/1.1")
}

/// The same for HTTP/2.
pub fn client_h2() -> anyhow::Result<Arc<ClientConfig>> {
    client_for(false, b"h2")
}

fn client_for(resume: bool, protocol: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = if resume {
        Resumption::in_memory_sessions(4)
    } else {
        Resumption::disabled()
    };
    Ok(Arc::new(config))
}

/// Accepts every certificate and every signature: the driver measures the proxy, and need not spend on itself.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
