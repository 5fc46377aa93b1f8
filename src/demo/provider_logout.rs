//! The end-session endpoint of the demo provider (`OpenID` Connect RP-Initiated Logout 1.0).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::login_page::NoticePage;
use super::provider::Shared;
use super::provider_answer::{Answer, Params, page, redirect};
use super::provider_authorize::{set_sign_in_cookie, sign_in_cookie};

#[derive(Deserialize)]
struct Hint {
    sid: String,
}

/// Ends the sign-in of the browser and the one that `id_token_hint` names, then leads back to a registered address.
///
/// A hint that this provider did not sign is ignored rather than refused: the key is new on every start, and a person
/// with an older token shall still get back to the application.
pub(super) fn end_session(shared: &Shared, headers: &HeaderMap, params: &Params) -> Answer {
    let now = shared.clock.now();
    let hinted = params
        .get("id_token_hint")
        .filter(|token| shared.key.signed(token))
        .and_then(sid);
    {
        let mut state = shared.state();
        let current = sign_in_cookie(headers).and_then(|cookie| state.sign_ins.take(now, cookie));
        for sid in current.map(|sign_in| sign_in.sid).into_iter().chain(hinted) {
            state.end(&sid);
        }
    }
    let other_client = params
        .get("client_id")
        .is_some_and(|id| id != shared.client.id());
    let target = params
        .get("post_logout_redirect_uri")
        .filter(|_| !other_client)
        .and_then(|uri| shared.client.post_logout(uri));
    let mut answer = match target {
        Some(target) => redirect(target, &[("state", params.get("state"))]),
        None => page(
            StatusCode::OK,
            &NoticePage {
                title: "You are signed out",
                subtitle: "Sie sind abgemeldet",
                text: "You can close this page.",
            },
        ),
    };
    set_sign_in_cookie(&mut answer, None);
    answer
}

/// The `sid` claim of a token whose signature has been checked.
fn sid(token: &str) -> Option<String> {
    let payload = BASE64_URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1)?)
        .ok()?;
    let hint: Hint = serde_json::from_slice(&payload).ok()?;
    Some(hint.sid)
}
