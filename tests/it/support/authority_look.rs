//! How the tests' ACME authority looks whether a name is somebody's: at the plain door (RFC 8555 section 8.3) or at the
//! encrypted one (RFC 8737 section 3).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use x509_parser::extensions::GeneralName;

use super::browser;

/// How long it waits for a door.
const PATIENCE: Duration = Duration::from_secs(10);
/// id-pe-acmeIdentifier.
const IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

pub async fn http(door: SocketAddr, host: &str, token: &str, proof: &str) -> Result<(), String> {
    if TcpStream::connect(door).await.is_err() {
        return Err(format!("nobody at {door}"));
    }
    let request = Request::get(format!("/.well-known/acme-challenge/{token}"))
        .header("host", host)
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = tokio::time::timeout(PATIENCE, browser::send(door, request)).await;
    let answer = answer
        .map_err(|_| "no answer")?
        .map_err(|error| error.to_string())?;
    if answer.status != 200 || answer.text().trim_end() != proof {
        return Err(format!("{} {:?}", answer.status, answer.text()));
    }
    Ok(())
}

pub async fn tls_alpn(door: SocketAddr, host: &str, proof: &str) -> Result<(), String> {
    let looked = tokio::time::timeout(PATIENCE, certificate(door, host)).await;
    let der = looked
        .map_err(|_| "no answer")?
        .map_err(|error| error.to_string())?;
    let (_, shown) =
        x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
    let names = shown.subject_alternative_name();
    let names = names.ok().flatten().ok_or("no names")?;
    let [GeneralName::DNSName(name)] = names.value.general_names[..] else {
        return Err("not exactly one name".into());
    };
    if name != host || shown.issuer() != shown.subject() {
        return Err(format!("{name}, or not self-signed"));
    }
    let mut extensions = shown.extensions().iter();
    let extension = extensions.find(|one| one.oid.to_id_string() == IDENTIFIER);
    let extension = extension.ok_or("no proof in it")?;
    let digest = digest::digest(&digest::SHA256, proof.as_bytes());
    let expected = [&[4, 32], digest.as_ref()].concat();
    if !extension.critical || extension.value != expected {
        return Err("another proof, or not critical".into());
    }
    Ok(())
}

/// What is shown to an authority.
pub async fn certificate(door: SocketAddr, host: &str) -> std::io::Result<CertificateDer<'static>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let socket = TcpStream::connect(door).await?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, socket).await?;
    let session = stream.get_ref().1;
    let shown = session
        .peer_certificates()
        .unwrap_or_default()
        .first()
        .cloned();
    let agreed = session.alpn_protocol() == Some(b"acme-tls/1");
    // Nothing is exchanged, and the other side says goodbye.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    shown
        .filter(|_| agreed && rest.is_empty())
        .ok_or_else(|| std::io::Error::other("not what an authority speaks"))
}

/// Takes any certificate: what it proves is in it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".into()))
    }

    /// With the key alone: the library refuses to read a certificate with this critical extension.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let unreadable = |_| rustls::Error::General("unreadable".into());
        let parsed = x509_parser::parse_x509_certificate(certificate);
        let (_, parsed) = parsed.map_err(unreadable)?;
        let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
