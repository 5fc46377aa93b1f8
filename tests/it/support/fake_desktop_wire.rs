//! The bytes of the fake desktop: certificate, TLS records, heads, answers and WebSocket frames.
//!
//! Nothing here decides what is allowed; that is `fake_desktop`. No HTTP, TLS-record or WebSocket
//! library stands between the client and these functions, because a library would forgive exactly
//! the mistakes that `KasmVNC` does not.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, RsaKeySize};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep};

/// Bytes of request head that `KasmVNC` 1.3.1 has room for (its buffer, less the final NUL).
pub const HEAD_LIMIT: usize = 4095;
/// Reads that `KasmVNC` spends on one head before it gives up.
pub const HEAD_READS: usize = 10;
/// Bytes of a target or a field value that `KasmVNC` has room for.
pub const VALUE_LIMIT: usize = 1024;
/// Bytes of payload in the largest frame that `KasmVNC` sends.
pub const SERVER_FRAME_LIMIT: usize = 49_132;
/// The user of Kasm's images who only sees.
const VIEWER: &str = "kasm_viewer";
/// Fields that no gateway may pass on; sent on every answer with `hostile_headers`.
pub const HOSTILE_HEADERS: [(&str, &str); 12] = [
    ("Set-Cookie", "session=stolen; Path=/"),
    ("Clear-Site-Data", "\"*\""),
    ("Service-Worker-Allowed", "/"),
    ("Strict-Transport-Security", "max-age=63072000; preload"),
    ("Alt-Svc", "h3=\"evil.example:443\""),
    ("Refresh", "0; url=https://evil.example/"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Content-Security-Policy", "default-src * 'unsafe-inline'"),
    ("X-Frame-Options", "ALLOWALL"),
    ("Speculation-Rules", "\"/rules.json\""),
    ("Permissions-Policy", "camera=*"),
];

/// A key that all fakes of a test process share: RSA as in the Kasm images, and slow to make.
static KEY: LazyLock<KeyPair> = LazyLock::new(|| {
    KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).expect("an RSA key")
});

/// Makes a TLS configuration with a fresh certificate of the kind that the Kasm entrypoint makes:
/// self-signed, CA, no subject alternative name, `CN=kasm`; no ALPN, no session resumption.
pub fn server_config() -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "kasm");
    // The key is shared, so the serial is what makes two desktops' certificates differ.
    let mut serial = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut serial).expect("random bytes");
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
    let certificate = params.self_signed(&*KEY).expect("a certificate");
    let certificate = certificate.der().clone();

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(KEY.serialize_der()).expect("a PKCS #8 key");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("the key belongs to the certificate");
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    (Arc::new(config), certificate)
}

/// Hands the TLS layer at most one record at a time, so that one `fill_buf` above sees one record.
///
/// OpenSSL's `SSL_read` behaves so, which is what makes `KasmVNC` drop a head that was written in
/// many small pieces, however fast they arrive.
pub struct OneRecordAtATime<S> {
    inner: S,
    header: Vec<u8>,
    body_left: usize,
}

impl<S> OneRecordAtATime<S> {
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            header: Vec::new(),
            body_left: 0,
        }
    }

    fn consumed(&mut self, bytes: &[u8]) {
        if self.body_left > 0 {
            self.body_left -= bytes.len();
            return;
        }
        self.header.extend(bytes);
        if let &[_, _, _, high, low] = self.header.as_slice() {
            self.body_left = usize::from(u16::from_be_bytes([high, low]));
            self.header.clear();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OneRecordAtATime<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let wanted = match this.body_left {
            0 => 5 - this.header.len(),
            left => left,
        };
        let room = wanted.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
        let filled = part.filled();
        this.consumed(filled);
        let read = filled.len();
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

/// How the reading of a request head ended.
pub enum HeadRead {
    /// The head with its empty line, what came in the same read behind it, and the reads.
    Complete(Vec<u8>, Vec<u8>, usize),
    /// `KasmVNC` would now close without a word, because of this rule.
    Broken(&'static str),
    /// The client closed without sending anything.
    Empty,
}

/// Reads a request head as `KasmVNC` does: ten reads into one small buffer, then no more.
pub async fn read_head<S: Stream>(stream: &mut S) -> io::Result<HeadRead> {
    let mut buffer = [0_u8; HEAD_LIMIT];
    let mut filled = 0;
    for reads in 1..=HEAD_READS {
        // Not `read`, which would gather as many records as there are.
        let record = stream.fill_buf().await?;
        let read = record.len().min(HEAD_LIMIT - filled);
        buffer[filled..filled + read].copy_from_slice(&record[..read]);
        stream.consume(read);
        if read == 0 && filled == 0 {
            return Ok(HeadRead::Empty);
        } else if read == 0 {
            return Ok(HeadRead::Broken("head-unfinished"));
        }
        filled += read;
        let (head, _) = buffer.split_at(filled);
        if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            let (head, behind) = head.split_at(end + 4);
            return Ok(HeadRead::Complete(head.to_vec(), behind.to_vec(), reads));
        }
        if filled == HEAD_LIMIT {
            return Ok(HeadRead::Broken("head-too-long"));
        }
    }
    Ok(HeadRead::Broken("head-in-pieces"))
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The head, byte for byte, with the empty line.
    pub raw: Vec<u8>,
    /// Reads (over TLS: records) in which the head arrived.
    pub reads: usize,
    /// The method, as written.
    pub method: String,
    /// The request target, as written.
    pub target: String,
    /// The fields in their order, names exactly as written, values without the first space.
    pub headers: Vec<(String, String)>,
    text: String,
}

impl SeenRequest {
    pub fn parse(peer: SocketAddr, raw: Vec<u8>, reads: usize) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, target) = (word(), word());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name, value.strip_prefix(' ').unwrap_or(value)))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            peer,
            raw,
            reads,
            method,
            target,
            headers,
            text,
        }
    }

    /// The value of the first field with exactly this name, case included.
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(seen, _)| seen == name);
        field.map(|(_, value)| value.as_str())
    }

    /// Whether a field with this name is there in any case; for asserting that one was stripped.
    pub fn has_header(&self, name: &str) -> bool {
        let mut names = self.headers.iter().map(|(seen, _)| seen);
        names.any(|seen| seen.eq_ignore_ascii_case(name))
    }

    /// The whole head as text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        let end = self.target.find('?').unwrap_or(self.target.len());
        &self.target[..end]
    }

    /// What follows `mark` anywhere in the head, up to the end of the line.
    ///
    /// `KasmVNC` searches the head as one string: exact case, exactly one space, and a mark inside
    /// another field counts too.
    pub fn after(&self, mark: &str) -> Option<&str> {
        let rest = &self.text[self.text.find(mark)? + mark.len()..];
        rest.split('\r').next()
    }

    /// What a `KasmVNC` upgrade must carry and this request does not; `None` if it may be upgraded.
    pub fn missing_for_upgrade(&self) -> Option<&'static str> {
        const MARKS: [&str; 8] = [
            "\r\nUpgrade: websocket",
            " HTTP/1.1",
            "\r\nHost: ",
            "\r\nOrigin: ",
            "\r\nSec-WebSocket-Version: ",
            "\r\nSec-WebSocket-Key: ",
            "\r\nConnection: ",
            "\r\nSec-WebSocket-Protocol: ",
        ];
        if self.method != "GET" {
            return Some("GET");
        }
        let missing = MARKS.into_iter().find(|mark| !self.text.contains(mark));
        missing.map(str::trim)
    }

    pub fn may_upgrade(&self) -> bool {
        self.missing_for_upgrade().is_none() && !self.is_refused_for_shape()
    }

    /// Whether the target is too long or any dot segment is anywhere in the head.
    pub fn is_refused_for_shape(&self) -> bool {
        self.target.len() > VALUE_LIMIT || self.text.contains("../")
    }
}

/// A connection, with or without TLS.
pub trait Stream: AsyncBufRead + AsyncWrite + Unpin {}
impl<S: AsyncBufRead + AsyncWrite + Unpin> Stream for S {}

/// Undoes percent-encoding once; a broken escape stays as it is.
pub fn percent_decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let value = escape
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Reads `user:password` out of Basic credentials.
fn basic_credentials(encoded: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Whether Basic credentials are those of its user, or of the one who only sees: Kasm's start script makes both, with
/// one password.
pub fn knows((user, password): (&str, &str), encoded: &str) -> bool {
    let said = basic_credentials(encoded);
    said.is_some_and(|(name, word)| (name == user || name == VIEWER) && word == password)
}

/// The answer to a `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
pub fn accept_key(key: &str) -> String {
    let salted = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, salted.as_bytes());
    BASE64.encode(hash)
}

/// One WebSocket frame of the client, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// The FIN bit.
    pub fin: bool,
    /// Whether one of the three reserved bits is set (an extension nobody negotiated).
    pub reserved: bool,
    /// The opcode: 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// Whether the payload was masked on the wire.
    pub masked: bool,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

/// What the front of a receive buffer holds.
pub enum Decoded {
    /// Not yet a whole frame.
    Incomplete,
    /// A frame with a 64-bit length field, which `KasmVNC` does not read.
    TooLong,
    /// A frame and the bytes that it took.
    Frame(ClientFrame, usize),
}

/// Takes a frame off the front of `buffer`.
pub fn decode_frame(buffer: &[u8]) -> Decoded {
    let &[first, second, ..] = buffer else {
        return Decoded::Incomplete;
    };
    let masked = second & 0x80 != 0;
    let (mut at, length) = match (second & 0x7f, buffer) {
        (127, _) => return Decoded::TooLong,
        (126, &[_, _, high, low, ..]) => (4, usize::from(u16::from_be_bytes([high, low]))),
        (126, _) => return Decoded::Incomplete,
        (short, _) => (2, usize::from(short)),
    };
    let mut mask = [0_u8; 4];
    if masked {
        let Some(bytes) = buffer.get(at..at + 4) else {
            return Decoded::Incomplete;
        };
        mask.copy_from_slice(bytes);
        at += 4;
    }
    let Some(payload) = buffer.get(at..at + length) else {
        return Decoded::Incomplete;
    };
    let payload = payload.iter().zip(mask.iter().cycle());
    let frame = ClientFrame {
        fin: first & 0x80 != 0,
        reserved: first & 0x70 != 0,
        opcode: first & 0x0f,
        masked,
        payload: payload.map(|(byte, mask)| byte ^ mask).collect(),
    };
    Decoded::Frame(frame, at + length)
}

/// Writes `payload` as binary frames of the server, unmasked and none larger than `KasmVNC`'s.
pub fn server_frames(payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(payload.len() + 16);
    for part in payload.chunks(SERVER_FRAME_LIMIT) {
        wire.push(0x82);
        if part.len() < 126 {
            wire.push(part.len().to_le_bytes()[0]);
        } else {
            let length = u16::try_from(part.len()).expect("the limit fits 16 bits");
            wire.push(126);
            wire.extend(length.to_be_bytes());
        }
        wire.extend(part);
    }
    wire
}

/// The brute-force lock: failures and, once there are too many, the last request per address.
#[derive(Default)]
pub struct Lockout {
    failures: HashMap<String, u32>,
    locked: HashMap<String, Instant>,
}

impl Lockout {
    pub fn refuses(&mut self, address: &str, lock_time: Duration) -> bool {
        let Some(last) = self.locked.get_mut(address) else {
            return false;
        };
        if last.elapsed() > lock_time {
            self.locked.remove(address);
            self.failures.remove(address);
            return false;
        }
        *last = Instant::now();
        true
    }

    pub fn failed(&mut self, address: &str) {
        let failures = self.failures.entry(address.to_owned()).or_default();
        *failures += 1;
        if *failures >= 5 {
            self.locked.insert(address.to_owned(), Instant::now());
        }
    }
}

/// An answer that is not an upgrade.
pub struct Answer {
    status: &'static str,
    fields: Vec<(&'static str, String)>,
    /// The body, with a wait of `pause` before each part after the first.
    pub parts: Vec<Vec<u8>>,
    pub pause: Duration,
}

impl Answer {
    /// An answer of this status line and these fields, and nothing else.
    pub fn bare(status: &'static str, fields: &[(&'static str, &str)]) -> Self {
        let fields = fields.iter().map(|&(name, value)| (name, value.to_owned()));
        Self {
            status,
            fields: fields.collect(),
            parts: Vec::new(),
            pause: Duration::ZERO,
        }
    }

    /// An answer whose body ends with the connection.
    pub fn close_delimited(status: &'static str, content_type: &str, body: &[u8]) -> Self {
        let mut answer = Self::bare(status, &[("Server", "KasmVNC/4.0")])
            .with("Connection", "close")
            .with("Content-type", content_type);
        answer.parts.push(body.to_vec());
        answer.isolated()
    }

    pub fn file(content_type: &str, body: &[u8]) -> Self {
        Self::close_delimited("200 OK", content_type, body)
            .with("Content-length", &body.len().to_string())
    }

    /// The short text that `KasmVNC` sends for everything it refuses after authentication.
    pub fn error(status: &'static str) -> Self {
        Self::close_delimited(status, "text/plain", status.as_bytes())
    }

    pub fn redirect(status: &'static str, location: &str) -> Self {
        Self::close_delimited(status, "text/plain", b"").with("Location", location)
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    /// Adds the fields of `KasmVNC`'s default configuration.
    pub fn isolated(self) -> Self {
        self.with("Cross-Origin-Embedder-Policy", "require-corp")
            .with("Cross-Origin-Opener-Policy", "same-origin")
    }

    /// Adds [`HOSTILE_HEADERS`] if `wanted`.
    pub fn hostile_if(self, wanted: bool) -> Self {
        let fields = HOSTILE_HEADERS.iter().filter(|_| wanted);
        fields.fold(self, |answer, (name, value)| answer.with(name, value))
    }

    /// The status line and the fields, with the empty line.
    pub fn head(&self) -> Vec<u8> {
        let fields = self
            .fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        format!(
            "HTTP/1.1 {}\r\n{}\r\n",
            self.status,
            fields.collect::<String>()
        )
        .into_bytes()
    }

    pub async fn send<S: AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<()> {
        stream.write_all(&self.head()).await?;
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                sleep(self.pause).await;
            }
            stream.write_all(part).await?;
            stream.flush().await?;
        }
        stream.flush().await
    }
}

/// The body of `/big`, 4 MiB and a bit: no two blocks are alike, so that lost or swapped ones show.
pub fn big_body() -> Vec<u8> {
    let words = 0..1024 * 1024 + 5_u32;
    words
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

/// The address that the lock-out counts for: the first forwarded one if it looks like one.
pub fn client_address(request: &SeenRequest) -> String {
    let forwarded = request.after("X-Forwarded-For: ").unwrap_or("none");
    let first = forwarded.split(',').next().unwrap_or_default();
    let looks_right = |b: u8| b.is_ascii_hexdigit() || b == b'.' || b == b':';
    if first.len() < 64 && first.bytes().all(looks_right) {
        return first.to_owned();
    }
    request.peer.ip().to_string()
}

/// Longest credentials that it reads, bytes.
pub const CREDENTIALS_LIMIT: usize = 256;
/// Names that `KasmVNC` knows in this case only.
pub const EXACT_NAMES: &str = "Host Connection Authorization Upgrade Origin \
    Sec-WebSocket-Version Sec-WebSocket-Key Sec-WebSocket-Protocol";
