//! The desktop of the chaos suite: a program without libraries that answers a page under Basic authentication, takes
//! WebSockets and sends back what comes. It starts in milliseconds, so that the suite measures the gateway's mistakes and
//! not a boot. `MODE` makes one that ends at once (`broken`), never answers (`silent`), takes its time (`slow`) or ends in
//! peace when it is asked to (`gentle`). `/write/WORD` keeps a word in the person's home, `/read` tells it.
//!
//! `tests/chaos/run` compiles it into a static binary, which is all that its image has.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const PORT: u16 = 6901;
const PAGE: &str = "a desktop";
/// Below the home of the suite's template that has one.
const NOTE: &str = "/home/desk/note";
const BOOT: Duration = Duration::from_secs(4);
const SIGTERM: i32 = 15;
/// RFC 6455, section 1.3.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(code: i32) -> !;
}

extern "C" fn end(_: i32) {
    // Safe in a signal handler, as hardly anything else is.
    unsafe { _exit(0) }
}

fn main() {
    let mode = std::env::var("MODE").unwrap_or_default();
    if mode == "broken" {
        println!("this desktop is broken");
        std::process::exit(3);
    }
    if mode == "silent" {
        std::thread::sleep(Duration::from_secs(3600));
    }
    if mode == "slow" {
        std::thread::sleep(BOOT);
    }
    if mode == "gentle" {
        unsafe { signal(SIGTERM, end) };
    }
    let password = std::env::var("VNC_PW").unwrap_or_default();
    let credentials = format!(
        "Basic {}",
        base64(format!("kasm_user:{password}").as_bytes())
    );
    let listener = TcpListener::bind(("0.0.0.0", PORT)).expect("the port is free");
    for stream in listener.incoming().flatten() {
        let credentials = credentials.clone();
        std::thread::spawn(move || {
            // Whoever goes away is of no interest.
            let _ = serve(stream, &credentials);
        });
    }
}

fn serve(mut stream: TcpStream, credentials: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut authorization, mut key) = (String::new(), String::new());
    let mut request = String::new();
    reader.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.trim().clone_into(&mut authorization),
            "sec-websocket-key" => value.trim().clone_into(&mut key),
            _ => {}
        }
    }
    if authorization != credentials {
        return stream.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    if key.is_empty() {
        let page = page(request.split(' ').nth(1).unwrap_or_default())?;
        let length = page.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
        );
        return stream.write_all(answer.as_bytes());
    }
    let accept = base64(&sha1(format!("{key}{MAGIC}").as_bytes()));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes())?;
    echo(&mut reader, &mut stream)
}

fn page(path: &str) -> std::io::Result<String> {
    if let Some(word) = path.strip_prefix("/write/") {
        std::fs::write(NOTE, word)?;
    }
    if path == "/read" {
        return Ok(std::fs::read_to_string(NOTE).unwrap_or_else(|_| "nothing".to_owned()));
    }
    Ok(PAGE.to_owned())
}

/// Sends back each frame, unmasked; short ones only, which is all that the suite sends.
fn echo(reader: &mut impl Read, stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut head = [0; 2];
        reader.read_exact(&mut head)?;
        let length = usize::from(head[1] & 0x7f);
        assert!(length < 126 && head[1] & 0x80 != 0, "a short, masked frame");
        let (mut mask, mut payload) = ([0; 4], vec![0; length]);
        reader.read_exact(&mut mask)?;
        reader.read_exact(&mut payload)?;
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        let mut frame = vec![head[0], head[1] & 0x7f];
        frame.extend(payload);
        stream.write_all(&frame)?;
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, at| {
            word << 8 | u32::from(*chunk.get(at).unwrap_or(&0))
        });
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() {
                digit as char
            } else {
                '='
            });
        }
    }
    text
}

/// FIPS 180-4, section 6.1.
fn sha1(text: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    let mut padded = text.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((text.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut words: Vec<u32> = block
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().expect("four bytes")))
            .collect();
        for at in 16..80 {
            let word = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
            words.push(word.rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let sum = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e);
            let next = sum.wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (part, more) in state.iter_mut().zip([a, b, c, d, e]) {
            *part = part.wrapping_add(more);
        }
    }
    let mut digest = [0; 20];
    for (bytes, part) in digest.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&part.to_be_bytes());
    }
    digest
}
