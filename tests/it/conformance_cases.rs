//! What a WebSocket client may and may not send, in the order of the Autobahn test suite: the bytes of each case,
//! and what an echo server has to answer.

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Close codes (RFC 6455, section 7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL: u16 = 1002;
const INVALID: u16 = 1007;
const TOO_BIG: u16 = 1009;

/// One conversation.
pub struct Case {
    /// What it is about.
    pub name: String,
    /// What the client sends, frame by frame or byte by byte.
    pub sent: Vec<u8>,
    /// Whether the client then ends its direction.
    pub ends: bool,
    /// What comes back before the close frame.
    pub answered: Vec<u8>,
    /// The code of the close frame that follows; `None` if none does.
    pub code: Option<u16>,
}

/// Cases of one section.
#[derive(Default)]
struct Table(Vec<Case>);

impl Table {
    /// The client sends these, then closes as one should.
    fn good(&mut self, name: impl Into<String>, sent: &[Vec<u8>], answered: &[Vec<u8>]) {
        let mut sent = sent.concat();
        sent.extend(close(NORMAL, b""));
        self.add(name, sent, answered.concat(), Some(NORMAL));
    }

    /// The last of what the client sends is a mistake. A good message behind it must not be answered.
    fn bad(&mut self, name: impl Into<String>, sent: &[Vec<u8>], answered: &[Vec<u8>], code: u16) {
        let mut sent = sent.concat();
        sent.extend(frame(FIN | TEXT, b"too late"));
        self.add(name, sent, answered.concat(), Some(code));
    }

    fn add(
        &mut self,
        name: impl Into<String>,
        sent: Vec<u8>,
        answered: Vec<u8>,
        code: Option<u16>,
    ) {
        self.0.push(Case {
            name: name.into(),
            sent,
            ends: false,
            answered,
            code,
        });
    }
}

/// A frame of the client's, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [0x37, 0xfa, 0x21, 0x3d])
}

fn masked(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut wire = head(first, payload.len(), 0x80);
    wire.extend(key);
    wire.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    wire
}

/// A frame of the server's.
fn answer(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = head(first, payload.len(), 0);
    wire.extend(payload);
    wire
}

/// Instead of a length: it follows in two bytes, or in eight.
const MEDIUM: u8 = 0x7e;
const LONG: u8 = 0x7f;

fn head(first: u8, length: usize, mask: u8) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < MEDIUM => vec![first, mask | short],
        (_, Ok(medium)) => [&[first, mask | MEDIUM], &medium.to_be_bytes()[..]].concat(),
        _ => [&[first, mask | LONG], &(length as u64).to_be_bytes()[..]].concat(),
    }
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// Bytes that are text as well, and of which no two neighbours are alike.
fn payload(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| b"0123456789abcdefghijklmnopqrstuvwxyz!"[at % 37])
        .collect()
}

/// A message in pieces.
fn fragments(opcode: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let pieces: Vec<&[u8]> = payload.chunks(size).collect();
    let last = pieces.len() - 1;
    let pieces = pieces.into_iter().enumerate();
    pieces
        .map(|(at, piece)| {
            let opcode = if at == 0 { opcode } else { CONTINUATION };
            frame(if at == last { FIN | opcode } else { opcode }, piece)
        })
        .collect()
}

/// 1: framing.
pub fn framing() -> Vec<Case> {
    let mut table = Table::default();
    for (kind, opcode) in [("text", TEXT), ("binary", BINARY)] {
        for size in [0, 1, 125, 126, 127, 128, 1000, 65_535, 65_536, 70_000] {
            let bytes = payload(size);
            table.good(
                format!("1: {kind} of {size}"),
                &[frame(FIN | opcode, &bytes)],
                &[answer(FIN | opcode, &bytes)],
            );
        }
    }
    let every: Vec<u8> = (0..=255).collect();
    table.good(
        "1: every byte",
        &[frame(FIN | BINARY, &every)],
        &[answer(FIN | BINARY, &every)],
    );
    table.good(
        "1: a key of zeros",
        &[masked(FIN | TEXT, b"plain to see", [0; 4])],
        &[answer(FIN | TEXT, b"plain to see")],
    );
    let hello = [answer(FIN | TEXT, b"hello")];
    let spelled = frame(FIN | TEXT, b"hello")[2..].to_vec();
    for (name, long) in [
        (
            "1: a length in 16 bits that needs 7",
            vec![0x81, 0xfe, 0, 5],
        ),
        (
            "1: a length in 64 bits that needs 7",
            vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 5],
        ),
    ] {
        table.good(name, &[[long, spelled.clone()].concat()], &hello);
    }
    table.bad(
        "1: no mask",
        &[frame(FIN | TEXT, b"hello"), answer(FIN | TEXT, b"bare")],
        &hello,
        PROTOCOL,
    );
    for (name, first) in [("the highest bit", 0x80), ("too much", 0x01)] {
        let mut huge = vec![0x82, 0xff, first];
        huge.extend([0; 7]);
        huge.extend([1; 100]);
        table.bad(
            format!("1: a length with {name}"),
            &[frame(FIN | TEXT, b"hello"), huge],
            &hello,
            TOO_BIG,
        );
    }
    table.0
}

/// 2: pings and pongs.
pub fn pings() -> Vec<Case> {
    let mut table = Table::default();
    for size in [0, 1, 125] {
        let bytes = payload(size);
        table.good(
            format!("2: ping of {size}"),
            &[frame(FIN | PING, &bytes)],
            &[answer(FIN | PONG, &bytes)],
        );
    }
    let binary = [0, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0, 0xff];
    table.good(
        "2: ping of no text",
        &[frame(FIN | PING, &binary)],
        &[answer(FIN | PONG, &binary)],
    );
    table.bad(
        "2: ping of 126",
        &[frame(FIN | PING, &payload(126))],
        &[],
        PROTOCOL,
    );
    table.good(
        "2: pongs that nobody asked for",
        &[
            frame(FIN | PONG, b""),
            frame(FIN | PONG, b"unasked"),
            frame(FIN | PING, b"asked"),
        ],
        &[answer(FIN | PONG, b"asked")],
    );
    let asked: Vec<Vec<u8>> = (0..10).map(|at| frame(FIN | PING, &payload(at))).collect();
    let back: Vec<Vec<u8>> = (0..10).map(|at| answer(FIN | PONG, &payload(at))).collect();
    table.good("2: ten pings", &asked, &back);
    table.0
}

/// 3: reserved bits, and 4: reserved opcodes.
pub fn reserved() -> Vec<Case> {
    let mut table = Table::default();
    let good = || frame(FIN | TEXT, b"good");
    let back = [answer(FIN | TEXT, b"good")];
    for bits in 1..=7_u8 {
        for (kind, opcode) in [("text", TEXT), ("ping", PING), ("close", CLOSE)] {
            table.bad(
                format!("3: bits {bits:03b} in a {kind} frame"),
                &[good(), frame(FIN | bits << 4 | opcode, &[3, 0xe8])],
                &back,
                PROTOCOL,
            );
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for size in [0, 20] {
            table.bad(
                format!("4: opcode {opcode} with {size} bytes"),
                &[good(), frame(FIN | opcode, &payload(size))],
                &back,
                PROTOCOL,
            );
        }
    }
    table.0
}

/// 5: fragments.
pub fn fragmentation() -> Vec<Case> {
    let mut table = Table::default();
    for (name, opcode) in [("ping", PING), ("pong", PONG), ("close", CLOSE)] {
        table.bad(
            format!("5: a {name} in pieces"),
            &[frame(opcode, &[3, 0xe8]), frame(FIN | CONTINUATION, b"b")],
            &[],
            PROTOCOL,
        );
    }
    for (kind, opcode) in [("text", TEXT), ("binary", BINARY)] {
        let whole = [answer(FIN | opcode, b"in two pieces")];
        let (first, second) = (frame(opcode, b"in two "), frame(FIN, b"pieces"));
        table.good(
            format!("5: {kind} in two pieces"),
            &[first.clone(), second.clone()],
            &whole,
        );
        table.good(
            format!("5: {kind} with a ping between its pieces"),
            &[first.clone(), frame(FIN | PING, b"between"), second.clone()],
            &[vec![answer(FIN | PONG, b"between")], whole.to_vec()].concat(),
        );
        table.good(
            format!("5: {kind} with empty pieces"),
            &[
                frame(opcode, b""),
                frame(CONTINUATION, b"in two pieces"),
                frame(FIN, b""),
            ],
            &whole,
        );
        table.bad(
            format!("5: {kind} that begins before the last one ended"),
            &[first, frame(FIN | opcode, b"another")],
            &[],
            PROTOCOL,
        );
        table.bad(
            format!("5: {kind} followed by a piece of nothing"),
            &[frame(FIN | opcode, b"whole"), second],
            &[answer(FIN | opcode, b"whole")],
            PROTOCOL,
        );
    }
    for first in [CONTINUATION, FIN | CONTINUATION] {
        table.bad(
            format!("5: a piece of nothing, {first:#04x}"),
            &[frame(first, b"of what?")],
            &[],
            PROTOCOL,
        );
    }
    let bytes = payload(1000);
    table.good(
        "5: a thousand pieces",
        &fragments(TEXT, &bytes, 1),
        &[answer(FIN | TEXT, &bytes)],
    );
    table.0
}

/// 6: UTF-8.
pub fn utf8() -> Vec<Case> {
    let mut table = Table::default();
    let long = "Hello-µ@ßöäüàá-UTF-8!!";
    for text in [
        long,
        "κόσμε",
        "\0",
        "\u{7f}\u{80}\u{7ff}\u{800}",
        "\u{d7ff}\u{e000}\u{fffd}",
        "\u{fffe}\u{ffff}\u{10000}",
        "\u{1fffe}\u{10fffe}\u{10ffff}",
    ] {
        table.good(
            format!("6: {text:?}"),
            &[frame(FIN | TEXT, text.as_bytes())],
            &[answer(FIN | TEXT, text.as_bytes())],
        );
    }
    let bytes = long.as_bytes();
    for at in 0..=bytes.len() {
        table.good(
            format!("6: cut after {at} bytes"),
            &[frame(TEXT, &bytes[..at]), frame(FIN, &bytes[at..])],
            &[answer(FIN | TEXT, bytes)],
        );
    }
    table.good(
        "6: a piece for each byte",
        &fragments(TEXT, bytes, 1),
        &[answer(FIN | TEXT, bytes)],
    );
    for wrong in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\x80",
        b"\xbf",
        b"\xc0 ",
        b"\xed\xbf\xbf",
        b"\xfe",
        b"\xff",
        b"good until \xe2\x82",
        b"\xce\xce\xba",
    ] {
        table.bad(
            format!("6: {wrong:x?}"),
            &[frame(FIN | TEXT, b"good"), frame(FIN | TEXT, wrong)],
            &[answer(FIN | TEXT, b"good")],
            INVALID,
        );
        table.good(
            format!("6: {wrong:x?} in binary"),
            &[frame(FIN | BINARY, wrong)],
            &[answer(FIN | BINARY, wrong)],
        );
    }
    table.bad(
        "6: wrong in the second piece",
        &[frame(TEXT, b"good so far"), frame(FIN, b"\xff")],
        &[],
        INVALID,
    );
    table.0
}

/// 7: closing.
pub fn closing() -> Vec<Case> {
    let mut table = Table::default();
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        for reason in [&b""[..], b"because"] {
            let sent = [close(code, reason), frame(FIN | TEXT, b"too late")].concat();
            table.add(
                format!("7: code {code}, {} bytes", reason.len()),
                sent,
                Vec::new(),
                Some(code),
            );
        }
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        table.bad(
            format!("7: code {code}"),
            &[close(code, b"")],
            &[],
            PROTOCOL,
        );
    }
    table.add(
        "7: no code",
        frame(FIN | CLOSE, b""),
        answer(FIN | CLOSE, b""),
        None,
    );
    table.bad("7: half a code", &[frame(FIN | CLOSE, &[3])], &[], PROTOCOL);
    table.add(
        "7: a reason of 123 bytes",
        close(NORMAL, &payload(123)),
        Vec::new(),
        Some(NORMAL),
    );
    table.bad(
        "7: a reason of 124 bytes",
        &[close(NORMAL, &payload(124))],
        &[],
        PROTOCOL,
    );
    table.bad(
        "7: a reason that is no text",
        &[close(NORMAL, b"\xce\xba\xed\xa0\x80")],
        &[],
        INVALID,
    );
    for (name, behind) in [
        ("a ping", frame(FIN | PING, b"late")),
        ("a message", frame(FIN | TEXT, b"late")),
        ("another close", close(NORMAL, b"")),
        ("the rest of a message", frame(FIN, b"late")),
    ] {
        let sent = [close(NORMAL, b""), behind].concat();
        let name = format!("7: {name} behind a close");
        table.add(name, sent, Vec::new(), Some(NORMAL));
    }
    table.add(
        "7: a close between the pieces of a message",
        [frame(TEXT, b"half"), close(NORMAL, b"")].concat(),
        Vec::new(),
        Some(NORMAL),
    );
    table.0.extend(cut_short());
    table.0
}

/// 7: the client ends its direction in the middle.
fn cut_short() -> Vec<Case> {
    let mut table = Table::default();
    for (name, sent) in [
        ("nothing", Vec::new()),
        ("half a head", vec![0x81]),
        ("half a frame", frame(FIN | TEXT, b"cut")[..7].to_vec()),
        ("half a message", frame(TEXT, b"first")),
    ] {
        table.add(format!("7: the end behind {name}"), sent, Vec::new(), None);
    }
    for case in &mut table.0 {
        case.ends = true;
    }
    table.0
}

/// 9: large messages, and 10: messages that a library has cut.
pub fn large() -> Vec<Case> {
    let mut table = Table::default();
    for (kind, opcode) in [("text", TEXT), ("binary", BINARY)] {
        for size in [256 * 1024, 1024 * 1024, 4 * 1024 * 1024] {
            let bytes = payload(size);
            table.good(
                format!("9: {kind} of {size}"),
                &[frame(FIN | opcode, &bytes)],
                &[answer(FIN | opcode, &bytes)],
            );
        }
        let bytes = payload(1024 * 1024);
        for piece in [256, 4096, 65_536] {
            table.good(
                format!("9: {kind} in pieces of {piece}"),
                &fragments(opcode, &bytes, piece),
                &[answer(FIN | opcode, &bytes)],
            );
        }
        let bytes = payload(65_536);
        table.good(
            format!("10: {kind} in pieces of 1300"),
            &fragments(opcode, &bytes, 1300),
            &[answer(FIN | opcode, &bytes)],
        );
    }
    let many: Vec<Vec<u8>> = (0..1000).map(|at| payload(at % 130)).collect();
    let sent: Vec<Vec<u8>> = many.iter().map(|m| frame(FIN | BINARY, m)).collect();
    let back: Vec<Vec<u8>> = many.iter().map(|m| answer(FIN | BINARY, m)).collect();
    table.good("9: a thousand messages", &sent, &back);
    table.0
}
