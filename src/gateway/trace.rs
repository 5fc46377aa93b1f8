//! The span of a request: the same facts as in its line of the access log, without the client's address.

use hyper::{Method, StatusCode};

use super::{Gateway, access_log};
use crate::request::{ConnectionInfo, Request, RequestContext};
use crate::telemetry::traces::Span;

impl Gateway {
    /// The span of a request to `route`, if there is a collector and the request is sampled. A trusted proxy may say that
    /// it is part of a larger trace, and whether that is sampled.
    pub(super) fn span(
        &self,
        connection: &ConnectionInfo,
        context: &RequestContext,
        route: &'static str,
        request: &Request,
    ) -> Option<Span> {
        if !self.traces.are_on() || route == "health" {
            return None;
        }
        let peer = connection.peer.ip().to_canonical();
        let remote = self.trusted.contains(peer).then(|| request.headers());
        let method = known(request.method());
        let span = self.traces.request(format!("{method} {route}"), remote)?;
        span.set("http.request.method", method);
        span.set("http.route", route);
        span.set("url.path", path(request.uri().path(), route));
        span.set("deskgate.request", context.id.to_string());
        Some(span)
    }
}

/// Notes how the request was answered.
pub(super) fn answered(span: &Span, status: StatusCode) {
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail("server_error");
    }
}

/// What a client may call a method is without end.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        _ => "_OTHER",
    }
}

/// What may be told of a path: of a desktop's only which one, since what is behind that is its user's.
fn path(path: &str, route: &'static str) -> String {
    match route {
        "desktop" => {
            let id = path.trim_start_matches("/desktop/").split('/').next();
            format!("/desktop/{}/...", id.unwrap_or_default())
        }
        _ => access_log::shown(path).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_a_desktop_and_a_ticket_is_not_told() {
        for (given, route, told) in [
            ("/desktop/0a/files/diary", "desktop", "/desktop/0a/..."),
            ("/desktop/0a/", "desktop", "/desktop/0a/..."),
            ("/ticket/secret", "ticket", "/ticket/..."),
            ("/api/container/list", "api", "/api/container/list"),
        ] {
            assert_eq!(path(given, route), told);
        }
    }
}
