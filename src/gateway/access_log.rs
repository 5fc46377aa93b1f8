//! One event per request, after its head was answered.

use std::time::Duration;

use hyper::StatusCode;

use crate::request::RequestContext;

/// What the log says of a request. Never its query, cookies or body.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Which request.
    pub context: &'a RequestContext,
    /// `GET`, ...
    pub method: &'a hyper::Method,
    /// Path without query.
    pub path: &'a str,
    /// The route's word.
    pub route: &'static str,
    /// What was answered.
    pub status: StatusCode,
    /// Until the head of the answer.
    pub took: Duration,
}

/// Writes the event: at info what a person or program did, at debug the many files of a page.
pub fn write(entry: Entry<'_>) {
    let Entry {
        context,
        method,
        path,
        route,
        status,
        took,
    } = entry;
    let path = shown(path);
    let (request, client, status) = (context.id, context.client, status.as_u16());
    let ms = took.as_millis();
    if matches!(route, "desktop" | "ticket" | "asset" | "health") && status < 400 {
        tracing::debug!(%request, %client, %method, path, route, status, ms, "request");
    } else {
        tracing::info!(%request, %client, %method, path, route, status, ms, "request");
    }
}

/// What may be told of a path. A ticket is in it; whoever reads it in time could be quicker than its browser.
pub(super) fn shown(path: &str) -> &str {
    if path.starts_with("/ticket/") {
        "/ticket/..."
    } else {
        path
    }
}
