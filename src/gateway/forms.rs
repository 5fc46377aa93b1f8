//! What our pages do without a script: starting a desktop in a tab of its own, and choosing a language.
//!
//! A start is a form that opens a new tab, so that no browser takes that for a pop-up. The tab must have no opener: on
//! a single origin the desktop that it becomes could read the portal through it. The page says so (`rel=noopener`), and
//! the redirect here says it once more: it has no opener policy, unlike the page, so that browsers part the two.

use http_body_util::{BodyExt, Limited};
use hyper::header::{HeaderValue, REFRESH};
use hyper::{Method, StatusCode};

use super::auth::{add_cookie, query_value};
use super::{Gateway, pages};
use crate::authn::Authenticated;
use crate::authn::cookies::Cookies;
use crate::authn::origin::{CSRF_HEADER, Side};
use crate::request::lang::Lang;
use crate::request::{Request, RequestContext, Response};
use crate::respond::error::HttpError;
use crate::respond::{html, redirect};

/// Largest form that is read, bytes.
const MAX_FORM: usize = 16 * 1024;

/// The fields of a form that came from a page of ours.
pub(super) struct Form(bytes::Bytes);

impl Form {
    pub(super) fn field(&self, name: &str) -> Option<String> {
        query_value(std::str::from_utf8(&self.0).ok(), name)
    }

    /// All values of a field that may be there often.
    pub(super) fn fields(&self, name: &str) -> Vec<String> {
        let pairs = url::form_urlencoded::parse(&self.0);
        let named = pairs.filter(|(key, _)| key == name);
        named.map(|(_, value)| value.into_owned()).collect()
    }
}

impl Gateway {
    /// Reads a form. It carries the page's token in a field, since it cannot set a header.
    pub(super) async fn read_form(
        &self,
        who: &Authenticated,
        request: Request,
    ) -> Result<Form, HttpError> {
        let (mut head, body) = request.into_parts();
        let form = Limited::new(body, MAX_FORM).collect().await;
        let form = Form(form.map_err(|_| HttpError::BodyTooLarge)?.to_bytes());
        let field = form.field("csrf_token");
        if let Some(token) = field.and_then(|token| HeaderValue::try_from(token).ok()) {
            head.headers.insert(CSRF_HEADER, token);
        }
        self.authenticator
            .check_csrf(who, &head.method, &head.headers)?;
        Ok(form)
    }

    /// `POST /open`: starts a desktop, or finds the one that is there, and goes to it. Whoever asks for the address
    /// again, as browsers do after a login or a failure, comes to the start page.
    pub(super) async fn open(
        &self,
        context: &RequestContext,
        side: Side,
        request: Request,
    ) -> Result<Response, HttpError> {
        if request.method() != Method::POST {
            return Ok(redirect(StatusCode::SEE_OTHER, "/"));
        }
        let who = self.authenticated(context, side, &request).await;
        let who = who.map_err(|error| self.limits.refused(context, error))?;
        who.session()?;
        let form = self.read_form(&who, request).await?;
        let template = form.field("template");
        let actor = who.actor(context);
        let start = self.desktops.start(who.user(), &actor, template.as_deref());
        let (desktop, _) = start.await?;
        let to = format!("/desktop/{}/", desktop.id);
        if side == Side::Both {
            return Ok(redirect(StatusCode::SEE_OTHER, &to));
        }
        // Desktops have another host, and our policy's `form-action` also counts for redirects of a form.
        let mut response = html(StatusCode::OK, String::new());
        if let Ok(refresh) = HeaderValue::try_from(format!("0; url={to}")) {
            response.headers_mut().insert(REFRESH, refresh);
        }
        Ok(response)
    }

    /// `GET /language?set=de&to=/path`: keeps a choice and goes back. Only for somebody who comes by, so that no
    /// script or image changes the language of a page.
    pub(super) fn language(
        &self,
        context: &RequestContext,
        request: &Request,
    ) -> Result<Response, HttpError> {
        let query = request.uri().query();
        let chosen = query_value(query, "set").and_then(|code| Lang::from_code(&code));
        let chosen = chosen.ok_or(HttpError::NotFound)?;
        let back = query_value(query, "to").unwrap_or_default();
        let back = self.authenticator.origin().local_path(&back);
        let mut response = redirect(StatusCode::SEE_OTHER, &back);
        if pages::is_visit(context, request) {
            add_cookie(&mut response, &Cookies::set_language(chosen));
        }
        Ok(response)
    }
}
