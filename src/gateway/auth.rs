//! Login and logout: the HTTP side of `authn`.

use hyper::StatusCode;
use hyper::header::{HeaderValue, SET_COOKIE};
use serde::Serialize;
use utoipa::ToSchema;

use super::Gateway;
use super::limits::LoginStep;
use crate::authn::cookies::Cookies;
use crate::authn::oidc::SIGNED_OUT;
use crate::authn::origin::CSRF_HEADER;
use crate::authn::{Authenticated, AuthnError, Welcome};
use crate::model::audit::{Action, Actor, Event, Object, Outcome};
use crate::request::{Request, RequestContext, Response};
use crate::respond::error::HttpError;
use crate::respond::{json as json_answer, redirect};
use crate::telemetry::ErrorChain;

/// The session is over.
#[derive(Serialize, ToSchema)]
pub(super) struct LoggedOut {
    /// Where the provider ends its own session; `/` if it has no such address.
    logout_url: String,
}

pub(super) fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

pub(super) fn add_cookie(response: &mut Response, cookie: &str) {
    // Names, base64 and attributes are made of characters that a header may hold.
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

impl Gateway {
    /// `GET /login?return_to=/path`. Whoever is signed in already goes straight there: a login ends the session
    /// before it, and the provider may ask nobody, so that any page that leads here could end it.
    pub(super) async fn login(
        &self,
        context: &RequestContext,
        request: &Request,
    ) -> Result<Response, HttpError> {
        let return_to = query_value(request.uri().query(), "return_to").unwrap_or_default();
        match self.authenticator.authenticate(request.headers()).await {
            Ok(_) => {
                let to = self.authenticator.origin().local_path(&return_to);
                return Ok(redirect(StatusCode::FOUND, &to));
            }
            Err(AuthnError::NoSession | AuthnError::InvalidSession) => {}
            Err(error) => return Err(error.into()),
        }
        self.limits.login(LoginStep::Begin, context)?;
        let begun = self.authenticator.begin_login(&return_to).await;
        let begun = begun.map_err(HttpError::from);
        let (url, cookie) = begun.inspect_err(|error| self.note_failed_login(context, error))?;
        let mut response = redirect(StatusCode::FOUND, url.as_str());
        add_cookie(&mut response, &cookie);
        Ok(response)
    }

    /// `GET /authorize`, where the provider sends the browser back to.
    pub(super) async fn authorize(
        &self,
        context: &RequestContext,
        request: &Request,
    ) -> Result<Response, HttpError> {
        self.limits.login(LoginStep::Finish, context)?;
        let query = request.uri().query().unwrap_or_default();
        let welcome = self
            .authenticator
            .finish_login(query, request.headers(), context.client)
            .await;
        self.metrics.login(welcome.is_ok());
        let welcome = welcome.map_err(HttpError::from);
        self.note_login(context, &welcome);
        let welcome = welcome?;
        let mut response = redirect(StatusCode::FOUND, &welcome.return_to);
        add_cookie(&mut response, &Cookies::set_session(&welcome.secret));
        add_cookie(&mut response, &Cookies::clear_login());
        Ok(response)
    }

    /// Writes the end of a login into the audit log.
    fn note_login(&self, context: &RequestContext, welcome: &Result<Welcome, HttpError>) {
        let (address, request) = (context.client, context.id);
        let welcome = match welcome {
            Ok(welcome) => welcome,
            Err(error) => return self.note_failed_login(context, error),
        };
        let user = &welcome.user;
        let actor = Actor::user(user, welcome.session).at(address, request);
        let role = user.identity.role.as_str();
        let event = |action| Event::new(action, &actor).subject(user.id);
        let mut login = event(Action::Login).detail("role", role);
        login.object = welcome.session.map(Object::Session);
        self.audit.record(login);
        let replaced = welcome.replaced.as_slice();
        self.sign_out.follow(replaced, Action::SessionEnded, &actor);
        if let Some(former) = welcome.former_role {
            let change = event(Action::RoleChanged).detail("from", former.as_str());
            self.audit.record(change.detail("to", role));
        }
    }

    fn note_failed_login(&self, context: &RequestContext, error: &HttpError) {
        self.metrics.login_failed(error.row().code);
        let actor = Actor::anonymous().at(context.client, context.id);
        let event = Event::new(Action::LoginFailed, &actor);
        let event = event.outcome(Outcome::Refused, error.row().code);
        let text = ErrorChain(error.as_error()).to_string();
        self.audit.record(event.detail("error", &text));
    }

    /// `POST /logout`. Somebody without a session is logged out already.
    pub(super) async fn logout(
        &self,
        context: &RequestContext,
        request: Request,
    ) -> Result<Response, HttpError> {
        let provider = match self.authenticator.authenticate(request.headers()).await {
            Ok(who) => {
                let session = who.session()?;
                self.check_logout(&who, request).await?;
                let (provider, ended) = self.authenticator.log_out(session).await?;
                let actor = who.actor(context);
                self.sign_out
                    .follow(ended.as_slice(), Action::Logout, &actor);
                provider
            }
            Err(AuthnError::NoSession | AuthnError::InvalidSession) => None,
            Err(error) => return Err(error.into()),
        };
        let to = provider.map_or_else(|| format!("/?state={SIGNED_OUT}"), String::from);
        let mut response = if context.wants_page {
            redirect(StatusCode::SEE_OTHER, &to)
        } else {
            json_answer(StatusCode::OK, &LoggedOut { logout_url: to })
        };
        add_cookie(&mut response, &Cookies::clear_session());
        Ok(response)
    }

    /// A form carries the page's token in a field, since it cannot set a header.
    async fn check_logout(&self, who: &Authenticated, request: Request) -> Result<(), HttpError> {
        if request.headers().contains_key(CSRF_HEADER) {
            let (method, headers) = (request.method(), request.headers());
            return Ok(self.authenticator.check_csrf(who, method, headers)?);
        }
        self.read_form(who, request).await.map(|_| ())
    }
}
