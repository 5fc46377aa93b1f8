//! Tests of the demo provider with the client side of `openidconnect`, which checks signatures and claims strictly.

use std::convert::Infallible;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType,
    CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AuthType, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge,
    ProviderMetadataWithLogout, RedirectUrl, Scope, StandardErrorResponse, StandardTokenResponse,
    TokenResponse as _, UserInfoClaims,
};

use super::accounts::{ACCOUNTS, DemoClaims};
use super::provider_fixture_tests::{CALLBACK, Fixture, parameter};

type Tokens = StandardTokenResponse<
    IdTokenFields<
        DemoClaims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

type DemoClient = Client<
    DemoClaims,
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

async fn carry(fixture: &Fixture, request: HttpRequest) -> Result<HttpResponse, Infallible> {
    use std::fmt::Write as _;
    let mut headers = String::new();
    for (name, value) in request.headers() {
        write!(headers, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
    }
    let path = request.uri().path_and_query().unwrap().as_str();
    let body = std::str::from_utf8(request.body()).unwrap();
    let reply = fixture
        .send(request.method().as_str(), path, &headers, body)
        .await;
    let response = hyper::Response::builder()
        .status(reply.status)
        .header(
            "content-type",
            reply.header("content-type").unwrap_or_default(),
        )
        .body(reply.body.into_bytes());
    Ok(response.unwrap())
}

#[tokio::test]
async fn the_client_of_openidconnect_is_satisfied() {
    let fixture = Fixture::start().await;
    let http = |request: HttpRequest| carry(&fixture, request);
    let issuer = IssuerUrl::new(fixture.issuer.clone()).unwrap();
    let metadata = ProviderMetadataWithLogout::discover_async(issuer, &http)
        .await
        .unwrap();
    assert!(
        metadata
            .additional_metadata()
            .end_session_endpoint
            .is_some()
    );
    for method in [AuthType::BasicAuth, AuthType::RequestBody] {
        for account in &ACCOUNTS {
            let secret = Some(ClientSecret::new("s3cret".to_owned()));
            let client = DemoClient::from_provider_metadata(
                metadata.clone(),
                ClientId::new("desk".to_owned()),
                secret,
            )
            .set_auth_type(method.clone())
            .set_redirect_uri(RedirectUrl::new(CALLBACK.to_owned()).unwrap());
            let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
            let (url, csrf, nonce) = client
                .authorize_url(
                    CoreAuthenticationFlow::AuthorizationCode,
                    CsrfToken::new_random,
                    Nonce::new_random,
                )
                .add_scope(Scope::new("email".to_owned()))
                .set_pkce_challenge(challenge)
                .url();
            let path = format!("{}?{}", url.path(), url.query().unwrap());
            let location = fixture.log_in(&path, account.username).await.location();
            assert_eq!(parameter(&location, "state").as_ref(), Some(csrf.secret()));
            let code = AuthorizationCode::new(parameter(&location, "code").unwrap());
            let tokens = client
                .exchange_code(code)
                .unwrap()
                .set_pkce_verifier(verifier)
                .request_async(&http)
                .await
                .unwrap();
            let id_token = tokens.id_token().unwrap();
            let id_verifier = client.id_token_verifier();
            let claims = id_token.claims(&id_verifier, &nonce).unwrap();
            let hash = AccessTokenHash::from_token(
                tokens.access_token(),
                id_token.signing_alg().unwrap(),
                id_token.signing_key(&id_verifier).unwrap(),
            );
            assert_eq!(claims.access_token_hash(), Some(&hash.unwrap()));
            assert!(claims.additional_claims().sid.is_some());
            let info: UserInfoClaims<DemoClaims, CoreGenderClaim> = client
                .user_info(
                    tokens.access_token().clone(),
                    Some(claims.subject().clone()),
                )
                .unwrap()
                .request_async(&http)
                .await
                .unwrap();
            assert_eq!(info.additional_claims(), &account.demo_claims(None));
            assert_eq!(info.email().unwrap().as_str(), account.email);
            assert_eq!(claims.subject().as_str(), account.subject);
        }
    }
}
