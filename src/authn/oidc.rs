//! The OpenID Connect code flow (OpenID Connect Core 1.0 section 3.1) with PKCE, state and nonce, and
//! RP-initiated logout. The provider is found by discovery when first needed, and again after a while.

use std::sync::Arc;
use std::time::Duration;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod,
    CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AuthType, AuthorizationCode, ClientId, ClientSecret,
    CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenFields,
    IssuerUrl, LogoutRequest, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier,
    PostLogoutRedirectUrl, ProviderMetadataWithLogout, RedirectUrl, Scope, StandardErrorResponse,
    StandardTokenResponse, TokenResponse, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::claims::{self, RoleNames};
use super::cookies::{LOGIN_LIFETIME, PendingLogin};
use super::http_client::{HttpClient, TrustError};
use crate::clock::Clock;
use crate::config::OidcConfig;
use crate::model::user::Identity;
use crate::request::BoxError;

/// How long discovery and keys are believed before they are fetched again.
const METADATA_LIFETIME: Duration = Duration::from_secs(600);
/// `state` with which the provider sends a person back after logout.
pub const SIGNED_OUT: &str = "signed-out";
/// How far the provider's clock may be off.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Claims that the specification does not name: groups, roles, and whatever else there is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct OtherClaims(Map<String, Value>);
impl AdditionalClaims for OtherClaims {}

type Fields = IdTokenFields<
    OtherClaims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Tokens = StandardTokenResponse<Fields, CoreTokenType>;
type Client = openidconnect::Client<
    OtherClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The provider could not be asked.
    #[error("the OpenID provider is not available")]
    Provider(#[source] BoxError),
    /// The provider said no.
    #[error("the OpenID provider refused the login: {0}")]
    Denied(String),
    /// The answer belongs to no login of this browser, or comes too late.
    #[error("no login of this browser is in progress")]
    NoLogin,
    /// The answer breaks a rule of the protocol.
    #[error("the OpenID provider's answer is not acceptable: {0}")]
    Unacceptable(&'static str, #[source] Option<BoxError>),
}

fn provider_error(error: impl Into<BoxError>) -> LoginError {
    LoginError::Provider(error.into())
}

fn unacceptable(what: &'static str, error: impl Into<BoxError>) -> LoginError {
    LoginError::Unacceptable(what, Some(error.into()))
}

/// Somebody whom the provider vouches for.
#[derive(Debug)]
pub struct LoggedIn {
    /// Who.
    pub identity: Identity,
    /// The ID token, for logout.
    pub id_token: String,
}

/// The provider, as we know it.
#[derive(Debug)]
pub struct Oidc {
    config: OidcConfig,
    names: RoleNames,
    http: HttpClient,
    clock: Arc<dyn Clock>,
    metadata: Mutex<Option<(Instant, ProviderMetadataWithLogout)>>,
}

impl Oidc {
    /// A provider that is asked when first needed.
    pub fn new(config: OidcConfig, clock: Arc<dyn Clock>) -> Result<Self, TrustError> {
        Ok(Self {
            http: HttpClient::new(config.ca_file.as_deref())?,
            names: RoleNames {
                admin: config.admin_names.clone(),
                teacher: config.teacher_names.clone(),
            },
            config,
            clock,
            metadata: Mutex::new(None),
        })
    }

    /// The provider's name for people: its host.
    #[must_use]
    pub fn provider_name(&self) -> String {
        let url = Url::parse(&self.config.issuer).ok();
        url.and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// What the provider says about itself, fetched if not known or no longer fresh.
    async fn metadata(&self) -> Result<ProviderMetadataWithLogout, LoginError> {
        let mut cached = self.metadata.lock().await;
        if let Some((fetched, metadata)) = &*cached
            && fetched.elapsed() < METADATA_LIFETIME
        {
            return Ok(metadata.clone());
        }
        let issuer = IssuerUrl::new(self.config.issuer.clone()).map_err(provider_error)?;
        let metadata = ProviderMetadataWithLogout::discover_async(issuer, &self.http)
            .await
            .map_err(provider_error)?;
        *cached = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }

    /// Forgets what the provider said: its keys may have changed.
    async fn forget_metadata(&self) {
        *self.metadata.lock().await = None;
    }

    async fn client(&self) -> Result<Client, LoginError> {
        let metadata = self.metadata().await?;
        let secret = self.config.client_secret.as_ref();
        // RFC 8414: basic is what a provider that says nothing can do.
        let basic = metadata
            .token_endpoint_auth_methods_supported()
            .is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let client = Client::from_provider_metadata(
            metadata,
            ClientId::new(self.config.client_id.clone()),
            secret.map(|secret| ClientSecret::new(secret.expose().to_owned())),
        );
        let auth_type = if basic {
            AuthType::BasicAuth
        } else {
            AuthType::RequestBody
        };
        Ok(client
            .set_auth_type(auth_type)
            .set_redirect_uri(RedirectUrl::from_url(self.config.redirect_url.clone())))
    }

    /// Begins a login: where to send the browser, and what it must bring back.
    ///
    /// # Errors
    /// The provider cannot be asked for its metadata (OpenID Connect Discovery 1.0).
    pub async fn begin(&self, return_to: String) -> Result<(Url, PendingLogin), LoginError> {
        let client = self.client().await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let mut request = client
            .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
            .set_pkce_challenge(challenge);
        for scope in self.config.scopes.iter().filter(|scope| *scope != "openid") {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (url, state, nonce) = request.url();
        let pending = PendingLogin {
            state: state.secret().clone(),
            nonce: nonce.secret().clone(),
            verifier: verifier.secret().clone(),
            return_to,
            expires_at: self.clock.timestamp().after(LOGIN_LIFETIME).millis(),
        };
        Ok((url, pending))
    }

    /// Ends a login: exchanges the code, checks the ID token, asks who it is.
    ///
    /// # Errors
    /// The provider cannot be asked or refuses the code, or its ID token fails a check of OpenID Connect Core
    /// 1.0 section 3.1.3.7 (signature, issuer, audience, expiry, nonce) or 3.1.3.8 (`at_hash`).
    pub async fn finish(
        &self,
        code: String,
        pending: &PendingLogin,
    ) -> Result<LoggedIn, LoginError> {
        let client = self.client().await?;
        let tokens = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| unacceptable("it has no token endpoint", error))?
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()))
            .request_async(&self.http)
            .await
            .map_err(token_error)?;
        let checked = self.check(&client, &tokens, &pending.nonce).await;
        if checked.is_err() {
            // A key that is not known yet looks like a wrong signature; the next login sees fresh keys.
            self.forget_metadata().await;
        }
        checked
    }

    async fn check(
        &self,
        client: &Client,
        tokens: &Tokens,
        nonce: &str,
    ) -> Result<LoggedIn, LoginError> {
        let id_token = tokens
            .id_token()
            .ok_or(LoginError::Unacceptable("it has no ID token", None))?;
        let now = self.clock.now() - CLOCK_SKEW;
        let verifier = client
            .id_token_verifier()
            .set_time_fn(move || std::time::SystemTime::from(now).into());
        let claims = id_token
            .claims(&verifier, &Nonce::new(nonce.to_owned()))
            .map_err(|error| unacceptable("its ID token", error))?;
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = id_token
                .signing_alg()
                .map_err(|error| unacceptable("its ID token", error))?;
            let key = id_token
                .signing_key(&verifier)
                .map_err(|error| unacceptable("its ID token", error))?;
            let actual = AccessTokenHash::from_token(tokens.access_token(), algorithm, key)
                .map_err(|error| unacceptable("its access token", error))?;
            if actual != *expected {
                return Err(LoginError::Unacceptable(
                    "its access token is not that of the ID token",
                    None,
                ));
            }
        }
        let mut known = claims.additional_claims().0.clone();
        put(
            &mut known,
            "preferred_username",
            claims.preferred_username().map(|name| name.as_str()),
        );
        put(
            &mut known,
            "email",
            claims.email().map(|email| email.as_str()),
        );
        put(
            &mut known,
            "name",
            claims
                .name()
                .and_then(|name| name.get(None))
                .map(|name| name.as_str()),
        );
        self.ask_user_info(client, tokens, claims.subject().clone(), &mut known)
            .await?;
        Ok(LoggedIn {
            identity: claims::identity(&self.config.issuer, claims.subject(), &known, &self.names),
            id_token: id_token.to_string(),
        })
    }

    /// Adds what the userinfo endpoint says, if there is one; its word is newer than the ID token's.
    async fn ask_user_info(
        &self,
        client: &Client,
        tokens: &Tokens,
        subject: openidconnect::SubjectIdentifier,
        known: &mut Map<String, Value>,
    ) -> Result<(), LoginError> {
        let Ok(request) = client.user_info(tokens.access_token().clone(), Some(subject)) else {
            return Ok(());
        };
        let info: UserInfoClaims<OtherClaims, CoreGenderClaim> = request
            .request_async(&self.http)
            .await
            .map_err(|error| unacceptable("its user information", error))?;
        known.extend(info.additional_claims().0.clone());
        put(
            known,
            "preferred_username",
            info.preferred_username().map(|name| name.as_str()),
        );
        put(known, "email", info.email().map(|email| email.as_str()));
        put(
            known,
            "name",
            info.name()
                .and_then(|name| name.get(None))
                .map(|name| name.as_str()),
        );
        Ok(())
    }

    /// Where to send the browser so that the provider ends its session too; `None` when the provider
    /// cannot do that or cannot be asked.
    pub async fn logout_url(&self, id_token: Option<&str>) -> Option<Url> {
        let metadata = self.metadata().await.ok()?;
        let endpoint = metadata
            .additional_metadata()
            .end_session_endpoint
            .clone()?;
        let mut request = LogoutRequest::from(endpoint)
            .set_client_id(ClientId::new(self.config.client_id.clone()))
            .set_post_logout_redirect_uri(PostLogoutRedirectUrl::from_url(
                self.config.post_logout_url.clone(),
            ));
        if let Some(token) = id_token.and_then(|token| token.parse().ok()) {
            let token: openidconnect::core::CoreIdToken = token;
            request = request.set_id_token_hint(&token);
        }
        // The provider gives it back, so that the start page knows where the person comes from.
        request = request.set_state(CsrfToken::new(SIGNED_OUT.to_owned()));
        Some(request.http_get_url())
    }
}

/// Adds a claim that is there.
fn put(claims: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        claims.insert(name.to_owned(), Value::from(value));
    }
}

type TokenError = openidconnect::RequestTokenError<
    super::http_client::HttpClientError,
    StandardErrorResponse<CoreErrorResponseType>,
>;

fn token_error(error: TokenError) -> LoginError {
    match error {
        TokenError::ServerResponse(response) => LoginError::Denied(response.error().to_string()),
        TokenError::Request(error) => provider_error(error),
        other => unacceptable("its token answer", other),
    }
}
