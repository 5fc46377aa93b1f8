//! What goes in and out of every endpoint of the demo provider: parameters, and answers with their security headers.

use std::collections::HashMap;

use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use url::{Url, form_urlencoded};

use super::login_page::{NoticePage, STYLE};

/// A complete answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// The parameters of a query or a form.
pub(super) struct Params(HashMap<String, String>);

impl Params {
    /// Reads `application/x-www-form-urlencoded` text; of a parameter given twice, the first counts.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut params = HashMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            params
                .entry(name.into_owned())
                .or_insert_with(|| value.into_owned());
        }
        Self(params)
    }

    /// The parameter, if it has a value: one without counts as absent (RFC 6749, section 3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The parameter as an owned text.
    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Whether the blank-separated list `name` contains `word`.
    pub(super) fn lists(&self, name: &str, word: &str) -> bool {
        self.get(name)
            .is_some_and(|list| list.split(' ').any(|entry| entry == word))
    }
}

/// A page for a person.
pub(super) fn page(status: StatusCode, page: &impl Template) -> Answer {
    let html = page
        .render()
        .expect("the templates only format strings, which cannot fail");
    let hash = BASE64_STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    // There is no form-action: browsers apply it to the redirect after the login too, which leads to the client.
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'"
    );
    let mut answer = bare(status, Full::from(html));
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_str(&policy).expect("base64 and the policy around it are ASCII"),
    );
    answer
}

/// A page that says why a request cannot go on, for requests whose redirect address is not to be trusted.
pub(super) fn error_page(status: StatusCode, text: &str) -> Answer {
    let notice = NoticePage {
        title: "This login cannot go on",
        subtitle: "Die Anmeldung kann nicht fortgesetzt werden",
        text,
    };
    page(status, &notice)
}

/// A JSON document that nobody keeps.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value)
        .expect("the documents are structs and maps with string keys, which JSON can hold");
    let mut answer = bare(status, Full::from(text));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Sends the browser to `target` with those `parameters` that have a value.
pub(super) fn redirect(target: &Url, parameters: &[(&str, Option<&str>)]) -> Answer {
    let mut url = target.clone();
    // The serializer leaves a bare question mark behind, so it only runs when there is something to add.
    for (name, value) in parameters {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    let mut answer = bare(StatusCode::SEE_OTHER, Full::default());
    answer.headers_mut().insert(
        LOCATION,
        HeaderValue::from_str(url.as_str()).expect("a serialized URL is ASCII without controls"),
    );
    answer
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    bare(status, Full::default())
}

fn bare(status: StatusCode, body: Full<Bytes>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_without_value_count_as_absent_and_the_first_of_two_counts() {
        let params = Params::parse(b"a=1&a=2&b=&c&scope=openid+profile");
        assert_eq!(params.get("a"), Some("1"));
        assert_eq!(params.get("b"), None);
        assert_eq!(params.get("c"), None);
        assert!(params.lists("scope", "profile"));
        assert!(!params.lists("scope", "open"));
    }

    #[test]
    fn a_redirect_keeps_the_query_and_encodes_what_it_adds() {
        let target = Url::parse("https://desk.example/callback?keep=1").unwrap();
        let answer = redirect(&target, &[("state", Some("a&b\r\n")), ("error", None)]);
        assert_eq!(
            answer.headers()[LOCATION],
            "https://desk.example/callback?keep=1&state=a%26b%0D%0A"
        );
        let plain = redirect(&Url::parse("https://desk.example/").unwrap(), &[]);
        assert_eq!(plain.headers()[LOCATION], "https://desk.example/");
    }
}
