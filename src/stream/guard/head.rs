//! The head of a request, line by line as its lines become whole, and what it says about the body.

use std::ops::Range;

use super::line::{self, End};
use super::{MAX_CUT, MAX_FIELDS, MAX_HEAD, MAX_LENGTH, MAX_TARGET, Refusal, cookies, names};

/// Longest request line, bytes without its CRLF: a target with room for a method and the version.
const MAX_REQUEST_LINE: usize = MAX_TARGET + 64;
/// Decimal digits of a Content-Length.
const MAX_LENGTH_DIGITS: usize = 19;
/// What a request line ends with.
const VERSION: &[u8] = b" HTTP/1.1";
/// What a request line of HTTP/1.0 ends with.
const OLD_VERSION: &[u8] = b" HTTP/1.0";

/// How the body behind a head ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After its last chunk and its trailer section.
    Chunked,
    /// There is none: the head asks for another protocol.
    Upgrade,
}

/// What comes of reading on in a head.
#[derive(Debug)]
pub(super) enum Step {
    /// It is not whole.
    More,
    /// It is whole: where it ends, and how its body ends.
    Whole(usize, Framing),
    /// These bytes are to be taken out.
    Cut(Range<usize>),
}

/// What has been read of a head.
#[derive(Debug)]
pub(super) struct Head {
    /// Where the first line begins that has not been read.
    line: usize,
    /// Up to where its end has been looked for.
    searched: usize,
    /// The Content-Length.
    length: u64,
    /// Bytes of cookies that were taken out.
    cut: u32,
    /// Header fields so far.
    fields: u8,
    seen: Seen,
}

/// What a head has shown so far, a bit for each fact.
#[derive(Clone, Copy, Debug)]
struct Seen(u16);

const EMPTY_LINE: u16 = 1;
const REQUEST_LINE: u16 = 1 << 1;
const OLD: u16 = 1 << 2;
const GET: u16 = 1 << 3;
const HOST: u16 = 1 << 4;
const LENGTH: u16 = 1 << 5;
const CODING: u16 = 1 << 6;
const UPGRADE: u16 = 1 << 7;
const CONNECTION_UPGRADE: u16 = 1 << 8;
const EXPECTATION: u16 = 1 << 9;

impl Seen {
    const fn has(self, fact: u16) -> bool {
        self.0 & fact != 0
    }

    /// Notes `fact`; it must not have been noted before.
    fn once(&mut self, fact: u16, refusal: Refusal) -> Result<(), Refusal> {
        if self.has(fact) {
            return Err(refusal);
        }
        self.0 |= fact;
        Ok(())
    }
}

impl Head {
    pub(super) const fn new() -> Self {
        Self {
            line: 0,
            searched: 0,
            length: 0,
            cut: 0,
            fields: 0,
            seen: Seen(0),
        }
    }

    /// Whether a part of it has been seen.
    pub(super) const fn begun(&self) -> bool {
        self.searched > 0
    }

    /// Reads on in `bytes`, which begin with the head.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        loop {
            let (limit, refusal) = self.limit();
            let within = &bytes[..bytes.len().min(limit)];
            let end = match line::end(within, self.searched)? {
                End::At(end) => end,
                End::NotBefore(at) if within.len() == limit => {
                    let cut = self.cut(within, at)?;
                    return cut.ok_or_else(|| self.full(within, refusal));
                }
                End::NotBefore(at) => {
                    self.searched = at;
                    return Ok(Step::More);
                }
            };
            if end - self.line > cookies::LONG
                && let Some(cut) = self.cut(within, end)?
            {
                return Ok(cut);
            }
            let line = &within[self.line..end];
            (self.line, self.searched) = (end + 2, end + 2);
            if !line.is_empty() {
                self.read_line(line)?;
            } else if self.seen.has(REQUEST_LINE) {
                return Ok(Step::Whole(end + 2, self.framing()?));
            } else {
                // One is ignored, as RFC 9112 section 2.2 asks for the sake of old clients: every reader
                // agrees that it means nothing. It is passed together with its head.
                self.seen.once(EMPTY_LINE, Refusal::RequestLine)?;
            }
        }
    }

    /// What can be taken out of the line under way, which has been searched up to `end`.
    fn cut(&mut self, bytes: &[u8], end: usize) -> Result<Option<Step>, Refusal> {
        if !self.seen.has(REQUEST_LINE) {
            return Ok(None);
        }
        let Some(range) = cookies::surplus(&bytes[self.line..end]) else {
            return Ok(None);
        };
        let total = self.cut as usize + range.len();
        if total > MAX_CUT {
            return Err(Refusal::CookiesTooLarge);
        }
        self.cut = u32::try_from(total).map_err(|_| Refusal::CookiesTooLarge)?;
        self.searched = end - range.len();
        let range = self.line + range.start..self.line + range.end;
        Ok(Some(Step::Cut(range)))
    }

    /// Why there is no room for more than `bytes`: `other`, unless cookies are what fills it.
    fn full(&self, bytes: &[u8], other: Refusal) -> Refusal {
        let cookies = self.seen.has(REQUEST_LINE) && cookies::is_field(&bytes[self.line..]);
        if cookies || self.cut > 0 {
            Refusal::CookiesTooLarge
        } else {
            other
        }
    }

    /// Where the line under way must have ended, and what it is otherwise.
    fn limit(&self) -> (usize, Refusal) {
        if self.seen.has(REQUEST_LINE) {
            (MAX_HEAD, Refusal::HeadTooLarge)
        } else {
            (self.line + MAX_REQUEST_LINE + 2, Refusal::TargetTooLong)
        }
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if !self.seen.has(REQUEST_LINE) {
            self.seen.0 |= REQUEST_LINE;
            return self.request_line(line);
        }
        if self.fields == MAX_FIELDS {
            return Err(Refusal::TooManyFields);
        }
        self.fields += 1;
        let (name, value) = line::field(line)?;
        self.field(name, value)
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let space = line.iter().position(|byte| *byte == b' ');
        let (method, rest) = line.split_at(space.ok_or(Refusal::RequestLine)?);
        let (target, version) = rest
            .split_last_chunk::<{ VERSION.len() }>()
            .ok_or(Refusal::RequestLine)?;
        if version == OLD_VERSION {
            self.seen.0 |= OLD;
        } else if version != VERSION {
            return Err(other_version(line));
        }
        let [b' ', target @ ..] = target else {
            return Err(Refusal::RequestLine);
        };
        if !line::is_token(method) {
            return Err(Refusal::RequestLine);
        }
        match method {
            b"GET" => self.seen.0 |= GET,
            b"CONNECT" => return Err(Refusal::Connect),
            _ => {}
        }
        check_target(method, target)
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.seen.once(HOST, Refusal::ManyHosts)?;
                check_host(value)
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.seen.once(EXPECTATION, Refusal::Expectation)?;
                expect(value, b"100-continue", Refusal::Expectation)
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.seen.once(UPGRADE, Refusal::Upgrade)?;
                expect(value, b"websocket", Refusal::Upgrade)
            }
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            14 if names::looks_like(name, b"content-length") => {
                refuse_underscore(name)?;
                self.seen.once(LENGTH, Refusal::ManyLengths)?;
                self.length = length(value)?;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"http2-settings") => Err(Refusal::Http2Settings),
            17 if names::looks_like(name, b"transfer-encoding") => {
                refuse_underscore(name)?;
                self.seen.once(CODING, Refusal::ManyCodings)?;
                expect(value, b"chunked", Refusal::Coding).map_err(|_| other_coding(value))
            }
            _ => Ok(()),
        }
    }

    /// Reads a Connection. Several are one list, and an empty element of a list is none (RFC 9110 section
    /// 5.6.1.2).
    fn connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in value.split(|byte| *byte == b',').map(line::trim) {
            if option.eq_ignore_ascii_case(b"upgrade") {
                self.seen.0 |= CONNECTION_UPGRADE;
            } else if option.is_empty() || option.eq_ignore_ascii_case(b"keep-alive") {
                // The most frequent ones by far need no search.
            } else if !line::is_token(option) {
                return Err(Refusal::Connection);
            } else if names::is_protected(option) {
                return Err(Refusal::ConnectionNames);
            }
        }
        Ok(())
    }

    /// What the whole head says, where its fields must fit together.
    fn framing(&self) -> Result<Framing, Refusal> {
        let seen = self.seen;
        if !seen.has(HOST) && !seen.has(OLD) {
            return Err(Refusal::NoHost);
        }
        if seen.has(UPGRADE) {
            let opens = seen.has(GET)
                && seen.has(CONNECTION_UPGRADE)
                && !seen.has(OLD | CODING | EXPECTATION)
                && self.length == 0;
            return opens.then_some(Framing::Upgrade).ok_or(Refusal::Upgrade);
        }
        match (seen.has(CODING), seen.has(LENGTH)) {
            (true, true) => Err(Refusal::LengthAndCoding),
            (true, false) if seen.has(OLD) => Err(Refusal::OldCoding),
            (true, false) => Ok(Framing::Chunked),
            (false, _) => Ok(Framing::Length(self.length)),
        }
    }
}

/// What is wrong with a request line that ends in no version of ours.
fn other_version(line: &[u8]) -> Refusal {
    match line {
        [.., b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Refusal::Version
        }
        _ => Refusal::RequestLine,
    }
}

fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if target.len() > MAX_TARGET {
        return Err(Refusal::TargetTooLong);
    }
    match target {
        [b'/', rest @ ..] if line::is_target(rest) => Ok(()),
        [b'/', ..] => Err(Refusal::TargetByte),
        b"*" if method == b"OPTIONS" => Ok(()),
        _ => Err(Refusal::TargetForm),
    }
}

/// A name, an address or an address in brackets, with or without a port (RFC 9110 section 7.2). The rare
/// characters that RFC 3986 allows in a name are refused: no host of ours has one.
fn check_host(value: &[u8]) -> Result<(), Refusal> {
    let (valid, rest) = if let [b'[', inner @ ..] = value {
        let end = inner.iter().position(|byte| *byte == b']');
        let (address, rest) = inner.split_at(end.ok_or(Refusal::Host)?);
        let digit = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        (!address.is_empty() && address.iter().all(digit), &rest[1..])
    } else {
        let end = value.iter().position(|byte| *byte == b':');
        let (name, rest) = value.split_at(end.unwrap_or(value.len()));
        let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (!name.is_empty() && name.iter().all(letter), rest)
    };
    let port = match rest {
        [] => true,
        [b':', digits @ ..] => decimal(digits, 5).is_some_and(|port| port <= 65_535),
        _ => false,
    };
    if valid && port {
        Ok(())
    } else {
        Err(Refusal::Host)
    }
}

fn expect(value: &[u8], known: &[u8], refusal: Refusal) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(known) {
        Ok(())
    } else {
        Err(refusal)
    }
}

fn refuse_underscore(name: &[u8]) -> Result<(), Refusal> {
    if name.contains(&b'_') {
        Err(Refusal::Lookalike)
    } else {
        Ok(())
    }
}

/// A Content-Length. A zero in front is refused: the C library reads the rest as octal if asked to guess.
fn length(value: &[u8]) -> Result<u64, Refusal> {
    match value {
        [b'0', _, ..] => Err(Refusal::Length),
        _ => decimal(value, MAX_LENGTH_DIGITS)
            .filter(|length| *length <= MAX_LENGTH)
            .ok_or(Refusal::Length),
    }
}

/// One to `most` decimal digits as a number; `most` is at most 19, which 64 bits always hold.
fn decimal(digits: &[u8], most: usize) -> Option<u64> {
    if digits.is_empty() || digits.len() > most || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let shift = |sum: u64, digit: &u8| sum * 10 + u64::from(digit - b'0');
    Some(digits.iter().fold(0, shift))
}

/// What is wrong with a Transfer-Encoding that is not `chunked`: whether we lack a coding, or nobody could
/// say where the body ends (RFC 9112 sections 6.1 and 6.3).
fn other_coding(value: &[u8]) -> Refusal {
    let mut codings = value.rsplit(|byte| *byte == b',').map(line::trim);
    let chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some_and(chunked)
        && codings.all(|coding| line::is_token(coding) && !chunked(coding))
    {
        Refusal::UnknownCoding
    } else {
        Refusal::Coding
    }
}
