//! A browser as far as the tests need one: it keeps cookies, follows the login, and says exactly what
//! it was answered. One connection per request.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use url::Url;

use super::contract;

/// The host in the tests' `PUBLIC_URL`.
pub const HOST: &str = "desk.test";
/// The origin in the tests' `PUBLIC_URL`.
pub const ORIGIN: &str = "https://desk.test";

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("text"))
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().expect("a code").to_owned()
    }
}

/// Sends one request and reads the whole answer. `Err` when the connection or the body broke off.
pub async fn send(addr: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
    let socket = TcpStream::connect(addr).await.expect("the gateway accepts");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        bytes,
    })
}

/// A browser or a program, with the headers that it always sends.
#[derive(Clone, Debug)]
pub struct Browser {
    pub gateway: SocketAddr,
    host: String,
    cookies: BTreeMap<String, String>,
    headers: Vec<(String, String)>,
}

impl Browser {
    pub fn new(gateway: SocketAddr) -> Self {
        Self {
            gateway,
            host: HOST.to_owned(),
            cookies: BTreeMap::new(),
            headers: Vec::new(),
        }
    }

    /// Asks for another host than that of `PUBLIC_URL`. It keeps the cookies of one host only.
    pub fn at(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Sends `name: value` with every request from now on.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn with_cookie(mut self, name: &str, value: &str) -> Self {
        self.cookies.insert(name.into(), value.into());
        self
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            body,
        )
        .await
    }

    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.try_send(method, path, headers, body)
            .await
            .expect("a whole answer")
    }

    pub async fn try_send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, hyper::Error> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header("host", &self.host);
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            request = request.header(name, value);
        }
        if !self.cookies.is_empty() {
            request = request.header("cookie", self.cookie_header());
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .expect("a request");
        let answer = send(self.gateway, request).await?;
        if self.host == HOST {
            contract::check(&method, path, &answer);
        }
        self.keep_cookies(&answer);
        Ok(answer)
    }

    pub fn cookie_header(&self) -> String {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    fn keep_cookies(&mut self, answer: &Answer) {
        for set in answer.headers.get_all("set-cookie") {
            let text = set.to_str().expect("text");
            let (name, rest) = text.split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
    }

    /// Logs in as `account` at the demo's provider, as a person would, and returns the last answer.
    pub async fn log_in(&mut self, account: &str, return_to: &str) -> Answer {
        let begin = self.get(&format!("/login?return_to={return_to}")).await;
        let callback = at_provider(begin.header("location").expect("a redirect"), account).await;
        self.get(&callback[url::Position::BeforePath..]).await
    }
}

/// What a person does at the provider: open the page, choose an account. Returns where they are sent.
pub async fn at_provider(address: &str, account: &str) -> Url {
    let url: Url = address.parse().expect("an address");
    let addr = SocketAddr::from(([127, 0, 0, 1], url.port().expect("a port")));
    let host = format!("localhost:{}", addr.port());
    let page = Request::get(&url[url::Position::BeforePath..]).header("host", &host);
    let page = send(addr, page.body(Full::default()).unwrap())
        .await
        .expect("a page");
    let text = page.text();
    let (_, rest) = text
        .split_once("name=\"handle\" value=\"")
        .expect("a login form");
    let handle = rest.split('"').next().unwrap();
    let form = format!("handle={handle}&username={account}&password={account}");
    let login = Request::post("/authorize")
        .header("host", &host)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from(form))
        .unwrap();
    let done = send(addr, login).await.expect("an answer");
    done.header("location")
        .expect("a redirect back")
        .parse()
        .expect("an address")
}
