//! The client's side of RFB: how long its messages are, and which of them a person causes.
//!
//! # Dialects
//!
//! `KasmVNC` lengthened the pointer event from 6 to 11 bytes without a new type. The two are told
//! apart by the list of encodings, which every client sends before input: only a `KasmVNC` client
//! names the pseudo-encodings of its quality settings. Extended mouse buttons (pseudo-encoding -316)
//! make a pointer event 7 bytes long if the top bit of its mask is set. Type 184 is a list of video
//! encoders from some `KasmVNC` clients, and a keep-alive of one byte from others; those that have
//! encoders show it before or in the first list of encodings.
//!
//! Sources: RFC 6143 sections 7.1 to 7.5; the extensions registered with the community's `rfbproto`;
//! for 178 to 188 and 252 `KasmVNC`'s `SMsgReader` and its client's `RFB.messages`.

use std::ops::RangeInclusive;

use crate::proxy::frames::Piece;

/// Longest variable part of a message in bytes. Nobody pastes more than 256 MiB, but a scanner out of
/// step reads such lengths soon.
const MAX_LENGTH: u64 = 256 * 1024 * 1024;

/// Pseudo-encodings of `KasmVNC`'s quality settings, of which a client names several at once. Nobody
/// else is known to use the numbers between them (`KasmVNC` `encodings.h`).
const KASM_SETTINGS: RangeInclusive<u64> = encoding(-1997)..=encoding(-770);
/// Pseudo-encodings of `KasmVNC`'s streaming modes, named by clients that list video encoders.
const KASM_STREAMING_MODES: RangeInclusive<u64> = encoding(-1040)..=encoding(-1025);
/// Pseudo-encoding of extended mouse buttons (`rfbproto`).
const EXTENDED_MOUSE_BUTTONS: u64 = encoding(-316);

/// An encoding's number as it is read from the stream.
const fn encoding(number: i32) -> u64 {
    number.cast_unsigned() as u64
}

/// Flags in the first byte of an extended clipboard message (`rfbproto`).
const CLIPBOARD_CAPS: u64 = 0x01;
const CLIPBOARD_NOTIFY: u64 = 0x08;
const CLIPBOARD_PROVIDE: u64 = 0x10;

/// Follows the numbers that give lengths, and passes over everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientStream {
    /// What has arrived of the number expected.
    value: u64,
    /// Bytes to pass over before it.
    skip: usize,
    /// Repetitions still to come, or bytes, whichever the expected number leaves open.
    left: u64,
    inputs: u32,
    /// Bytes of the number that are missing.
    missing: u8,
    expected: Expected,
    pointer: Pointer,
    video_encoders: VideoEncoders,
}

impl ClientStream {
    /// For a client that has sent nothing.
    pub(super) const fn new() -> Self {
        Self {
            value: 0,
            skip: 0,
            left: 0,
            inputs: 0,
            missing: 4,
            expected: Expected::VersionName,
            pointer: Pointer::Standard,
            video_encoders: VideoEncoders::Unknown,
        }
    }

    /// For a client of which nothing is understood any more, after so many inputs.
    pub(super) const fn lost(inputs: u32) -> Self {
        Self {
            inputs,
            missing: 0,
            expected: Expected::Nothing,
            ..Self::new()
        }
    }

    /// Whether nothing has come.
    pub(super) const fn is_untouched(&self) -> bool {
        matches!(self.expected, Expected::VersionName) && self.missing == 4
    }

    /// Whether the client sent something of unknown length.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self.expected, Expected::Nothing)
    }

    /// Whether messages are being told apart: the handshake is over, and nothing unknown has come.
    pub(super) const fn is_following(&self) -> bool {
        !matches!(
            self.expected,
            Expected::VersionName
                | Expected::VersionMajor
                | Expected::VersionMinor
                | Expected::SecurityType
                | Expected::SharedOrResponse
                | Expected::ClientInit
                | Expected::Nothing
        )
    }

    /// How many messages were a person's input; wraps around.
    pub(super) const fn inputs(&self) -> u32 {
        self.inputs
    }

    /// Gives the stream up, keeping the count alone.
    pub(super) const fn lose(&mut self) {
        *self = Self::lost(self.inputs);
    }

    /// Follows the next bytes.
    pub(super) fn feed(&mut self, piece: &Piece<'_>) {
        let mut at = 0;
        while !self.is_lost() {
            let here = piece.bytes.len() - at;
            if self.skip >= here {
                self.skip -= here;
                return;
            }
            at += self.skip;
            self.skip = 0;
            let Some(byte) = piece.byte(at) else { return };
            at += 1;
            if self.expected == Expected::MessageType {
                self.begin(byte);
                continue;
            }
            self.value = self.value << 8 | u64::from(byte);
            self.missing = self.missing.saturating_sub(1);
            if self.missing == 0 {
                let value = self.value;
                self.value = 0;
                self.take(value);
            }
        }
    }

    /// Acts on the number that was expected, and says which one is next.
    fn take(&mut self, value: u64) {
        match self.expected {
            Expected::KeyEvent => {
                // Key 1 does not exist; KasmVNC's client releases it every 5 s in a frame.
                let (down, keysym) = (value >> 48, value & 0xffff_ffff);
                if down != 0 || keysym != 1 {
                    self.input();
                }
                self.expect_message(0);
            }
            Expected::PointerButtons if value & 0x80 != 0 => self.expect_message(5),
            Expected::PointerButtons => self.expect_message(4),
            Expected::QemuType if value == 0 => {
                self.input();
                self.expect_message(10);
            }
            Expected::QemuType if value == 1 => self.expect(Expected::QemuAudioOperation, 2),
            Expected::QemuAudioOperation if value < 2 => self.expect_message(0),
            Expected::QemuAudioOperation if value == 2 => self.expect_message(6),
            Expected::FenceLength
            | Expected::RelayLength
            | Expected::UdpUpgradeLength
            | Expected::SubscribedRelayLength => self.expect_message(value),
            Expected::ScreenCount => self.expect_message(1 + 16 * value),
            Expected::VideoEncoderCount => self.expect_message(4 * value),
            Expected::RelayNameLength => self.expect_after(value, Expected::RelayLength, 4),
            Expected::EncodingCount | Expected::Encoding => self.take_encoding(value),
            Expected::CutTextLength
            | Expected::ExtendedClipboardActions
            | Expected::ClipboardCount
            | Expected::ClipboardTypeLength
            | Expected::ClipboardLength => self.take_clipboard(value),
            _ => self.take_handshake(value),
        }
    }

    /// The type of a message: passes over the rest, or up to the number that gives its length.
    #[inline]
    fn begin(&mut self, message_type: u8) {
        match message_type {
            0 => self.expect_message(19),
            2 => self.expect_after(1, Expected::EncodingCount, 2),
            3 | 150 => self.expect_message(9),
            4 => self.expect(Expected::KeyEvent, 7),
            5 => {
                self.input();
                match self.pointer {
                    Pointer::Standard => self.expect_message(5),
                    Pointer::Extended => self.expect(Expected::PointerButtons, 1),
                    Pointer::Kasm => self.expect_message(10),
                }
            }
            6 => self.expect_after(3, Expected::CutTextLength, 4),
            178 | 250 => self.expect_message(3),
            179 => self.expect_message(11),
            180 => {
                self.input();
                self.expect(Expected::ClipboardCount, 1);
            }
            181 => self.expect(Expected::UdpUpgradeLength, 2),
            182 => self.expect(Expected::SubscribedRelayLength, 1),
            183 => self.expect(Expected::RelayNameLength, 1),
            184 if self.video_encoders == VideoEncoders::Absent => self.expect_message(0),
            184 => {
                self.video_encoders = VideoEncoders::Listed;
                self.expect(Expected::VideoEncoderCount, 1);
            }
            185 => self.expect_message(0),
            188 => {
                self.input();
                self.expect_message(9);
            }
            248 => self.expect_after(7, Expected::FenceLength, 1),
            251 => self.expect_after(5, Expected::ScreenCount, 1),
            252 => self.expect_message(4),
            255 => self.expect(Expected::QemuType, 1),
            _ => self.lose(),
        }
    }

    /// The protocol version and what else comes before the first message (RFC 6143, sections 7.1 to
    /// 7.3). Anything that is not listed here loses the stream.
    fn take_handshake(&mut self, value: u64) {
        const NAME: u64 = u32::from_be_bytes(*b"RFB ") as u64;
        const MAJOR: u64 = u32::from_be_bytes(*b"003.") as u64;
        const MINOR_3: u64 = u32::from_be_bytes(*b"003\n") as u64;
        const MINOR_7: u64 = u32::from_be_bytes(*b"007\n") as u64;
        const MINOR_8: u64 = u32::from_be_bytes(*b"008\n") as u64;
        match (self.expected, value) {
            (Expected::VersionName, NAME) => self.expect(Expected::VersionMajor, 4),
            (Expected::VersionMajor, MAJOR) => self.expect(Expected::VersionMinor, 4),
            (Expected::VersionMinor, MINOR_3) => self.expect(Expected::SharedOrResponse, 1),
            (Expected::VersionMinor, MINOR_7 | MINOR_8) => self.expect(Expected::SecurityType, 1),
            // No security, and VncAuth with its response of 16 bytes.
            (Expected::SecurityType, 1) => self.expect(Expected::ClientInit, 1),
            (Expected::SecurityType, 2) => self.expect_after(16, Expected::ClientInit, 1),
            // A response starts with a random byte: 2 in 256 are taken for a flag, and lost soon.
            (Expected::SharedOrResponse, 0 | 1) | (Expected::ClientInit, _) => {
                self.expect_message(0);
            }
            (Expected::SharedOrResponse, _) => self.expect_after(15, Expected::ClientInit, 1),
            _ => self.lose(),
        }
    }

    /// The list of encodings (RFC 6143, section 7.5.2), which tells the dialect.
    fn take_encoding(&mut self, value: u64) {
        if self.expected == Expected::EncodingCount {
            self.left = value;
            if self.video_encoders == VideoEncoders::Unknown {
                self.video_encoders = VideoEncoders::Absent;
            }
        } else {
            if KASM_SETTINGS.contains(&value) {
                self.pointer = Pointer::Kasm;
            } else if value == EXTENDED_MOUSE_BUTTONS && self.pointer == Pointer::Standard {
                self.pointer = Pointer::Extended;
            }
            if KASM_STREAMING_MODES.contains(&value) {
                self.video_encoders = VideoEncoders::Listed;
            }
            self.left = self.left.saturating_sub(1);
        }
        if self.left > 0 {
            self.expect(Expected::Encoding, 4);
        } else {
            self.expect_message(0);
        }
    }

    /// Cut text (RFC 6143, section 7.5.6), its extended form, and `KasmVNC`'s binary clipboard: a
    /// count, then for each item a length and a media type, a length and the data.
    fn take_clipboard(&mut self, value: u64) {
        match self.expected {
            Expected::CutTextLength => {
                // A negative length says that the extended form follows.
                let extended = value > i32::MAX.unsigned_abs().into();
                let length = if extended { (1 << 32) - value } else { value };
                if length > MAX_LENGTH {
                    self.lose();
                } else if extended {
                    self.left = length - 1;
                    self.expect(Expected::ExtendedClipboardActions, 1);
                } else {
                    self.input();
                    self.expect_message(length);
                }
            }
            Expected::ExtendedClipboardActions => {
                // The other actions answer the server, which may do as it likes without a person.
                let offers = value & (CLIPBOARD_NOTIFY | CLIPBOARD_PROVIDE) != 0;
                if offers && value & CLIPBOARD_CAPS == 0 {
                    self.input();
                }
                let left = std::mem::take(&mut self.left);
                self.expect_message(left);
            }
            Expected::ClipboardCount => {
                self.left = value;
                self.expect_clipboard_item(0);
            }
            Expected::ClipboardTypeLength => {
                self.expect_after(value, Expected::ClipboardLength, 4);
            }
            _ => {
                self.left = self.left.saturating_sub(1);
                self.expect_clipboard_item(value);
            }
        }
    }

    fn expect_clipboard_item(&mut self, skip: u64) {
        if self.left > 0 {
            self.expect_after(skip, Expected::ClipboardTypeLength, 1);
        } else {
            self.expect_message(skip);
        }
    }

    #[inline]
    fn expect_message(&mut self, skip: u64) {
        self.expect_after(skip, Expected::MessageType, 1);
    }

    /// Passes over `skip` bytes, then waits for a number of `size` bytes.
    #[inline]
    fn expect_after(&mut self, skip: u64, expected: Expected, size: u8) {
        match usize::try_from(skip) {
            Ok(bytes) if skip <= MAX_LENGTH => {
                self.skip = bytes;
                self.expect(expected, size);
            }
            _ => self.lose(),
        }
    }

    const fn expect(&mut self, expected: Expected, size: u8) {
        self.expected = expected;
        self.missing = size;
    }

    const fn input(&mut self) {
        self.inputs = self.inputs.wrapping_add(1);
    }
}

/// The number that comes next in the client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// `RFB `, the first third of the protocol version (RFC 6143, section 7.1.1).
    VersionName,
    /// `003.`.
    VersionMajor,
    /// `003\n`, `007\n` or `008\n`.
    VersionMinor,
    /// The client's choice, since 3.7 (section 7.1.2).
    SecurityType,
    /// In 3.3, where the server chooses: the shared flag, or the start of a `VncAuth` response.
    SharedOrResponse,
    /// The shared flag (section 7.3.1).
    ClientInit,
    MessageType,
    EncodingCount,
    Encoding,
    /// The rest of a key event: down flag, padding, keysym.
    KeyEvent,
    PointerButtons,
    CutTextLength,
    ExtendedClipboardActions,
    ClipboardCount,
    ClipboardTypeLength,
    ClipboardLength,
    UdpUpgradeLength,
    SubscribedRelayLength,
    RelayNameLength,
    RelayLength,
    VideoEncoderCount,
    FenceLength,
    ScreenCount,
    QemuType,
    QemuAudioOperation,
    /// The end: the stream is lost.
    Nothing,
}

/// How long a pointer event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pointer {
    /// 6 bytes (RFC 6143, section 7.5.5).
    Standard,
    /// 6 or 7 bytes: type, mask with a marker bit, x, y, and the rest of the mask if marked.
    Extended,
    /// 11 bytes: type, 16-bit mask, x, y, scroll x, scroll y.
    Kasm,
}

/// Whether the client lists video encoders with type 184.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VideoEncoders {
    /// The list of encodings is still to come.
    Unknown,
    Listed,
    /// Its 184 is a keep-alive.
    Absent,
}
