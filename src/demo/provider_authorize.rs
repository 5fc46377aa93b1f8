//! The authorization endpoint of the demo provider (`OpenID` Connect Core 1.0, section 3.1.2; RFC 7636).
//!
//! A request of the client becomes a login page or, for a browser that has signed in before, a code at once.

use cookie::{Cookie, SameSite};
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};
use hyper::{HeaderMap, StatusCode};
use openidconnect::core::CoreAuthErrorResponseType as Fault;
use time::OffsetDateTime;

use super::accounts::Account;
use super::login_page::LoginPage;
use super::provider::Shared;
use super::provider_answer::{Answer, Params, error_page, page, redirect};
use super::provider_state::{AuthorizationRequest, Grant, SIGN_IN_LIFETIME, SignIn, State, secret};

const SIGN_IN_COOKIE: &str = "demo_sso";
/// Length of a SHA-256 digest in unpadded base64.
const CHALLENGE_LENGTH: usize = 43;

/// Answers the client's request, and the login form when `params` carry its handle.
pub(super) fn authorize(shared: &Shared, headers: &HeaderMap, params: &Params) -> Answer {
    match params.get("handle") {
        Some(handle) => log_in(shared, headers, handle, params),
        None => begin(shared, headers, params),
    }
}

/// The sign-in cookie of the request.
pub(super) fn sign_in_cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == SIGN_IN_COOKIE)
        .and_then(|cookie| cookie.value_raw())
}

/// Makes the browser keep `value` as its sign-in, or forget it if there is none.
pub(super) fn set_sign_in_cookie(answer: &mut Answer, value: Option<&str>) {
    let age = value.map_or(time::Duration::ZERO, |_| {
        time::Duration::seconds_f64(SIGN_IN_LIFETIME.as_secs_f64())
    });
    // Not Secure, because the provider speaks plain HTTP and not every browser excepts loopback from that rule.
    let cookie = Cookie::build((SIGN_IN_COOKIE, value.unwrap_or_default()))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(age)
        .build();
    answer.headers_mut().append(
        SET_COOKIE,
        HeaderValue::from_str(&cookie.to_string())
            .expect("the value is a secret in base64 or empty"),
    );
}

fn begin(shared: &Shared, headers: &HeaderMap, params: &Params) -> Answer {
    // Until client and address are known to be right, a fault is shown here: a redirect would follow a stranger's wish.
    if params.get("client_id") != Some(shared.client.id()) {
        return error_page(
            StatusCode::BAD_REQUEST,
            "The application is not known here.",
        );
    }
    let known = params
        .get("redirect_uri")
        .and_then(|uri| Some((uri, shared.client.redirect(uri)?)));
    let Some((redirect_uri, target)) = known else {
        return error_page(
            StatusCode::BAD_REQUEST,
            "The address to return to is not registered for this application.",
        );
    };
    let refuse = |fault: &Fault, description: &str| {
        redirect(
            target,
            &[
                ("error", Some(fault.as_ref())),
                ("error_description", Some(description)),
                ("state", params.get("state")),
            ],
        )
    };
    let challenge = match code_challenge(params) {
        Ok(challenge) => challenge.to_owned(),
        Err((fault, description)) => return refuse(&fault, description),
    };
    let request = AuthorizationRequest {
        redirect_uri: redirect_uri.to_owned(),
        redirect: target.clone(),
        state: params.owned("state"),
        nonce: params.owned("nonce"),
        challenge,
    };
    let now = shared.clock.now();
    let mut state = shared.state();
    let signed_in = sign_in_cookie(headers)
        .and_then(|cookie| state.sign_ins.get(now, cookie))
        .filter(|sign_in| !must_log_in(params, sign_in, now))
        .cloned();
    match signed_in {
        Some(sign_in) => grant(&mut state, now, request, sign_in),
        None if params.lists("prompt", "none") => {
            refuse(&Fault::LoginRequired, "nobody is signed in")
        }
        None => {
            let handle = state.waiting.insert(now, request);
            page(StatusCode::OK, &LoginPage::new(&handle))
        }
    }
}

/// Checks everything of the request but client and address, and returns its code challenge.
fn code_challenge(params: &Params) -> Result<&str, (Fault, &'static str)> {
    if params.get("request").is_some() {
        return Err((Fault::RequestNotSupported, "request is not supported"));
    }
    if params.get("request_uri").is_some() {
        let fault = Fault::RequestUriNotSupported;
        return Err((fault, "request_uri is not supported"));
    }
    if params.get("response_type") != Some("code") {
        let fault = Fault::UnsupportedResponseType;
        return Err((fault, "response_type must be code"));
    }
    if params
        .get("response_mode")
        .is_some_and(|mode| mode != "query")
    {
        return Err((Fault::InvalidRequest, "response_mode must be query"));
    }
    if !params.lists("scope", "openid") {
        return Err((Fault::InvalidScope, "scope must contain openid"));
    }
    if params.lists("prompt", "none") && params.get("prompt") != Some("none") {
        return Err((Fault::InvalidRequest, "prompt none must stand alone"));
    }
    if params
        .get("max_age")
        .is_some_and(|age| age.parse::<u32>().is_err())
    {
        return Err((Fault::InvalidRequest, "max_age must be whole seconds"));
    }
    let challenge = params
        .get("code_challenge")
        .filter(|_| params.get("code_challenge_method") == Some("S256"))
        .filter(|challenge| challenge.len() == CHALLENGE_LENGTH);
    challenge.ok_or((Fault::InvalidRequest, "an S256 code_challenge is required"))
}

/// Whether the client wants the person to log in although the browser is signed in.
fn must_log_in(params: &Params, sign_in: &SignIn, now: OffsetDateTime) -> bool {
    let max_age = params
        .get("max_age")
        .and_then(|age| age.parse::<u32>().ok());
    params.lists("prompt", "login")
        || params.lists("prompt", "select_account")
        || max_age.is_some_and(|seconds| {
            now - sign_in.auth_time >= time::Duration::seconds(i64::from(seconds))
        })
}

fn log_in(shared: &Shared, headers: &HeaderMap, handle: &str, params: &Params) -> Answer {
    let now = shared.clock.now();
    let mut state = shared.state();
    let expired = || {
        let text = "This login page has expired or was used already. Go back to the application and log in again.";
        error_page(StatusCode::BAD_REQUEST, text)
    };
    if state.waiting.get(now, handle).is_none() {
        return expired();
    }
    let username = params.get("username").unwrap_or_default();
    let password = params.get("password").unwrap_or_default();
    let Some(account) = Account::authenticate(shared.accounts, username, password) else {
        // The status is 200: a 401 would need a challenge (RFC 9110, section 15.5.2), and a form has none.
        return page(StatusCode::OK, &LoginPage::again(handle, username));
    };
    let Some(request) = state.waiting.take(now, handle) else {
        return expired();
    };
    if let Some(cookie) = sign_in_cookie(headers) {
        state.sign_ins.take(now, cookie);
    }
    let sign_in = SignIn {
        account,
        sid: secret(),
        auth_time: now,
    };
    tracing::info!(
        account = account.username,
        "somebody logged in at the demo provider"
    );
    let cookie = state.sign_ins.insert(now, sign_in.clone());
    let mut answer = grant(&mut state, now, request, sign_in);
    set_sign_in_cookie(&mut answer, Some(&cookie));
    answer
}

fn grant(
    state: &mut State,
    now: OffsetDateTime,
    request: AuthorizationRequest,
    sign_in: SignIn,
) -> Answer {
    let target = request.redirect.clone();
    let client_state = request.state.clone();
    let code = state.codes.insert(now, Grant { request, sign_in });
    redirect(
        &target,
        &[("code", Some(&code)), ("state", client_state.as_deref())],
    )
}
