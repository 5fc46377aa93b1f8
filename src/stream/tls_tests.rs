//! Our TLS against itself and against tokio-rustls, over real sockets.

use super::*;
use rcgen::generate_simple_self_signed;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn configs(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, connected) = tokio::join!(listener.accept(), connecting);
    (accepted.unwrap().0, connected.unwrap())
}

/// Sends `length` bytes back and forth at the same time, and checks each.
async fn exchange(
    left: impl AsyncRead + AsyncWrite + Send + 'static,
    right: impl AsyncRead + AsyncWrite + Send + 'static,
    length: usize,
) {
    async fn talk(stream: impl AsyncRead + AsyncWrite, length: usize, first: usize) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let byte = |at: usize, seed: usize| u8::try_from((at * 31 + seed) % 251).unwrap();
        let sent: Vec<u8> = (0..length).map(|at| byte(at, first)).collect();
        let talking = async {
            for (turn, piece) in sent.chunks(7_919).enumerate() {
                writer.write_all(piece).await.unwrap();
                if turn % 3 == 0 {
                    writer.flush().await.unwrap();
                }
            }
            writer.shutdown().await.unwrap();
        };
        let receive = async {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).await.unwrap();
            let expected: Vec<u8> = (0..length).map(|at| byte(at, 7 - first)).collect();
            assert!(received == expected, "{} bytes", received.len());
        };
        tokio::join!(talking, receive);
    }
    tokio::join!(talk(left, length, 3), talk(right, length, 4));
}

#[tokio::test]
async fn both_versions_carry_data_both_ways() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (server, client) = configs(&[version]);
        for length in [0, 1, 70_000, 3_000_000] {
            let (near, far) = sockets().await;
            let scratch = Scratch::default();
            let (left, right) = tokio::join!(
                ServerStream::accept(near, server.clone(), scratch.clone()),
                ClientStream::connect(far, client.clone(), localhost(), scratch.clone()),
            );
            exchange(left.unwrap(), right.unwrap(), length).await;
        }
    }
}

#[tokio::test]
async fn another_implementation_of_streams_understands_us() {
    let (server, client) = configs(rustls::ALL_VERSIONS);
    let (near, far) = sockets().await;
    let (left, right) = tokio::join!(
        ServerStream::accept(near, server.clone(), Scratch::default()),
        tokio_rustls::TlsConnector::from(client.clone()).connect(localhost(), far),
    );
    exchange(left.unwrap(), right.unwrap(), 500_000).await;

    let (near, far) = sockets().await;
    let (left, right) = tokio::join!(
        tokio_rustls::TlsAcceptor::from(server).accept(near),
        ClientStream::connect(far, client, localhost(), Scratch::default()),
    );
    exchange(left.unwrap(), right.unwrap(), 500_000).await;
}

#[tokio::test]
async fn keys_that_change_meanwhile_disturb_nothing() {
    let (server, client) = configs(&[&rustls::version::TLS13]);
    let (near, far) = sockets().await;
    let (left, right) = tokio::join!(
        ServerStream::accept(near, server, Scratch::default()),
        tokio_rustls::TlsConnector::from(client).connect(localhost(), far),
    );
    let (mut left, mut right) = (left.unwrap(), right.unwrap());
    let mut buffer = [0; 5];
    for _ in 0..20 {
        right.get_mut().1.refresh_traffic_keys().unwrap();
        right.write_all(b"hello").await.unwrap();
        right.flush().await.unwrap();
        left.read_exact(&mut buffer).await.unwrap();
        left.write_all(&buffer).await.unwrap();
        left.flush().await.unwrap();
        right.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"hello");
    }
}

#[tokio::test]
async fn an_end_without_goodbye_is_an_end() {
    let (server, client) = configs(rustls::ALL_VERSIONS);
    let (near, far) = sockets().await;
    let (left, right) = tokio::join!(
        ServerStream::accept(near, server, Scratch::default()),
        ClientStream::connect(far, client, localhost(), Scratch::default()),
    );
    let (mut left, mut right) = (left.unwrap(), right.unwrap());
    left.write_all(b"last words").await.unwrap();
    left.flush().await.unwrap();
    drop(left);
    let mut received = Vec::new();
    right.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"last words");
}

#[tokio::test]
async fn nonsense_is_answered_with_an_alert() {
    let (server, _) = configs(rustls::ALL_VERSIONS);
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
    ] {
        let (near, mut far) = sockets().await;
        far.write_all(nonsense).await.unwrap();
        let accepted = ServerStream::accept(near, server.clone(), Scratch::default()).await;
        assert!(accepted.is_err());
        let mut alert = [0; 1];
        far.read_exact(&mut alert).await.unwrap();
        assert_eq!(alert, [21], "the content type of an alert");
    }
}

/// A peer that sends half a handshake message and then wants data must not confuse the writer.
#[tokio::test]
async fn half_a_post_handshake_message_is_kept_apart_from_our_data() {
    let (server, client) = configs(&[&rustls::version::TLS13]);
    let (near, far) = sockets().await;
    let (left, right) = tokio::join!(
        ServerStream::accept(near, server, Scratch::default()),
        ClientStream::connect(far, client, localhost(), Scratch::default()),
    );
    let (mut left, mut right) = (left.unwrap(), right.unwrap());
    right.write_all(b"x").await.unwrap();
    right.flush().await.unwrap();
    let mut one = [0; 1];
    left.read_exact(&mut one).await.unwrap();
    // A whole record's header and a part of its body.
    right
        .socket
        .write_all(&[23, 3, 3, 0, 40, 1, 2, 3])
        .await
        .unwrap();
    let mut nothing = [0; 4];
    let wait = std::time::Duration::from_millis(50);
    assert!(
        tokio::time::timeout(wait, left.read(&mut nothing))
            .await
            .is_err()
    );
    for _ in 0..3 {
        left.write_all(b"still here").await.unwrap();
        left.flush().await.unwrap();
        let mut answer = [0; 10];
        right.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"still here");
    }
    right.socket.write_all(&[0; 37]).await.unwrap();
    assert!(
        left.read(&mut nothing).await.is_err(),
        "it cannot be decrypted"
    );
}
