//! Where WebSocket frames begin and end in bytes that pass by (RFC 6455, section 5).
//!
//! [`Frames`] watches one direction of a tunnel after the 101. It looks at frame headers, keeps at
//! most one unfinished header, never a payload, and accepts the bytes cut anywhere. It is not an
//! endpoint: it answers no ping, joins no message, and what it cannot follow is passed on all the same.

/// Longest frame header in bytes: two fixed ones, a 64-bit length, a masking key.
const MAX_HEADER: usize = 14;

/// What a frame carries (RFC 6455, section 5.2); a continuation counts as what it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8 text.
    Text,
    /// Bytes, the only thing RFB is carried in here.
    Binary,
    /// The end of this direction.
    Close,
    /// A question whether the peer is alive.
    Ping,
    /// Its answer.
    Pong,
}

/// A stretch of one frame's payload, as it lies in the bytes that were given.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What the frame carries.
    pub opcode: Opcode,
    /// The stretch, still masked.
    pub bytes: &'a [u8],
    /// Payload of the frame from here to its end, bytes; in its first stretch that is all of it.
    pub left: u64,
    /// Whether the payload of a message of text or bytes begins with it. A message may be many frames.
    pub first: bool,
    /// The masking key, turned so that it starts with the first byte of [`Self::bytes`]; zeros when
    /// the frame is not masked.
    key: [u8; 4],
}

impl Piece<'_> {
    /// The payload byte at `index` of [`Self::bytes`], unmasked (RFC 6455, section 5.3).
    #[must_use]
    #[inline]
    pub fn byte(&self, index: usize) -> Option<u8> {
        let masked = self.bytes.get(index)?;
        Some(masked ^ self.key[index & 3])
    }
}

/// Follows the framing of one direction of a WebSocket.
///
/// Once the framing is lost it stays lost: [`Self::is_lost`] is true, [`Self::at_boundary`] false, and
/// further bytes cost nothing. It is lost by a reserved bit or opcode (no extension is ever
/// negotiated here), by a control frame that is fragmented or longer than 125 bytes, by a
/// continuation of nothing or a new message inside another, by a mask in the wrong direction, and by
/// a length with the top bit set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// Payload bytes of the current frame that are still to come.
    remaining: u64,
    /// The start of a header that was cut, then zeros.
    header: [u8; MAX_HEADER],
    /// How much of `header` has arrived.
    arrived: u8,
    /// The current frame's masking key, turned to the next payload byte.
    key: [u8; 4],
    /// What the current frame carries.
    opcode: Opcode,
    /// The fragmented message that later frames continue.
    unfinished: Option<Opcode>,
    /// Whether nothing has come of the payload of the current message.
    fresh: bool,
    /// Whether frames of this direction are masked.
    masked: bool,
    state: State,
}

/// Whether more can come, and be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// There was a close frame.
    Closed,
    Lost,
    /// Both, in this order.
    ClosedAndLost,
}

/// A header that has arrived in full.
struct Header {
    /// Its own size in bytes.
    size: usize,
    fin: bool,
    /// `None` for a continuation.
    opcode: Option<Opcode>,
    /// Payload bytes that follow it.
    payload: u64,
    key: [u8; 4],
}

/// What the bytes at the start of a frame are.
enum Parsed {
    Whole(Header),
    Incomplete,
    Invalid,
}

impl Frames {
    /// For the direction from a server, whose frames must not be masked (RFC 6455, section 5.1).
    #[must_use]
    pub const fn from_server() -> Self {
        Self::new(false)
    }

    /// For the direction from a client, whose frames must be masked (RFC 6455, section 5.1).
    #[must_use]
    pub const fn from_client() -> Self {
        Self::new(true)
    }

    const fn new(masked: bool) -> Self {
        Self {
            remaining: 0,
            header: [0; MAX_HEADER],
            arrived: 0,
            key: [0; 4],
            opcode: Opcode::Binary,
            unfinished: None,
            fresh: false,
            masked,
            state: State::Open,
        }
    }

    /// Follows `bytes`, the next ones of this direction.
    pub fn advance(&mut self, bytes: &[u8]) {
        self.visit(bytes, |_| {});
    }

    /// Follows `bytes` and shows `visitor` every piece of payload in them, in order.
    #[inline]
    pub fn visit(&mut self, bytes: &[u8], mut visitor: impl FnMut(&Piece<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_lost() {
            if self.remaining == 0 {
                rest = self.begin(rest);
                continue;
            }
            let (bytes, after) = match usize::try_from(self.remaining) {
                Ok(remaining) if remaining < rest.len() => rest.split_at(remaining),
                _ => (rest, &[][..]),
            };
            let carries = matches!(self.opcode, Opcode::Text | Opcode::Binary);
            visitor(&Piece {
                opcode: self.opcode,
                bytes,
                left: self.remaining,
                first: carries && self.fresh,
                key: self.key,
            });
            // Control frames may stand between the head of a message and its payload.
            self.fresh &= !carries;
            self.remaining -= bytes.len() as u64;
            self.key = turned(self.key, bytes.len());
            rest = after;
        }
    }

    /// Whether a frame of our own could be put in here: no frame is cut at this point. A control
    /// frame may stand between the fragments of a message (RFC 6455, section 5.4), so those do not
    /// matter.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        !self.is_lost() && self.remaining == 0 && self.arrived == 0
    }

    /// Whether this direction has sent its close frame, after which nothing may follow (RFC 6455,
    /// section 5.5.1). True from the close frame's header on.
    #[must_use]
    pub const fn closed(&self) -> bool {
        matches!(self.state, State::Closed | State::ClosedAndLost)
    }

    /// Whether the bytes were no WebSocket framing, and nothing more is known about them.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost | State::ClosedAndLost)
    }

    /// Takes a header, or what there is of it, from the front of `bytes`; gives what follows.
    #[inline]
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.arrived == 0
            && let Parsed::Whole(header) = self.parse(bytes)
        {
            let size = header.size;
            self.enter(&header);
            return &bytes[size..];
        }
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            self.header[usize::from(self.arrived)] = byte;
            self.arrived += 1;
            match self.parse(&self.header[..usize::from(self.arrived)]) {
                Parsed::Incomplete => {}
                Parsed::Whole(header) => {
                    self.header = [0; MAX_HEADER];
                    self.arrived = 0;
                    self.enter(&header);
                    break;
                }
                Parsed::Invalid => {
                    self.lose();
                    break;
                }
            }
        }
        rest
    }

    /// Reads the header that `bytes` start with (RFC 6455, section 5.2).
    #[inline]
    fn parse(&self, bytes: &[u8]) -> Parsed {
        let Some((&first, rest)) = bytes.split_first() else {
            return Parsed::Incomplete;
        };
        let fin = first & 0x80 != 0;
        let opcode = match first & 0x7f {
            0 => None,
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => return Parsed::Invalid,
        };
        let control = first & 0x08 != 0;
        if (control && !fin) || (!control && opcode.is_none() != self.unfinished.is_some()) {
            return Parsed::Invalid;
        }
        let Some((&second, rest)) = rest.split_first() else {
            return Parsed::Incomplete;
        };
        if (second & 0x80 != 0) != self.masked {
            return Parsed::Invalid;
        }
        let (payload, rest) = match second & 0x7f {
            // A control frame has only the short form, 125 bytes at most (RFC 6455, section 5.5).
            126 | 127 if control => return Parsed::Invalid,
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Parsed::Incomplete,
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Parsed::Incomplete,
            },
            short => (u64::from(short), rest),
        };
        if payload > u64::MAX / 2 {
            return Parsed::Invalid;
        }
        let (key, rest) = match rest.split_first_chunk() {
            Some((key, rest)) if self.masked => (*key, rest),
            None if self.masked => return Parsed::Incomplete,
            _ => ([0; 4], rest),
        };
        Parsed::Whole(Header {
            size: bytes.len() - rest.len(),
            fin,
            opcode,
            payload,
            key,
        })
    }

    #[inline]
    fn enter(&mut self, header: &Header) {
        self.opcode = header.opcode.or(self.unfinished).unwrap_or(Opcode::Binary);
        self.remaining = header.payload;
        self.key = header.key;
        match self.opcode {
            Opcode::Text | Opcode::Binary => {
                self.unfinished = (!header.fin).then_some(self.opcode);
                self.fresh |= header.opcode.is_some();
            }
            Opcode::Close => self.state = State::Closed,
            Opcode::Ping | Opcode::Pong => {}
        }
    }

    /// Forgets everything but what callers may ask, so that equal histories are equal states.
    fn lose(&mut self) {
        *self = Self {
            state: if self.closed() {
                State::ClosedAndLost
            } else {
                State::Lost
            },
            ..Self::new(self.masked)
        };
    }
}

/// The masking key as it applies `count` payload bytes later. (A rotation of the slice is slower.)
const fn turned([a, b, c, d]: [u8; 4], count: usize) -> [u8; 4] {
    match count & 3 {
        0 => [a, b, c, d],
        1 => [b, c, d, a],
        2 => [c, d, a, b],
        _ => [d, a, b, c],
    }
}

/// A close frame from the server, with a status code and no reason (RFC 6455, section 5.5.1); 1008
/// is a policy violation, 1001 a server that goes away (section 7.4.1).
#[must_use]
pub const fn close_frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x88, 2, high, low]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a peer would write it; the payload counts up from 0.
    fn frame(first: u8, payload: usize, key: Option<[u8; 4]>) -> Vec<u8> {
        let mask = if key.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![first];
        if let Ok(short) = u8::try_from(payload)
            && short < 126
        {
            bytes.push(mask | short);
        } else if let Ok(long) = u16::try_from(payload) {
            bytes.push(mask | 0x7e);
            bytes.extend(long.to_be_bytes());
        } else {
            bytes.push(mask | 0x7f);
            bytes.extend((payload as u64).to_be_bytes());
        }
        bytes.extend(key.iter().flatten());
        let key = key.unwrap_or_default();
        bytes.extend((0..payload).map(|index| index.to_le_bytes()[0] ^ key[index % 4]));
        bytes
    }

    /// Everything that went by, unmasked, with what carried it.
    fn payload(frames: &mut Frames, bytes: &[u8]) -> Vec<(Opcode, u8)> {
        let mut seen = Vec::new();
        frames.visit(bytes, |piece| {
            seen.extend((0..piece.bytes.len()).map(|i| (piece.opcode, piece.byte(i).unwrap())));
            assert_eq!(piece.byte(piece.bytes.len()), None);
        });
        seen
    }

    /// What [`Frames`] says, worked out the slow way from all bytes so far: the boundary, the close
    /// frame, the loss.
    fn reference(masked: bool, bytes: &[u8]) -> (bool, bool, bool) {
        let (mut at, mut closed, mut inside) = (0, false, false);
        let byte = |index: usize| bytes.get(index).copied();
        while let Some(first) = byte(at) {
            let code = first & 15;
            let control = code >= 8;
            let fin = first >= 128;
            if first & 0x70 != 0
                || ![0, 1, 2, 8, 9, 10].contains(&code)
                || (control && !fin)
                || (!control && (code == 0) != inside)
            {
                return (false, closed, true);
            }
            let Some(second) = byte(at + 1) else {
                return (false, closed, false);
            };
            let digits = match second % 128 {
                127 => 8,
                126 => 2,
                _ => 0,
            };
            if (second >= 128) != masked || (control && digits > 0) {
                return (false, closed, true);
            }
            let size = 2 + digits + if masked { 4 } else { 0 };
            let mut length = u64::from(second % 128);
            if digits > 0 {
                let Some(digits) = bytes.get(at + 2..at + 2 + digits) else {
                    return (false, closed, false);
                };
                length = digits
                    .iter()
                    .fold(0, |sum, &digit| sum << 8 | u64::from(digit));
            }
            if length >> 63 == 1 {
                return (false, closed, true);
            }
            if bytes.len() < at + size {
                return (false, closed, false);
            }
            closed |= code == 8;
            inside = if control { inside } else { !fin };
            if ((bytes.len() - at - size) as u64) < length {
                return (false, closed, false);
            }
            at += size + usize::try_from(length).unwrap();
        }
        (true, closed, false)
    }

    fn answers(frames: &Frames) -> (bool, bool, bool) {
        (frames.at_boundary(), frames.closed(), frames.is_lost())
    }

    #[test]
    fn a_new_tunnel_is_at_a_boundary() {
        assert_eq!(answers(&Frames::from_server()), (true, false, false));
        assert_eq!(answers(&Frames::from_client()), (true, false, false));
    }

    #[test]
    fn the_close_frame_follows_the_rules_it_checks() {
        assert_eq!(close_frame(1008), [0x88, 2, 0x03, 0xf0]);
        let mut frames = Frames::from_server();
        frames.advance(&close_frame(1001));
        assert_eq!(answers(&frames), (true, true, false));
    }

    #[test]
    fn a_continuation_is_what_it_continues() {
        let mut bytes = frame(0x02, 3, Some([1, 2, 3, 4]));
        bytes.extend(frame(0x89, 1, Some([9, 9, 9, 9])));
        bytes.extend(frame(0x80, 2, Some([5, 6, 7, 8])));
        let seen = payload(&mut Frames::from_client(), &bytes);
        let binary = |byte| (Opcode::Binary, byte);
        let expected = [binary(0), binary(1), binary(2), (Opcode::Ping, 0)];
        assert_eq!(seen[..4], expected);
        assert_eq!(seen[4..], [binary(0), binary(1)]);
    }

    #[test]
    fn what_breaks_the_framing() {
        let table: [(&str, &[u8]); 9] = [
            ("a reserved bit", &[0xc2, 0]),
            ("a reserved opcode", &[0x83, 0]),
            ("a reserved control opcode", &[0x8b, 0]),
            ("a fragmented ping", &[0x09, 0]),
            ("a long ping", &[0x89, 126, 0, 126]),
            ("a continuation of nothing", &[0x80, 0]),
            ("a message inside a message", &[0x02, 0, 0x82, 0]),
            ("a masked server", &[0x82, 0x80]),
            (
                "a length beyond 63 bits",
                &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            ),
        ];
        for (what, bytes) in table {
            let mut frames = Frames::from_server();
            frames.advance(bytes);
            assert_eq!(answers(&frames), (false, false, true), "{what}");
            frames.advance(&close_frame(1000));
            assert_eq!(answers(&frames), (false, false, true), "{what}, later");
        }
        let mut frames = Frames::from_client();
        frames.advance(&[0x82, 0]);
        assert!(frames.is_lost(), "a client that does not mask");
    }

    /// Where messages begin, in bytes of payload of text and bytes, when the frames come in parts of these sizes.
    fn beginnings(bytes: &[u8], cuts: &[usize]) -> Vec<usize> {
        let (mut frames, mut rest) = (Frames::from_client(), bytes);
        let (mut found, mut passed) = (Vec::new(), 0);
        for size in cuts.iter().chain([&usize::MAX]) {
            let (part, after) = rest.split_at((*size).min(rest.len()));
            frames.visit(part, |piece| {
                if piece.first {
                    found.push(passed);
                }
                if piece.opcode == Opcode::Text {
                    passed += piece.bytes.len();
                }
            });
            rest = after;
        }
        assert!(!frames.is_lost());
        found
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Frames>() <= 32);
    }

    /// Mostly frames, sometimes broken ones, so that the random streams get somewhere.
    fn stream() -> impl Strategy<Value = (bool, Vec<u8>)> {
        let first = prop_oneof![
            8 => prop::sample::select(vec![0x82_u8, 0x81, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8a]),
            1 => any::<u8>(),
        ];
        let size = prop_oneof![0..10_usize, 120..130_usize, Just(70_000_usize)];
        let frames = prop::collection::vec((first, size, any::<[u8; 4]>()), 0..6);
        (any::<bool>(), frames).prop_map(|(masked, frames)| {
            let bytes = frames
                .into_iter()
                .flat_map(|(first, size, key)| frame(first, size, masked.then_some(key)))
                .collect();
            (masked, bytes)
        })
    }

    fn check(masked: bool, bytes: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
        let mut whole = Frames::new(masked);
        let seen = payload(&mut whole, bytes);
        let mut cut = Frames::new(masked);
        let (mut cut_seen, mut at) = (Vec::new(), 0_usize);
        for size in cuts.iter().chain([&usize::MAX]) {
            let end = at.saturating_add(*size).min(bytes.len());
            cut_seen.extend(payload(&mut cut, &bytes[at..end]));
            prop_assert_eq!(answers(&cut), reference(masked, &bytes[..end]));
            at = end;
        }
        prop_assert_eq!(cut, whole);
        prop_assert_eq!(cut_seen, seen);
        Ok(())
    }

    proptest! {
        #[test]
        fn a_message_begins_once(
            messages in prop::collection::vec(prop::collection::vec((0..9_usize, any::<bool>()), 1..4), 1..6),
            cuts in prop::collection::vec(0..9_usize, 0..40),
        ) {
            let (mut bytes, mut expected, mut passed) = (Vec::new(), Vec::new(), 0);
            for message in &messages {
                let begins = passed;
                for (index, (size, ping)) in message.iter().enumerate() {
                    let fin = if index + 1 == message.len() { 0x80 } else { 0 };
                    bytes.extend(frame(fin | u8::from(index == 0), *size, Some([1, 2, 3, 4])));
                    if *ping {
                        bytes.extend(frame(0x89, 3, Some([5, 6, 7, 8])));
                    }
                    passed += size;
                }
                if passed > begins {
                    expected.push(begins);
                }
            }
            prop_assert_eq!(beginnings(&bytes, &cuts), expected);
        }

        #[test]
        fn it_agrees_with_the_reference_wherever_frames_are_cut(
            (masked, bytes) in stream(),
            cuts in prop::collection::vec(0..20_usize, 0..40),
        ) {
            check(masked, &bytes, &cuts)?;
        }

        #[test]
        fn it_agrees_with_the_reference_on_anything(
            masked: bool,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cuts in prop::collection::vec(0..9_usize, 0..40),
        ) {
            check(masked, &bytes, &cuts)?;
        }
    }
}
