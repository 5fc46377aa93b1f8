//! The TLS handshake with the browser, under a deadline.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::ResolvesServerCert;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::certificate::Certificate;
use super::challenges::{self, Challenges, Resolver};
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
    /// With this certificate; offers HTTP/2 and HTTP/1.1 by ALPN, and shows proofs to an authority if there are any.
    ///
    /// # Panics
    /// Never: the crypto provider supports the default TLS versions.
    #[must_use]
    pub fn new(
        certificate: Arc<Certificate>,
        challenges: Option<Challenges>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        let mut protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let resolver: Arc<dyn ResolvesServerCert> = match challenges {
            Some(challenges) => {
                protocols.push(challenges::PROTOCOL.to_vec());
                Arc::new(Resolver {
                    certificate,
                    challenges,
                })
            }
            None => certificate,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default TLS versions")
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = protocols;
        Self {
            config: Arc::new(config),
        }
    }

    /// The encrypted stream and the protocol that was agreed on; `None` for an authority, which wanted to see a
    /// certificate and nothing else.
    pub(super) async fn handshake(
        &self,
        socket: TcpStream,
        scratch: Scratch,
    ) -> io::Result<Option<(ServerStream, Protocol)>> {
        let accepting = async {
            let mut stream = ServerStream::accept(socket, self.config.clone(), scratch).await?;
            if stream.alpn() == Some(challenges::PROTOCOL) {
                stream.shutdown().await?;
                return Ok::<_, io::Error>(None);
            }
            Ok(Some(stream))
        };
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, accepting)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(stream.map(|stream| {
            let protocol = match stream.alpn() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            (stream, protocol)
        }))
    }
}
