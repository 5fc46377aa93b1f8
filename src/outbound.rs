//! How we ask servers that are nobody's browser or desktop, such as the OpenID provider: HTTPS with the host's trusted
//! roots, a deadline, a size limit, and no redirects (a provider that redirects its token endpoint is not to be trusted).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Why a body broke off.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How large one answer may be, bytes.
const MAX_BODY: usize = 1 << 20;

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// No connection, or it broke.
    #[error("the server cannot be reached")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// It took too long.
    #[error("the server did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The answer was too large or broke off.
    #[error("the server's answer cannot be read")]
    Body(#[source] BoxError),
}

/// Why the client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is not one of PEM.
    #[error("the file with trusted roots cannot be read")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// A certificate in it is unusable.
    #[error("a trusted root is unusable")]
    Certificate(#[source] rustls::Error),
}

/// Asks servers.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpClient {
    /// Trusts the host's roots and those in `ca_file`.
    ///
    /// # Panics
    /// Never: the crypto provider supports the default TLS versions.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        // A host without roots can still use a provider whose root is in the file.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = ca_file {
            for certificate in CertificateDer::pem_file_iter(file).map_err(TrustError::Pem)? {
                roots
                    .add(certificate.map_err(TrustError::Pem)?)
                    .map_err(TrustError::Certificate)?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        // A connection for each request. One that is kept may be closed by the server at the moment we use it, and a
        // request that is lost with it must not be repeated if it carried a code or a nonce. We ask seldom enough.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Self { client })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// No answer within the deadline, a larger one than the limit, or none at all.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, HttpClientError> {
        tokio::time::timeout(TIMEOUT, self.exchange(request))
            .await
            .map_err(|_| HttpClientError::Timeout)?
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, HttpClientError> {
        let response = self.client.request(request).await;
        let (head, body) = response.map_err(HttpClientError::Connect)?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(HttpClientError::Body)?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}
