//! What the provider says about itself: its metadata (OpenID Connect Discovery 1.0, RFC 8414) and its keys,
//! fetched when needed and kept for a while.
//!
//! Only what we use is read, so that a member that is unusual or wrong elsewhere in the document harms nobody. A
//! provider that is down costs one question at a time, whatever the number of people who want to sign in; keys
//! that it gave before stay good; and tokens with unknown keys, which anybody can send, make us ask for keys once
//! per [`RENEWAL_PAUSE`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode};
use openidconnect::core::CoreJsonWebKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::outbound::{HttpClient, HttpClientError};
use crate::telemetry::ErrorChain;

/// How long metadata and keys are believed before they are fetched again.
const LIFETIME: Duration = Duration::from_secs(600);
/// How old metadata may be where a person is about to be sent to the provider: it should be there.
const LOGIN_LIFETIME: Duration = Duration::from_secs(10);
/// How long a provider that could not be asked is left alone.
const FAILURE_PAUSE: Duration = Duration::from_secs(2);
/// How often unknown keys may make us ask for new ones.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);
/// How many keys of a provider are kept.
const MAX_KEYS: usize = 64;

/// Why the provider is not known.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It could not be asked.
    #[error("{0} cannot be fetched")]
    Http(&'static str, #[source] HttpClientError),
    /// It answered something else.
    #[error("{0} is answered with status {1}")]
    Status(&'static str, StatusCode),
    /// The answer is not what it should be.
    #[error("{0} is not the JSON expected")]
    Json(&'static str, #[source] serde_json::Error),
    /// The address is none.
    #[error("{0} has no usable address")]
    Address(&'static str),
    /// The metadata are somebody else's (OpenID Connect Discovery 1.0 section 4.3).
    #[error(
        "its discovery document is that of issuer {found:?}, but OAUTH_ISSUER is {configured:?}"
    )]
    Issuer {
        /// What the document says.
        found: String,
        /// What the operator said.
        configured: String,
    },
    /// There is no key for signatures.
    #[error("its key set holds no key that can check a signature")]
    NoKeys,
}

/// The discovery document as it is written.
#[derive(Debug, Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

/// What we need to know of the provider.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Its name as it writes it itself, and as it stands in its tokens.
    pub issuer: String,
    /// Where people sign in.
    pub authorization: Url,
    /// Where codes become tokens.
    pub token: Url,
    /// Where its keys are.
    keys: Url,
    /// Where it says more about people, if anywhere.
    pub user_info: Option<Url>,
    /// Where people sign out, if anywhere.
    pub end_session: Option<Url>,
    /// How a client may prove who it is at the token endpoint.
    pub auth_methods: Vec<String>,
    /// Whether its answers always carry `iss` (RFC 9207).
    pub names_itself: bool,
}

impl Metadata {
    /// Takes from the document what we need. `configured` may lack the issuer's slash at the end, or have one too
    /// many: both lead to the same document, and nobody else can answer there.
    fn read(document: Document, configured: &str) -> Result<Self, ProviderError> {
        let bare = |issuer: &str| issuer.strip_suffix('/').unwrap_or(issuer).to_owned();
        if bare(&document.issuer) != bare(configured) {
            return Err(ProviderError::Issuer {
                found: document.issuer,
                configured: configured.to_owned(),
            });
        }
        let secure = document.issuer.starts_with("https:");
        let address = |text: Option<String>| {
            let url: Url = text?.parse().ok()?;
            (url.scheme() == "https" || (!secure && url.scheme() == "http")).then_some(url)
        };
        let needed = |text, what| address(text).ok_or(ProviderError::Address(what));
        // RFC 8414: basic is what a provider that says nothing can do.
        let auth_methods = document.token_endpoint_auth_methods_supported;
        Ok(Self {
            issuer: document.issuer,
            authorization: needed(
                document.authorization_endpoint,
                "its authorization_endpoint",
            )?,
            token: needed(document.token_endpoint, "its token_endpoint")?,
            keys: needed(document.jwks_uri, "its jwks_uri")?,
            user_info: address(document.userinfo_endpoint),
            end_session: address(document.end_session_endpoint),
            auth_methods: auth_methods.unwrap_or_else(|| vec!["client_secret_basic".to_owned()]),
            names_itself: document
                .authorization_response_iss_parameter_supported
                .unwrap_or_default(),
        })
    }
}

/// Keys that check signatures.
pub type Keys = Arc<Vec<CoreJsonWebKey>>;

/// What was fetched, when, and what was not.
#[derive(Debug, Default)]
struct Known {
    metadata: Option<(Instant, Arc<Metadata>)>,
    keys: Option<(Instant, Keys)>,
    failed: Option<(Instant, Arc<ProviderError>)>,
    renewed: Option<Instant>,
}

/// The provider, as far as it is known.
#[derive(Debug)]
pub struct Provider {
    issuer: String,
    http: HttpClient,
    known: Mutex<Known>,
    /// Held while the provider is asked, so that it is asked once for all who wait.
    asking: tokio::sync::Mutex<()>,
}

impl Provider {
    /// The provider at `issuer`, of which nothing is known yet.
    #[must_use]
    pub fn new(issuer: String, http: HttpClient) -> Self {
        Self {
            issuer,
            http,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one assignment, whatever happened to another holder of the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its metadata, from a provider that answered a moment ago.
    ///
    /// # Errors
    /// It does not answer, or not what it should.
    pub async fn present(&self) -> Result<Arc<Metadata>, Arc<ProviderError>> {
        self.metadata_of(LOGIN_LIFETIME).await
    }

    /// Its metadata, older ones if there are no others.
    ///
    /// # Errors
    /// It has never answered as it should.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, Arc<ProviderError>> {
        match self.metadata_of(LIFETIME).await {
            Ok(metadata) => Ok(metadata),
            Err(error) => {
                let older = self.known().metadata.clone();
                older_instead(older, error)
            }
        }
    }

    async fn metadata_of(&self, age: Duration) -> Result<Arc<Metadata>, Arc<ProviderError>> {
        let fresh = || fresh(self.known().metadata.as_ref(), age);
        if let Some(metadata) = fresh() {
            return Ok(metadata);
        }
        let _one = self.asking.lock().await;
        if let Some(metadata) = fresh() {
            return Ok(metadata);
        }
        self.check_pause()?;
        let fetched = self.fetch_metadata().await.map(Arc::new);
        let fetched = self.note(fetched)?;
        self.known().metadata = Some((Instant::now(), fetched.clone()));
        Ok(fetched)
    }

    /// Its keys, older ones if there are no others.
    ///
    /// # Errors
    /// It has never given any.
    pub async fn keys(&self) -> Result<Keys, Arc<ProviderError>> {
        let fresh = || fresh(self.known().keys.as_ref(), LIFETIME);
        if let Some(keys) = fresh() {
            return Ok(keys);
        }
        let metadata = self.metadata().await?;
        let _one = self.asking.lock().await;
        if let Some(keys) = fresh() {
            return Ok(keys);
        }
        let older = self.known().keys.clone();
        if let Err(error) = self.check_pause() {
            return older_instead(older, error);
        }
        match self.fetch_keys(&metadata).await {
            Ok(keys) => Ok(keys),
            Err(error) => older_instead(older, error),
        }
    }

    /// Its keys asked for anew, because a signature fits none of those that are known. `None` when that was done a
    /// moment ago or does not work; what is known stays.
    pub async fn renewed_keys(&self) -> Option<Keys> {
        let metadata = self.metadata().await.ok()?;
        let _one = self.asking.lock().await;
        {
            let mut known = self.known();
            let now = Instant::now();
            if known
                .renewed
                .is_some_and(|at| now.duration_since(at) < RENEWAL_PAUSE)
            {
                // Somebody else's question may have been answered while we waited.
                return known.keys.clone().map(|(_, keys)| keys);
            }
            known.renewed = Some(now);
        }
        tracing::info!("a token has an unknown key: asking the OpenID provider for its keys");
        let renewed = self.fetch_keys(&metadata).await;
        if let Err(error) = &renewed {
            tracing::warn!(error = %ErrorChain(error), "the OpenID provider's old keys stay");
        }
        renewed.ok()
    }

    /// Refuses to ask a provider that failed a moment ago.
    fn check_pause(&self) -> Result<(), Arc<ProviderError>> {
        match &self.known().failed {
            Some((at, error)) if at.elapsed() < FAILURE_PAUSE => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Remembers that asking failed.
    fn note<T>(&self, outcome: Result<T, ProviderError>) -> Result<T, Arc<ProviderError>> {
        outcome.map_err(|error| {
            let error = Arc::new(error);
            self.known().failed = Some((Instant::now(), error.clone()));
            error
        })
    }

    async fn fetch_metadata(&self) -> Result<Metadata, ProviderError> {
        const WHAT: &str = "its discovery document";
        let issuer = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        let address = format!("{issuer}/.well-known/openid-configuration");
        Metadata::read(self.fetch(WHAT, &address).await?, &self.issuer)
    }

    async fn fetch_keys(&self, metadata: &Metadata) -> Result<Keys, Arc<ProviderError>> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Result<Set, _> = self.fetch("its key set", metadata.keys.as_str()).await;
        let keys = set.and_then(|set| {
            // A key of a kind that we do not know is for somebody else.
            let keys = set.keys.into_iter().take(MAX_KEYS);
            let keys: Vec<CoreJsonWebKey> = keys
                .filter_map(|key| serde_json::from_value(key).ok())
                .collect();
            if keys.is_empty() {
                Err(ProviderError::NoKeys)
            } else {
                Ok(Arc::new(keys))
            }
        });
        let keys = self.note(keys)?;
        self.known().keys = Some((Instant::now(), keys.clone()));
        Ok(keys)
    }

    async fn fetch<T: DeserializeOwned>(
        &self,
        what: &'static str,
        address: &str,
    ) -> Result<T, ProviderError> {
        let request = Request::get(address).header(ACCEPT, "application/json");
        let request = request.body(Full::<Bytes>::default());
        let request = request.map_err(|_| ProviderError::Address(what))?;
        let answer = self.http.send(request).await;
        let answer = answer.map_err(|error| ProviderError::Http(what, error))?;
        if answer.status() != StatusCode::OK {
            return Err(ProviderError::Status(what, answer.status()));
        }
        serde_json::from_slice(answer.body()).map_err(|error| ProviderError::Json(what, error))
    }
}

/// What was fetched not longer than `age` ago.
fn fresh<T: Clone>(fetched: Option<&(Instant, T)>, age: Duration) -> Option<T> {
    let (at, value) = fetched?;
    (at.elapsed() < age).then(|| value.clone())
}

/// What is known from before, if there is something, in place of what could not be fetched.
fn older_instead<T>(
    older: Option<(Instant, T)>,
    error: Arc<ProviderError>,
) -> Result<T, Arc<ProviderError>> {
    let Some((_, value)) = older else {
        return Err(error);
    };
    tracing::debug!(error = %ErrorChain(&error), "what the OpenID provider said before still counts");
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(changes: &Value, configured: &str) -> Result<Metadata, ProviderError> {
        let mut document = json!({
            "issuer": "https://id.example/realm",
            "authorization_endpoint": "https://id.example/a",
            "token_endpoint": "https://id.example/t",
            "jwks_uri": "https://id.example/k",
        });
        for (name, value) in changes.as_object().expect("an object") {
            document[name] = value.clone();
        }
        let document = serde_json::from_value(document).expect("a document");
        Metadata::read(document, configured)
    }

    #[test]
    fn the_least_document_is_enough() {
        let metadata = read(&json!({}), "https://id.example/realm").expect("metadata");
        assert_eq!(metadata.auth_methods, ["client_secret_basic"]);
        assert!(!metadata.names_itself);
        assert_eq!((metadata.user_info, metadata.end_session), (None, None));
        let nulls = json!({"userinfo_endpoint": null, "end_session_endpoint": "",
            "token_endpoint_auth_methods_supported": null, "scopes_supported": 7});
        assert!(read(&nulls, "https://id.example/realm").is_ok());
    }

    #[test]
    fn the_issuer_is_the_configured_one_but_for_a_slash_and_written_as_the_provider_does() {
        for (found, configured, good) in [
            (
                "https://id.example/realm",
                "https://id.example/realm/",
                true,
            ),
            (
                "https://id.example/realm/",
                "https://id.example/realm",
                true,
            ),
            ("https://id.example", "https://id.example/", true),
            (
                "https://id.example/realm//",
                "https://id.example/realm",
                false,
            ),
            (
                "https://id.example/Realm",
                "https://id.example/realm",
                false,
            ),
            ("https://evil.example", "https://id.example", false),
            ("http://id.example", "https://id.example", false),
            ("https://id.example:443", "https://id.example", false),
        ] {
            let outcome = read(&json!({ "issuer": found }), configured);
            assert_eq!(outcome.is_ok(), good, "{found} for {configured}");
            if let Ok(metadata) = outcome {
                assert_eq!(metadata.issuer, found);
            }
        }
    }

    #[test]
    fn a_provider_with_tls_has_no_endpoint_without() {
        let plain = json!({"token_endpoint": "http://id.example/t"});
        let refused = read(&plain, "https://id.example/realm");
        assert!(matches!(
            refused,
            Err(ProviderError::Address("its token_endpoint"))
        ));
        for missing in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            let refused = read(&json!({ missing: null }), "https://id.example/realm");
            assert!(
                matches!(refused, Err(ProviderError::Address(_))),
                "{missing}"
            );
        }
    }
}
