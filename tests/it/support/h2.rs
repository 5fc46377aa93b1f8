//! HTTP/2 over TLS as the tests' client speaks it, and WebSockets inside it (RFC 8441).

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::browser::HOST;
use super::gateway::TestGateway;

/// Sends requests on one connection.
pub type H2 = SendRequest<Empty<Bytes>>;

/// A gateway that speaks TLS, and where its certificate is.
pub async fn with_tls(directory: &tempfile::TempDir) -> (TestGateway, String) {
    with_tls_and(directory, &[]).await
}

/// The same with further settings.
pub async fn with_tls_and(
    directory: &tempfile::TempDir,
    settings: &[(&str, &str)],
) -> (TestGateway, String) {
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (cert, key) = (file("tls.crt"), file("tls.key"));
    let tls = [("TLS", "on"), ("TLS_CERT", &*cert), ("TLS_KEY", &*key)];
    let settings = [&tls, settings].concat();
    (TestGateway::start_with(&settings).await, cert)
}

/// An HTTP/2 connection over TLS.
pub async fn connect_h2(addr: SocketAddr, cert: &str, driver: &mut JoinSet<()>) -> H2 {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls::pki_types::CertificateDer::pem_file_iter(cert).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(addr).await.unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), socket)
        .await
        .unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    driver.spawn(async move { drop(connection.await) });
    sender
}

/// Asks for a WebSocket inside an HTTP/2 connection (RFC 8441) and returns its bytes; `Err` is what was answered
/// instead.
pub async fn connect_websocket(
    h2: &mut H2,
    path: &str,
    (session, origin): (&str, &str),
) -> Result<TokioIo<Upgraded>, StatusCode> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://{HOST}{path}"))
        .header("origin", origin)
        .header("sec-websocket-version", "13")
        .header("cookie", format!("__Host-Http-session={session}"));
    if path.starts_with("/desktop/") {
        request = request.header("sec-websocket-protocol", "binary");
    }
    let mut request = request.body(Empty::new()).unwrap();
    request
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    h2.ready().await.unwrap();
    let mut answer = h2.send_request(request).await.unwrap();
    if answer.status() != StatusCode::OK {
        return Err(answer.status());
    }
    for name in ["upgrade", "connection", "sec-websocket-accept"] {
        assert!(
            !answer.headers().contains_key(name),
            "{name} is not of HTTP/2"
        );
    }
    let upgraded = hyper::upgrade::on(&mut answer).await.unwrap();
    Ok(TokioIo::new(upgraded))
}

/// Starts the desktop of "pupil" where only TLS is spoken, straight through HTTP/2.
pub async fn start_over_h2(gateway: &TestGateway, h2: &mut H2, session: &str) -> String {
    for path in ["/api/container/start", "/api/container/status"] {
        let starts = path.ends_with("start");
        let request = Request::builder()
            .method(if starts { Method::POST } else { Method::GET })
            .uri(format!("https://{HOST}{path}"))
            .header("authorization", format!("Bearer {session}"))
            .header("prefer", "wait=20")
            .body(Empty::new())
            .unwrap();
        h2.ready().await.unwrap();
        let answer = h2.send_request(request).await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        if !starts {
            use http_body_util::BodyExt as _;
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(json["container"]["status"], "running");
            let _ = gateway;
            return json["container"]["id"].as_str().unwrap().to_owned();
        }
    }
    unreachable!("the loop returns")
}
