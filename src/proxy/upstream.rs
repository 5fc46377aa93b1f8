//! One HTTP exchange with a desktop: a fresh connection, a minimal head, bodies streamed both ways.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue, LOCATION};
use hyper_util::rt::TokioIo;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::headers::{self, Sender};
use super::target::Target;
use super::{Proxy, ProxyError, rewrite};
use crate::authz::grant::DesktopGrant;
use crate::request::{BoxError, Request, RequestContext, Response};

/// How long a desktop may take to begin its answer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

impl Proxy {
    /// Carries a request that is no upgrade.
    pub(super) async fn exchange(
        &self,
        grant: DesktopGrant,
        context: &RequestContext,
        target: &Target,
        request: Request,
    ) -> Result<Response, ProxyError> {
        let upstream = self.request(&grant, context, target, request)?;
        let answer = async {
            let desktop = &grant.desktop().upstream;
            let stream = self.dialer.dial(desktop, &context.scratch).await?;
            let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
                .title_case_headers(true)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(ProxyError::Upstream)?;
            self.tasks.spawn("upstream connection", async move {
                // What goes wrong here reaches the request or its body as well.
                let _ = connection.await;
            });
            let answer = tokio::time::timeout(HEAD_TIMEOUT, sender.send_request(upstream)).await;
            answer
                .map_err(|_| ProxyError::Timeout)?
                .map_err(ProxyError::Upstream)
        };
        let answer = tokio::select! {
            answer = answer => answer?,
            () = grant.revoked() => return Err(ProxyError::Revoked),
        };
        self.answer(&grant, target, answer)
    }

    fn request(
        &self,
        grant: &DesktopGrant,
        context: &RequestContext,
        target: &Target,
        request: Request,
    ) -> Result<Request, ProxyError> {
        let sender = Sender {
            grant,
            context,
            host: self.confinement.host(),
            scheme: self.confinement.scheme(),
        };
        let mut headers = headers::to_desktop(request.headers(), sender);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let (head, body) = request.into_parts();
        let mut upstream = hyper::Request::builder()
            .method(head.method)
            .uri(target.as_str())
            .body(body)?;
        *upstream.headers_mut() = headers;
        Ok(upstream)
    }

    fn answer(
        &self,
        grant: &DesktopGrant,
        target: &Target,
        answer: hyper::Response<Incoming>,
    ) -> Result<Response, ProxyError> {
        let id = grant.desktop().id;
        match answer.status() {
            StatusCode::UNAUTHORIZED => return Err(ProxyError::Unauthorized),
            status if status.is_informational() => {
                return Err(ProxyError::Unacceptable("it switches protocols unasked"));
            }
            _ => {}
        }
        let (mut head, body) = answer.into_parts();
        if let Some(location) = head.headers.remove(LOCATION) {
            let text = location.to_str().ok();
            let inside = text
                .and_then(|text| rewrite::location(text, target, id, self.confinement.origin()));
            let inside = inside.ok_or(ProxyError::Unacceptable("it redirects out of its path"))?;
            let value = HeaderValue::try_from(inside)
                .map_err(|_| ProxyError::Unacceptable("its redirect is not a header value"))?;
            head.headers.insert(LOCATION, value);
        }
        headers::to_browser(&mut head.headers);
        self.confinement.apply(id, &mut head.headers);
        head.version = hyper::Version::HTTP_11;
        head.extensions.clear();
        let body = GrantedBody {
            body,
            desktop_gone: Box::pin(grant.desktop_gone()),
            session_ended: Box::pin(grant.session_ended()),
        };
        Ok(hyper::Response::from_parts(head, body.boxed_unsync()))
    }
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the grant was withdrawn")]
struct Withdrawn;

/// A desktop's body, cut off when the grant is withdrawn.
struct GrantedBody {
    body: Incoming,
    desktop_gone: Pin<Box<WaitForCancellationFutureOwned>>,
    session_ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl hyper::body::Body for GrantedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let gone = this.desktop_gone.as_mut().poll(cx).is_ready();
        if gone || this.session_ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Withdrawn.into())));
        }
        Pin::new(&mut this.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
