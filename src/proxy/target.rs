//! Which path of a desktop a request asks for. Kept byte for byte; whatever could climb out of
//! `/desktop/<id>/`, or be read differently by us and by the desktop, is refused.

use std::borrow::Cow;

/// Longest path with query that is forwarded, bytes: KasmVNC's buffers hold 1024.
pub const MAX_TARGET: usize = 1024;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Longer than [`MAX_TARGET`].
    #[error("the request target is too long")]
    TooLong,
    /// A dot segment, a backslash, an encoded slash, an empty segment or a control character.
    #[error("the path is ambiguous")]
    Ambiguous,
}

/// A path and query that may be sent to a desktop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    /// How much of `text` is the path.
    path: usize,
    /// The path without escapes, if it has any.
    decoded: Option<String>,
}

impl Target {
    /// Checks `path` (absolute, without the prefix) and `query`.
    ///
    /// # Errors
    /// [`BadTarget::TooLong`] and [`BadTarget::Ambiguous`]; what is accepted is kept byte for byte.
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, BadTarget> {
        let text = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        if text.len() > MAX_TARGET {
            return Err(BadTarget::TooLong);
        }
        // It is written into a request line as it is.
        let plain = |byte: u8| byte > b' ' && byte != 0x7f;
        // KasmVNC searches the whole head for this, the query included.
        let has =
            |text: &str, what: &[u8]| text.as_bytes().windows(what.len()).any(|at| at == what);
        if !path.starts_with('/') || has(&text, b"../") || !text.bytes().all(plain) {
            return Err(BadTarget::Ambiguous);
        }
        let decoded = if path.contains('%') {
            Some(decode_fully(path).ok_or(BadTarget::Ambiguous)?)
        } else {
            None
        };
        let plain = decoded.as_deref().unwrap_or(path);
        // An encoded slash, in however many coats, shows as one slash more.
        let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
        let mut segments = plain.as_bytes().split(|byte| *byte == b'/');
        let ambiguous = has(path, b"//")
            || slashes(plain) != slashes(path)
            || plain.chars().any(|c| c.is_control() || c == '\\')
            || segments.any(|segment| matches!(segment, b"." | b".."));
        if ambiguous {
            return Err(BadTarget::Ambiguous);
        }
        let path = path.len();
        Ok(Self {
            text,
            path,
            decoded,
        })
    }

    /// The same path where the desktop knows it: below `prefix`, if it was told one.
    ///
    /// # Errors
    /// [`BadTarget::TooLong`]
    pub fn below(self, prefix: Option<&str>) -> Result<Self, BadTarget> {
        let Some(prefix) = prefix else {
            return Ok(self);
        };
        let text = format!("{prefix}{}", self.text);
        if text.len() > MAX_TARGET {
            return Err(BadTarget::TooLong);
        }
        Ok(Self {
            text,
            path: prefix.len() + self.path,
            decoded: self.decoded.map(|decoded| format!("{prefix}{decoded}")),
        })
    }

    /// For the request line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path as the desktop will understand it.
    #[must_use]
    pub fn decoded_path(&self) -> &str {
        self.decoded.as_deref().unwrap_or(&self.text[..self.path])
    }
}

/// Decodes percent escapes until none is left, since a desktop may decode more than once. `None` for
/// escapes that are malformed or not UTF-8.
fn decode_fully(path: &str) -> Option<String> {
    let mut current = Cow::Borrowed(path);
    for _ in 0..4 {
        if !current.contains('%') {
            return Some(current.into_owned());
        }
        current = Cow::Owned(decode(&current)?);
    }
    None
}

fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let [high, low, ..] = tail else { return None };
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let value = digit(*high)? * 16 + digit(*low)?;
            decoded.push(u8::try_from(value).ok()?);
            rest = &tail[2..];
        } else {
            decoded.push(first);
            rest = tail;
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_separator_is_refused_in_however_many_coats() {
        for path in [
            "/a%2Fb",
            "/a%252fb",
            "/a%25252fb",
            "/a%25%32fb",
            "/%25%32%66api",
            "/%25%32fapi/x",
            "/%5c",
            "/%25255c",
            "/%00",
            "/%2500",
        ] {
            assert_eq!(
                Target::parse(path, None),
                Err(BadTarget::Ambiguous),
                "{path}"
            );
        }
    }
    use proptest::prelude::*;

    #[test]
    fn ordinary_paths_are_kept_byte_for_byte() {
        for (path, query) in [
            ("/", None),
            ("/app/ui.js", Some("v=1")),
            ("/a%20b/c.html", None),
            ("/...", None),
            ("/a..b", None),
            ("/%C3%A4", Some("x=%2F%2e")),
        ] {
            let target = Target::parse(path, query).expect(path);
            assert!(target.as_str().starts_with(path));
        }
    }

    #[test]
    fn whatever_could_climb_is_refused() {
        for path in [
            "",
            "x",
            "/..",
            "/../x",
            "/a/../b",
            "/.",
            "/a/./b",
            "/%2e%2e/x",
            "/%2E./x",
            "/.%2e",
            "/a//b",
            "//",
            "//x",
            "/a\\b",
            "/%5c..",
            "/%2f",
            "/..%2f",
            "/%252e%252e/x",
            "/%25252e%25252e/x",
            "/%",
            "/%zz",
            "/%00",
            "/a%0d%0ab",
            "/%ff",
        ] {
            assert_eq!(
                Target::parse(path, None),
                Err(BadTarget::Ambiguous),
                "{path}"
            );
        }
        assert_eq!(
            Target::parse("/", Some("a=../b")),
            Err(BadTarget::Ambiguous)
        );
        assert_eq!(
            Target::parse(&format!("/{}", "a".repeat(1024)), None),
            Err(BadTarget::TooLong)
        );
    }

    proptest! {
        #[test]
        fn an_accepted_path_has_no_dot_segment_however_often_it_is_decoded(path in "/[a.%2eE5cC/\\\\]{0,24}") {
            if let Ok(target) = Target::parse(&path, None) {
                let mut text = target.as_str().to_owned();
                for _ in 0..5 {
                    prop_assert!(!text.split(['/', '\\']).any(|segment| segment == ".." || segment == "."));
                    match decode(&text) {
                        Some(next) => text = next,
                        None => break,
                    }
                }
            }
        }
    }
}
