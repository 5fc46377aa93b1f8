//! One request from head to answer. [`Gateway::handle`] reads like the journey in the architecture:
//! context, route, authenticate, authorize, forward.

mod access_log;
mod admin_pages;
mod auth;
mod class_pages;
pub mod description;
mod desktops;
mod extended_connect;
pub mod files;
mod forms;
mod frame;
pub mod limits;
mod pages;
mod provider_logout;
pub mod route;
mod trace;
mod whoami;

use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use tracing::Instrument as _;

use crate::api::Api;
use crate::audit::Audit;
use crate::authn::cookies::Cookies;
use crate::authn::origin::Side;
use crate::authn::sign_out::SignOut;
use crate::authn::{self, Authenticated, Authenticator, AuthnError};
use crate::authz::scopes;
use crate::desktop::Desktops;
use crate::proxy::Proxy;
use crate::request::client_addr::TrustedProxies;
use crate::request::{ConnectionInfo, Request, RequestContext, Response};
use crate::respond::error::HttpError;
use crate::respond::{problem, redirect, security};
use crate::store::Database;
use crate::tasks::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{Traces, within};
use files::Files;
use limits::Limits;
use route::Route;

/// What the gateway is made of.
#[derive(Debug)]
pub struct Gateway {
    /// Who is it.
    pub authenticator: Arc<Authenticator>,
    /// What they have.
    pub desktops: Desktops,
    /// The way there.
    pub proxy: Proxy,
    /// The control plane.
    pub api: Api,
    /// Asked by `/readyz`.
    pub database: Database,
    /// Knows whether a stop has begun.
    pub tasks: Tasks,
    /// Counts.
    pub metrics: Metrics,
    /// Where time goes.
    pub traces: Traces,
    /// Who did what.
    pub audit: Audit,
    /// What one address may do how often.
    pub limits: Limits,
    /// What follows from the end of sessions.
    pub sign_out: SignOut,
    /// What changes with the program only.
    pub files: Files,
    /// Balancers whose word on the client's address is taken.
    pub trusted: TrustedProxies,
}

impl Gateway {
    /// Answers one request, whatever happens.
    pub async fn handle(&self, connection: ConnectionInfo, mut request: Request) -> Response {
        let begun = Instant::now();
        let mut context = RequestContext::new(&connection, &self.trusted, &request);
        let translated = extended_connect::translate(&mut request);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let websocket = request.headers().contains_key(UPGRADE);
        let route = match connection.refusals.get() {
            Some(refusal) => Err(refusal.into()),
            None => Route::parse(&method, &path),
        };
        let origin = self.authenticator.origin();
        let mut span = None;
        let side = origin.side(|host| route::check_host(&request, host).is_ok());
        let (route, outcome) = match route {
            // Whoever watches over us is told how we are all the same.
            Ok(route) if connection.crowded && !route.is_health() => {
                self.metrics.request_refused();
                (route.as_str(), Err(HttpError::Crowded))
            }
            Ok(route) => {
                let word = route.as_str();
                span = self.span(&connection, &context, word, &request);
                let outcome = if let Some(span) = &span {
                    // In a box, so that requests without a span are not the larger for it.
                    let answered = self.answer(&context, (side, route), request);
                    Box::pin(within(Some(span), answered)).await
                } else {
                    self.answer(&context, (side, route), request).await
                };
                (word, outcome)
            }
            Err(error @ HttpError::Refused(_)) => ("none", Err(error)),
            Err(_) if side == Side::Desktops => ("none", Err(HttpError::NotFound)),
            Err(error) => ("none", self.check(&request, side).and(Err(error))),
        };
        let mut response = outcome.unwrap_or_else(|error| {
            if let HttpError::Proxy(fault) = &error {
                self.metrics.upstream_error(fault.side(), error.row().code);
            }
            if side == Side::Desktops || matches!(error, HttpError::Misdirected) {
                origin.portal().as_str().clone_into(&mut context.home);
            }
            let mut response = problem::respond(&error, &context);
            self.show_in_frame(side, response.headers_mut());
            response
        });
        if translated {
            extended_connect::translate_back(&mut response);
        } else if websocket && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // The guard reads nothing more after a request for an upgrade.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        security::protect(response.headers_mut());
        security::insist_on_tls(response.headers_mut(), origin.of(side).host());
        if route == route::TICKET {
            security::send_no_referrer(response.headers_mut());
        }
        let entry = access_log::Entry {
            context: &context,
            method: &method,
            path: &path,
            route,
            status: response.status(),
            took: begun.elapsed(),
        };
        access_log::write(entry);
        if let Some(span) = span {
            trace::answered(&span, response.status());
        }
        self.metrics.request(route, response.status().as_u16());
        response
    }

    async fn answer(
        &self,
        context: &RequestContext,
        (side, route): (Side, Route<'_>),
        mut request: Request,
    ) -> Result<Response, HttpError> {
        if route.is_health() {
            route::check_head(&request)?;
        } else {
            self.check(&request, side)?;
        }
        if side == Side::Desktops && !route.is_desktop() && !route.is_health() {
            return Err(HttpError::NotFound);
        }
        if request.headers().contains_key(UPGRADE) {
            Cookies::forget_others(request.headers_mut());
        }
        // A desktop's page can make the browser load pages of the portal, or of other desktops, before anybody
        // visits them. No page of ours asks for that.
        if !route.is_file() && route::is_prefetch(request.headers()) {
            return Err(HttpError::Prefetch);
        }
        match route {
            Route::Desktop { id, rest } => self.desktop(context, side, (id, rest), request).await,
            Route::Ticket(ticket) => self.ticket(context, side, ticket, request).await,
            Route::DesktopRoot(id) => {
                let query = request
                    .uri()
                    .query()
                    .map(|query| format!("?{query}"))
                    .unwrap_or_default();
                Ok(redirect(
                    StatusCode::PERMANENT_REDIRECT,
                    &format!("/desktop/{id}/{query}"),
                ))
            }
            Route::Api => {
                // The events: a page that reconnects by itself is no sign of a person.
                if request.headers().contains_key(UPGRADE) {
                    let headers = request.headers_mut();
                    headers.insert(authn::BACKGROUND, HeaderValue::from_static("1"));
                }
                let who = self.authenticated(context, side, &request).await;
                let who = who.map_err(|error| self.limits.refused(context, error))?;
                let grant = Api::admit(&who, request.uri().path())?;
                self.authenticator
                    .check_csrf(&who, request.method(), request.headers())?;
                scopes::authorize_call(&who.principal, request.method(), request.uri().path())?;
                let call = self.api.call(who, grant, context, request);
                Ok(call.instrument(context.span()).await)
            }
            Route::Home => self.home(context, &request).await,
            Route::Login => self.login(context, &request).await,
            Route::Admin(section) => self.admin_page(context, section, request).await,
            Route::Class => self.class_page(context, request).await,
            Route::Look => self.look_page(context, &request).await,
            Route::Account => self.account(context, &request).await,
            Route::Open => {
                let open = self.open(context, side, request);
                open.instrument(context.span()).await
            }
            Route::Language => self.language(context, &request),
            Route::Authorize => self.authorize(context, &request).await,
            Route::Session => self.session(context, &request).await,
            Route::Logout => {
                let logout = self.logout(context, request);
                logout.instrument(context.span()).await
            }
            Route::BackchannelLogout => Ok(self.backchannel_logout(context, request).await),
            Route::FrontchannelLogout => Ok(self.frontchannel_logout(context, &request).await),
            Route::Asset(name) => self.files.asset(name, &request),
            Route::Description => Ok(self.files.description(&request)),
            Route::Docs => Ok(self.files.docs(context.lang, &request)),
            Route::Live => Ok(pages::live()),
            Route::Ready => Ok(self.ready().await),
        }
    }

    /// Refuses a request whose head is ambiguous or meant for another host.
    fn check(&self, request: &Request, side: Side) -> Result<(), HttpError> {
        route::check_head(request)?;
        route::check_host(request, self.authenticator.origin().of(side).host())
    }

    /// Who asks. A WebSocket must also come from the origin that it is for, since browsers send cookies along
    /// with one from anywhere.
    async fn authenticated(
        &self,
        context: &RequestContext,
        side: Side,
        request: &Request,
    ) -> Result<Authenticated, HttpError> {
        let headers = request.headers();
        let who = self.authenticator.authenticate_at(side, headers).await?;
        let upgrade = headers.contains_key(UPGRADE);
        if upgrade && !self.authenticator.origin().of(side).is_named_in(headers) {
            return Err(HttpError::ForeignOrigin);
        }
        who.seen_from(context.client);
        Ok(who)
    }

    /// Sends a person who opens a page and is not signed in to the login, or to the portal that knows more, and
    /// everybody else away: scripts, frames and images have no use for it.
    fn sign_in_first(
        &self,
        context: &RequestContext,
        side: Side,
        request: &Request,
        error: HttpError,
    ) -> Result<Response, HttpError> {
        let not_signed_in = matches!(
            error,
            HttpError::Authn(AuthnError::NoSession | AuthnError::InvalidSession)
        );
        let opens = match side {
            Side::Desktops => self.opens(context, request),
            Side::Both | Side::Portal => pages::is_visit(context, request),
        };
        if !(not_signed_in && opens) {
            return Err(self.limits.refused(context, error));
        }
        let back = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        if side == Side::Desktops {
            return Ok(self.ask_portal(request, back));
        }
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("return_to", &self.authenticator.origin().local_path(back));
        Ok(redirect(
            StatusCode::FOUND,
            &format!("/login?{}", query.finish()),
        ))
    }
}
