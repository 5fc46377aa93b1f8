//! Questions to the provider in our own name: the token endpoint (RFC 6749 sections 4.1.3 and 6) and the userinfo
//! endpoint (OpenID Connect Core 1.0 section 5.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::provider::Metadata;
use crate::config::OidcConfig;
use crate::outbound::{HttpClient, HttpClientError};

/// Longest text of the provider that is repeated in the log, characters.
const MAX_SHOWN: usize = 200;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The provider could not be asked.
    #[error(transparent)]
    Http(#[from] HttpClientError),
    /// It has trouble of its own, or too much to do.
    #[error("the provider answers with status {0}")]
    Trouble(StatusCode),
    /// It said no.
    #[error("the provider refuses with status {status}: {error:?} {description:?}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The error code of RFC 6749 section 5.2.
        error: String,
        /// What it says about it.
        description: String,
    },
    /// The answer is not what it should be.
    #[error("the provider's answer is not the JSON expected")]
    Json(#[source] serde_json::Error),
    /// The question cannot be asked.
    #[error("the request cannot be written")]
    Request(#[source] hyper::http::Error),
}

impl EndpointError {
    /// Whether the provider says that what we showed is not good, or no longer.
    #[must_use]
    pub fn is_invalid_grant(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error == "invalid_grant")
    }
}

/// What the token endpoint gives.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of RFC 6749")]
pub struct Tokens {
    /// For the userinfo endpoint.
    pub access_token: String,
    /// Who it is.
    pub id_token: Option<String>,
    /// For asking again later.
    pub refresh_token: Option<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<tokens>")
    }
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// What the userinfo endpoint says.
#[derive(Debug)]
pub enum UserInfo {
    /// Claims.
    Plain(Map<String, Value>),
    /// Claims in a signed token.
    Signed(String),
}

/// Asks the token endpoint with these parameters.
///
/// # Errors
/// It does not answer, or says no.
pub async fn tokens(
    http: &HttpClient,
    metadata: &Metadata,
    config: &OidcConfig,
    parameters: &[(&str, &str)],
) -> Result<Tokens, EndpointError> {
    let request = token_request(metadata, config, parameters)?;
    let answer = accepted(http.send(request).await?)?;
    serde_json::from_slice(answer.body()).map_err(EndpointError::Json)
}

/// The question, with the proof of who asks in the way that the provider takes.
fn token_request(
    metadata: &Metadata,
    config: &OidcConfig,
    parameters: &[(&str, &str)],
) -> Result<Request<Full<Bytes>>, EndpointError> {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(parameters);
    let mut request = Request::post(metadata.token.as_str())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let can = |method: &str| metadata.auth_methods.iter().any(|known| known == method);
    match &config.client_secret {
        Some(secret)
            if can("client_secret_basic") || !(can("client_secret_post") || can("none")) =>
        {
            let basic = basic(&config.client_id, secret.expose());
            request = request.header(AUTHORIZATION, basic);
        }
        Some(secret) if can("client_secret_post") => {
            form.append_pair("client_id", &config.client_id);
            form.append_pair("client_secret", secret.expose());
        }
        _ => {
            form.append_pair("client_id", &config.client_id);
        }
    }
    let body = Full::new(Bytes::from(form.finish()));
    request.body(body).map_err(EndpointError::Request)
}

/// `Basic` credentials, each part in the encoding of forms (RFC 6749 section 2.3.1).
fn basic(id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(id), encoded(secret));
    format!("Basic {}", STANDARD.encode(pair))
}

/// Asks the userinfo endpoint.
///
/// # Errors
/// It does not answer, or says no.
pub async fn user_info(
    http: &HttpClient,
    endpoint: &Url,
    access_token: &str,
) -> Result<UserInfo, EndpointError> {
    let request = Request::get(endpoint.as_str())
        .header(ACCEPT, "application/json, application/jwt")
        .header(AUTHORIZATION, format!("Bearer {access_token}"))
        .body(Full::default());
    let answer = accepted(http.send(request.map_err(EndpointError::Request)?).await?)?;
    let kind = answer.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind
        .trim_start()
        .to_lowercase()
        .starts_with("application/jwt")
    {
        let text = String::from_utf8_lossy(answer.body()).trim().to_owned();
        return Ok(UserInfo::Signed(text));
    }
    let claims = serde_json::from_slice(answer.body()).map_err(EndpointError::Json)?;
    Ok(UserInfo::Plain(claims))
}

/// The answer, if the provider did what it was asked for.
fn accepted(answer: Response<Bytes>) -> Result<Response<Bytes>, EndpointError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(EndpointError::Trouble(status));
    }
    let refusal: Refusal = serde_json::from_slice(answer.body()).unwrap_or_default();
    let shown = |text: String| text.chars().take(MAX_SHOWN).collect();
    Err(EndpointError::Refused {
        status,
        error: shown(refusal.error),
        description: shown(refusal.error_description),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_encoded_before_they_are_joined() {
        let plain = STANDARD.encode("desk:s%3Acret%25+%2F");
        assert_eq!(basic("desk", "s:cret% /"), format!("Basic {plain}"));
    }

    #[test]
    fn a_refusal_is_told_from_trouble() {
        let answer = |status: u16, body: &'static str| {
            let answer = Response::builder().status(status);
            accepted(answer.body(Bytes::from(body)).expect("an answer"))
        };
        for body in [r#"{"error":"invalid_grant"}"#, "no JSON", r#"{"error":7}"#] {
            assert!(matches!(
                answer(400, body),
                Err(EndpointError::Refused { .. })
            ));
            assert!(matches!(answer(500, body), Err(EndpointError::Trouble(_))));
            assert!(matches!(answer(429, body), Err(EndpointError::Trouble(_))));
        }
        let ended = |status| {
            answer(status, r#"{"error":"invalid_grant"}"#)
                .is_err_and(|error| error.is_invalid_grant())
        };
        assert!(ended(400) && !ended(500));
        assert!(
            !answer(401, r#"{"error":"invalid_client"}"#)
                .expect_err("refused")
                .is_invalid_grant()
        );
        assert!(answer(200, "{}").is_ok());
    }
}
