//! What changes with the program only: the pages' files, `/openapi.json` and `/docs`, each with an `ETag` and, where
//! that is shorter, compressed too.
//!
//! Nothing else that the gateway answers is compressed. A page or an answer with something of a person in it, such as
//! the token for changes, beside text that somebody else can choose gives away by its length how much of the two is
//! alike (the attack BREACH). What is here is the same for everybody, so its length tells nothing.

use std::io::Write;
use std::sync::OnceLock;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
    VARY,
};

use super::description;
use crate::portal;
use crate::request::lang::Lang;
use crate::request::ranges::parse_range;
use crate::request::{Request, Response, body};
use crate::respond::error::HttpError;
use crate::respond::{content, security};

const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// All of them, for a gateway at one origin.
#[derive(Debug)]
pub struct Files {
    origin: String,
    assets: Vec<(&'static str, File)>,
    description: OnceLock<File>,
    /// German and English.
    docs: [OnceLock<File>; 2],
}

impl Files {
    /// For a gateway at this origin. What takes longer than a moment is made when somebody first asks for it, and kept:
    /// a start does not wait for it.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        let assets = portal::ASSETS.iter().map(|asset| {
            let bytes = Bytes::from_static(asset.bytes);
            (asset.name, File::new(asset.content_type, bytes))
        });
        Self {
            origin: origin.to_owned(),
            assets: assets.collect(),
            description: OnceLock::new(),
            docs: [OnceLock::new(), OnceLock::new()],
        }
    }

    /// A file that the pages refer to.
    pub(super) fn asset(&self, name: &str, request: &Request) -> Result<Response, HttpError> {
        let found = self.assets.iter().find(|(known, _)| *known == name);
        let (_, file) = found.ok_or(HttpError::NotFound)?;
        Ok(file.serve(request.headers(), "Accept-Encoding"))
    }

    /// `/openapi.json`
    pub(super) fn description(&self, request: &Request) -> Response {
        let file = self.description.get_or_init(|| {
            let text = description::document(&self.origin).to_string();
            File::new("application/json", text.into())
        });
        file.serve(request.headers(), "Accept-Encoding")
    }

    /// `/docs`
    pub(super) fn docs(&self, lang: Lang, request: &Request) -> Response {
        let [german, english] = &self.docs;
        let page = match lang {
            Lang::De => german,
            Lang::En => english,
        };
        let file = page.get_or_init(|| {
            let html = portal::docs(&description::document(&self.origin), lang);
            File::new("text/html; charset=utf-8", html.into())
        });
        let varies = "Accept-Encoding, Accept-Language, Cookie";
        let mut response = file.serve(request.headers(), varies);
        security::protect_page(response.headers_mut());
        response
    }
}

/// A file in its encodings.
#[derive(Debug)]
struct File {
    content_type: &'static str,
    plain: Representation,
    /// `None` inside if it is no shorter.
    gzip: OnceLock<Option<Representation>>,
}

/// Bytes, and the `ETag` that stands for exactly these.
#[derive(Debug)]
struct Representation {
    bytes: Bytes,
    etag: String,
}

impl Representation {
    fn new(bytes: Bytes) -> Self {
        let digest = digest::digest(&digest::SHA256, &bytes);
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12]));
        Self { bytes, etag }
    }
}

impl File {
    fn new(content_type: &'static str, bytes: Bytes) -> Self {
        Self {
            content_type,
            plain: Representation::new(bytes),
            gzip: OnceLock::new(),
        }
    }

    fn gzip(&self) -> Option<&Representation> {
        let made = self.gzip.get_or_init(|| {
            let bytes = compress(&self.plain.bytes)?;
            let shorter = bytes.len() < self.plain.bytes.len();
            shorter.then(|| Representation::new(bytes.into()))
        });
        made.as_ref()
    }

    /// In the encoding that the client wants, or the news that it has it already. `varies` names the headers that
    /// decide between the answers of this address.
    fn serve(&self, headers: &HeaderMap, varies: &'static str) -> Response {
        let gzip = wants_gzip(headers).then(|| self.gzip()).flatten();
        let chosen = gzip.unwrap_or(&self.plain);
        let known = is_known(headers, &chosen.etag);
        let (status, body) = if known {
            (StatusCode::NOT_MODIFIED, body::empty())
        } else {
            (StatusCode::OK, body::full(chosen.bytes.clone()))
        };
        let mut response = content(status, self.content_type, body);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(VARY, HeaderValue::from_static(varies));
        if gzip.is_some() && !known {
            headers.insert(CONTENT_ENCODING, GZIP);
        }
        if let Ok(etag) = HeaderValue::try_from(&chosen.etag) {
            headers.insert(ETAG, etag);
        }
        response
    }
}

/// `None` if writing into memory failed, which it does not.
fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// Whether gzip is what the client wants most (RFC 9110, section 12.5.3). What it does not name has no quality; one that
/// takes neither gets the file as it is all the same.
fn wants_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut others) = (None, None, None);
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    for (name, quality) in texts
        .flat_map(|text| text.split(','))
        .filter_map(parse_range)
    {
        let slot = if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            &mut gzip
        } else if name.eq_ignore_ascii_case("identity") {
            &mut identity
        } else if name == "*" {
            &mut others
        } else {
            continue;
        };
        slot.get_or_insert(quality);
    }
    let gzip = gzip.or(others).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.or(others).unwrap_or(0.0)
}

/// Whether the client has this already. The comparison is the weak one (RFC 9110, section 13.1.2), since a balancer may
/// have made the tag weak.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let sent = headers.get_all(IF_NONE_MATCH).iter();
    let mut tags = sent.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tags.any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &hyper::header::HeaderName, values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::try_from(*value));
        let values = values.map(|value| (name.clone(), value.expect("a value")));
        let mut headers = HeaderMap::new();
        headers.extend(values);
        headers
    }

    #[test]
    fn gzip_is_for_those_who_want_it_most() {
        for (accept, expected) in [
            (&[][..], false),
            (&[""], false),
            (&["gzip"], true),
            (&["GZIP"], true),
            (&["x-gzip"], true),
            (&["gzip, deflate, br, zstd"], true),
            (&["br", "gzip;q=0.1"], true),
            (&["br, deflate"], false),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["*;q=0, gzip"], true),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.0, *"], false),
            (&["gzip; q=0, identity"], false),
            (&["identity, gzip;q=0.5"], false),
            (&["identity;q=0.5, gzip;q=0.5"], true),
            (&["identity;q=0, gzip;q=0.001"], true),
            (&["*;q=0.5, gzip;q=0.3"], false),
            (&["gzip;q=2"], false),
            (&["gzip;q=x"], false),
        ] {
            let headers = with(&ACCEPT_ENCODING, accept);
            assert_eq!(wants_gzip(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_copy_is_known_by_its_tag() {
        for (sent, expected) in [
            (&[][..], false),
            (&["\"a\""], true),
            (&["W/\"a\""], true),
            (&["\"b\", \"a\""], true),
            (&["\"b\"", "\"a\""], true),
            (&["*"], true),
            (&["\"b\""], false),
            (&["a"], false),
            (&["w/\"a\""], false),
        ] {
            assert_eq!(
                is_known(&with(&IF_NONE_MATCH, sent), "\"a\""),
                expected,
                "{sent:?}"
            );
        }
    }

    #[test]
    fn what_does_not_get_shorter_stays_as_it_is() {
        let file = File::new("image/svg+xml", Bytes::from_static(b"<svg/>"));
        assert!(file.gzip().is_none());
        let answer = file.serve(&with(&ACCEPT_ENCODING, &["gzip"]), "Accept-Encoding");
        assert_eq!(answer.headers().get(CONTENT_ENCODING), None);
        assert_eq!(answer.headers()[VARY], "Accept-Encoding");
    }
}
