//! What the demo provider says about itself: the paths of its endpoints and the discovery document.

use openidconnect::core::{
    CoreClaimName, CoreClientAuthMethod, CoreGrantType, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{
    AdditionalProviderMetadata, AuthUrl, EndSessionUrl, IssuerUrl, JsonWebKeySetUrl,
    LogoutProviderMetadata, ProviderMetadata, ResponseTypes, Scope, TokenUrl, UserInfoUrl,
};
use serde::{Deserialize, Serialize};
use url::ParseError;

use super::provider_keys::ALGORITHM;

/// Path of the discovery document (`OpenID` Connect Discovery 1.0, section 4).
pub(super) const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Path of the key set.
pub(super) const KEYS: &str = "/jwks";
/// Path of the authorization endpoint.
pub(super) const AUTHORIZE: &str = "/authorize";
/// Path of the token endpoint.
pub(super) const TOKEN: &str = "/token";
/// Path of the `UserInfo` endpoint.
pub(super) const USER_INFO: &str = "/userinfo";
/// Path of the end-session endpoint.
pub(super) const END_SESSION: &str = "/end_session";

const SCOPES: [&str; 5] = ["openid", "profile", "email", "groups", "roles"];

const CLAIMS: [&str; 16] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "auth_time",
    "nonce",
    "sid",
    "sub",
    "name",
    "given_name",
    "family_name",
    "preferred_username",
    "email",
    "email_verified",
    "groups",
    "roles",
];

/// The members of the discovery document that `openidconnect` has no field for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct PkceMetadata {
    /// RFC 8414, section 2.
    code_challenge_methods_supported: Vec<String>,
}

impl AdditionalProviderMetadata for PkceMetadata {}

/// The discovery document.
pub(super) type Metadata = ProviderMetadata<
    LogoutProviderMetadata<PkceMetadata>,
    openidconnect::core::CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    openidconnect::core::CoreClaimType,
    CoreGrantType,
    openidconnect::core::CoreJweContentEncryptionAlgorithm,
    openidconnect::core::CoreJweKeyManagementAlgorithm,
    openidconnect::core::CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// The discovery document of the provider at `issuer`.
pub(super) fn metadata(issuer: &IssuerUrl) -> Result<Metadata, ParseError> {
    let at = |path: &str| format!("{}{path}", issuer.as_str());
    let additional = LogoutProviderMetadata {
        end_session_endpoint: Some(EndSessionUrl::new(at(END_SESSION))?),
        additional_metadata: PkceMetadata {
            code_challenge_methods_supported: vec!["S256".to_owned()],
        },
    };
    let metadata = Metadata::new(
        issuer.clone(),
        AuthUrl::new(at(AUTHORIZE))?,
        JsonWebKeySetUrl::new(at(KEYS))?,
        vec![ResponseTypes::new(vec![CoreResponseType::Code])],
        vec![CoreSubjectIdentifierType::Public],
        vec![ALGORITHM],
        additional,
    )
    .set_token_endpoint(Some(TokenUrl::new(at(TOKEN))?))
    .set_userinfo_endpoint(Some(UserInfoUrl::new(at(USER_INFO))?))
    .set_scopes_supported(Some(owned(&SCOPES, Scope::new)))
    .set_claims_supported(Some(owned(&CLAIMS, CoreClaimName::new)))
    .set_response_modes_supported(Some(vec![CoreResponseMode::Query]))
    .set_grant_types_supported(Some(vec![CoreGrantType::AuthorizationCode]))
    .set_token_endpoint_auth_methods_supported(Some(vec![
        CoreClientAuthMethod::ClientSecretBasic,
        CoreClientAuthMethod::ClientSecretPost,
    ]))
    .set_request_parameter_supported(Some(false))
    .set_request_uri_parameter_supported(Some(false));
    Ok(metadata)
}

fn owned<T>(names: &[&str], make: impl Fn(String) -> T) -> Vec<T> {
    names.iter().map(|&name| make(name.to_owned())).collect()
}
