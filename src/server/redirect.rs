//! The plain HTTP door: sends browsers to the encrypted one, whatever they ask for, and shows its proofs to an ACME authority.

use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use url::Url;

use super::Handler;
use super::challenges::{self, Challenges};
use crate::request::{ConnectionInfo, Request, Response, body};

/// Answers every request with a redirect to the same path of `public_url`.
#[derive(Clone, Debug)]
pub struct Redirect {
    origin: String,
    challenges: Option<Challenges>,
}

impl Redirect {
    /// To the origin of `public_url`; with proofs, if this is where an authority looks for them.
    #[must_use]
    pub fn new(public_url: &Url, challenges: Option<Challenges>) -> Self {
        Self {
            origin: public_url.origin().ascii_serialization(),
            challenges,
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
        if let Some(challenges) = &self.challenges
            && request.uri().path().starts_with(challenges::PATH)
        {
            match challenges.text(request.uri().path()) {
                Some(text) => {
                    let kind = HeaderValue::from_static("application/octet-stream");
                    response.headers_mut().insert(CONTENT_TYPE, kind);
                    *response.body_mut() = body::full(text);
                }
                None => *response.status_mut() = StatusCode::NOT_FOUND,
            }
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
