//! A person's browser, as far as the soak needs one: cookies, the login, requests on one connection (HTTP/1.1 or
//! HTTP/2), and WebSockets, each on a connection of its own or inside the HTTP/2 one (RFC 8441).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::ext::Protocol;
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::Role;
use url::Url;

use crate::peer::Peer;
use crate::socket::{self, Socket};
use crate::tls;

/// How long any one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
const SESSION: &str = "__Host-Http-session";

/// What bytes go over.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A WebSocket, whatever carries it.
pub type Wire = WebSocketStream<Box<dyn Duplex>>;

/// How a WebSocket is to end, which has to be known when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a close frame.
    Goodbye,
    /// Without a word: the connection is closed, or the stream inside it reset.
    Drop,
    /// With a TCP reset.
    Reset,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    fn location(&self) -> anyhow::Result<&str> {
        let location = self.headers.get("location").context("no Location")?;
        Ok(location.to_str()?)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Itself, if it has one of these statuses.
    pub fn with(self, good: &[u16]) -> anyhow::Result<Self> {
        if good.contains(&self.status) {
            return Ok(self);
        }
        let text = self.text();
        let text: String = text.chars().take(200).collect();
        bail!("status {}: {text}", self.status)
    }
}

/// A connection that takes requests.
enum Line {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

/// One person's browser.
pub struct Browser {
    peer: Peer,
    /// Host and port of the provider.
    provider: String,
    /// What the gateway speaks with it.
    h1: Arc<ClientConfig>,
    h2: Option<Arc<ClientConfig>>,
    cookies: BTreeMap<String, String>,
    csrf: String,
    line: Option<Line>,
    /// Drives the connection; it breaks with this.
    driving: JoinSet<()>,
}

impl Browser {
    /// One without cookies.
    pub fn new(peer: Peer, provider_port: u16, h2: bool) -> anyhow::Result<Self> {
        Ok(Self {
            peer,
            provider: format!("localhost:{provider_port}"),
            h1: tls::client(true)?,
            h2: if h2 { Some(tls::client_h2()?) } else { None },
            cookies: BTreeMap::new(),
            csrf: String::new(),
            line: None,
            driving: JoinSet::new(),
        })
    }

    /// Whether it has the cookie of a session, which may be over.
    pub fn has_session(&self) -> bool {
        self.cookies.contains_key(SESSION)
    }

    /// Forgets who it was.
    pub fn forget(&mut self) {
        self.cookies.clear();
        self.hang_up();
    }

    /// Breaks the connection without a word.
    pub fn hang_up(&mut self) {
        self.line = None;
        self.driving = JoinSet::new();
    }

    /// Logs in by the code flow; the password is the name.
    pub async fn log_in(&mut self, name: &str) -> anyhow::Result<()> {
        let begun = self.page("/login?return_to=/").await?.with(&[302, 303])?;
        let callback = within(self.at_provider(begun.location()?, name)).await?;
        let done = self.page(&callback).await?.with(&[302, 303])?;
        ensure!(
            done.location()? == "/",
            "the login leads to {}",
            done.location()?
        );
        ensure!(self.has_session(), "the login gave no session");
        Ok(())
    }

    /// What a person does at the provider. Returns where on the gateway it leads.
    async fn at_provider(&self, address: &str, name: &str) -> anyhow::Result<String> {
        let url: Url = address.parse()?;
        let path = &url[url::Position::BeforePath..];
        let page = self.ask_provider(Request::get(path), String::new()).await?;
        let text = page.with(&[200])?.text();
        let (_, rest) = text
            .split_once("name=\"handle\" value=\"")
            .context("the provider shows no login")?;
        let handle = rest.split('"').next().unwrap_or_default();
        let form = format!("handle={handle}&username={name}&password={name}");
        let login =
            Request::post("/authorize").header("content-type", "application/x-www-form-urlencoded");
        let done = self.ask_provider(login, form).await?.with(&[302, 303])?;
        let back: Url = done.location()?.parse()?;
        Ok(back[url::Position::BeforePath..].to_owned())
    }

    async fn ask_provider(
        &self,
        request: hyper::http::request::Builder,
        body: String,
    ) -> anyhow::Result<Answer> {
        let (_, port) = self.provider.split_once(':').context("no port")?;
        let tcp = TcpStream::connect(("127.0.0.1", port.parse()?)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
        let mut driving = JoinSet::new();
        driving.spawn(async move { drop(connection.await) });
        let request = request.header("host", &self.provider);
        let body = Full::new(Bytes::from(body));
        whole(sender.send_request(request.body(body)?).await?).await
    }

    /// Opens a page, and keeps the token that is on it.
    pub async fn page(&mut self, path: &str) -> anyhow::Result<Answer> {
        let answer = self
            .ask(
                Method::GET,
                path,
                &[
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
            )
            .await?;
        if answer.status == 200
            && let Some((_, rest)) = answer.text().split_once("name=\"csrf-token\" content=\"")
        {
            rest.split('"')
                .next()
                .unwrap_or_default()
                .clone_into(&mut self.csrf);
        }
        Ok(answer)
    }

    /// Asks for something that a page needs.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.ask(
            Method::GET,
            path,
            &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
        )
        .await
    }

    /// Does something, with the page's token.
    pub async fn post(&mut self, path: &str, header: (&str, &str)) -> anyhow::Result<Answer> {
        let csrf = self.csrf.clone();
        let headers = [
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty"),
            ("x-csrf-token", &*csrf),
            header,
        ];
        self.ask(Method::POST, path, &headers).await
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let answer = within(self.ask_once(method.clone(), path, headers)).await;
        let answer = answer.with_context(|| format!("{method} {path}"));
        if answer.is_err() {
            self.hang_up();
        }
        answer
    }

    async fn ask_once(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        self.connect().await?;
        let request = self.request(method, path, headers).body(Full::default())?;
        let response = match &mut self.line {
            Some(Line::H1(sender)) => sender.send_request(request).await?,
            Some(Line::H2(sender)) => sender.send_request(request).await?,
            None => bail!("there is no connection"),
        };
        let answer = whole(response).await?;
        for set in answer.headers.get_all("set-cookie") {
            let (name, rest) = set.to_str()?.split_once('=').context("no cookie")?;
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                let value = rest.split(';').next().unwrap_or_default();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> hyper::http::request::Builder {
        let (host, h2) = (&self.peer.host, self.h2.is_some());
        let mut request = Request::builder()
            .method(method)
            .uri(if h2 { format!("https://{host}{path}") } else { path.to_owned() })
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36")
            .header("accept-language", "en-US,en;q=0.9")
            .header("sec-fetch-site", "same-origin")
            .header("origin", format!("https://{host}"));
        if !h2 {
            request = request.header("host", host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.cookies.is_empty() {
            request = request.header("cookie", self.cookie());
        }
        request
    }

    fn cookie(&self) -> String {
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// Makes sure that there is a connection: the gateway ends one that has been at rest for long.
    async fn connect(&mut self) -> anyhow::Result<()> {
        let ready = match &mut self.line {
            Some(Line::H1(sender)) => sender.ready().await.is_ok(),
            Some(Line::H2(sender)) => sender.ready().await.is_ok(),
            None => false,
        };
        if ready {
            return Ok(());
        }
        self.hang_up();
        let config = self.h2.as_ref().unwrap_or(&self.h1);
        let connection = self.peer.connect_with(config, socket::SMALL).await?;
        let io = TokioIo::new(connection.socket);
        self.line = Some(if self.h2.is_some() {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await?;
            self.driving.spawn(async move { drop(driver.await) });
            Line::H2(sender)
        } else {
            let (sender, driver) = http1::handshake(io).await?;
            self.driving.spawn(async move { drop(driver.await) });
            Line::H1(sender)
        });
        Ok(())
    }

    /// Opens a WebSocket, inside the HTTP/2 connection where `inside` says so and there is one.
    pub async fn websocket(
        &mut self,
        path: &str,
        inside: bool,
        ending: Ending,
    ) -> anyhow::Result<Wire> {
        let opened = async {
            if inside && self.h2.is_some() && ending != Ending::Reset {
                self.websocket_inside(path).await
            } else {
                self.websocket_alone(path, ending).await
            }
        };
        within(opened)
            .await
            .with_context(|| format!("WebSocket {path}"))
    }

    async fn websocket_alone(&self, path: &str, ending: Ending) -> anyhow::Result<Wire> {
        let mut request = format!("ws://{}{path}", self.peer.host).into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("origin", format!("https://{}", self.peer.host).parse()?);
        headers.insert("cookie", self.cookie().parse()?);
        if path.starts_with("/desktop/") {
            headers.insert("sec-websocket-protocol", "binary".parse()?);
        }
        let connection = self.peer.connect_with(&self.h1, socket::SMALL).await?;
        if let (Ending::Reset, Socket::Client(stream)) = (ending, &connection.socket) {
            let tcp = stream.get_ref().0.get_ref();
            socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO))?;
        }
        let stream: Box<dyn Duplex> = Box::new(connection.socket);
        let (wire, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(wire)
    }

    async fn websocket_inside(&mut self, path: &str) -> anyhow::Result<Wire> {
        self.connect().await?;
        let mut request = self.request(Method::CONNECT, path, &[("sec-websocket-version", "13")]);
        if path.starts_with("/desktop/") {
            request = request.header("sec-websocket-protocol", "binary");
        }
        let mut request = request.body(Full::default())?;
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
        let Some(Line::H2(sender)) = &mut self.line else {
            bail!("no HTTP/2");
        };
        let mut response = sender.send_request(request).await?;
        ensure!(response.status() == 200, "status {}", response.status());
        let upgraded = hyper::upgrade::on(&mut response).await?;
        let stream: Box<dyn Duplex> = Box::new(TokioIo::new(upgraded));
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }
}

async fn whole(response: hyper::Response<hyper::body::Incoming>) -> anyhow::Result<Answer> {
    let (head, body) = response.into_parts();
    let body = body
        .collect()
        .await
        .context("the body broke off")?
        .to_bytes();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}

async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .context("it took too long")?
}
