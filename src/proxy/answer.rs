//! The head of a desktop's answer: what of it reaches the browser, and how its body ends. Pure, and strict
//! where two readers could see different messages (RFC 9112 section 6.3).

use std::mem::MaybeUninit;

use bytes::{Buf as _, BytesMut};
use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING};

use super::framing::Framing;
use super::headers::ToBrowser;
use crate::stream::guard::Chunked;

/// Largest head, bytes.
const MAX_HEAD: usize = 32 * 1024;
/// Header fields.
const MAX_FIELDS: usize = 100;
/// Interim answers before the answer. Nothing that is sent to a desktop asks for any.
const MAX_INTERIM: u8 = 8;
/// Largest length of a body, bytes. Above it a reader with signed counters sees a negative one.
const MAX_LENGTH: u64 = u64::MAX >> 1;

/// Why what came is no answer.
#[derive(Debug, thiserror::Error)]
pub enum BadAnswer {
    /// It is not HTTP/1.
    #[error("its head is not HTTP/1")]
    Syntax(#[from] httparse::Error),
    /// Larger than [`MAX_HEAD`].
    #[error("its head is too large")]
    TooLarge,
    /// A name or value that no header can have.
    #[error("it has a malformed header")]
    Header,
    /// No length, more than one, or one together with a transfer coding.
    #[error("the length of its body is ambiguous")]
    Length,
    /// A transfer coding other than one `chunked` of HTTP/1.1.
    #[error("its body has an unknown transfer coding")]
    Coding,
    /// More than [`MAX_INTERIM`].
    #[error("it has too many interim answers")]
    Interim,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// What of its headers may reach the browser.
    pub headers: HeaderMap,
    /// How its body ends.
    pub framing: Framing,
    /// Whether the connection can carry another exchange after this one.
    pub keeps: bool,
}

/// Reads the head of one answer.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    to_head: bool,
    interim: u8,
    /// How many bytes of a head were not all of it.
    seen: usize,
}

/// What a head says of the connection and the body behind it.
#[derive(Default)]
struct Facts {
    length: Option<u64>,
    coded: bool,
    closes: bool,
}

impl Reader {
    /// For the answer to a HEAD, which has no body, or to something else.
    pub fn new(to_head: bool) -> Self {
        let (interim, seen) = (0, 0);
        Self {
            to_head,
            interim,
            seen,
        }
    }

    /// Takes the head of the answer out of `buffer`, and interim ones before it (RFC 9110 section 15.2).
    /// `None`: it is not whole; call again with more behind it.
    ///
    /// # Errors
    /// It is not HTTP, too large, or ambiguous.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<Answer>, BadAnswer> {
        loop {
            let Some((length, answer)) = self.parse(buffer)? else {
                self.seen = buffer.len();
                if self.seen >= MAX_HEAD {
                    return Err(BadAnswer::TooLarge);
                }
                return Ok(None);
            };
            buffer.advance(length);
            self.seen = 0;
            let interim = answer.status.is_informational();
            if !interim || answer.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(answer));
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(BadAnswer::Interim);
            }
        }
    }

    fn parse(self, bytes: &[u8]) -> Result<Option<(usize, Answer)>, BadAnswer> {
        // However small the pieces are in which a head comes, it is not read again for each of them.
        let new = &bytes[self.seen.saturating_sub(2)..];
        let may_end = |end: &[u8]| new.windows(end.len()).any(|bytes| bytes == end);
        if self.seen > 0 && !may_end(b"\n\n") && !may_end(b"\n\r\n") {
            return Ok(None);
        }
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut head,
            bytes,
            &mut fields,
        )?;
        let httparse::Status::Complete(length) = parsed else {
            return Ok(None);
        };
        if length > MAX_HEAD {
            return Err(BadAnswer::TooLarge);
        }
        let status = StatusCode::from_u16(head.code.unwrap_or_default());
        let status = status.map_err(|_| BadAnswer::Header)?;
        let current = head.version == Some(1);
        let (facts, headers) = sort(head.headers)?;
        if facts.coded && (!current || facts.length.is_some()) {
            return Err(BadAnswer::Length);
        }
        let bodiless = self.to_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match facts.length {
            _ if bodiless => Framing::Length(0),
            Some(length) => Framing::Length(length),
            None if facts.coded => Framing::Chunked(Chunked::new()),
            None => Framing::Close,
        };
        let answer = Answer {
            status,
            headers,
            keeps: current && !facts.closes && !matches!(framing, Framing::Close),
            framing,
        };
        Ok(Some((length, answer)))
    }
}

/// Sorts the fields of a head into what concerns the connection and what may reach the browser.
fn sort(fields: &[httparse::Header<'_>]) -> Result<(Facts, HeaderMap), BadAnswer> {
    let mut facts = Facts::default();
    let mut headers = ToBrowser::default();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadAnswer::Header)?;
        match name {
            CONTENT_LENGTH => {
                let first = facts.length.replace(length(field.value)?);
                if first.is_some() {
                    return Err(BadAnswer::Length);
                }
            }
            TRANSFER_ENCODING => {
                let chunked = field.value.eq_ignore_ascii_case(b"chunked");
                if !chunked || std::mem::replace(&mut facts.coded, true) {
                    return Err(BadAnswer::Coding);
                }
            }
            CONNECTION => {
                let mut options = field.value.split(|byte| *byte == b',');
                facts.closes |=
                    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
            }
            _ => {}
        }
        headers
            .add(name, field.value)
            .map_err(|_| BadAnswer::Header)?;
    }
    Ok((facts, headers.finish()))
}

/// A Content-Length: one plain decimal number (RFC 9110 section 8.6).
fn length(value: &[u8]) -> Result<u64, BadAnswer> {
    let plain = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| plain);
    text.and_then(|text| text.parse().ok())
        .filter(|length| *length <= MAX_LENGTH)
        .ok_or(BadAnswer::Length)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
