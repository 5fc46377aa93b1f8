//! Whether a person is using a desktop, read off the stream that their browser sends: RFB (RFC 6143) or that of
//! selkies.
//!
//! [`InputScanner`] is shown the browser's bytes after the 101, cut anywhere. It unmasks the few bytes
//! that say what a message is and how long, passes over all others unread, and stores no payload. It
//! never judges a stream: what it cannot follow, a desktop may still understand.
//!
//! Which of the two it is, the first message says: RFB comes as bytes, selkies as text. So a template need not tell.
//!
//! Counted as a person's input in RFB: keys (4, 255), pointer movements and buttons (5, 188), clipboard from
//! the browser (6, 180). Not counted: what clients send by themselves, such as update requests,
//! fences, keep-alives, statistics, answers to the server's clipboard, and the release of key 1 that
//! older `KasmVNC` clients send every 5 s when they are in a frame. For selkies see `selkies.rs`.

mod rfb;
mod selkies;

use self::rfb::ClientStream;
use self::selkies::{ClientMessages, Foreign};
use super::frames::{Frames, Opcode, Piece};

/// Finds a person's input in what a browser sends to a desktop.
///
/// Lost for good: RFB after an unknown message or security type, a length over 256 MiB, or text frames (the
/// `base64` subprotocol); text that does not begin as selkies does; broken framing. Then [`Self::is_lost`] is true
/// and no input is found any more. RFB in use that it does not follow: `TightVNC`, `VeNCrypt`, XVP and RSA-AES
/// security, whose lengths depend on the server's side. Nor does it know what no release of `KasmVNC` sends yet:
/// touch, and `WebRTC` signalling, whose number differs from branch to branch (187, 190, 192).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputScanner {
    frames: Frames,
    stream: Stream,
}

/// What the messages are in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stream {
    /// Also if nothing has come, or nothing is understood any more.
    Rfb(ClientStream),
    Selkies(ClientMessages),
}

impl InputScanner {
    /// For a connection from which nothing has come since the 101.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: Frames::from_client(),
            stream: Stream::Rfb(ClientStream::new()),
        }
    }

    /// Takes the browser's next bytes; true if they hold a person's input. An input is in the bytes
    /// that show it to be one: mostly its type, of a key event its last byte, of a clipboard message
    /// its length, of a text the last byte that is looked at.
    pub fn scan(&mut self, bytes: &[u8]) -> bool {
        let before = self.inputs();
        if !self.is_lost() {
            let Self { frames, stream } = self;
            frames.visit(bytes, |piece| match piece.opcode {
                Opcode::Binary => stream.bytes(piece),
                Opcode::Text => stream.text(piece),
                Opcode::Close | Opcode::Ping | Opcode::Pong => {}
            });
            if frames.is_lost() {
                stream.lose();
            }
            if stream.is_lost() {
                // Equal histories are equal states, however the bytes were cut.
                *frames = Frames::from_client();
            }
        }
        self.inputs() != before
    }

    /// How many messages were a person's input; wraps around at 2^32.
    #[must_use]
    pub const fn inputs(&self) -> u32 {
        self.stream.inputs()
    }

    /// Whether it can tell input from what a client sends by itself. Not so before the end of the handshake,
    /// nor in a stream of another kind.
    #[must_use]
    pub const fn is_following(&self) -> bool {
        match &self.stream {
            Stream::Rfb(stream) => stream.is_following(),
            Stream::Selkies(messages) => messages.is_following(),
        }
    }

    /// Whether the stream could not be followed, so that [`Self::scan`] answers false for ever. What
    /// the person does is then unknown, not nothing.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.stream.is_lost()
    }
}

impl Stream {
    #[inline]
    fn bytes(&mut self, piece: &Piece<'_>) {
        match self {
            Self::Rfb(stream) => stream.feed(piece),
            Self::Selkies(messages) => {
                if let Err(Foreign) = messages.feed(piece) {
                    self.lose();
                }
            }
        }
    }

    fn text(&mut self, piece: &Piece<'_>) {
        if let Self::Rfb(stream) = self {
            if !stream.is_untouched() {
                stream.lose();
                return;
            }
            *self = Self::Selkies(ClientMessages::new());
        }
        if let Self::Selkies(messages) = self
            && let Err(Foreign) = messages.feed(piece)
        {
            self.lose();
        }
    }

    const fn inputs(&self) -> u32 {
        match self {
            Self::Rfb(stream) => stream.inputs(),
            Self::Selkies(messages) => messages.inputs(),
        }
    }

    const fn is_lost(&self) -> bool {
        match self {
            Self::Rfb(stream) => stream.is_lost(),
            Self::Selkies(_) => false,
        }
    }

    /// Gives the stream up, keeping the count alone.
    const fn lose(&mut self) {
        *self = Self::Rfb(ClientStream::lost(self.inputs()));
    }
}

impl Default for InputScanner {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client: the encodings it names, and messages of its own as in [`COMMON`].
    type Client = (&'static [i32], &'static str);

    const KASM: Client = (
        &[7, 0, -258, -1023, -1997, -3990],
        "1 05 10 PointerEvent
         0 b8 0 early KeepAlive",
    );
    const KASM_WITH_ENCODERS: Client = (
        &[7, -1884, -1165, -1025, -1997],
        "1 05 10 PointerEvent
         0 b802 8 VideoEncoders",
    );
    const NOVNC: Client = (
        &[1, 7, 5, -223, -224, -258, -308, 0x574d_5664],
        "1 05ff 4 PointerEvent",
    );
    const NOVNC_EXTENDED: Client = (
        &[1, 7, -316, -223],
        "1 057f 4 PointerEvent
         1 0581 5 extended PointerEvent",
    );
    const CLIENTS: [Client; 4] = [KASM, KASM_WITH_ENCODERS, NOVNC, NOVNC_EXTENDED];

    /// What all clients send alike: how many inputs it is, its first bytes, how many more follow.
    const COMMON: &str = "
        0 00 19 SetPixelFormat
        0 02000002 8 SetEncodings
        0 02000000 0 SetEncodings with none
        0 03 9 FramebufferUpdateRequest
        1 0401000000000061 0 KeyEvent, down
        1 0400000000000061 0 KeyEvent, up
        1 0401000000000001 0 KeyEvent, key 1 down
        0 0400000000000001 0 KeyEvent, key 1 up, sent in frames
        1 0600000000000100 256 ClientCutText
        1 0600000000000000 0 ClientCutText, empty
        0 06000000fffffff81f 7 ClientCutText, extended, caps
        0 06000000fffffffc02 3 ClientCutText, extended, request
        0 06000000fffffffc04 3 ClientCutText, extended, peek
        1 06000000fffffffc08 3 ClientCutText, extended, notify
        1 06000000ffffff0010 255 ClientCutText, extended, provide
        0 06000000ffffffff00 0 ClientCutText, extended, the shortest
        0 96 9 EnableContinuousUpdates
        0 b2 3 RequestStats
        0 b3 11 FrameStats
        1 b400 0 BinaryClipboard, empty
        1 b40103614f6200000100 256 BinaryClipboard
        1 b40203614f620000000105000000000c 12 BinaryClipboard, two items
        0 b50102 258 UpgradeToUdp
        0 b50000 0 UpgradeToUdp, back
        0 b607 7 SubscribeUnixRelay
        0 b70161000000ff 255 UnixRelay
        0 b9 0 KeepAlive
        1 bc 9 DirectMouseEvent
        0 f80000000000000104 4 ClientFence
        0 fa 3 xvp
        0 fb00040003000200 32 SetDesktopSize
        0 fc 4 SetMaxVideoResolution
        1 ff00 10 QEMU key
        0 ff010000 0 QEMU audio, enable
        0 ff010002 6 QEMU audio, format";

    /// Messages as [`COMMON`] writes them: name, bytes, inputs.
    fn messages(client: Client) -> Vec<(&'static str, Vec<u8>, u32)> {
        let lines = COMMON.trim().lines().chain(client.1.lines());
        lines
            .map(|line| {
                let mut words = line.trim().splitn(4, ' ');
                let mut word = || words.next().unwrap();
                let (inputs, head, more, name) = (word(), word(), word(), word());
                let mut message: Vec<u8> = (0..head.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&head[at..at + 2], 16).unwrap())
                    .collect();
                // Read as types, fives would be pointer events.
                message.resize(message.len() + more.parse::<usize>().unwrap(), 5);
                (name, message, inputs.parse().unwrap())
            })
            .collect()
    }

    /// A client's frame of at most 65535 bytes.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let length = u16::try_from(payload.len()).unwrap();
        let mut bytes = vec![first];
        match u8::try_from(length) {
            Ok(short) if short < 126 => bytes.push(0x80 | short),
            _ => {
                bytes.push(0xfe);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend(key);
        bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(p, k)| p ^ k));
        bytes
    }

    fn set_encodings(encodings: &[i32]) -> Vec<u8> {
        let mut message = vec![2, 0];
        message.extend(u16::try_from(encodings.len()).unwrap().to_be_bytes());
        message.extend(encodings.iter().flat_map(|encoding| encoding.to_be_bytes()));
        message
    }

    /// From the version to the first list of encodings, as noVNC and `KasmVNC` do it.
    fn opening(client: Client) -> Vec<u8> {
        let mut bytes = b"RFB 003.008\n\x02".to_vec();
        bytes.extend([0xa5; 16]);
        bytes.push(1);
        bytes.extend([0; 20]);
        bytes.extend(set_encodings(client.0));
        bytes
    }

    fn connected(client: Client) -> InputScanner {
        let mut scanner = InputScanner::new();
        assert!(!scanner.scan(&masked(0x82, &opening(client))));
        assert!(!scanner.is_lost());
        scanner
    }

    #[test]
    fn every_message_is_counted_and_ends_where_it_should() {
        for client in CLIENTS {
            let mut scanner = connected(client);
            for (name, message, inputs) in messages(client) {
                let before = scanner.inputs();
                let found = scanner.scan(&masked(0x82, &message));
                let count = scanner.inputs() - before;
                assert_eq!((count, found), (inputs, inputs > 0), "{name}");
                // A key straight after it shows that nothing was left over or missing.
                let key = [4, 1, 0, 0, 0, 0, 0, 9];
                assert!(scanner.scan(&masked(0x82, &key)), "after {name}");
                assert_eq!(scanner.inputs() - before, inputs + 1, "after {name}");
            }
        }
    }

    #[test]
    fn encoders_may_be_listed_before_the_encodings() {
        let mut bytes = b"RFB 003.008\n\x01\x01\xb8\x01\x05\x05\x05\x05".to_vec();
        bytes.extend(set_encodings(KASM.0));
        bytes.extend([184, 0]);
        let mut scanner = InputScanner::new();
        assert!(!scanner.scan(&masked(0x82, &bytes)));
        assert!(scanner.scan(&masked(0x82, &[5])));
    }

    #[test]
    fn all_openings_that_do_not_depend_on_the_server() {
        let response = [0xa5; 16];
        for (version, security) in [
            ("RFB 003.008\n", &b"\x01"[..]),
            ("RFB 003.007\n", b"\x01"),
            ("RFB 003.007\n", &[&[2], &response[..]].concat()),
            ("RFB 003.003\n", b""),
            ("RFB 003.003\n", &response),
        ] {
            let mut scanner = InputScanner::new();
            assert!(!scanner.scan(&masked(
                0x82,
                &[version.as_bytes(), security, &[1]].concat()
            )));
            assert!(scanner.scan(&masked(0x82, &[5, 0, 0, 1, 0, 1])));
            assert!(!scanner.is_lost());
        }
    }

    #[test]
    fn a_lost_stream_stays_lost_and_keeps_its_count() {
        let too_long = 256 * 1024 * 1024 + 1_u32;
        let table = [
            ("an unknown type", masked(0x82, &[7])),
            (
                "a long text",
                masked(0x82, &[&[6, 0, 0, 0], &too_long.to_be_bytes()[..]].concat()),
            ),
            (
                "the longest text",
                masked(0x82, &[6, 0, 0, 0, 0x80, 0, 0, 0]),
            ),
            ("an unknown QEMU message", masked(0x82, &[255, 2])),
            ("a text frame", masked(0x81, b"BAEA")),
            ("a frame without a mask", vec![0x82, 1, 5]),
        ];
        for (what, bytes) in table {
            let mut scanner = connected(NOVNC);
            assert!(scanner.scan(&masked(0x82, &[5, 0, 0, 1, 0, 1])));
            let before = scanner.inputs();
            scanner.scan(&bytes);
            assert!(scanner.is_lost(), "{what}");
            assert!(!scanner.scan(&masked(0x82, &[5, 0, 0, 1, 0, 1])), "{what}");
            assert_eq!(scanner.inputs(), before, "{what}");
        }
        for opening in [&b"GET / HTTP/1"[..], b"RFB 004.001\n", b"RFB 003.008\n\x13"] {
            let mut scanner = InputScanner::default();
            assert!(!scanner.scan(&masked(0x82, opening)));
            assert!(scanner.is_lost());
        }
    }

    #[test]
    fn control_frames_may_stand_anywhere() {
        let mut scanner = connected(KASM);
        assert!(!scanner.scan(&masked(0x02, &[4, 1, 0])));
        assert!(!scanner.scan(&masked(0x8a, &[5; 125])));
        assert!(scanner.scan(&masked(0x80, &[0, 0, 0, 0, 9])));
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<InputScanner>() <= 64);
    }

    /// A client's whole stream in frames cut at any place, and the inputs in it.
    fn session() -> impl Strategy<Value = (Vec<u8>, u32)> {
        let choices = prop::collection::vec(any::<prop::sample::Index>(), 0..30);
        let sizes = prop::collection::vec(1..40_usize, 1..60);
        let client = prop::sample::select(CLIENTS.to_vec());
        (client, choices, sizes).prop_map(|(client, choices, sizes)| {
            let known = messages(client);
            let (mut stream, mut inputs) = (opening(client), 0);
            for choice in choices {
                let (_, message, count) = choice.get(&known);
                stream.extend(message);
                inputs += count;
            }
            let (mut bytes, mut rest, mut sizes) = (Vec::new(), &stream[..], sizes.iter().cycle());
            while let (false, Some(size)) = (rest.is_empty(), sizes.next()) {
                let (payload, after) = rest.split_at((*size).min(rest.len()));
                bytes.extend(masked(0x82, payload));
                rest = after;
            }
            (bytes, inputs)
        })
    }

    fn scan_in_parts(bytes: &[u8], cuts: &[usize]) -> (InputScanner, bool) {
        let (mut scanner, mut found, mut rest) = (InputScanner::new(), false, bytes);
        for size in cuts.iter().chain([&usize::MAX]) {
            let (part, after) = rest.split_at((*size).min(rest.len()));
            found |= scanner.scan(part);
            rest = after;
        }
        (scanner, found)
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            (bytes, inputs) in session(),
            cuts in prop::collection::vec(0..50_usize, 0..100),
        ) {
            let (scanner, found) = scan_in_parts(&bytes, &cuts);
            prop_assert_eq!((scanner.inputs(), found), (inputs, inputs > 0));
            prop_assert!(!scanner.is_lost());
            prop_assert_eq!(scanner, scan_in_parts(&bytes, &[]).0);
        }

        #[test]
        fn cuts_change_nothing_in_what_is_no_rfb(
            (mut bytes, _) in session(),
            wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cuts in prop::collection::vec(0..50_usize, 0..100),
        ) {
            for (place, value) in wrong {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            prop_assert_eq!(scan_in_parts(&bytes, &cuts), scan_in_parts(&bytes, &[]));
        }

        #[test]
        fn it_survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let framed = [masked(0x82, &opening(KASM)), masked(0x82, &bytes)].concat();
            let cuts: Vec<usize> = bytes.iter().map(|&byte| usize::from(byte % 7)).collect();
            prop_assert_eq!(scan_in_parts(&framed, &cuts), scan_in_parts(&framed, &[]));
            prop_assert_eq!(scan_in_parts(&bytes, &cuts), scan_in_parts(&bytes, &[]));
        }
    }
}
