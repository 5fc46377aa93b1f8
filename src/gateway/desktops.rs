//! Requests for desktops, whichever host they are served under. Where that is a host of their own, the
//! portal leads people over with a ticket:
//!
//! ```text
//! portal    /desktop/<id>/                   the desktop runs and is theirs
//! desktops  /ticket?to=/desktop/<id>/        the browser gets a secret, if it has none
//! portal    /ticket?browser=...&to=...       the ticket is made, for this session and this browser
//! desktops  /ticket/<ticket>                 the ticket becomes a cookie
//! desktops  /desktop/<id>/
//! ```
//!
//! Where both hosts are of one site, the first of these answers with a page that goes the rest of the way in a frame
//! ([`super::frame`]). Whatever has to be said to a person who may not or cannot enter is said by the portal.

use hyper::header::UPGRADE;
use hyper::{Method, StatusCode};

use super::auth::{add_cookie, query_value};
use super::route::Route;
use super::{Gateway, frame, pages};
use crate::authn::Means;
use crate::authn::origin::Side;
use crate::authn::ticket::BrowserId;
use crate::authz::{self, Access, AuthzError};
use crate::desktop::Caller;
use crate::model::id::DesktopId;
use crate::request::{Request, RequestContext, Response};
use crate::respond::error::HttpError;
use crate::respond::redirect;

/// Longest path and query that a ticket leads to, bytes; instead of a longer one it is the bare desktop.
const MAX_TO: usize = 1024;

/// Path and query of a request, as the ticket's way takes it.
fn path_of(request: &Request) -> &str {
    request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
}

/// The desktop that a path leads to, and the path if it is not too long.
fn destination(to: &str) -> Option<(DesktopId, String)> {
    let path = to.split(['?', '#']).next().unwrap_or_default();
    let Ok(Route::Desktop { id, .. }) = Route::parse(&Method::GET, path) else {
        return None;
    };
    // Only what may stand in a header goes into one.
    let plain = to.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if plain && to.len() <= MAX_TO {
        Some((id, to.to_owned()))
    } else {
        Some((id, format!("/desktop/{id}/")))
    }
}

fn query(pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    query.finish()
}

impl Gateway {
    /// Something of a desktop.
    pub(super) async fn desktop(
        &self,
        context: &RequestContext,
        side: Side,
        (id, rest): (DesktopId, &str),
        request: Request,
    ) -> Result<Response, HttpError> {
        let who = match self.authenticated(context, side, &request).await {
            Ok(who) => who,
            Err(error) => return self.sign_in_first(context, side, &request, error),
        };
        let opens = match side {
            Side::Desktops => self.opens(context, &request),
            Side::Both | Side::Portal => pages::is_visit(context, &request),
        };
        let visit = side != Side::Both && opens;
        match (
            authz::authorize_desktop(&self.desktops, &who.principal, id).await,
            side,
        ) {
            // The browser may have been another session's before.
            (Err(AuthzError::NotFound), Side::Desktops) if visit && who.means == Means::Cookie => {
                Ok(self.ask_portal(&request, path_of(&request)))
            }
            (Ok(Access::NotRunning(_)), Side::Desktops) if visit => {
                let portal = self.authenticator.origin().portal().as_str();
                let to = format!("{portal}{}", path_of(&request));
                Ok(redirect(StatusCode::FOUND, &to))
            }
            (Ok(Access::NotRunning(desktop)), _) => {
                self.waiting(context, &request, (&who, &desktop))
            }
            (Ok(Access::Granted(grant)), Side::Portal) if visit => {
                if let Some(page) = self.frame(context, &request, (&who, &grant, rest)) {
                    return Ok(page);
                }
                let host = self.authenticator.origin().desktops().as_str();
                let path = frame::without_word(path_of(&request));
                let (_, to) = destination(path).ok_or(HttpError::NotFound)?;
                let to = format!("{host}/ticket?{}", query(&[("to", &to)]));
                Ok(redirect(StatusCode::FOUND, &to))
            }
            (Ok(Access::Granted(_)), Side::Portal) => Err(HttpError::DesktopOrigin),
            (Ok(Access::Granted(grant)), _) => {
                if opens {
                    self.desktops.opened(grant.desktop());
                }
                if let Some(to) = pages::entry(&grant, context, rest, &request) {
                    return Ok(redirect(StatusCode::FOUND, &to));
                }
                let caller = match request.headers().contains_key(UPGRADE) {
                    _ if opens => Caller::Person,
                    true => Caller::WebSocket,
                    false => Caller::Request,
                };
                let awake = self.desktops.awake(grant.desktop(), caller).await?;
                let answer = self.proxy.forward((grant, awake), context, rest, request);
                Ok(answer.await?)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// `/ticket` on the side of the portal and on that of desktops, where there are two.
    pub(super) async fn ticket(
        &self,
        context: &RequestContext,
        side: Side,
        ticket: Option<&str>,
        request: Request,
    ) -> Result<Response, HttpError> {
        let value = |name| query_value(request.uri().query(), name);
        match (side, ticket) {
            (Side::Desktops, Some(ticket)) => self.redeem(ticket, &request).await,
            (Side::Desktops, None) => {
                let to = value("to").and_then(|to| destination(&to));
                let (_, to) = to.ok_or(HttpError::NotFound)?;
                Ok(self.ask_portal(&request, &to))
            }
            (Side::Portal, None) => {
                let to = value("to").and_then(|to| destination(&to));
                let browser = value("browser").and_then(|text| BrowserId::parse(&text));
                let (to, browser) = to.zip(browser).ok_or(HttpError::NotFound)?;
                self.issue(context, to, &browser, &request).await
            }
            (Side::Both, _) | (Side::Portal, Some(_)) => Err(HttpError::NotFound),
        }
    }

    /// Sends a browser that is on the side of desktops to the portal for a ticket to `to`.
    pub(super) fn ask_portal(&self, request: &Request, to: &str) -> Response {
        let known = BrowserId::of(request.headers()).map(|browser| (browser, None));
        let (browser, cookie) = known.unwrap_or_else(|| {
            let (browser, cookie) = BrowserId::random();
            (browser, Some(cookie))
        });
        let portal = self.authenticator.origin().portal().as_str();
        let query = query(&[("browser", browser.as_str()), ("to", to)]);
        let mut response = redirect(StatusCode::FOUND, &format!("{portal}/ticket?{query}"));
        if let Some(cookie) = cookie {
            add_cookie(&mut response, &cookie);
        }
        response
    }

    /// Gives a ticket to somebody who opens a page, and to nobody's script.
    async fn issue(
        &self,
        context: &RequestContext,
        (id, to): (DesktopId, String),
        browser: &BrowserId,
        request: &Request,
    ) -> Result<Response, HttpError> {
        let who = match self.authenticated(context, Side::Portal, request).await {
            Ok(who) => who,
            Err(error) => return self.sign_in_first(context, Side::Portal, request, error),
        };
        if !self.opens(context, request) {
            return Err(HttpError::DesktopOrigin);
        }
        let session = who.session()?;
        match authz::authorize_desktop(&self.desktops, &who.principal, id).await? {
            // The portal's own address of it, where one can wait.
            Access::NotRunning(_) => Ok(redirect(StatusCode::FOUND, &to)),
            Access::Granted(_) => {
                let ticket = self
                    .authenticator
                    .tickets()
                    .issue(&session.hash, browser, &to);
                let host = self.authenticator.origin().desktops().as_str();
                Ok(redirect(
                    StatusCode::FOUND,
                    &format!("{host}/ticket/{ticket}"),
                ))
            }
        }
    }

    async fn redeem(&self, ticket: &str, request: &Request) -> Result<Response, HttpError> {
        if request.method() != Method::GET {
            return Err(HttpError::Method("GET"));
        }
        let (cookie, to) = self.authenticator.redeem(ticket, request.headers()).await?;
        let mut response = redirect(StatusCode::SEE_OTHER, &to);
        add_cookie(&mut response, &cookie);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_leads_to_a_desktop_and_nowhere_else() {
        let id = DesktopId::random();
        let bare = format!("/desktop/{id}/");
        let with = |rest: &str| destination(&format!("{bare}{rest}"));
        assert_eq!(destination(&bare), Some((id, bare.clone())));
        let entry = format!("{bare}?path=desktop/{id}/websockify&resize=remote");
        assert_eq!(destination(&entry), Some((id, entry.clone())));
        for odd in ["x\r\nSet-Cookie: a=b", "ü", "a b", &"x".repeat(MAX_TO)] {
            assert_eq!(with(odd), Some((id, bare.clone())), "{odd}");
        }
        for out in [
            "",
            "/",
            "/api/container/list",
            "//evil.example/",
            "https://evil.example/",
            &format!("//evil.example{bare}"),
            &format!("/desktop/{id}"),
            &format!("x{bare}"),
        ] {
            assert_eq!(destination(out), None, "{out}");
        }
    }
}
