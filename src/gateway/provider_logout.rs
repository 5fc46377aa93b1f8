//! What the provider has to say about people who are signed in here: back-channel and front-channel logout, and
//! what follows from asking it again.

use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use utoipa::ToSchema;

use super::Gateway;
use super::auth::query_value;
use crate::authn::FinishError;
use crate::authn::oidc::LoginError;
use crate::authn::recheck::Finding;
use crate::model::audit::{Action, Actor, Event, Object};
use crate::request::{Request, RequestContext, Response, body};
use crate::respond::{content, json as json_answer};
use crate::store::sessions::EndedSession;
use crate::telemetry::ErrorChain;

/// Largest form with a logout token that is read, bytes.
const MAX_FORM: usize = 64 * 1024;

impl Gateway {
    /// `POST /backchannel-logout`: the provider tells that somebody is signed out there. Its answers are those of
    /// Back-Channel Logout 1.0 section 2.8.
    pub(super) async fn backchannel_logout(
        &self,
        context: &RequestContext,
        request: Request,
    ) -> Response {
        if let Err(too_often) = self.limits.provider_logout(context) {
            let text = "too many logout tokens come from this address; try again later";
            let status = StatusCode::TOO_MANY_REQUESTS;
            let mut response = refuse(status, "temporarily_unavailable", text);
            let seconds = HeaderValue::from(too_often.seconds());
            response.headers_mut().insert(RETRY_AFTER, seconds);
            return response;
        }
        let form = Limited::new(request.into_body(), MAX_FORM).collect().await;
        let form = form.map(http_body_util::Collected::to_bytes);
        let token = form.ok().and_then(|form| {
            let form = std::str::from_utf8(&form).ok();
            query_value(form, "logout_token")
        });
        let Some(token) = token else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "there is no logout_token",
            );
        };
        match self.authenticator.log_out_by_token(&token).await {
            Ok(ended) => {
                self.ended_by_provider(context, &ended, "backchannel_logout");
                json_answer(StatusCode::OK, &Obeyed {})
            }
            Err(FinishError::Login(error @ LoginError::Unacceptable(..))) => {
                let error = ErrorChain(&error);
                tracing::warn!(request = %context.id, client = %context.client, %error, "logout token refused");
                let text = "the logout token is not acceptable, or came before";
                refuse(StatusCode::BAD_REQUEST, "invalid_request", text)
            }
            Err(error) => {
                let error = ErrorChain(&error);
                tracing::warn!(request = %context.id, client = %context.client, %error, "logout of the OpenID provider failed");
                let text = "the logout could not be done; try again later";
                refuse(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "temporarily_unavailable",
                    text,
                )
            }
        }
    }

    /// `GET /frontchannel-logout?iss=&sid=`, in a frame of the provider's page, to which no cookie of ours comes
    /// along. The answer is always the same: what was ended is nobody's business.
    pub(super) async fn frontchannel_logout(
        &self,
        context: &RequestContext,
        request: &Request,
    ) -> Response {
        let value = |name| query_value(request.uri().query(), name).unwrap_or_default();
        match self
            .authenticator
            .log_out_by_sid(&value("iss"), &value("sid"))
            .await
        {
            Ok(ended) => self.ended_by_provider(context, &ended, "frontchannel_logout"),
            Err(error) => {
                let error = ErrorChain(&error);
                tracing::warn!(request = %context.id, client = %context.client, %error, "logout of the OpenID provider failed");
            }
        }
        let page = "<!doctype html><html lang=\"en\"><title>Deskgate</title></html>";
        let mut response = content(StatusCode::OK, "text/html; charset=utf-8", body::full(page));
        let provider = self.authenticator.provider_origin();
        let policy = format!("default-src 'none'; frame-ancestors {provider}");
        if let Ok(policy) = HeaderValue::try_from(policy) {
            response
                .headers_mut()
                .insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    fn ended_by_provider(
        &self,
        context: &RequestContext,
        ended: &[EndedSession],
        reason: &'static str,
    ) {
        let actor = Actor::provider().at(context.client, context.id);
        self.sign_out.follow_because(ended, reason, &actor);
    }

    /// Asks the provider about those whose turn it is.
    pub async fn recheck(&self) {
        let stop = self.tasks.soft();
        let note = |finding| self.note(finding);
        let done = self.authenticator.recheck_due(stop, &note).await;
        if let Err(error) = done {
            tracing::warn!(error = %ErrorChain(&error), "people cannot be checked again");
        }
    }

    fn note(&self, finding: Finding) {
        let actor = Actor::provider();
        match finding {
            Finding::Ended(session) => {
                let ended = std::slice::from_ref(&session);
                self.sign_out
                    .follow_because(ended, "provider_refused", &actor);
            }
            Finding::Role {
                user,
                session,
                role,
            } => {
                let change = Event::new(Action::RoleChanged, &actor).subject(user.id);
                let change = change.object(Object::Session(session));
                let change = change.detail("from", user.identity.role.as_str());
                self.audit.record(change.detail("to", role.as_str()));
            }
        }
    }
}

/// Nobody of them is signed in any more.
#[derive(Serialize, ToSchema)]
pub(super) struct Obeyed {}

/// A refusal as the specification has it.
#[derive(Serialize, ToSchema)]
pub(super) struct LogoutError {
    error: &'static str,
    error_description: &'static str,
}

fn refuse(status: StatusCode, error: &'static str, error_description: &'static str) -> Response {
    let refusal = LogoutError {
        error,
        error_description,
    };
    json_answer(status, &refusal)
}
