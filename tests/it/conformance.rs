//! WebSocket conformance in the spirit of the Autobahn test suite: whatever a client sends, right or wrong, an echo
//! server behind the gateway answers it byte for byte as it does without a gateway, and the end is the same.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::conformance_cases::{self as cases, Case};
use crate::support::browser::{HOST, ORIGIN};
use crate::support::fake_desktop::{FakeDesktop, FakeOptions};
use crate::support::gateway::{PATIENCE, TEMPLATE, TestGateway};
use crate::support::h2::{connect_h2, connect_websocket, start_over_h2, with_tls_and};

/// A template that takes frames of any length, as echo servers do.
const ANY_LENGTH: (&str, &str) = (
    TEMPLATE,
    "id = 'desktop'\nimage = 'i'\nmax_message = 'none'",
);

/// How a client cuts what it writes.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// All at once.
    Whole,
    /// In pieces whose sizes follow from a seed.
    Pieces(u64),
}

/// The same echo server with and without a gateway before it.
struct Setting {
    gateway: TestGateway,
    cookie: String,
    path: String,
    alone: FakeDesktop,
    credentials: String,
}

impl Setting {
    async fn new() -> Self {
        let gateway = TestGateway::start_with(&[ANY_LENGTH]).await;
        gateway.engine.echo.store(true, Ordering::SeqCst);
        let session = gateway.session("pupil").await;
        let mut pupil = gateway
            .browser()
            .with("authorization", &format!("Bearer {session}"));
        let container = gateway.running_desktop(&mut pupil).await;
        let id = container["id"].as_str().unwrap();
        let (alone, credentials) = alone().await;
        Self {
            path: format!("/desktop/{id}/websockify"),
            cookie: format!("__Host-Http-session={session}"),
            gateway,
            alone,
            credentials,
        }
    }

    async fn direct(&self) -> TcpStream {
        direct(&self.alone, &self.credentials).await
    }

    async fn through(&self) -> TcpStream {
        let mut socket = TcpStream::connect(self.gateway.addr).await.unwrap();
        let fields = format!(
            "Host: {HOST}\r\nOrigin: {ORIGIN}\r\nCookie: {}\r\n",
            self.cookie
        );
        upgrade(&mut socket, &handshake(&self.path, &fields)).await;
        socket
    }

    /// Has every conversation twice, and says where they differ from each other or from what is right.
    async fn compare(&self, cases: &[Case], cut: Cut) {
        assert!(!cases.is_empty());
        let mut faults = Vec::new();
        for case in cases {
            let direct = converse(self.direct().await, case, cut).await;
            let through = converse(self.through().await, case, cut).await;
            faults.extend(fault(case, &direct, &through));
        }
        assert!(faults.is_empty(), "{cut:?}:\n{}", faults.join("\n"));
    }
}

/// A desktop that nothing stands before.
async fn alone() -> (FakeDesktop, String) {
    let options = FakeOptions {
        tls: false,
        echo: true,
        ..FakeOptions::default()
    };
    let credentials = BASE64.encode(format!("{}:{}", options.user, options.password));
    (FakeDesktop::start(options).await, credentials)
}

async fn direct(desktop: &FakeDesktop, credentials: &str) -> TcpStream {
    let mut socket = TcpStream::connect(desktop.addr()).await.unwrap();
    let fields = format!(
        "Host: {}\r\nOrigin: {ORIGIN}\r\nAuthorization: Basic {credentials}\r\n",
        desktop.addr()
    );
    upgrade(&mut socket, &handshake("/websockify", &fields)).await;
    socket
}

fn handshake(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: binary\r\n{fields}\r\n"
    )
}

/// Sends a handshake and takes nothing but the head of its answer.
async fn upgrade(socket: &mut TcpStream, head: &str) {
    socket.set_nodelay(true).unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.expect("a whole head"));
    }
    assert!(
        answer.starts_with(b"HTTP/1.1 101 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

/// Sends a case's bytes and returns all that comes back until the end.
async fn converse(socket: impl AsyncRead + AsyncWrite, case: &Case, cut: Cut) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(socket);
    let write = async {
        // A server that has had enough takes no more.
        let _ = write(&mut writer, &case.sent, cut).await;
        if case.ends {
            let _ = writer.shutdown().await;
        }
    };
    let read = async {
        let mut received = Vec::new();
        // A reset is an end like any other.
        let _ = reader.read_to_end(&mut received).await;
        received
    };
    let talk = async { tokio::join!(write, read).1 };
    tokio::time::timeout(PATIENCE, talk)
        .await
        .unwrap_or_else(|_| panic!("no end: {}", case.name))
}

async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    cut: Cut,
) -> std::io::Result<()> {
    let Cut::Pieces(mut state) = cut else {
        writer.write_all(bytes).await?;
        return writer.flush().await;
    };
    let most = if bytes.len() > 10_000 { 9000 } else { 7 };
    while !bytes.is_empty() {
        // Xorshift: the same pieces each time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let size = usize::try_from(state % most + 1).unwrap().min(bytes.len());
        writer.write_all(&bytes[..size]).await?;
        writer.flush().await?;
        bytes = &bytes[size..];
        // Lets the other side see a piece by itself now and then.
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn fault(case: &Case, direct: &[u8], through: &[u8]) -> Option<String> {
    let name = &case.name;
    if direct != through {
        let (direct, through) = (shown(direct), shown(through));
        return Some(format!(
            "{name}: directly {direct}, through the gateway {through}"
        ));
    }
    let end = direct.strip_prefix(&*case.answered);
    let right = match (case.code, end) {
        (None, Some([])) => true,
        (Some(code), Some(&[0x88, _, high, low, ..])) => code == u16::from_be_bytes([high, low]),
        _ => false,
    };
    (!right).then(|| {
        let (both, expected) = (shown(direct), case.code);
        format!("{name}: both {both}, expected {expected:?}")
    })
}

/// How much it is, and its end, which tells most.
fn shown(bytes: &[u8]) -> String {
    let end = &bytes[bytes.len().saturating_sub(24)..];
    format!("{} bytes …{end:02x?}", bytes.len())
}

#[test]
fn a_conformance_case_fails_for_a_byte_and_for_another_code() {
    let case = cases::closing().remove(0);
    let right = [&[0x88, 2][..], &1000_u16.to_be_bytes()].concat();
    let wrong = [&[0x88, 2][..], &1002_u16.to_be_bytes()].concat();
    assert_eq!(fault(&case, &right, &right), None);
    assert!(fault(&case, &wrong, &wrong).is_some());
    assert!(fault(&case, &right, &wrong).is_some());
    assert!(fault(&case, &right, &right[..3]).is_some());
}

#[tokio::test]
async fn conformance_of_frames_pings_and_fragments() {
    let setting = Setting::new().await;
    setting.compare(&cases::framing(), Cut::Whole).await;
    setting.compare(&cases::pings(), Cut::Whole).await;
    setting.compare(&cases::fragmentation(), Cut::Whole).await;
    setting.gateway.stop().await;
}

#[tokio::test]
async fn conformance_of_what_is_reserved() {
    let setting = Setting::new().await;
    setting.compare(&cases::reserved(), Cut::Whole).await;
    setting.gateway.stop().await;
}

#[tokio::test]
async fn conformance_of_text() {
    let setting = Setting::new().await;
    setting.compare(&cases::utf8(), Cut::Whole).await;
    setting.gateway.stop().await;
}

#[tokio::test]
async fn conformance_of_the_end() {
    let setting = Setting::new().await;
    setting.compare(&cases::closing(), Cut::Whole).await;
    setting.gateway.stop().await;
}

#[tokio::test]
async fn conformance_of_large_messages() {
    let setting = Setting::new().await;
    setting.compare(&cases::large(), Cut::Whole).await;
    setting.gateway.stop().await;
}

#[tokio::test]
async fn conformance_however_the_bytes_are_cut() {
    let setting = Setting::new().await;
    for (seed, cases) in [
        (1, cases::framing()),
        (2, cases::pings()),
        (3, cases::fragmentation()),
        (4, cases::closing()),
        (5, cases::large()),
    ] {
        setting.compare(&cases, Cut::Pieces(seed)).await;
    }
    setting.gateway.stop().await;
}

#[tokio::test]
async fn conformance_over_http_2() {
    let directory = tempfile::TempDir::new().unwrap();
    let (gateway, cert) = with_tls_and(&directory, &[ANY_LENGTH]).await;
    gateway.engine.echo.store(true, Ordering::SeqCst);
    let session = gateway.session("pupil").await;
    let mut driver = JoinSet::new();
    let mut h2 = connect_h2(gateway.addr, &cert, &mut driver).await;
    let id = start_over_h2(&gateway, &mut h2, &session).await;
    let path = format!("/desktop/{id}/websockify");
    let (desktop, credentials) = alone().await;

    let mut faults = Vec::new();
    for (cut, cases) in [
        (Cut::Whole, cases::pings()),
        (Cut::Pieces(6), cases::fragmentation()),
        (Cut::Whole, cases::closing()),
        (Cut::Whole, cases::large()),
    ] {
        for case in &cases {
            let alone = converse(direct(&desktop, &credentials).await, case, cut).await;
            let stream = connect_websocket(&mut h2, &path, (&session, ORIGIN))
                .await
                .expect("it opens");
            let through = converse(stream, case, cut).await;
            faults.extend(fault(case, &alone, &through));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    gateway.stop().await;
}
