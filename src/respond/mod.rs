//! How an outcome looks on the wire: [`error`] holds the one table from errors to status, code and
//! text, [`problem`] writes it as RFC 9457 JSON or as a page, [`security`] adds our own headers,
//! [`reason`] has the words for why a desktop ended, [`german`] those for errors, [`describe`] those of
//! `/openapi.json`.

pub mod code;
pub mod describe;
pub mod error;
pub mod german;
mod look;
pub mod page;
pub mod problem;
pub mod reason;
pub mod security;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, VARY};
use serde::Serialize;

use crate::request::{Body, Response, body};

/// A response with this body and type that no cache keeps.
#[must_use]
pub fn content(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A JSON answer.
#[must_use]
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // What is answered is made of text, numbers and lists of them, which are always JSON.
    let text = serde_json::to_string(value).unwrap_or_default();
    content(status, "application/json", body::full(text))
}

/// One of our pages.
#[must_use]
pub fn html(status: StatusCode, page: String) -> Response {
    let mut response = content(status, "text/html; charset=utf-8", body::full(page));
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept-Language, Cookie"));
    security::protect_page(response.headers_mut());
    response
}

/// A redirect; to `/` where the address cannot stand in a header.
#[must_use]
pub fn redirect(status: StatusCode, to: &str) -> Response {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    let to = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, to);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
