//! WebSocket frames (RFC 6455, section 5), as much as the stub and the driver need.

use anyhow::bail;

/// Opcode of a binary message.
pub const BINARY: u8 = 2;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Instead of a length: it follows in two bytes, or in eight.
const MEDIUM: u8 = 0x7e;
const LONG: u8 = 0x7f;
/// Any key does: the driver need not be unpredictable.
const MASK: [u8; 4] = [0x1d, 0x2c, 0x3b, 0x4a];

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the frame is.
    pub opcode: u8,
    /// Bytes of the head itself.
    pub len: usize,
    /// Bytes of the payload.
    pub payload: usize,
    /// The key to unmask it with, if it comes from a client.
    pub mask: Option<[u8; 4]>,
}

/// Reads a head; `None` while it is incomplete.
pub fn head(bytes: &[u8]) -> anyhow::Result<Option<Head>> {
    let &[first, second, ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 || first & FINAL == 0 {
        bail!("a frame begins with {first:#04x}: the stream is out of step");
    }
    let (payload, mut len) = match second & !MASKED {
        MEDIUM => match bytes.get(2..4) {
            Some(&[a, b]) => (usize::from(u16::from_be_bytes([a, b])), 4),
            _ => return Ok(None),
        },
        LONG => match bytes
            .get(2..10)
            .and_then(|long| <[u8; 8]>::try_from(long).ok())
        {
            Some(long) => (usize::try_from(u64::from_be_bytes(long))?, 10),
            None => return Ok(None),
        },
        short => (usize::from(short), 2),
    };
    let mut mask = None;
    if second & MASKED != 0 {
        let Some(&[a, b, c, d]) = bytes.get(len..len + 4) else {
            return Ok(None);
        };
        mask = Some([a, b, c, d]);
        len += 4;
    }
    Ok(Some(Head {
        opcode: first & 0x0f,
        len,
        payload,
        mask,
    }))
}

/// Appends a whole frame, masked if it is to come from a client.
pub fn append(out: &mut Vec<u8>, opcode: u8, payload: &[u8], masked: bool) {
    out.push(FINAL | opcode);
    let bit = if masked { MASKED } else { 0 };
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < MEDIUM => out.push(bit | short),
        (_, Ok(medium)) => {
            out.push(bit | MEDIUM);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(bit | LONG);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let begin = if masked {
        out.extend_from_slice(&MASK);
        out.len()
    } else {
        out.extend_from_slice(payload);
        return;
    };
    out.extend_from_slice(payload);
    unmask(&mut out[begin..], MASK);
}

/// Applies a key; the same operation masks and unmasks.
pub fn unmask(payload: &mut [u8], key: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Follows a stream of frames without keeping their payload.
#[derive(Default)]
pub struct Counter {
    /// The beginning of a head that was cut by a read.
    partial: Vec<u8>,
    /// Payload bytes of the present frame still to come, and all that it has.
    rest: usize,
    size: usize,
}

impl Counter {
    /// Takes what was read, and calls `done` with the payload size of every frame that ends in it.
    ///
    /// # Errors
    /// If the bytes are no frames, or a close frame is among them.
    pub fn feed(&mut self, mut bytes: &[u8], mut done: impl FnMut(usize)) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let taken = self.rest.min(bytes.len());
                self.rest -= taken;
                bytes = &bytes[taken..];
                if self.rest == 0 {
                    done(self.size);
                }
                continue;
            }
            let known = self.partial.len();
            let next = if known == 0 {
                head(bytes)?
            } else {
                // 14 bytes are the longest head.
                self.partial
                    .extend_from_slice(&bytes[..bytes.len().min(14)]);
                head(&self.partial)?
            };
            let Some(next) = next else {
                if known == 0 {
                    self.partial.extend_from_slice(bytes);
                }
                return Ok(());
            };
            if next.opcode == CLOSE {
                bail!("the WebSocket was closed");
            }
            self.partial.clear();
            bytes = &bytes[next.len - known..];
            self.rest = next.payload;
            self.size = next.payload;
            if next.payload == 0 {
                done(0);
            }
        }
        Ok(())
    }
}
