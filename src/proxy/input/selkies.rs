//! The client's side of selkies' WebSocket: which of its messages a person causes.
//!
//! A message is text that begins with its name, mostly up to a comma (`kd,97`, `m,640,400,0,0,7`), or bytes. Four
//! bytes tell all of them apart, so no more are looked at. Messages end where WebSocket says, so one that is not known
//! leads nobody astray, as it would in RFB.
//!
//! Counted as a person's input:
//! - keys (`kd`, `ku`), text (`co`), pointer and wheel (`m`, `m2`, `sf`), a gamepad (`js,b`, `js,a`);
//! - the clipboard from the browser (`cw`, `cb` and longer), and a program that is started from the page (`cmd`);
//! - a file (`FILE_UPLOAD…`) and all that comes as bytes: files, microphone, camera, packed text;
//! - names that are not known here, which may be those of a newer client's input.
//!
//! Not counted:
//! - what is still held (`kh`, `js,h`), all keys up (`kr`), a gamepad found and gone (`js,c`, `js,d`);
//! - the session's clipboard asked for (`cr`), sizes and settings (`r`, `s`, `vb`, `ab`, `p`, `vp`), `pong`;
//! - names in capitals or with `_` in front: settings, acknowledgements, statistics, pictures and sound wanted or not;
//! - text of less than four bytes.
//!
//! Text of 512 characters and more may come as bytes, packed with gzip. That is the clipboard, typed text, or settings
//! that a person changes: those of a new connection come before the server has agreed to packing. Microphone and
//! camera are on because a person wants it so, and selkies 2 takes them only while a program in the desktop listens.
//!
//! Sources: `input_handler.py` and `websockets_mode.py` of selkies 2.1.0 and its client; for linuxserver's images those of
//! 2025, `selkies.py` and `selkies-ws-core.js`.

use crate::proxy::frames::{Opcode, Piece};

/// How much of a message is looked at, bytes.
const LOOKED_AT: usize = 4;

/// Looks at the beginnings of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientMessages {
    /// What the current one begins with, then zeros.
    name: [u8; LOOKED_AT],
    /// How much of that has arrived.
    arrived: u8,
    inputs: u32,
    /// Whether the first message was one of selkies.
    known: bool,
}

/// The messages did not begin as those of selkies do.
#[derive(Debug)]
pub(super) struct Foreign;

impl ClientMessages {
    /// For a client that has sent nothing.
    pub(super) const fn new() -> Self {
        Self {
            name: [0; LOOKED_AT],
            arrived: 0,
            inputs: 0,
            known: false,
        }
    }

    /// Whether messages are being told apart: the first of them has shown what the stream is.
    pub(super) const fn is_following(&self) -> bool {
        self.known
    }

    /// How many messages were a person's input; wraps around.
    pub(super) const fn inputs(&self) -> u32 {
        self.inputs
    }

    /// Follows the next bytes.
    pub(super) fn feed(&mut self, piece: &Piece<'_>) -> Result<(), Foreign> {
        if piece.first {
            self.name = [0; LOOKED_AT];
            self.arrived = 0;
        }
        if piece.opcode == Opcode::Binary {
            if !self.known {
                return Err(Foreign);
            }
            if piece.first {
                self.input();
            }
            return Ok(());
        }
        let mut at = 0;
        while let Some(place) = self.name.get_mut(usize::from(self.arrived)) {
            let Some(byte) = piece.byte(at) else {
                return Ok(());
            };
            *place = byte;
            self.arrived += 1;
            at += 1;
            if usize::from(self.arrived) == LOOKED_AT {
                return self.judge();
            }
        }
        Ok(())
    }

    fn judge(&mut self) -> Result<(), Foreign> {
        if !self.known {
            self.known = is_opening(self.name);
            return if self.known { Ok(()) } else { Err(Foreign) };
        }
        if is_input(self.name) {
            self.input();
        }
        Ok(())
    }

    const fn input(&mut self) {
        self.inputs = self.inputs.wrapping_add(1);
    }
}

/// Whether a client of selkies begins so: with what it can unpack, its settings, or the wish for pictures or for none.
const fn is_opening(name: [u8; LOOKED_AT]) -> bool {
    matches!(&name, b"_gz," | b"SETT" | b"STAR" | b"STOP")
}

const fn is_input(name: [u8; LOOKED_AT]) -> bool {
    match &name {
        b"FILE" => true,
        [b'_' | b'A'..=b'Z', ..]
        | [b'p' | b'r' | b's', b',', ..]
        | [b'k', b'h' | b'r', b',', _]
        | [b'v', b'b' | b'p', b',', _]
        | [b'a', b'b', b',', _]
        | [b'c', b'r', b',', _]
        | [b'j', b's', b',', b'c' | b'd' | b'h']
        | b"pong" => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::InputScanner;

    /// What a client begins with.
    const OPENINGS: [&str; 4] = [
        "_gz,1",
        "SETTINGS,{\"framerate\":60}",
        "START_VIDEO",
        "STOP_VIDEO",
    ];

    /// Text that a person causes.
    const INPUT: &str = "
        kd,97 ku,97 kd,65293 co,end,a co,end,ä m,640,400,0,0,7 m,0,0,1,0,1 m2,-3,5,0,0,8 m2,0,0,8,1,9
        sf,0.00,-12.50 js,b,0,3,1 js,a,0,1,-0.25 cw,YQ== cw,YQ cws,1,900000 cwd,1,YQ== cwe,1 cb,image/png,YQ==
        cbs,1,image/png,900000 cbd,1,YQ== cbe,1 cmd,xterm FILE_UPLOAD_START:a.txt:3 FILE_UPLOAD_END:a.txt
        touch,1,2 k2,97";

    /// Text that a client sends by itself.
    const OTHER: &str = "
        _gz,1 SETTINGS,{\"framerate\":60} START_VIDEO STOP_VIDEO START_AUDIO STOP_AUDIO REQUEST_KEYFRAME
        CLIENT_FRAME_ACK|417|0 LOST_FRAME|417 DECODE_PACE|0 SET_NATIVE_CURSOR_RENDERING,1 REQUEST_CLIPBOARD
        _stats,1 _stats_video,[] _f,60 _l,12 _arg_fps,60 _ebc,true _rc,crf _crf,25 _pointer_echo,1
        kh,97 kh,97,98 kr cr p,0 p,1 r,1280x720 s,96 vb,8000 ab,128000 vp,0.00,84.00,1.0000,1.0000 pong,1.5 pong
        js,c,0,UGFk,4,17 js,d,0 js,h,0 sfe k";

    fn words(list: &str) -> Vec<String> {
        let words = list.split_whitespace();
        words.map(|word| word.replace('|', " ")).collect()
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
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

    fn text(words: &str) -> Vec<u8> {
        frame(0x81, words.as_bytes())
    }

    fn connected() -> InputScanner {
        let mut scanner = InputScanner::new();
        assert!(!scanner.scan(&text("_gz,1")));
        assert!(scanner.is_following());
        scanner
    }

    #[test]
    fn what_a_person_does_is_counted_and_the_rest_is_not() {
        let mut scanner = connected();
        for (list, counted) in [(INPUT, true), (OTHER, false)] {
            for words in words(list) {
                let before = scanner.inputs();
                assert_eq!(scanner.scan(&text(&words)), counted, "{words}");
                assert_eq!(scanner.inputs() - before, u32::from(counted), "{words}");
            }
        }
        assert!(scanner.is_following() && !scanner.is_lost());
    }

    #[test]
    fn files_sound_and_packed_text_are_counted() {
        let mut scanner = connected();
        for first in [1, 2, 5, 6] {
            assert!(scanner.scan(&frame(0x82, &[first, 7, 7])), "{first}");
        }
        assert_eq!(scanner.inputs(), 4);
    }

    #[test]
    fn every_opening_shows_what_it_is_and_nothing_else_does() {
        for opening in OPENINGS {
            let mut scanner = InputScanner::new();
            assert!(!scanner.scan(&text(opening)));
            assert!(scanner.is_following(), "{opening}");
            assert!(scanner.scan(&text("kd,97")), "{opening}");
        }
        // Guacamole, STOMP, RFB in base64, a terminal, JSON.
        for foreign in [
            "4.sync,1;",
            "STOMP\n",
            "UkZCIDAwMy4w",
            "kd,97",
            "{\"type\":1}",
            "HELLO 1",
        ] {
            let mut scanner = InputScanner::new();
            assert!(!scanner.scan(&text(foreign)));
            assert!(scanner.is_lost() && !scanner.is_following(), "{foreign}");
            assert!(!scanner.scan(&text("kd,97")), "{foreign}");
        }
    }

    #[test]
    fn a_lost_stream_stays_lost_and_keeps_its_count() {
        let compressed = frame(0xc1, b"kd,97");
        let unmasked = vec![0x81, 5, b'k', b'd', b',', b'9', b'7'];
        for (what, bytes) in [("compressed", compressed), ("unmasked", unmasked)] {
            let mut scanner = connected();
            assert!(scanner.scan(&text("kd,97")));
            assert!(!scanner.scan(&bytes), "{what}");
            assert!(scanner.is_lost(), "{what}");
            assert!(!scanner.scan(&text("kd,97")), "{what}");
            assert_eq!(scanner.inputs(), 1, "{what}");
        }
    }

    #[test]
    fn bytes_before_the_opening_are_somebody_elses() {
        let mut scanner = InputScanner::new();
        assert!(!scanner.scan(&text("cr")));
        assert!(!scanner.is_following());
        assert!(!scanner.scan(&frame(0x82, &[5, 0])));
        assert!(scanner.is_lost());
    }

    /// A client's messages in frames of these sizes with pings between them, and how many were a person's.
    fn session() -> impl Strategy<Value = (Vec<u8>, u32)> {
        let message = (
            any::<prop::sample::Index>(),
            0..3_u8,
            prop::collection::vec(0..5_usize, 0..4),
        );
        prop::collection::vec(message, 0..30).prop_map(|messages| {
            let (input, other) = (words(INPUT), words(OTHER));
            let (mut bytes, mut inputs) = (text("_gz,1"), 0);
            for (choice, kind, sizes) in messages {
                let (first, payload) = match kind {
                    0 => (1, choice.get(&input).clone().into_bytes()),
                    1 => (1, choice.get(&other).clone().into_bytes()),
                    _ => (2, vec![5; 1 + choice.index(300)]),
                };
                inputs += u32::from(kind != 1);
                let mut rest = &payload[..];
                let mut opcode = first;
                for size in sizes {
                    let (part, after) = rest.split_at(size.min(rest.len()));
                    bytes.extend(frame(opcode, part));
                    bytes.extend(frame(0x89, b"kd,97"));
                    (opcode, rest) = (0, after);
                }
                bytes.extend(frame(0x80 | opcode, rest));
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
        fn frames_and_cuts_change_nothing(
            (bytes, inputs) in session(),
            cuts in prop::collection::vec(0..50_usize, 0..100),
        ) {
            let (scanner, found) = scan_in_parts(&bytes, &cuts);
            prop_assert_eq!((scanner.inputs(), found), (inputs, inputs > 0));
            prop_assert!(scanner.is_following());
            prop_assert_eq!(scanner, scan_in_parts(&bytes, &[]).0);
        }

        #[test]
        fn it_survives_anything(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            payload in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let cuts: Vec<usize> = bytes.iter().map(|&byte| usize::from(byte % 7)).collect();
            let framed = [text("_gz,1"), frame(0x81, &payload), bytes].concat();
            prop_assert_eq!(scan_in_parts(&framed, &cuts), scan_in_parts(&framed, &[]));
        }
    }
}
