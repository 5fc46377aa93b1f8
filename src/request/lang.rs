//! Responsible for the language of a page: German or English, as the person chose it here, or else as their browser
//! asks for it in `Accept-Language`.

use hyper::header::{ACCEPT_LANGUAGE, COOKIE, HeaderMap};

use super::ranges::parse_range;

/// Name of the cookie that keeps what a person chose.
pub const LANGUAGE_COOKIE: &str = "__Host-language";

/// A language in which the pages for people exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lang {
    /// German.
    De,
    /// English, also the answer when a browser asks for neither.
    En,
}

impl Lang {
    /// The language for a request: the cookie's, else that of `Accept-Language`.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        Self::chosen(headers).unwrap_or_else(|| {
            let wanted = headers.get(ACCEPT_LANGUAGE);
            Self::from_accept_language(wanted.and_then(|value| value.to_str().ok()))
        })
    }

    /// What the person chose here. Read as bytes: other cookies need not be text.
    fn chosen(headers: &HeaderMap) -> Option<Self> {
        let cookies = headers.get_all(COOKIE).iter();
        let mut pairs = cookies.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        let value = pairs.find_map(|pair| {
            let pair = pair.trim_ascii().strip_prefix(LANGUAGE_COOKIE.as_bytes())?;
            pair.strip_prefix(b"=")
        })?;
        Self::from_code(std::str::from_utf8(value).ok()?)
    }

    /// From exactly what [`Self::code`] says.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::De, Self::En]
            .into_iter()
            .find(|lang| lang.code() == code)
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::De => Self::En,
            Self::En => Self::De,
        }
    }

    /// Chooses the language a browser prefers (RFC 9110, section 12.5.4).
    ///
    /// The higher quality value wins, then the earlier range. Ranges that cannot be read are skipped, because a page in
    /// the second-best language helps more than an error.
    #[must_use]
    pub fn from_accept_language(header: Option<&str>) -> Self {
        let header = header.unwrap_or_default();
        // Nothing behind a first range of full quality can be better, and most browsers send such a one.
        let first = header.split(',').next().unwrap_or_default();
        if !first.contains(';')
            && let Some(lang) = Self::from_tag(first)
        {
            return lang;
        }
        let ranges: Vec<(&str, f32)> = header.split(',').filter_map(parse_range).collect();
        let mut best: Option<(Self, f32)> = None;
        for &(tag, quality) in &ranges {
            let lang = match tag {
                "*" => Self::first_unnamed(&ranges),
                tag => Self::from_tag(tag),
            };
            let better = best.is_none_or(|(_, best)| quality > best);
            if let Some(lang) = lang
                && quality > 0.0
                && better
            {
                best = Some((lang, quality));
            }
        }
        best.map_or(Self::En, |(lang, _)| lang)
    }

    /// The language's tag for `<html lang>` and `Content-Language` (BCP 47).
    #[must_use]
    pub fn code(self) -> &'static str {
        self.pick("de", "en")
    }

    /// The text in this language.
    #[must_use]
    pub fn pick<'a>(self, de: &'a str, en: &'a str) -> &'a str {
        match self {
            Self::De => de,
            Self::En => en,
        }
    }

    fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or(tag);
        [Self::De, Self::En]
            .into_iter()
            .find(|lang| primary.eq_ignore_ascii_case(lang.code()))
    }

    /// `*` stands for the languages that no other range names.
    fn first_unnamed(ranges: &[(&str, f32)]) -> Option<Self> {
        [Self::En, Self::De].into_iter().find(|&lang| {
            !ranges
                .iter()
                .any(|(tag, _)| Self::from_tag(tag) == Some(lang))
        })
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn chooses_by_quality_then_by_order() {
        for (header, expected) in [
            ("de", Lang::De),
            ("DE-at", Lang::De),
            ("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", Lang::De),
            ("en-GB,en;q=0.9,de;q=0.8", Lang::En),
            ("en;q=0.3, de;q=0.7", Lang::De),
            ("en;q=0.3,de ; q=0.7", Lang::De),
            ("fr, de;q=0.5", Lang::De),
            ("de, en", Lang::De),
            ("de-AT;q=0.2, en", Lang::En),
            ("en, de", Lang::En),
            ("fr", Lang::En),
            ("", Lang::En),
        ] {
            assert_eq!(
                Lang::from_accept_language(Some(header)),
                expected,
                "{header:?}"
            );
        }
        assert_eq!(Lang::from_accept_language(None), Lang::En);
    }

    #[test]
    fn what_a_person_chose_wins_over_their_browser() {
        let lang = |cookie: &'static [u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("en"));
            if let Ok(value) = HeaderValue::from_bytes(cookie) {
                headers.insert(COOKIE, value);
            }
            Lang::of(&headers)
        };
        assert_eq!(lang(b"a=b; __Host-language=de"), Lang::De);
        assert_eq!(lang(b"a=\xff; __Host-language=de;x"), Lang::De);
        for other in [
            &b"__Host-language=fr"[..],
            b"__Host-language=\xff",
            b"__Host-languages=de",
            b"language=de",
            b"",
        ] {
            assert_eq!(lang(other), Lang::En, "{other:?}");
        }
        assert_eq!(Lang::De.other().other(), Lang::De);
    }

    #[test]
    fn wildcard_means_the_languages_not_named() {
        for (header, expected) in [
            ("*", Lang::En),
            ("fr, *;q=0.5", Lang::En),
            ("en;q=0, *", Lang::De),
            ("de;q=0, *", Lang::En),
            ("de;q=0.8, *;q=0.9", Lang::En),
            ("de, *", Lang::De),
        ] {
            assert_eq!(
                Lang::from_accept_language(Some(header)),
                expected,
                "{header:?}"
            );
        }
    }

    #[test]
    fn nonsense_is_skipped() {
        for header in [
            ";;;,,,q=1",
            "de;q=0",
            "de;q=nan",
            "de;q=inf",
            "de;q=7",
            "de;q=-1",
            "deutsch",
            "\u{fffd}",
        ] {
            assert_eq!(
                Lang::from_accept_language(Some(header)),
                Lang::En,
                "{header:?}"
            );
        }
    }
}
