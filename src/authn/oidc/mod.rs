//! The OpenID Connect code flow (OpenID Connect Core 1.0 section 3.1) with PKCE, state and nonce, and
//! logout: begun here, or at the provider.
//!
//! Claims and metadata are read leniently, as providers differ in all that the protocol does not need, and its
//! rules are checked strictly, each in a file of its own: who the provider is (`provider`), what it signed (`jws`),
//! what a token must say (`id_token`, `logout_token`), and how its endpoints are asked (`endpoint`).

mod endpoint;
mod id_token;
mod jws;
pub mod logout_token;
mod provider;

use std::sync::Arc;

use openidconnect::{CsrfToken, Nonce, PkceCodeChallenge};
use serde_json::{Map, Value};
use url::Url;

use super::claims;
use super::cookies::{LOGIN_LIFETIME, PendingLogin};
use crate::clock::Clock;
use crate::config::OidcConfig;
use crate::model::user::Identity;
use crate::outbound::{HttpClient, TrustError};
use crate::request::BoxError;
use crate::telemetry::ErrorChain;
use endpoint::{EndpointError, Tokens, UserInfo};
use id_token::{ClaimFault, Expected};
use jws::{Signed, Unverified};
use logout_token::Logout;
use provider::{Metadata, Provider};

/// `state` with which the provider sends a person back after logout.
pub const SIGNED_OUT: &str = "signed-out";
/// Longest error code of the provider that is repeated in the log, characters.
const MAX_CODE: usize = 64;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The provider could not be asked.
    #[error("the OpenID provider is not available")]
    Provider(#[source] BoxError),
    /// The person, or the provider for them, said no at the provider.
    #[error("the OpenID provider did not let the person in: {0:?}")]
    Denied(String),
    /// The provider refused what we asked for.
    #[error("the OpenID provider refused the login")]
    Refused(#[source] BoxError),
    /// The answer belongs to no login of this browser, or comes too late.
    #[error("no login of this browser is in progress")]
    NoLogin,
    /// The provider wants the person to begin again.
    #[error("the OpenID provider wants another attempt: {0:?}")]
    Again(String),
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

/// What the provider sent back with the browser (RFC 6749 section 4.1.2, RFC 9207).
#[derive(Debug, Default)]
pub struct Callback {
    /// The code, if it let the person in.
    pub code: Option<String>,
    /// `state`, as it comes back.
    pub state: Option<String>,
    /// Why it did not.
    pub error: Option<String>,
    /// Who answers.
    pub iss: Option<String>,
}

impl Callback {
    /// From the query of the address. A parameter that comes twice counts as none (RFC 6749 section 3.1).
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let value = |name: &str| {
            let pairs = url::form_urlencoded::parse(query.as_bytes());
            let mut values = pairs.filter(|(key, _)| key == name);
            let first = values.next()?.1.into_owned();
            values.next().is_none().then_some(first)
        };
        Self {
            code: value("code"),
            state: value("state"),
            error: value("error"),
            iss: value("iss"),
        }
    }
}

/// Somebody whom the provider vouches for.
#[derive(Debug)]
pub struct LoggedIn {
    /// Who.
    pub identity: Identity,
    /// The ID token, for logout.
    pub id_token: String,
    /// The provider's name for its own session, if it has one.
    pub sid: Option<String>,
    /// With which the provider can be asked again, if it gave one.
    pub refresh_token: Option<String>,
}

/// Why a person could not be asked about again.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The provider no longer vouches for them.
    #[error("the OpenID provider no longer vouches for the person")]
    Ended(#[source] BoxError),
    /// It could not be asked, or did not answer as it should.
    #[error("the OpenID provider could not be asked again")]
    Failed(#[source] LoginError),
}

/// The provider's word on somebody who is signed in already.
#[derive(Debug)]
pub struct Refreshed {
    metadata: Arc<Metadata>,
    tokens: Tokens,
}

impl Refreshed {
    /// The refresh token from now on, if it is another one.
    #[must_use]
    pub fn refresh_token(&self) -> Option<&str> {
        self.tokens.refresh_token.as_deref()
    }
}

/// The provider, as we use it.
#[derive(Debug)]
pub struct Oidc {
    config: OidcConfig,
    http: HttpClient,
    clock: Arc<dyn Clock>,
    provider: Provider,
}

impl Oidc {
    /// A provider that is asked when first needed.
    pub fn new(config: OidcConfig, clock: Arc<dyn Clock>) -> Result<Self, TrustError> {
        let http = HttpClient::new(config.ca_file.as_deref())?;
        Ok(Self {
            provider: Provider::new(config.issuer.clone(), http.clone()),
            config,
            http,
            clock,
        })
    }

    /// The origin of the provider's pages.
    #[must_use]
    pub fn origin(&self) -> String {
        let url = Url::parse(&self.config.issuer).ok();
        url.map(|url| url.origin().ascii_serialization())
            .unwrap_or_default()
    }

    /// The provider's name for people: its host.
    #[must_use]
    pub fn provider_name(&self) -> String {
        let url = Url::parse(&self.config.issuer).ok();
        url.and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// Asks the provider for what every login needs of it: its metadata and its keys.
    ///
    /// # Errors
    /// It does not answer, or not what it should.
    pub async fn look(&self) -> Result<(), LoginError> {
        self.provider.present().await.map_err(provider_error)?;
        self.provider.keys().await.map_err(provider_error)?;
        Ok(())
    }

    /// Asks whether the provider knows this client and its secret, with a code that nobody was given: a provider that
    /// lets the client in refuses the code (RFC 6749 section 5.2).
    ///
    /// # Errors
    /// The provider does not let the client in, or does not answer.
    pub async fn knows_client(&self) -> Result<(), LoginError> {
        let metadata = self.provider.metadata().await.map_err(provider_error)?;
        let (_, verifier) = PkceCodeChallenge::new_random_sha256();
        let parameters = [
            ("grant_type", "authorization_code"),
            ("code", "none"),
            ("redirect_uri", self.config.redirect_url.as_str()),
            ("code_verifier", verifier.secret()),
        ];
        let tokens = endpoint::tokens(&self.http, &metadata, &self.config, &parameters).await;
        match tokens {
            Err(error) if !error.is_invalid_grant() => Err(endpoint_error(error)),
            _ => Ok(()),
        }
    }

    /// Begins a login: where to send the browser, and what it must bring back.
    ///
    /// # Errors
    /// The provider does not answer the question for its metadata (OpenID Connect Discovery 1.0).
    pub async fn begin(&self, return_to: String) -> Result<(Url, PendingLogin), LoginError> {
        let metadata = self.provider.present().await.map_err(provider_error)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let pending = PendingLogin {
            state: CsrfToken::new_random().secret().clone(),
            nonce: Nonce::new_random().secret().clone(),
            verifier: verifier.secret().clone(),
            return_to,
            expires_at: self.clock.timestamp().after(LOGIN_LIFETIME).millis(),
        };
        let mut url = metadata.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", self.config.redirect_url.as_str())
            .append_pair("scope", &self.config.scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256");
        if let Some(prompt) = &self.config.prompt {
            url.query_pairs_mut().append_pair("prompt", prompt);
        }
        Ok((url, pending))
    }

    /// Ends a login: exchanges the code, checks the ID token, asks who it is.
    ///
    /// # Errors
    /// The provider cannot be asked or refuses, or what it says fails a check of OpenID Connect Core 1.0 section
    /// 3.1.3.7 (signature, issuer, audience, times, nonce) or 3.1.3.8 (`at_hash`), or of RFC 9207 (`iss`).
    pub async fn finish(
        &self,
        answer: Callback,
        pending: &PendingLogin,
    ) -> Result<LoggedIn, LoginError> {
        let metadata = self.provider.metadata().await.map_err(provider_error)?;
        check_who_answers(&metadata, answer.iss.as_deref())?;
        if let Some(error) = answer.error {
            return Err(refusal(&error));
        }
        let code = answer
            .code
            .ok_or(LoginError::Unacceptable("it has no code", None))?;
        let parameters = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", self.config.redirect_url.as_str()),
            ("code_verifier", &pending.verifier),
        ];
        let tokens = endpoint::tokens(&self.http, &metadata, &self.config, &parameters);
        let tokens = tokens.await.map_err(endpoint_error)?;
        self.check(&metadata, tokens, &pending.nonce).await
    }

    /// Asks about somebody again with a refresh token (Core 1.0 section 12), which may be spent by it.
    ///
    /// # Errors
    /// [`RefreshError::Ended`] if the provider answers that the token is not good, or no longer.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Refreshed, RefreshError> {
        let metadata = self.provider.metadata().await;
        let metadata = metadata.map_err(|error| RefreshError::Failed(provider_error(error)))?;
        let parameters = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ];
        let tokens = endpoint::tokens(&self.http, &metadata, &self.config, &parameters).await;
        match tokens {
            Ok(tokens) => Ok(Refreshed { metadata, tokens }),
            Err(error) if error.is_invalid_grant() => Err(RefreshError::Ended(error.into())),
            Err(error) => Err(RefreshError::Failed(endpoint_error(error))),
        }
    }

    /// Who somebody is now. Where no new ID token comes along, that of their login counts.
    ///
    /// # Errors
    /// The answer fails a check, or is about somebody else than `subject`.
    pub async fn identify(
        &self,
        refreshed: &Refreshed,
        subject: &str,
        id_token: Option<&str>,
    ) -> Result<Identity, LoginError> {
        const WHAT: &str = "its ID token";
        let (metadata, tokens) = (&refreshed.metadata, &refreshed.tokens);
        let former = id_token.and_then(|text| Unverified::parse(text).ok());
        let mut known = former.map(Unverified::into_claims).unwrap_or_default();
        if let Some(text) = &tokens.id_token {
            let signed = self.signed(WHAT, text).await?;
            let wrong = |fault: ClaimFault| unacceptable(WHAT, fault);
            let expected = self.expected(metadata);
            expected.check(&signed.claims).map_err(wrong)?;
            if id_token::subject(&signed.claims).map_err(wrong)? != subject {
                return Err(wrong(ClaimFault::Subject));
            }
            signed
                .check_access_token(&tokens.access_token)
                .map_err(|error| unacceptable(WHAT, error))?;
            known = signed.claims;
        }
        let info = self.user_info(metadata, &tokens.access_token, subject);
        known.extend(info.await?);
        Ok(claims::identity(
            &metadata.issuer,
            subject,
            &known,
            &self.config.claims,
        ))
    }

    /// The provider's name for itself.
    ///
    /// # Errors
    /// It has never answered.
    pub async fn issuer(&self) -> Result<String, LoginError> {
        let metadata = self.provider.metadata().await.map_err(provider_error)?;
        Ok(metadata.issuer.clone())
    }

    /// What a logout token says (Back-Channel Logout 1.0 section 2.6).
    ///
    /// # Errors
    /// The provider's keys are not known, or it did not make this token as it should.
    pub async fn read_logout(&self, token: &str) -> Result<Logout, LoginError> {
        const WHAT: &str = "its logout token";
        let metadata = self.provider.metadata().await.map_err(provider_error)?;
        let signed = self.signed(WHAT, token).await?;
        let logout = Logout::read(
            &signed.claims,
            signed.typ.as_deref(),
            &self.expected(&metadata),
        );
        logout.map_err(|fault| unacceptable(WHAT, fault))
    }

    async fn check(
        &self,
        metadata: &Metadata,
        tokens: Tokens,
        nonce: &str,
    ) -> Result<LoggedIn, LoginError> {
        const WHAT: &str = "its ID token";
        let id_token = tokens
            .id_token
            .ok_or(LoginError::Unacceptable("it has no ID token", None))?;
        let signed = self.signed(WHAT, &id_token).await?;
        let wrong = |fault: ClaimFault| unacceptable(WHAT, fault);
        self.expected(metadata)
            .check(&signed.claims)
            .map_err(wrong)?;
        id_token::check_nonce(&signed.claims, nonce).map_err(wrong)?;
        signed
            .check_access_token(&tokens.access_token)
            .map_err(|error| unacceptable(WHAT, error))?;
        let subject = id_token::subject(&signed.claims).map_err(wrong)?.to_owned();
        let sid = id_token::text(&signed.claims, "sid").map(str::to_owned);
        let mut known = signed.claims;
        // The word of the userinfo endpoint is newer than that of the ID token.
        known.extend(
            self.user_info(metadata, &tokens.access_token, &subject)
                .await?,
        );
        Ok(LoggedIn {
            identity: claims::identity(&metadata.issuer, &subject, &known, &self.config.claims),
            id_token,
            sid,
            refresh_token: tokens.refresh_token,
        })
    }

    fn expected<'a>(&'a self, metadata: &'a Metadata) -> Expected<'a> {
        Expected {
            issuer: &metadata.issuer,
            client_id: &self.config.client_id,
            now: self.clock.now(),
        }
    }

    /// The text, if the provider signed it. Keys that it may have changed are asked for once more.
    async fn signed(&self, what: &'static str, text: &str) -> Result<Signed, LoginError> {
        let unverified = Unverified::parse(text).map_err(|error| unacceptable(what, error))?;
        let keys = self.provider.keys().await.map_err(provider_error)?;
        let mut signed = unverified.verify(&keys);
        if signed.as_ref().is_err_and(jws::JwsError::may_be_a_new_key)
            && let Some(keys) = self.provider.renewed_keys().await
        {
            signed = unverified.verify(&keys);
        }
        signed.map_err(|error| unacceptable(what, error))
    }

    /// What the userinfo endpoint says of this subject; nothing where there is none.
    async fn user_info(
        &self,
        metadata: &Metadata,
        access_token: &str,
        subject: &str,
    ) -> Result<Map<String, Value>, LoginError> {
        const WHAT: &str = "its user information";
        let Some(endpoint) = &metadata.user_info else {
            return Ok(Map::new());
        };
        let info = endpoint::user_info(&self.http, endpoint, access_token).await;
        let claims = match info.map_err(endpoint_error)? {
            UserInfo::Plain(claims) => claims,
            UserInfo::Signed(text) => {
                let claims = self.signed(WHAT, &text).await?.claims;
                // Core 1.0 section 5.3.2 asks for both where the answer is signed.
                self.expected(metadata)
                    .check_parties(&claims)
                    .map_err(|fault| unacceptable(WHAT, fault))?;
                claims
            }
        };
        // Section 5.3.2: otherwise the access token is another person's.
        match id_token::subject(&claims) {
            Ok(same) if same == subject => Ok(claims),
            Ok(_) => Err(unacceptable(WHAT, ClaimFault::Subject)),
            Err(fault) => Err(unacceptable(WHAT, fault)),
        }
    }

    /// Where to send the browser so that the provider ends its session too; `None` when the provider
    /// cannot do that or cannot be asked.
    pub async fn logout_url(&self, id_token: Option<&str>) -> Option<Url> {
        let metadata = self.provider.metadata().await;
        let metadata = metadata
            .inspect_err(|error| {
                tracing::warn!(error = %ErrorChain(error), "a logout is not passed on to the OpenID provider");
            })
            .ok()?;
        let mut url = metadata.end_session.clone()?;
        {
            let mut query = url.query_pairs_mut();
            if let Some(token) = id_token {
                query.append_pair("id_token_hint", token);
            }
            query
                .append_pair("client_id", &self.config.client_id)
                .append_pair(
                    "post_logout_redirect_uri",
                    self.config.post_logout_url.as_str(),
                )
                // The provider gives it back, so that the start page knows where the person comes from.
                .append_pair("state", SIGNED_OUT);
        }
        Some(url)
    }
}

/// Refuses an answer of another provider than the one that was asked (RFC 9207 section 2.4).
fn check_who_answers(metadata: &Metadata, iss: Option<&str>) -> Result<(), LoginError> {
    const WHAT: &str = "its iss parameter";
    match iss {
        Some(iss) if iss == metadata.issuer => Ok(()),
        Some(iss) => {
            let shown = iss.chars().take(MAX_CODE).collect();
            Err(unacceptable(WHAT, ClaimFault::Issuer(shown)))
        }
        None if metadata.names_itself => Err(unacceptable(WHAT, ClaimFault::Missing("value"))),
        None => Ok(()),
    }
}

/// What an error code in the browser's address means (RFC 6749 section 4.1.2.1, Core 1.0 section 3.1.2.6).
fn refusal(error: &str) -> LoginError {
    let error: String = error.chars().take(MAX_CODE).collect();
    match error.as_str() {
        "access_denied" => LoginError::Denied(error),
        "temporarily_unavailable" | "server_error" => provider_error(error),
        "login_required"
        | "interaction_required"
        | "consent_required"
        | "account_selection_required" => LoginError::Again(error),
        _ => LoginError::Refused(error.into()),
    }
}

fn endpoint_error(error: EndpointError) -> LoginError {
    match error {
        EndpointError::Http(_) | EndpointError::Trouble(_) => provider_error(error),
        EndpointError::Refused { .. } => LoginError::Refused(error.into()),
        EndpointError::Json(_) | EndpointError::Request(_) => {
            unacceptable("one of its endpoints", error)
        }
    }
}
