//! Lines and what they are made of: where one ends, what a field is, which bytes a token or a target has.

use super::Refusal;

/// Bit of a byte's class: it may be in a token (RFC 9110 section 5.6.2).
const TOKEN: u8 = 1;
/// Bit of a byte's class: it may be in a target. Left out are the number sign, quotes and angle brackets,
/// which the parser behind us reads otherwise or not at all; the path check judges the others.
const TARGET: u8 = 2;

/// The class of each byte.
const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        let delimiter = matches!(
            byte,
            b'"' | b'(' | b')' | b',' | b'/' | b':'..=b'@' | b'['..=b']' | b'{' | b'}'
        );
        let token = if delimiter { 0 } else { TOKEN };
        let target = if matches!(byte, b'"' | b'#' | b'<' | b'>') {
            0
        } else {
            TARGET
        };
        table[byte as usize] = token | target;
        byte += 1;
    }
    table
}

/// What was found of a line's end.
pub(super) enum End {
    /// The carriage return of the line's CRLF is here.
    At(usize),
    /// It is not there; the search goes on from here.
    NotBefore(usize),
}

/// Looks from `from` on for the CRLF that ends a line. The first control character but HTAB is the CRLF or
/// a mistake, so that one search does for both.
#[inline]
pub(super) fn end(bytes: &[u8], from: usize) -> Result<End, Refusal> {
    let Some(at) = control(bytes, from) else {
        return Ok(End::NotBefore(from.max(bytes.len())));
    };
    match (bytes[at], bytes.get(at + 1)) {
        (b'\r', Some(b'\n')) => Ok(End::At(at)),
        (b'\r', None) => Ok(End::NotBefore(at)),
        (b'\r', Some(_)) => Err(Refusal::BareCr),
        (b'\n', _) => Err(Refusal::BareLf),
        _ => Err(Refusal::Control),
    }
}

/// Where the first control character but HTAB is, from `from` on. Eight bytes at a time: a value is long,
/// and nothing else is asked of its bytes.
fn control(bytes: &[u8], from: usize) -> Option<usize> {
    let (words, tail) = bytes.get(from..)?.as_chunks::<8>();
    let mut at = from;
    for word in words {
        let mut suspects = suspects(u64::from_le_bytes(*word));
        while suspects != 0 {
            let found = at + (suspects.trailing_zeros() / 8) as usize;
            if is_control(bytes[found]) {
                return Some(found);
            }
            suspects &= suspects - 1;
        }
        at += 8;
    }
    let found = tail.iter().position(|byte| is_control(*byte))?;
    Some(at + found)
}

/// The high bit of each byte of `word` that is below 0x20 or is 0x7f, and sometimes of a byte behind one
/// of those, into which the subtraction borrowed.
const fn suspects(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & (ONES * 0x80)
}

const fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// The name and the value of a field line, whitespace around the value left out (RFC 9112 section 5). The
/// line is known to have no control character but HTAB.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let end = line.iter().position(|byte| !is(*byte, TOKEN));
    match end.map(|end| (end, line[end])) {
        Some((0, b':')) => Err(Refusal::EmptyName),
        Some((end, b':')) => Ok((&line[..end], trim(&line[end + 1..]))),
        Some((0, b' ' | b'\t')) => Err(Refusal::Folded),
        Some((_, b' ' | b'\t')) => Err(Refusal::SpacedName),
        _ => Err(Refusal::FieldName),
    }
}

/// `text` without the whitespace around it, which is spaces and tabs only (RFC 9110 section 5.6.3).
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Whether `text` is a token.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is(*byte, TOKEN))
}

/// Whether all bytes of `text` may be in a target.
pub(super) fn is_target(text: &[u8]) -> bool {
    text.iter().all(|byte| is(*byte, TARGET))
}

const fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}
