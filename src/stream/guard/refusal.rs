//! Why a head or a body is refused, with the public text and the status of each reason.

use std::fmt;

/// Why a head, a chunk or a trailer section is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A line feed without the carriage return before it (RFC 9112 section 2.2).
    BareLf,
    /// A carriage return without the line feed behind it (RFC 9112 section 2.2).
    BareCr,
    /// NUL or another control character that is no tab (RFC 9110 section 5.5).
    Control,
    /// Not `method SP target SP version` (RFC 9112 section 3).
    RequestLine,
    /// Neither HTTP/1.1 nor HTTP/1.0 (RFC 9110 section 15.6.6).
    Version,
    /// CONNECT: this is no tunnel for others (RFC 9110 section 9.3.6).
    Connect,
    /// The target is neither a path nor the asterisk of OPTIONS (RFC 9112 section 3.2).
    TargetForm,
    /// The target has a byte that no URI has (RFC 3986 section 2).
    TargetByte,
    /// The target is longer than [`super::MAX_TARGET`].
    TargetTooLong,
    /// The head is larger than [`super::MAX_HEAD`].
    HeadTooLarge,
    /// The same because of cookies: more than [`super::MAX_CUT`] of them, or some that cannot be left out.
    CookiesTooLarge,
    /// There are more fields than [`super::MAX_FIELDS`].
    TooManyFields,
    /// A line that begins with whitespace (RFC 9112 section 5.2).
    Folded,
    /// A field without a name (RFC 9112 section 5).
    EmptyName,
    /// A field's name that is no token, or a line without a colon (RFC 9110 section 5.1).
    FieldName,
    /// Whitespace in or behind a field's name (RFC 9112 section 5.1).
    SpacedName,
    /// `Content_Length` or `Transfer_Encoding`, which some readers take for the field with the hyphen.
    Lookalike,
    /// HTTP/1.1 without Host (RFC 9112 section 3.2).
    NoHost,
    /// More than one Host (RFC 9112 section 3.2).
    ManyHosts,
    /// A Host that is not a name or an address with or without a port (RFC 9110 section 7.2).
    Host,
    /// More than one Content-Length, equal or not (RFC 9112 section 6.3).
    ManyLengths,
    /// A Content-Length that is not one plain decimal number (RFC 9110 section 8.6).
    Length,
    /// Content-Length together with Transfer-Encoding (RFC 9112 section 6.1).
    LengthAndCoding,
    /// More than one Transfer-Encoding (RFC 9112 section 6.1).
    ManyCodings,
    /// A Transfer-Encoding that does not end in one `chunked` (RFC 9112 section 6.3).
    Coding,
    /// A Transfer-Encoding that ends in `chunked` after others (RFC 9112 section 6.1).
    UnknownCoding,
    /// A Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1).
    OldCoding,
    /// An Upgrade that is not the opening of one WebSocket (RFC 6455 section 4.1).
    Upgrade,
    /// The opening of cleartext HTTP/2 (RFC 9113 section 3.1).
    Http2Settings,
    /// A Connection that is not a list of tokens (RFC 9110 section 7.6.1).
    Connection,
    /// A Connection that has a field removed on which meaning or rights depend (RFC 9110 section 7.6.1).
    ConnectionNames,
    /// An expectation other than one `100-continue` (RFC 9110 section 10.1.1).
    Expectation,
    /// A chunk's size that is not a plain hexadecimal number (RFC 9112 section 7.1).
    ChunkSize,
    /// A chunk extension (RFC 9112 section 7.1.1): nobody needs one, and readers disagree where it ends.
    ChunkExtension,
    /// A chunk that does not end where its size says (RFC 9112 section 7.1).
    ChunkEnd,
    /// A trailer field that belongs into a head (RFC 9110 section 6.5.1).
    TrailerField,
    /// The trailer section is larger than [`super::MAX_TRAILERS`] or [`super::MAX_TRAILER_FIELDS`].
    TrailersTooLarge,
}

impl Refusal {
    /// The status of the answer (RFC 9110 section 15.5 and 15.6). A CONNECT and a coding that we do not know
    /// could be a 501; the fault is the request's all the same, and nobody is to take it for ours.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLarge
            | Self::CookiesTooLarge
            | Self::TooManyFields
            | Self::TrailersTooLarge => 431,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// What is wrong, for the one who asked: a part of a sentence, without an end.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::BareLf => "a line ends without a carriage return",
            Self::BareCr => "a carriage return stands within a line",
            Self::Control => "there is a control character",
            Self::RequestLine => "the request line is malformed",
            Self::Version => "only HTTP/1.1 and HTTP/1.0 are understood here",
            Self::Connect => "there is no CONNECT",
            Self::TargetForm => "the target is not a path",
            Self::TargetByte => "the target has a character that it must not have",
            Self::TargetTooLong => "the target is too long",
            Self::HeadTooLarge => "the header fields are too large",
            Self::CookiesTooLarge => "the cookies are too large",
            Self::TooManyFields => "there are too many header fields",
            Self::Folded => "a line begins with whitespace",
            Self::EmptyName => "a field has no name",
            Self::FieldName => "the name of a field is malformed",
            Self::SpacedName => "there is whitespace in or behind the name of a field",
            Self::Lookalike => "a field is named almost like one that says where the body ends",
            Self::NoHost => "it names no host",
            Self::ManyHosts => "it names more than one host",
            Self::Host => "the host is malformed",
            Self::ManyLengths => "there is more than one Content-Length",
            Self::Length => "the Content-Length is not one plain number",
            Self::LengthAndCoding => "Content-Length and Transfer-Encoding exclude each other",
            Self::ManyCodings => "there is more than one Transfer-Encoding",
            Self::Coding => "the Transfer-Encoding does not say where the body ends",
            Self::UnknownCoding => "only chunked is understood as a transfer coding",
            Self::OldCoding => "HTTP/1.0 has no Transfer-Encoding",
            Self::Upgrade => "the connection can be upgraded to a WebSocket only",
            Self::Http2Settings => "HTTP/2 cannot begin here",
            Self::Connection => "the Connection field is malformed",
            Self::ConnectionNames => "the Connection field names a field that must arrive",
            Self::Expectation => "only 100-continue can be expected",
            Self::ChunkSize => "the size of a chunk is malformed",
            Self::ChunkExtension => "chunk extensions are not understood",
            Self::ChunkEnd => "a chunk does not end where it should",
            Self::TrailerField => "a trailer field belongs into the head",
            Self::TrailersTooLarge => "the trailer fields are too large",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}
