//! Writes an error: as a page for people, as `application/problem+json` (RFC 9457) for everybody else;
//! and logs it, once, here.

use hyper::header::{ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{StatusCode, Version};
use serde_json::json;

use super::error::{HttpError, Row};
use super::page::{self, ErrorPage};
use super::{content, german, html};
use crate::authn::oidc::LoginError;
use crate::request::{RequestContext, Response, body};
use crate::stream::guard::Refusal;
use crate::telemetry::ErrorChain;

/// The answer to a request that failed.
#[must_use]
pub fn respond(error: &HttpError, context: &RequestContext) -> Response {
    let mut row = error.row();
    log(error, &row, context);
    row.detail = german::detail(error, &row, context.lang);
    let mut response = if context.wants_page {
        as_page(&row, context)
    } else {
        as_json(&row, context)
    };
    let headers = response.headers_mut();
    if let Some(seconds) = row.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match error {
        HttpError::Method(allowed) => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        // The rest of the body is not read, so the connection cannot be used again (RFC 9112 section 9.6).
        HttpError::BodyTooLarge if context.version < Version::HTTP_2 => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        HttpError::CookiesTooLarge | HttpError::Refused(Refusal::CookiesTooLarge) => {
            let name = HeaderName::from_static("clear-site-data");
            headers.insert(name, HeaderValue::from_static("\"cookies\""));
        }
        _ if row.status == StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}

fn as_page(row: &Row, context: &RequestContext) -> Response {
    let page = ErrorPage {
        lang: context.lang,
        status: row.status.as_u16(),
        code: row.code,
        detail: &row.detail,
        request_id: &context.id.to_string(),
        home: &context.home,
    };
    html(row.status, page::render(&page))
}

fn as_json(row: &Row, context: &RequestContext) -> Response {
    let problem = json!({
        "type": "about:blank",
        "title": row.status.canonical_reason().unwrap_or("Error"),
        "status": row.status.as_u16(),
        "detail": row.detail,
        "code": row.code,
        "instance": format!("urn:uuid:{}", context.id),
    });
    content(
        row.status,
        "application/problem+json",
        body::full(problem.to_string()),
    )
}

fn log(error: &HttpError, row: &Row, context: &RequestContext) {
    let (request, client, code) = (context.id, context.client, row.code);
    let chain = ErrorChain(error.as_error());
    let ours = row.status.is_server_error();
    if let HttpError::Login(cause) = error {
        // Without a login that was begun here there is nothing that an operator could mend.
        if matches!(cause, LoginError::NoLogin) {
            tracing::info!(%request, %client, code, error = %chain, "login failed");
        } else {
            tracing::warn!(%request, %client, code, error = %chain, "login failed");
        }
    } else if ours
        && !matches!(
            row.code,
            "desktop_not_running"
                | "desktop_ended"
                | "desktop_asleep"
                | "prefetch_refused"
                | "too_many_pictures"
                | "too_many_requests"
        )
    {
        tracing::warn!(%request, %client, code, error = %chain, "request failed");
    } else {
        tracing::debug!(%request, %client, code, error = %chain, "request refused");
    }
}
