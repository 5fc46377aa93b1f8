//! HTTP/2 frames by hand (RFC 9113), because no client library sends what an attacker does.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::peer::Peer;
use crate::socket::{self, Socket};
use crate::tls;

/// Frame types (RFC 9113, section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Settings (RFC 9113, section 6.5.2).
pub const INITIAL_WINDOW_SIZE: u16 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `:status: 200` in HPACK's static table (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;

/// A frame that was received.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether it begins an answer of status 200.
    pub fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&STATUS_200)
    }

    /// The error code of a GOAWAY.
    pub fn goaway(&self) -> Option<u32> {
        let code = self.payload.get(4..8)?.try_into().ok()?;
        (self.kind == GOAWAY).then(|| u32::from_be_bytes(code))
    }
}

/// Connects, and sends the preface with these settings.
pub async fn connect(peer: &Peer, settings: &[(u16, u32)]) -> anyhow::Result<Socket> {
    let mut connection = peer.connect_with(&tls::client_h2()?, socket::SMALL).await?;
    let mut out = PREFACE.to_vec();
    append_settings(&mut out, settings);
    connection.socket.write_all(&out).await?;
    connection.socket.flush().await?;
    Ok(connection.socket)
}

/// Appends a SETTINGS frame.
pub fn append_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let mut payload = Vec::new();
    for (name, value) in settings {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    append(out, (SETTINGS, 0), 0, &payload);
}

/// Appends a frame.
pub fn append(out: &mut Vec<u8>, (kind, flags): (u8, u8), stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The header block of a request, in literals that nobody has to remember.
pub fn request(peer: &Peer, method: &str, path: &str) -> Vec<u8> {
    // `:scheme: https`, then literals without indexing whose names are in the static table.
    let mut block = vec![0x87];
    literal(&mut block, 2, method);
    literal(&mut block, 4, path);
    literal(&mut block, 1, &peer.host);
    let cookie = peer.cookie.trim_end();
    if let Some(value) = cookie.strip_prefix("Cookie: ") {
        literal(&mut block, 32, value);
    }
    block
}

/// The header block of a WebSocket handshake (RFC 8441).
pub fn websocket(peer: &Peer, path: &str) -> Vec<u8> {
    let mut block = request(peer, "CONNECT", path);
    // A pseudo-header may not come behind the others.
    let mut first = Vec::new();
    named(&mut first, ":protocol", "websocket");
    block.splice(0..0, first);
    named(&mut block, "origin", &format!("https://{}", peer.host));
    named(&mut block, "sec-websocket-version", "13");
    named(&mut block, "sec-websocket-protocol", "binary");
    block
}

/// Appends a header with its name, without indexing.
pub fn named(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    strings(block, name, value);
}

/// Appends a header with its name, which becomes the newest entry of the dynamic table.
pub fn indexed(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0x40);
    strings(block, name, value);
}

fn strings(block: &mut Vec<u8>, name: &str, value: &str) {
    integer(block, 0, 7, name.len());
    block.extend_from_slice(name.as_bytes());
    integer(block, 0, 7, value.len());
    block.extend_from_slice(value.as_bytes());
}

/// Appends a header whose name has this place in the static table.
fn literal(block: &mut Vec<u8>, index: usize, value: &str) {
    integer(block, 0, 4, index);
    integer(block, 0, 7, value.len());
    block.extend_from_slice(value.as_bytes());
}

/// An integer behind a prefix of some bits (RFC 7541, section 5.1).
fn integer(block: &mut Vec<u8>, first: u8, bits: u32, mut value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        block.push(first | value.to_le_bytes()[0]);
        return;
    }
    block.push(first | most.to_le_bytes()[0]);
    value -= most;
    while value >= 0x80 {
        block.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    block.push(value.to_le_bytes()[0]);
}

/// Reads a frame; `None` at the end.
pub async fn read(reader: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Option<Frame>> {
    let mut head = [0; 9];
    if reader.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut head[1..]).await.context("a head")?;
    let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]]))?;
    if length > 1 << 20 {
        bail!("a frame of {length} bytes");
    }
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).await.context("a payload")?;
    Ok(Some(Frame {
        kind: head[3],
        payload,
    }))
}
