//! The way to one desktop: its address, its credentials, and a fresh connection to it.
//!
//! KasmVNC answers one request per connection and never sends a TLS `close_notify`, so connections are
//! neither pooled nor expected to end politely.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;

use crate::config::Secret;
use crate::model::template::{Auth, Scheme, Template};
use crate::stream::{ClientStream, DesktopStream, Scratch};

/// How long a desktop may take to accept a connection and finish the TLS handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a desktop is and what it wants to see.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Address of its port.
    pub addr: SocketAddr,
    /// TLS or not.
    pub scheme: Scheme,
    /// `Authorization` that it wants on every request.
    pub authorization: Option<HeaderValue>,
}

/// Why a desktop could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It did not accept.
    #[error("the desktop does not accept connections")]
    Connect(#[source] io::Error),
    /// It accepted, and the TLS handshake failed.
    #[error("the TLS handshake with the desktop failed")]
    Tls(#[source] io::Error),
    /// It took too long.
    #[error("the desktop did not accept a connection in time")]
    Timeout,
}

impl Upstream {
    /// The way to a desktop of `template` at `addr`.
    #[must_use]
    pub fn new(template: &Template, addr: SocketAddr, password: &Secret) -> Self {
        let authorization = match &template.auth {
            Auth::None => None,
            Auth::Basic { user, .. } => basic(user, password),
        };
        Self {
            addr,
            scheme: template.scheme,
            authorization,
        }
    }
}

/// `Basic` credentials (RFC 7617). A user name that cannot stand in a header gives none.
fn basic(user: &str, password: &Secret) -> Option<HeaderValue> {
    let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
    let mut value = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Opens connections to desktops.
#[derive(Clone)]
pub struct Dialer {
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Default for Dialer {
    fn default() -> Self {
        Self::new()
    }
}

impl Dialer {
    /// A dialer that accepts whatever certificate a desktop made for itself.
    ///
    /// # Panics
    /// Never: the crypto provider supports the default TLS versions.
    #[must_use]
    pub fn new() -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default TLS versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        // KasmVNC makes a new TLS context for each connection: there is nothing to resume.
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = false;
        Self {
            tls: Arc::new(config),
        }
    }

    /// A fresh connection that uses these buffers, within [`CONNECT_TIMEOUT`].
    ///
    /// # Errors
    /// The desktop does not accept, does not finish the handshake, or takes too long for either.
    pub async fn dial(
        &self,
        upstream: &Upstream,
        scratch: &Scratch,
    ) -> Result<DesktopStream, DialError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.connect(upstream, scratch))
            .await
            .map_err(|_| DialError::Timeout)?
    }

    async fn connect(
        &self,
        upstream: &Upstream,
        scratch: &Scratch,
    ) -> Result<DesktopStream, DialError> {
        let socket = TcpStream::connect(upstream.addr)
            .await
            .map_err(DialError::Connect)?;
        socket.set_nodelay(true).map_err(DialError::Connect)?;
        match upstream.scheme {
            Scheme::Http => Ok(DesktopStream::plain(socket)),
            Scheme::Https => {
                let name = ServerName::IpAddress(upstream.addr.ip().into());
                let connecting =
                    ClientStream::connect(socket, self.tls.clone(), name, scratch.clone());
                Ok(DesktopStream::tls(
                    connecting.await.map_err(DialError::Tls)?,
                ))
            }
        }
    }
}

/// Takes any certificate: a desktop makes a new self-signed one at each start (a CA without names,
/// which WebPKI refuses even when pinned), and the way to it leads over this host only. That the peer
/// holds the certificate's key is still checked.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

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
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
