//! A WebSocket through the proxy (RFC 6455): the handshake on both sides. The desktop's head is
//! written here by hand, because KasmVNC wants exact names, all of it in one write, and nothing behind
//! it before its 101; what comes after the 101 is spliced.

use std::io;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::upgrade::Upgraded;
use hyper::{Method, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::target::Target;
use super::tunnel::Tunnel;
use super::{Proxy, ProxyError, headers};
use crate::authz::grant::DesktopGrant;
use crate::desktop::Awake;
use crate::desktop::upstream::{Dialer, Upstream};
use crate::request::client_addr::forwarded;
use crate::request::{Request, RequestContext, Response, body};
use crate::stream::{BrowserStream, Buffered, DesktopStream, Scratch};

/// How long a desktop may take to answer the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How large its answer may be, bytes.
const MAX_HEAD: usize = 8 * 1024;
/// How many header fields its answer may have.
const MAX_FIELDS: usize = 64;
/// Longest value of ours that is passed on, bytes: KasmVNC's buffers hold 1024.
const MAX_VALUE: usize = 512;
/// RFC 6455 section 1.3.
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a request asks to become something else than HTTP.
#[must_use]
pub fn is_wanted(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}

/// The parts of a browser's handshake that a desktop is told.
struct Handshake {
    key: String,
    origin: String,
    protocols: Option<String>,
}

impl Handshake {
    /// Checks the browser's side (RFC 6455 section 4.2.1). The origin's worth is not judged here.
    fn read(request: &Request) -> Result<Self, ProxyError> {
        let headers = request.headers();
        let text = |name: HeaderName| single(headers, &name);
        if request.method() != Method::GET || request.version() < Version::HTTP_11 {
            return Err(ProxyError::Handshake(
                "it is not a GET of HTTP/1.1 or later",
            ));
        }
        if !text(UPGRADE)?.is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
            return Err(ProxyError::Handshake("only websocket can be upgraded to"));
        }
        let tokens = text(CONNECTION)?.unwrap_or_default();
        if !tokens
            .split(',')
            .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
        {
            return Err(ProxyError::Handshake("Connection does not say upgrade"));
        }
        if text(SEC_WEBSOCKET_VERSION)? != Some("13") {
            return Err(ProxyError::Handshake("the version is not 13"));
        }
        let key = text(SEC_WEBSOCKET_KEY)?.unwrap_or_default();
        if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(16) {
            return Err(ProxyError::Handshake("the key is not 16 bytes in base64"));
        }
        Ok(Self {
            key: key.to_owned(),
            origin: text(ORIGIN)?.unwrap_or_default().to_owned(),
            protocols: text(SEC_WEBSOCKET_PROTOCOL)?.map(str::to_owned),
        })
    }
}

/// The value of a header that may be there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ProxyError> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let text = first.to_str().ok().filter(|text| text.len() <= MAX_VALUE);
    match (text, values.next()) {
        (Some(text), None) => Ok(Some(text)),
        _ => Err(ProxyError::Handshake(
            "a header is doubled, too long or not text",
        )),
    }
}

impl Proxy {
    /// Carries a WebSocket.
    pub(super) async fn upgrade(
        &self,
        (grant, _awake): (DesktopGrant, Awake),
        context: &RequestContext,
        target: &Target,
        mut request: Request,
    ) -> Result<Response, ProxyError> {
        let handshake = Handshake::read(&request)?;
        let place = grant.stream(self.max_streams);
        let place = place.ok_or(ProxyError::TooManyStreams)?;
        let agent = request
            .headers()
            .get(USER_AGENT)
            .and_then(|agent| agent.to_str().ok());
        let agent = agent.filter(|agent| agent.len() <= 256).map(str::to_owned);
        let head = self.head(&grant, context, target, (&handshake, agent.as_deref()));
        let begun = async {
            let upstream = &grant.desktop().upstream;
            let mut stream = self.dialer.dial(upstream, &context.scratch).await?;
            let answer = tokio::time::timeout(HANDSHAKE_TIMEOUT, ask(&mut stream, &head)).await;
            let (answer, early) = answer.map_err(|_| ProxyError::Timeout)??;
            Ok::<_, ProxyError>((stream, answer, early))
        };
        let (stream, answer, early) = tokio::select! {
            begun = begun => begun?,
            () = grant.revoked() => return Err(ProxyError::Revoked),
        };
        let accept = answer.check(&handshake)?;
        let browser = hyper::upgrade::on(&mut request);
        let tunnel = Tunnel {
            grant,
            desktop: stream,
            early,
            clock: self.clock.clone(),
            metrics: self.metrics.tunnel(),
            scratch: context.scratch.clone(),
            closing: self.tasks.closing().clone(),
            place,
        };
        self.tasks.spawn("tunnel", async move {
            match browser.await {
                Ok(browser) => join(tunnel, browser).await,
                Err(error) => {
                    tracing::debug!(%error, "the browser left before its WebSocket began");
                }
            }
        });
        let mut response = hyper::Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(UPGRADE, HeaderValue::from_static("websocket"))
            .header(CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(protocol) = answer.protocol {
            response = response.header(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        Ok(response.body(body::empty())?)
    }

    fn head(
        &self,
        grant: &DesktopGrant,
        context: &RequestContext,
        target: &Target,
        (handshake, agent): (&Handshake, Option<&str>),
    ) -> String {
        let upstream = &grant.desktop().upstream;
        let (host, scheme) = (self.confinement.host(), self.confinement.scheme());
        let origin = if upstream.rewrites_origin {
            &upstream.origin(host)
        } else {
            &handshake.origin
        };
        let place = (target.as_str(), upstream.host(host));
        let mut head = opening(upstream, place, (handshake, origin));
        let client = context.client;
        let mut add = |name: &str, value: &str| add(&mut head, name, value);
        add("X-Forwarded-For", &client.to_string());
        add("X-Forwarded-Proto", scheme);
        add("X-Forwarded-Host", host);
        add("Forwarded", &forwarded(client, host, scheme));
        // The one field that can be spared, if the others leave no room.
        let room = headers::MAX_HEAD.saturating_sub(head.len() + "User-Agent: \r\n\r\n".len());
        if let Some(agent) = agent.filter(|agent| agent.len() <= room) {
            head.push_str("User-Agent: ");
            head.push_str(agent);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head
    }
}

/// A WebSocket of the gateway's own at `path` of a desktop, of which it is nobody's: the stream behind the 101, and what
/// came right behind that.
///
/// # Errors
/// No connection, or an answer that is no good 101.
pub async fn socket(
    dialer: &Dialer,
    upstream: &Upstream,
    path: &str,
) -> Result<(DesktopStream, Vec<u8>), ProxyError> {
    let host = upstream.addr.to_string();
    let handshake = Handshake {
        key: generate_key(),
        origin: upstream.origin(&host),
        protocols: Some("binary".to_owned()),
    };
    let (path, host) = (upstream.path(path), upstream.host(&host));
    let mut head = opening(upstream, (&path, host), (&handshake, &handshake.origin));
    head.push_str("\r\n");
    let mut stream = dialer.dial(upstream, &Scratch::default()).await?;
    let answer = tokio::time::timeout(HANDSHAKE_TIMEOUT, ask(&mut stream, &head)).await;
    let (answer, early) = answer.map_err(|_| ProxyError::Timeout)??;
    answer.check(&handshake)?;
    Ok((stream, early))
}

/// The lines that a handshake begins with, whoever is behind it.
fn opening(
    upstream: &Upstream,
    (target, host): (&str, &str),
    (handshake, origin): (&Handshake, &str),
) -> String {
    let mut head = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\nOrigin: {origin}\r\n",
        handshake.key,
    );
    if let Some(protocols) = &handshake.protocols {
        add(&mut head, "Sec-WebSocket-Protocol", protocols);
    }
    if let Some(credentials) = &upstream.authorization {
        let credentials = credentials.to_str().unwrap_or_default();
        add(&mut head, "Authorization", credentials);
    }
    head
}

fn add(head: &mut String, name: &str, value: &str) {
    head.push_str(name);
    head.push_str(": ");
    head.push_str(value);
    head.push_str("\r\n");
}

/// Runs the tunnel on the connection itself where there is one: with HTTP/1.1 nothing of it is left but
/// bytes. A WebSocket inside an HTTP/2 connection stays a stream of that.
async fn join(tunnel: Tunnel, browser: Upgraded) {
    match browser.downcast::<TokioIo<BrowserStream>>() {
        Ok(parts) => {
            let (connection, _place, early) = parts.io.into_inner().into_parts();
            if early.is_empty() && parts.read_buf.is_empty() {
                tunnel.run(connection).await;
            } else {
                tracing::debug!("the browser did not wait for the answer to its upgrade");
            }
        }
        Err(stream) => tunnel.run(Buffered::new(TokioIo::new(stream))).await,
    }
}

/// What a desktop answered to a handshake.
struct Answer {
    status: u16,
    upgrade: bool,
    accept: Option<String>,
    protocol: Option<String>,
    extensions: bool,
}

impl Answer {
    /// The accept value for the browser, if this is a good 101 (RFC 6455 section 4.1).
    fn check(&self, handshake: &Handshake) -> Result<String, ProxyError> {
        match self.status {
            101 => {}
            401 | 403 => return Err(ProxyError::Unauthorized),
            _ => return Err(ProxyError::Unacceptable("it does not speak WebSocket here")),
        }
        let text = format!("{}{ACCEPT_GUID}", handshake.key);
        let expected = STANDARD.encode(digest::digest(
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
            text.as_bytes(),
        ));
        if !self.upgrade || self.accept.as_deref() != Some(&expected) {
            return Err(ProxyError::Unacceptable(
                "its 101 does not match the handshake",
            ));
        }
        if self.extensions {
            return Err(ProxyError::Unacceptable(
                "it chose an extension that was not offered",
            ));
        }
        let offered = handshake.protocols.as_deref().unwrap_or_default();
        if let Some(chosen) = &self.protocol
            && !offered.split(',').any(|one| one.trim() == chosen)
        {
            return Err(ProxyError::Unacceptable(
                "it chose a subprotocol that was not offered",
            ));
        }
        Ok(expected)
    }
}

/// Sends the head in one write and reads the answer's; returns it and the bytes right behind it.
async fn ask(stream: &mut DesktopStream, head: &str) -> Result<(Answer, Vec<u8>), ProxyError> {
    stream
        .write_all(head.as_bytes())
        .await
        .map_err(ProxyError::Broken)?;
    stream.flush().await.map_err(ProxyError::Broken)?;
    let mut read = Vec::with_capacity(1024);
    loop {
        if stream
            .read_buf(&mut read)
            .await
            .map_err(ProxyError::Broken)?
            == 0
        {
            return Err(ProxyError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some((answer, length)) = parse(&read)? {
            return Ok((answer, read.split_off(length)));
        }
        if read.len() >= MAX_HEAD {
            return Err(ProxyError::Unacceptable("its head is too large"));
        }
    }
}

/// The answer and the length of its head, once all of it is there.
fn parse(read: &[u8]) -> Result<Option<(Answer, usize)>, ProxyError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(read) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(ProxyError::Unacceptable("it is not HTTP")),
    };
    let field = |name: &str| {
        let field = response
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name));
        field
            .and_then(|field| std::str::from_utf8(field.value).ok())
            .map(str::trim)
    };
    let answer = Answer {
        status: response.code.unwrap_or_default(),
        upgrade: field("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")),
        accept: field("sec-websocket-accept").map(str::to_owned),
        protocol: field("sec-websocket-protocol").map(str::to_owned),
        extensions: field("sec-websocket-extensions").is_some(),
    };
    Ok(Some((answer, length)))
}
