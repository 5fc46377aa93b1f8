//! The way to one desktop: its address, its credentials, and a fresh connection to it.
//!
//! KasmVNC answers one request per connection and never sends a TLS `close_notify`, so connections are
//! neither pooled nor expected to end politely.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::config::Secret;
use crate::model::id::DesktopId;
use crate::model::template::{Auth, HostHeader, Origin, Prefix, Scheme, Template, prefix_of};
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
    /// The same of a user who only sees, if it has one.
    pub viewer: Option<HeaderValue>,
    /// What stands before every path, if it was told where it is.
    pub prefix: Option<String>,
    /// `Host` that it sees, if it is not the browser's.
    pub host: Option<String>,
    /// Whether it sees an `Origin` that agrees with `Host`, instead of the browser's.
    pub rewrites_origin: bool,
    /// The only certificate that it may show.
    pub pin: Option<Fingerprint>,
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(bytes)
    }

    /// As the database has it.
    #[must_use]
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    /// From [`Self::to_base64`].
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
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
    /// It is not the desktop that was started, or its certificate was exchanged.
    #[error("the desktop shows another certificate than at its start")]
    OtherCertificate,
    /// It took too long.
    #[error("the desktop did not accept a connection in time")]
    Timeout,
}

impl Upstream {
    /// The way to a desktop of `template` at `addr`.
    #[must_use]
    pub fn new(template: &Template, id: DesktopId, addr: SocketAddr, password: &Secret) -> Self {
        let authorization = match &template.auth {
            Auth::None => None,
            Auth::Basic { user, .. } => basic(user, password),
        };
        let host = match template.host_header {
            HostHeader::Preserve => None,
            HostHeader::Upstream => Some(addr.to_string()),
        };
        let viewer = template.viewer_auth.as_ref();
        Self {
            authorization,
            viewer: viewer.and_then(|user| basic(user, password)),
            prefix: (template.prefix == Prefix::Keep).then(|| prefix_of(id)),
            host,
            rewrites_origin: template.origin == Origin::Rewrite,
            ..Self::bare(addr, template.scheme)
        }
    }

    /// The way to something at `addr` that wants nothing in particular.
    #[must_use]
    pub fn bare(addr: SocketAddr, scheme: Scheme) -> Self {
        Self {
            addr,
            scheme,
            authorization: None,
            viewer: None,
            prefix: None,
            host: None,
            rewrites_origin: false,
            pin: None,
        }
    }

    /// The same way for somebody who only looks.
    #[must_use]
    pub fn for_viewer(&self) -> Cow<'_, Self> {
        match &self.viewer {
            None => Cow::Borrowed(self),
            viewer => Cow::Owned(Self {
                authorization: viewer.clone(),
                ..self.clone()
            }),
        }
    }

    /// The path that the desktop is asked for instead of `path`.
    #[must_use]
    pub fn path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match &self.prefix {
            Some(prefix) => Cow::Owned(format!("{prefix}{path}")),
            None => Cow::Borrowed(path),
        }
    }

    /// The `Host` that it sees where browsers say `ours`.
    #[must_use]
    pub fn host<'a>(&'a self, ours: &'a str) -> &'a str {
        self.host.as_deref().unwrap_or(ours)
    }

    /// The origin that it takes itself for where browsers say `ours` for the host.
    #[must_use]
    pub fn origin(&self, ours: &str) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        format!("{scheme}://{}", self.host(ours))
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
    preface: &'static [u8],
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
            preface: &[],
        }
    }

    /// The certificate that the desktop shows now.
    ///
    /// # Errors
    /// As [`Self::dial`]; `None` for one that does not speak TLS.
    pub async fn certificate(&self, upstream: &Upstream) -> Result<Option<Fingerprint>, DialError> {
        let scratch = Scratch::default();
        let connecting = self.connect(upstream, &scratch);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        Ok(connected.map_err(|_| DialError::Timeout)??.1)
    }

    /// The same for peers that want these bytes before all else.
    #[must_use]
    pub fn with_preface(self, preface: &'static [u8]) -> Self {
        Self { preface, ..self }
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
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.connect(upstream, scratch));
        Ok(connected.await.map_err(|_| DialError::Timeout)??.0)
    }

    async fn connect(
        &self,
        upstream: &Upstream,
        scratch: &Scratch,
    ) -> Result<(DesktopStream, Option<Fingerprint>), DialError> {
        let mut socket = TcpStream::connect(upstream.addr)
            .await
            .map_err(DialError::Connect)?;
        socket.set_nodelay(true).map_err(DialError::Connect)?;
        if !self.preface.is_empty() {
            let sent = socket.write_all(self.preface).await;
            sent.map_err(DialError::Connect)?;
        }
        match upstream.scheme {
            Scheme::Http => Ok((DesktopStream::plain(socket), None)),
            Scheme::Https => {
                let name = ServerName::IpAddress(upstream.addr.ip().into());
                let connecting =
                    ClientStream::connect(socket, self.tls.clone(), name, scratch.clone());
                let stream = connecting.await.map_err(DialError::Tls)?;
                let seen = stream.certificate().map(|shown| Fingerprint::of(shown));
                if upstream.pin.is_some() && upstream.pin != seen {
                    return Err(DialError::OtherCertificate);
                }
                Ok((DesktopStream::tls(stream), seen))
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
