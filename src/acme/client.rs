//! How the ACME library sends its requests: through our client, over HTTPS only, and with an ear for the pause that the
//! authority asks for.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode};
use instant_acme::{BodyWrapper, BytesResponse, Error, Problem};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::AcmeError;
use crate::clock::Clock;
use crate::outbound::HttpClient;

/// One attempt's client; clones hear the same.
#[derive(Clone)]
pub(super) struct Client {
    http: HttpClient,
    clock: Arc<dyn Clock>,
    told: Arc<Mutex<Option<Duration>>>,
}

impl Client {
    pub fn new(http: HttpClient, clock: Arc<dyn Clock>) -> Self {
        Self {
            http,
            clock,
            told: Arc::default(),
        }
    }

    /// The pause that a refusal asked for (RFC 8555 section 6.6).
    pub fn retry_after(&self) -> Option<Duration> {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        if request.uri().scheme_str() != Some("https") {
            return Err(Error::Str("https in an address that the authority gave"));
        }
        let (head, body) = request.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        let answer = self.http.send(Request::from_parts(head, Full::new(body)));
        let answer = answer.await.map_err(|error| Error::Other(error.into()))?;
        if let StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE = answer.status() {
            let told = pause(answer.headers(), self.clock.now());
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
        Ok(answer.map(Full::new).into())
    }
}

impl instant_acme::HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3), in seconds or as a date.
fn pause(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    (until - now).try_into().ok()
}

/// The authority has heard too much of us.
pub(super) fn is_rate_limited(error: &AcmeError) -> bool {
    is(error, "urn:ietf:params:acme:error:rateLimited")
}

/// The authority does not know our account.
pub(super) fn is_unknown_account(error: &AcmeError) -> bool {
    is(error, "urn:ietf:params:acme:error:accountDoesNotExist")
}

fn is(error: &AcmeError, kind: &str) -> bool {
    let problem: &Problem = match error {
        AcmeError::Authority(Error::Api(problem)) => problem,
        AcmeError::Unproven { source, .. } => source,
        _ => return false,
    };
    problem.r#type.as_deref() == Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn a_pause_is_read_in_both_forms() {
        let now = OffsetDateTime::parse("Fri, 31 Dec 1999 23:00:00 GMT", &Rfc2822).expect("a date");
        for (text, seconds) in [
            ("120", Some(120)),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(3599)),
            ("Fri, 31 Dec 1999 22:59:59 GMT", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(
                pause(&headers, now),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
        assert_eq!(pause(&HeaderMap::new(), now), None);
    }
}
