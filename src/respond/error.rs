//! THE table: which error becomes which status, code and public text. What a stranger reads stands
//! here; what the operator reads is in the error itself and goes to the log.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use hyper::StatusCode;

use super::look;
use crate::authn::api_tokens::{ApiTokenError, MAX_DAYS, MAX_NAME, MAX_PER_USER};
use crate::authn::oidc::LoginError;
use crate::authn::{AuthnError, FinishError};
use crate::authz::AuthzError;
use crate::desktop::DesktopError;
use crate::engine::EngineError;
use crate::model::reason::Reason;
use crate::model::scope::{Scope, UnknownScope};
use crate::people::PeopleError;
use crate::picture::PictureError;
use crate::proxy::ProxyError;
use crate::proxy::target::BadTarget;
use crate::rate::TooOften;
use crate::store::StoreError;
use crate::stream::guard::Refusal;

/// Seconds after which a caller may try again when something behind us is down.
const RETRY_LATER: u32 = 5;
/// Seconds after which a desktop that is starting or stopping may be asked for again.
const RETRY_SOON: u32 = 1;

/// Everything that can go wrong with a request.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "each variant is explained by its text and its row below"
)]
pub enum HttpError {
    #[error(transparent)]
    Authn(#[from] AuthnError),
    #[error(transparent)]
    Authz(#[from] AuthzError),
    #[error(transparent)]
    ApiToken(#[from] ApiTokenError),
    #[error(transparent)]
    Scope(#[from] UnknownScope),
    #[error(transparent)]
    Desktop(#[from] DesktopError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    TooOften(#[from] TooOften),
    #[error("nothing is here")]
    NotFound,
    #[error("the method is not {0}")]
    Method(&'static str),
    #[error("the host is not ours")]
    Misdirected,
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    #[error("a strict reader refuses the request: {0}")]
    Refused(#[from] Refusal),
    #[error("the cookies are too large")]
    CookiesTooLarge,
    #[error("too many requests are under way")]
    Crowded,
    #[error("the browser asks ahead of a visit")]
    Prefetch,
    #[error("the body is not the JSON expected: {0}")]
    Json(String),
    #[error("the query is not the one expected: {0}")]
    Query(String),
    #[error("{0} is no duration")]
    Duration(&'static str),
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("desktops are served under another host")]
    DesktopOrigin,
    #[error("the WebSocket comes from another origin")]
    ForeignOrigin,
    #[error("the desktop is {0}")]
    NotRunning(&'static str),
}

impl From<PeopleError> for HttpError {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::Store(error) => error.into(),
            PeopleError::Desktop(error) => error.into(),
        }
    }
}

impl From<FinishError> for HttpError {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::Login(error) => error.into(),
            FinishError::Store(error) => error.into(),
        }
    }
}

/// How an error looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable word for programs.
    pub code: &'static str,
    /// One sentence for people.
    pub detail: Cow<'static, str>,
    /// `Retry-After`, seconds.
    pub retry_after: Option<u32>,
}

impl Row {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after: None,
        }
    }

    fn retry(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
    }

    fn internal() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "internal", "Something went wrong.")
    }

    fn database() -> Self {
        let text = "The database does not answer. Please try again in a moment.";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "database_unavailable",
            text,
        )
        .retry(RETRY_LATER)
    }
}

impl HttpError {
    /// The row of this error.
    #[must_use]
    pub fn row(&self) -> Row {
        match self {
            Self::Authn(error) => authn(error),
            Self::Authz(error) => authz(error),
            Self::ApiToken(error) => api_token(error),
            Self::Scope(error) => Row::new(
                StatusCode::BAD_REQUEST,
                "invalid_scope",
                format!("{error}."),
            ),
            Self::Duration(field) => Row::new(
                StatusCode::BAD_REQUEST,
                "invalid_duration",
                format!("{field} is a duration such as 90s, 15m, 6h or 30d."),
            ),
            Self::NotFound => Row::not_found(),
            Self::Desktop(error) => desktop(error),
            Self::Proxy(error) => proxy(error),
            Self::Picture(error) => picture(error),
            Self::Login(error) => login(error),
            Self::Store(_) => Row::database(),
            Self::TooOften(refused) => too_often(refused),
            Self::Engine(error) => engine(error),
            Self::Method(allowed) => Row::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("Only {allowed} is possible here."),
            ),
            Self::Misdirected => Row::new(
                StatusCode::MISDIRECTED_REQUEST,
                "unknown_host",
                "This server has another name.",
            ),
            Self::Malformed(what) => Row::new(
                StatusCode::BAD_REQUEST,
                "malformed_request",
                format!("The request is malformed: {what}."),
            ),
            Self::CookiesTooLarge | Self::Refused(Refusal::CookiesTooLarge) => Row::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "cookies_too_large",
                "The cookies of this site were too large and have been cleared. Please sign in again.",
            ),
            Self::Refused(refusal) => Row::new(
                StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST),
                "malformed_request",
                format!("The request is malformed: {}.", refusal.text()),
            ),
            Self::Crowded => Row::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_requests",
                "Too many requests are under way. Please try again in a moment.",
            )
            .retry(RETRY_SOON),
            Self::Prefetch => Row::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "prefetch_refused",
                "This is not served ahead of a visit.",
            ),
            Self::Json(what) => Row::new(
                StatusCode::BAD_REQUEST,
                "invalid_json",
                format!("The body is not the JSON expected: {what}."),
            ),
            Self::Query(what) => Row::new(
                StatusCode::BAD_REQUEST,
                "invalid_query",
                format!("The query is not the one expected: {what}."),
            ),
            Self::BodyTooLarge => Row::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The body is too large.",
            ),
            Self::DesktopOrigin => Row::new(
                StatusCode::MISDIRECTED_REQUEST,
                "desktop_origin",
                "Programs find desktops under the host of DESKTOP_ORIGIN.",
            ),
            Self::ForeignOrigin => Row::new(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "A WebSocket needs the Origin header of this site.",
            ),
            Self::NotRunning(state) => Row::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "desktop_not_running",
                format!("The desktop is {state}."),
            )
            .retry(RETRY_SOON),
        }
    }

    /// The error as the operator should see it, with its sources.
    #[must_use]
    pub fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

fn authn(error: &AuthnError) -> Row {
    match error {
        AuthnError::NoSession => {
            Row::new(StatusCode::UNAUTHORIZED, "not_signed_in", "Please sign in.")
        }
        AuthnError::InvalidSession => Row::new(
            StatusCode::UNAUTHORIZED,
            "session_invalid",
            "The session is over. Please sign in again.",
        ),
        AuthnError::NoCsrfToken => Row::new(
            StatusCode::FORBIDDEN,
            "csrf_token_missing",
            "A change with the session cookie needs the page's token in X-CSRF-Token.",
        ),
        AuthnError::InvalidToken => Row::new(
            StatusCode::UNAUTHORIZED,
            "token_invalid",
            "The API token is wrong, has expired or was revoked.",
        ),
        AuthnError::TokenInBrowser => Row::new(
            StatusCode::FORBIDDEN,
            "token_in_browser",
            "API tokens are for programs. A page in a browser cannot use one.",
        ),
        AuthnError::SessionRequired => session_required(),
        AuthnError::BadTicket => Row::new(
            StatusCode::FORBIDDEN,
            "ticket_invalid",
            "The ticket was used, is too old, or is another browser's. Please open the desktop from the portal.",
        ),
        AuthnError::Store(_) => Row::database(),
    }
}

fn authz(error: &AuthzError) -> Row {
    let forbidden = |code, detail: &'static str| Row::new(StatusCode::FORBIDDEN, code, detail);
    match error {
        AuthzError::NotFound => Row::not_found(),
        AuthzError::WrongRole => forbidden("wrong_role", "Your role does not allow this."),
        AuthzError::LookOff => forbidden("look_off", "Teachers see no screens here."),
        AuthzError::ScopeMissing(scope) => scope_missing(*scope),
        AuthzError::SessionRequired => session_required(),
        AuthzError::Desktop(error) => desktop(error),
    }
}

fn too_often(refused: &TooOften) -> Row {
    let seconds = refused.seconds();
    let text = format!("That was too often. Please try again in {seconds} s.");
    Row::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", text).retry(seconds)
}

fn session_required() -> Row {
    Row::new(
        StatusCode::FORBIDDEN,
        "session_required",
        "Only a person who signed in may do this, and no API token.",
    )
}

fn scope_missing(scope: Scope) -> Row {
    let text = format!("The API token was not made for this. It needs the scope `{scope}`.");
    Row::new(StatusCode::FORBIDDEN, "scope_missing", text)
}

fn api_token(error: &ApiTokenError) -> Row {
    let wrong = |code, detail: String| Row::new(StatusCode::BAD_REQUEST, code, detail);
    match error {
        ApiTokenError::Name => wrong(
            "invalid_name",
            format!("A token needs a name of 1 to {MAX_NAME} printable characters."),
        ),
        ApiTokenError::NoScope => wrong(
            "invalid_scope",
            "A token needs a scope: read, desktops or admin.".to_owned(),
        ),
        ApiTokenError::Lifetime => wrong(
            "invalid_duration",
            format!("A token lives between one second and {MAX_DAYS} days."),
        ),
        ApiTokenError::NotAdmin => Row::new(
            StatusCode::FORBIDDEN,
            "scope_not_allowed",
            "Only admins may have the scope `admin`.",
        ),
        ApiTokenError::TooMany => Row::new(
            StatusCode::CONFLICT,
            "too_many_tokens",
            format!("You have {MAX_PER_USER} tokens already. Revoke one first."),
        ),
        ApiTokenError::Store(_) => Row::database(),
    }
}

fn desktop(error: &DesktopError) -> Row {
    match error {
        DesktopError::UnknownTemplate => Row::new(
            StatusCode::NOT_FOUND,
            "unknown_template",
            "There is no such template.",
        ),
        DesktopError::TemplateNotAllowed => Row::new(
            StatusCode::FORBIDDEN,
            "template_not_allowed",
            "You may not start this desktop.",
        ),
        DesktopError::StillStopping => Row::new(
            StatusCode::CONFLICT,
            "desktop_stopping",
            "The desktop is still stopping.",
        )
        .retry(RETRY_SOON),
        DesktopError::UserQuota(count) => Row::new(
            StatusCode::TOO_MANY_REQUESTS,
            "quota_exceeded",
            format!("You may have {count} at a time and have them already. Stop one first."),
        )
        .retry(60),
        DesktopError::StartRate(refused) => too_often(refused),
        DesktopError::TotalQuota(_) | DesktopError::NoPort => Row::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "capacity_exhausted",
            "No further desktop can be started at the moment.",
        )
        .retry(60),
        DesktopError::QueueFull(place) => Row::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "queue_full",
            format!(
                "{} desktops are waiting to start already. Please try again in a moment.",
                place.position - 1
            ),
        )
        .retry(seconds(place.estimate)),
        DesktopError::StarterGone => authn(&AuthnError::InvalidSession),
        DesktopError::NoMemory => Row::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "memory_exhausted",
            "There is no memory for another desktop at the moment.",
        )
        .retry(60),
        DesktopError::NotUp => Row::new(
            StatusCode::CONFLICT,
            "desktop_not_up",
            "The desktop is not running.",
        ),
        DesktopError::Fixed(Reason::Hours) => Row::new(
            StatusCode::CONFLICT,
            "not_extendable",
            "The desktop's opening hours end.",
        ),
        DesktopError::Fixed(Reason::TemplateGone) => Row::new(
            StatusCode::CONFLICT,
            "not_extendable",
            "This kind of desktop is no longer offered.",
        ),
        DesktopError::Fixed(_) => Row::new(
            StatusCode::CONFLICT,
            "not_extendable",
            "The desktop's lifetime cannot be extended any more.",
        ),
        DesktopError::Closed(opens) => Row::new(
            StatusCode::FORBIDDEN,
            "outside_hours",
            opens.as_ref().map_or_else(
                || "This desktop is closed.".to_owned(),
                |opens| format!("This desktop is closed. It opens at {opens}."),
            ),
        ),
        DesktopError::Asleep => Row::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "desktop_asleep",
            "The desktop is paused. Open its page to wake it.",
        )
        .retry(60),
        DesktopError::TooManyPulls => Row::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_pulls",
            "Enough images are being pulled. Please wait for one of them.",
        )
        .retry(60),
        DesktopError::Look(error) => look::row(error),
        DesktopError::NotFound => Row::not_found(),
        DesktopError::Store(_) => Row::database(),
        DesktopError::Engine(error) => engine(error),
        DesktopError::Pull(error) => engine(error),
    }
}

/// Whole seconds, at least one, for `Retry-After`.
fn seconds(span: Duration) -> u32 {
    let millis = u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
    millis.div_ceil(1000).max(1)
}

fn engine(_: &EngineError) -> Row {
    let text = "The container engine does not answer. Please try again in a moment.";
    Row::new(StatusCode::SERVICE_UNAVAILABLE, "engine_unavailable", text).retry(RETRY_LATER)
}

fn login(error: &LoginError) -> Row {
    match error {
        LoginError::Provider(_) => Row::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "provider_unavailable",
            "The login service does not answer. Please try again in a moment.",
        )
        .retry(RETRY_LATER),
        LoginError::NoLogin => Row::new(
            StatusCode::BAD_REQUEST,
            "login_expired",
            "This login took too long or was begun elsewhere. Please sign in again.",
        ),
        LoginError::Again(_) => Row::new(
            StatusCode::BAD_REQUEST,
            "login_expired",
            "The login service wants to ask you once more. Please sign in again.",
        ),
        LoginError::Denied(_) => Row::new(
            StatusCode::FORBIDDEN,
            "login_denied",
            "The login service did not let you in. If you cancelled, sign in again; otherwise ask your administrator.",
        ),
        LoginError::Refused(_) => Row::new(
            StatusCode::FORBIDDEN,
            "login_failed",
            "The login service refused the login. Please sign in again; if that fails, tell your administrator.",
        ),
        LoginError::Unacceptable(..) => Row::new(
            StatusCode::BAD_GATEWAY,
            "login_failed",
            "The login could not be completed. Please tell your administrator.",
        ),
    }
}

fn proxy(error: &ProxyError) -> Row {
    let bad_gateway =
        |detail: &'static str| Row::new(StatusCode::BAD_GATEWAY, "desktop_failed", detail);
    match error {
        ProxyError::Target(BadTarget::TooLong) => Row::new(
            StatusCode::URI_TOO_LONG,
            "target_too_long",
            "The address is too long.",
        ),
        ProxyError::Target(BadTarget::Ambiguous) => Row::new(
            StatusCode::BAD_REQUEST,
            "bad_path",
            "The path is not one that a desktop is asked for.",
        ),
        ProxyError::Denied => Row::not_found(),
        ProxyError::ServiceWorker => Row::new(
            StatusCode::FORBIDDEN,
            "service_worker_refused",
            "Desktops may not register service workers.",
        ),
        ProxyError::Handshake(what) => Row::new(
            StatusCode::BAD_REQUEST,
            "bad_handshake",
            format!("The WebSocket handshake is wrong: {what}."),
        ),
        ProxyError::Timeout => Row::new(
            StatusCode::GATEWAY_TIMEOUT,
            "desktop_timeout",
            "The desktop did not answer in time.",
        ),
        ProxyError::TooManyStreams => Row::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_streams",
            "The desktop is open too many times. Please close a tab that shows it.",
        )
        .retry(RETRY_LATER),
        ProxyError::Revoked => Row::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "desktop_ended",
            "The desktop or the session has ended.",
        ),
        ProxyError::Dial(_) => bad_gateway("The desktop does not accept connections."),
        ProxyError::Broken(_) | ProxyError::Upstream(_) => bad_gateway("The desktop broke off."),
        ProxyError::Unauthorized => bad_gateway("The desktop refuses the gateway."),
        ProxyError::Unacceptable(_) => {
            bad_gateway("The desktop gave an answer that is not passed on.")
        }
        ProxyError::Http(_) => Row::internal(),
    }
}

fn picture(error: &PictureError) -> Row {
    let conflict = |code, detail: &'static str| Row::new(StatusCode::CONFLICT, code, detail);
    match error {
        PictureError::Lately(error) => picture(error),
        PictureError::NoWay => conflict("no_picture", "Desktops of this kind have no pictures."),
        PictureError::Asleep => conflict("desktop_paused", "The desktop is paused."),
        PictureError::Gone => desktop(&DesktopError::NotUp),
        PictureError::Timeout => proxy(&ProxyError::Timeout),
        PictureError::Busy => Row::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_pictures",
            "Too many pictures are being taken. Please try again in a moment.",
        )
        .retry(RETRY_SOON),
        PictureError::Encode(_) | PictureError::Made(_) => Row::internal(),
        _ => Row::new(
            StatusCode::BAD_GATEWAY,
            "desktop_failed",
            "The desktop gave no picture.",
        ),
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
