//! One HTTP exchange with a desktop: a minimal head made fresh, bodies streamed both ways.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Frame, SizeHint};
use hyper::header::{HeaderValue, LOCATION};
use hyper::http::request;

use super::answer::Answer;
use super::framing::{BadBody, Framing};
use super::link::{Link, Upload};
use super::links::Links;
use super::target::Target;
use super::{Proxy, ProxyError, headers, rewrite};
use crate::authz::grant::DesktopGrant;
use crate::desktop::Awake;
use crate::request::client_addr::node;
use crate::request::{BoxError, Request, RequestContext, Response};
use crate::stream::WorkerId;

impl Proxy {
    /// Carries a request that is no upgrade.
    pub(super) async fn exchange(
        &self,
        (grant, awake): (DesktopGrant, Awake),
        context: &RequestContext,
        target: &Target,
        request: Request,
    ) -> Result<Response, ProxyError> {
        let (head, body) = request.into_parts();
        let mut upload = Upload::of(body);
        let bytes = self.request_head(&grant, context, target, (&head, upload.as_ref()));
        let to_head = head.method == hyper::Method::HEAD;
        let (worker, desktop) = (context.scratch.worker(), grant.desktop().id);
        // A desktop may close a resting link in the moment in which it is used again. A request without
        // a body that changes nothing can then be sent once more (RFC 9110 section 9.2.2).
        let again = head.method.is_safe() && upload.is_none();
        if let Some(mut link) = self.links.take(worker, desktop) {
            match ask(&mut link, &grant, (&bytes, &mut upload), to_head).await {
                Err(ProxyError::Broken(_)) if again && link.is_untouched() => {}
                answer => return self.answer((grant, awake), context, target, (link, answer?)),
            }
        }
        let dialing = self
            .dialer
            .dial(&grant.desktop().upstream, &context.scratch);
        let stream = tokio::select! {
            biased;
            stream = dialing => stream?,
            () = grant.revoked() => return Err(ProxyError::Revoked),
        };
        let mut link = Link::over(stream, context.scratch.clone());
        let answer = ask(&mut link, &grant, (&bytes, &mut upload), to_head).await?;
        self.answer((grant, awake), context, target, (link, answer))
    }

    /// The head of a request, with none of the browser's credentials, written by hand: names in the spelling
    /// that old servers know, and no map made for it.
    fn request_head(
        &self,
        grant: &DesktopGrant,
        context: &RequestContext,
        target: &Target,
        (head, upload): (&request::Parts, Option<&Upload>),
    ) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024);
        let mut add = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let (method, target) = (head.method.as_str(), target.as_str());
        add(&[method.as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"]);
        let upstream = &grant.desktop().upstream;
        let host = upstream.host(self.confinement.host());
        add(&[b"Host: ", host.as_bytes(), b"\r\n"]);
        add(&[self.confinement.told().as_bytes()]);
        let node = node(context.client);
        // An IPv6 address is quoted in the one and bare in the other.
        let bare = node.trim_start_matches("\"[").trim_end_matches("]\"");
        add(&[b"X-Forwarded-For: ", bare.as_bytes()]);
        let by = self.confinement.forwarded_by();
        add(&[
            b"\r\nForwarded: for=",
            node.as_bytes(),
            by.as_bytes(),
            b"\r\n",
        ]);
        if let Some(credentials) = &upstream.authorization {
            add(&[b"Authorization: ", credentials.as_bytes(), b"\r\n"]);
        }
        if let Some(upload) = upload {
            add(&[upload.header().as_bytes()]);
        }
        let room = headers::MAX_HEAD.saturating_sub(bytes.len() + b"\r\n".len());
        for (name, value) in headers::known(&head.headers, room) {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    fn answer(
        &self,
        (grant, awake): (DesktopGrant, Awake),
        context: &RequestContext,
        target: &Target,
        (link, answer): (Link, Answer),
    ) -> Result<Response, ProxyError> {
        let id = grant.desktop().id;
        match answer.status {
            StatusCode::UNAUTHORIZED => return Err(ProxyError::Unauthorized),
            status if status.is_informational() => {
                return Err(ProxyError::Unacceptable("it switches protocols unasked"));
            }
            _ => {}
        }
        let mut headers = answer.headers;
        if let Some(location) = headers.remove(LOCATION) {
            let text = location.to_str().ok();
            let seen = grant.desktop().upstream.origin(self.confinement.host());
            let origins = [self.confinement.origin(), &seen];
            let inside = text.and_then(|text| rewrite::location(text, target, id, origins));
            let inside = inside.ok_or(ProxyError::Unacceptable("it redirects out of its path"))?;
            let value = HeaderValue::try_from(inside)
                .map_err(|_| ProxyError::Unacceptable("its redirect is not a header value"))?;
            headers.insert(LOCATION, value);
        }
        headers::apply(&grant.desktop().template.headers, &mut headers);
        self.confinement.apply(grant.desktop(), &mut headers);
        let mut body = DesktopBody {
            framing: answer.framing,
            link: Some(link),
            keeps: answer.keeps,
            home: (self.links.clone(), context.scratch.worker()),
            grant,
            _awake: awake,
        };
        body.settle();
        let mut response = hyper::Response::new(body.boxed_unsync());
        *response.status_mut() = answer.status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// Sends a request, and waits for the head of the answer.
async fn ask(
    link: &mut Link,
    grant: &DesktopGrant,
    (head, upload): (&[u8], &mut Option<Upload>),
    to_head: bool,
) -> Result<Answer, ProxyError> {
    let sent = poll_fn(|cx| Poll::Ready(link.begin(cx, (head, &mut *upload), to_head)));
    sent.await.map_err(ProxyError::Broken)?;
    let answered = poll_fn(|cx| match link.poll_answer(cx) {
        Poll::Pending => {
            let revoked = link.poll_revoked(cx, grant);
            revoked.map(|()| Err(ProxyError::Revoked))
        }
        answered @ Poll::Ready(_) => answered,
    });
    answered.await
}

/// A desktop's body, cut off when the grant is withdrawn. It drives the link that it comes from, and lets
/// it rest at the end.
struct DesktopBody {
    framing: Framing,
    link: Option<Link>,
    /// Whether the desktop keeps the connection.
    keeps: bool,
    home: (Links, WorkerId),
    grant: DesktopGrant,
    /// A desktop is not paused in the middle of an answer.
    _awake: Awake,
}

impl DesktopBody {
    /// Lets go of the link if the body is over.
    fn settle(&mut self) {
        if self.framing.is_over()
            && let Some(link) = self.link.take()
            && self.keeps
        {
            let (links, worker) = &self.home;
            links.put(*worker, self.grant.desktop().id, link);
        }
    }
}

impl hyper::body::Body for DesktopBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.grant.is_revoked() {
            return Poll::Ready(Some(Err(BadBody::Withdrawn.into())));
        }
        let Some(link) = &mut this.link else {
            return Poll::Ready(None);
        };
        let polled = link.poll_body(cx, &mut this.framing);
        if polled.is_pending() && link.poll_revoked(cx, &this.grant).is_ready() {
            return Poll::Ready(Some(Err(BadBody::Withdrawn.into())));
        }
        this.settle();
        polled.map(|piece| piece.map(|bytes| bytes.map(Frame::data).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.framing.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Chunked(_) | Framing::Close => SizeHint::default(),
        }
    }
}
