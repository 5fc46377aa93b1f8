//! The TLS handshake with the browser, under a deadline.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use tokio::net::TcpStream;

use super::certificate::Certificate;
use super::connection::Protocol;
use crate::stream::{Scratch, ServerStream};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Does TLS handshakes.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
}

impl Acceptor {
    /// With this certificate; offers HTTP/2 and HTTP/1.1 by ALPN.
    ///
    /// # Panics
    /// Never: the crypto provider supports the default TLS versions.
    #[must_use]
    pub fn new(certificate: Arc<Certificate>, provider: Arc<CryptoProvider>) -> Self {
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default TLS versions")
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
        }
    }

    /// The encrypted stream and the protocol that was agreed on.
    pub(super) async fn handshake(
        &self,
        socket: TcpStream,
        scratch: Scratch,
    ) -> io::Result<(ServerStream, Protocol)> {
        let accepting = ServerStream::accept(socket, self.config.clone(), scratch);
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, accepting)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let protocol = match stream.alpn() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((stream, protocol))
    }
}
