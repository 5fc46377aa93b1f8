//! The token endpoint and the `UserInfo` endpoint of the demo provider
//! (`OpenID` Connect Core 1.0, sections 3.1.3 and 5.3; RFC 7636; RFC 6750).

use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use openidconnect::core::{
    CoreErrorResponseType as Fault, CoreGenderClaim, CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm, CoreTokenType,
};
use openidconnect::{
    AccessToken, Audience, EmptyExtraTokenFields, IdToken, IdTokenClaims, IdTokenFields, Nonce,
    StandardErrorResponse, StandardTokenResponse, UserInfoClaims,
};
use time::OffsetDateTime;

use super::accounts::DemoClaims;
use super::provider::Shared;
use super::provider_answer::{Answer, Params, empty, json};
use super::provider_client::ClientFault;
use super::provider_keys::ALGORITHM;
use super::provider_state::{Grant, TOKEN_LIFETIME};

type DemoIdToken = IdToken<
    DemoClaims,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

type DemoTokenFields = IdTokenFields<
    DemoClaims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

type DemoTokenResponse = StandardTokenResponse<DemoTokenFields, CoreTokenType>;

/// Exchanges a code for tokens.
pub(super) fn token(shared: &Shared, headers: &HeaderMap, params: &Params) -> Answer {
    match shared.client.authenticate(headers, params) {
        Ok(()) => {}
        Err(ClientFault::TwoMethods) => {
            return refuse(Fault::InvalidRequest, "more than one client authentication");
        }
        Err(ClientFault::Unproven) => {
            let mut answer = refuse(Fault::InvalidClient, "client authentication failed");
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            challenge(&mut answer, "Basic realm=\"demo\"");
            return answer;
        }
    }
    match params.get("grant_type") {
        Some("authorization_code") => {}
        Some(_) => return refuse(Fault::UnsupportedGrantType, "only authorization_code"),
        None => return refuse(Fault::InvalidRequest, "grant_type is missing"),
    }
    let Some(code) = params.get("code") else {
        return refuse(Fault::InvalidRequest, "code is missing");
    };
    let now = shared.clock.now();
    // Taking the code out before the checks leaves no second try for whoever guesses a verifier.
    let Some(grant) = shared.state().codes.take(now, code) else {
        return refuse(Fault::InvalidGrant, "the code is unknown, used or expired");
    };
    if params.get("redirect_uri") != Some(&grant.request.redirect_uri) {
        return refuse(
            Fault::InvalidGrant,
            "redirect_uri is not the one of the request",
        );
    }
    if !verifies(params.get("code_verifier"), &grant.request.challenge) {
        return refuse(Fault::InvalidGrant, "code_verifier does not match");
    }
    let access_token = shared.state().tokens.insert(now, grant.sign_in.clone());
    json(
        StatusCode::OK,
        &token_response(shared, now, grant, AccessToken::new(access_token)),
    )
}

/// States the claims of the person whose access token the request carries.
pub(super) fn user_info(shared: &Shared, headers: &HeaderMap) -> Answer {
    let Some(header) = headers.get(AUTHORIZATION) else {
        let mut answer = empty(StatusCode::UNAUTHORIZED);
        challenge(&mut answer, "Bearer");
        return answer;
    };
    let account = header
        .to_str()
        .ok()
        .and_then(|header| header.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, token)| {
            let state = shared.state();
            let sign_in = state.tokens.get(shared.clock.now(), token.trim())?;
            Some(sign_in.account)
        });
    if let Some(account) = account {
        let claims = UserInfoClaims::new(account.standard_claims(), account.demo_claims(None));
        json(StatusCode::OK, &claims)
    } else {
        let mut answer = empty(StatusCode::UNAUTHORIZED);
        challenge(&mut answer, "Bearer error=\"invalid_token\"");
        answer
    }
}

fn token_response(
    shared: &Shared,
    now: OffsetDateTime,
    grant: Grant,
    access_token: AccessToken,
) -> DemoTokenResponse {
    let Grant { request, sign_in } = grant;
    let claims = IdTokenClaims::new(
        shared.issuer.clone(),
        vec![Audience::new(shared.client.id().to_owned())],
        SystemTime::from(now + TOKEN_LIFETIME).into(),
        SystemTime::from(now).into(),
        sign_in.account.standard_claims(),
        sign_in.account.demo_claims(Some(sign_in.sid)),
    )
    .set_auth_time(Some(SystemTime::from(sign_in.auth_time).into()))
    .set_nonce(request.nonce.map(Nonce::new));
    let id_token = DemoIdToken::new(claims, &shared.key, ALGORITHM, Some(&access_token), None)
        .expect("the claims serialize, and the key is one of the algorithm");
    let fields = DemoTokenFields::new(Some(id_token), EmptyExtraTokenFields {});
    let mut response = DemoTokenResponse::new(access_token, CoreTokenType::Bearer, fields);
    response.set_expires_in(Some(&TOKEN_LIFETIME));
    response
}

/// RFC 7636, section 4.6.
fn verifies(verifier: Option<&str>, challenge: &str) -> bool {
    verifier.is_some_and(|verifier| {
        (43..=128).contains(&verifier.len())
            && BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == challenge
    })
}

fn refuse(fault: Fault, description: &str) -> Answer {
    let error = StandardErrorResponse::new(fault, Some(description.to_owned()), None);
    json(StatusCode::BAD_REQUEST, &error)
}

fn challenge(answer: &mut Answer, value: &'static str) {
    answer
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_of_rfc_7636_appendix_b_matches_its_challenge() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(verifies(Some(verifier), challenge));
        assert!(!verifies(Some(&verifier.to_uppercase()), challenge));
        assert!(!verifies(Some("short"), challenge));
        assert!(!verifies(None, challenge));
    }
}
