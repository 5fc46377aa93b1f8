//! One HTTP exchange with a desktop: a minimal head made fresh, bodies streamed both ways.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Empty};
use hyper::StatusCode;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::{HeaderValue, LOCATION};
use hyper::http::request;

use super::headers::{self, Sender};
use super::link::{self, Link, Links, UpstreamBody};
use super::target::Target;
use super::{Proxy, ProxyError, rewrite};
use crate::authz::grant::DesktopGrant;
use crate::request::{BoxError, Request, RequestContext, Response};
use crate::stream::WorkerId;

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
        let (head, body) = request.into_parts();
        let make = |body| self.request(&grant, context, target, (&head, body));
        let answer = async {
            let (worker, desktop) = (context.scratch.worker(), grant.desktop().id);
            if let Some(mut link) = self.links.take(worker, desktop) {
                // A desktop may close a resting link in the moment in which it is used again. A request without
                // a body that changes nothing can then be sent once more (RFC 9110 section 9.2.2).
                let again = head.method.is_safe() && body.is_end_stream();
                match link.send(make(Either::Left(body))?).await {
                    Ok(answer) => return Ok((link, answer)),
                    Err(error) if !again => return Err(ProxyError::Upstream(error)),
                    Err(_) => {}
                }
                return self
                    .ask(&grant, context, make(Either::Right(Empty::new()))?)
                    .await;
            }
            self.ask(&grant, context, make(Either::Left(body))?).await
        };
        let answer = tokio::time::timeout(HEAD_TIMEOUT, answer);
        let (link, answer) = tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| ProxyError::Timeout)??,
            () = grant.revoked() => return Err(ProxyError::Revoked),
        };
        self.answer(grant, context, target, (link, answer))
    }

    /// Sends a request on a fresh connection.
    async fn ask(
        &self,
        grant: &DesktopGrant,
        context: &RequestContext,
        request: hyper::Request<UpstreamBody>,
    ) -> Result<(Link, hyper::Response<Incoming>), ProxyError> {
        let upstream = &grant.desktop().upstream;
        let stream = self.dialer.dial(upstream, &context.scratch).await?;
        let mut link = Link::over(stream).await.map_err(ProxyError::Upstream)?;
        let answer = link.send(request).await.map_err(ProxyError::Upstream)?;
        Ok((link, answer))
    }

    fn request(
        &self,
        grant: &DesktopGrant,
        context: &RequestContext,
        target: &Target,
        (head, body): (&request::Parts, UpstreamBody),
    ) -> Result<hyper::Request<UpstreamBody>, ProxyError> {
        let sender = Sender {
            grant,
            context,
            host: self.confinement.host(),
            scheme: self.confinement.scheme(),
        };
        let mut upstream = hyper::Request::new(body);
        *upstream.method_mut() = head.method.clone();
        *upstream.uri_mut() = target.to_uri()?;
        *upstream.headers_mut() = headers::to_desktop(&head.headers, sender);
        Ok(upstream)
    }

    fn answer(
        &self,
        grant: DesktopGrant,
        context: &RequestContext,
        target: &Target,
        (link, answer): (Link, hyper::Response<Incoming>),
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
        self.confinement.apply(grant.desktop(), &mut head.headers);
        head.version = hyper::Version::HTTP_11;
        head.extensions.clear();
        let body = GrantedBody {
            body,
            link: Some(link),
            home: (self.links.clone(), context.scratch.worker()),
            grant,
            revoked: None,
        };
        Ok(hyper::Response::from_parts(head, body.boxed_unsync()))
    }
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the grant was withdrawn")]
struct Withdrawn;

/// A desktop's body, cut off when the grant is withdrawn. It drives the link that it comes from, and lets
/// it rest at the end.
struct GrantedBody {
    body: Incoming,
    link: Option<Link>,
    home: (Links, WorkerId),
    grant: DesktopGrant,
    /// Waits for the end of the grant, once the body has to be waited for.
    revoked: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl hyper::body::Body for GrantedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.grant.is_revoked() {
            return Poll::Ready(Some(Err(Withdrawn.into())));
        }
        let polled = match &mut this.link {
            Some(link) => link::poll_body(&mut this.body, link, cx),
            None => Pin::new(&mut this.body).poll_frame(cx),
        };
        if polled.is_pending() {
            let grant = &this.grant;
            let revoked = this.revoked.get_or_insert_with(|| {
                let grant = grant.clone();
                Box::pin(async move { grant.revoked().await })
            });
            if revoked.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Some(Err(Withdrawn.into())));
            }
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for GrantedBody {
    fn drop(&mut self) {
        if let Some(link) = self.link.take()
            && self.body.is_end_stream()
        {
            let (links, worker) = &self.home;
            links.put(*worker, self.grant.desktop().id, link);
        }
    }
}
