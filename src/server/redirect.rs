//! The plain HTTP door: sends browsers to the encrypted one, whatever they ask for.

use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use url::Url;

use super::Handler;
use crate::request::{ConnectionInfo, Request, Response, body};

/// Answers every request with a redirect to the same path of `public_url`.
#[derive(Clone, Debug)]
pub struct Redirect {
    origin: String,
}

impl Redirect {
    /// To the origin of `public_url`.
    #[must_use]
    pub fn new(public_url: &Url) -> Self {
        Self {
            origin: public_url.origin().ascii_serialization(),
        }
    }
}

impl Handler for Redirect {
    async fn handle(&self, connection: ConnectionInfo, request: Request) -> Response {
        let mut response = hyper::Response::new(body::empty());
        if connection.refusals.get().is_some() {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return response;
        }
        // A form that was sent in the clear is not asked to be sent again as it was.
        let path = match *request.method() {
            Method::GET | Method::HEAD => request.uri().path_and_query(),
            _ => None,
        };
        let path = path.map_or("/", |path| path.as_str());
        if let Ok(to) = HeaderValue::try_from(format!("{}{path}", self.origin)) {
            response.headers_mut().insert(LOCATION, to);
            *response.status_mut() = if path == "/" {
                StatusCode::FOUND
            } else {
                StatusCode::PERMANENT_REDIRECT
            };
        } else {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        response
    }
}
