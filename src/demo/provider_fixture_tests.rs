//! What the tests of the demo provider share: a running provider, raw requests to it, and a clock moved by hand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::{Url, form_urlencoded};

use super::accounts::{ACCOUNTS, Account};
use super::provider::{ClientRegistration, Provider};
use crate::clock::Clock;
use crate::tasks::Tasks;

pub(super) const CALLBACK: &str = "https://desk.example/auth/callback";
pub(super) const HOME: &str = "https://desk.example/";
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[derive(Debug)]
pub(super) struct HandClock(pub(super) Mutex<OffsetDateTime>);

impl Clock for HandClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }
}

pub(super) struct Fixture {
    pub(super) issuer: String,
    pub(super) address: SocketAddr,
    pub(super) clock: Arc<HandClock>,
    pub(super) tasks: Tasks,
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(super) fn location(&self) -> Url {
        assert_eq!(self.status, 303, "{}", self.body);
        Url::parse(self.header("location").unwrap()).unwrap()
    }

    pub(super) fn cookie(&self) -> String {
        let cookie = self.header("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn fault(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }

    pub(super) fn handle(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"handle\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

pub(super) fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

pub(super) fn authorize_path(changes: &[(&str, &str)]) -> String {
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", "desk"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile"),
        ("state", "st&te"),
        ("nonce", "n0nce"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    for change in changes {
        pairs.retain(|(name, _)| *name != change.0);
        pairs.push(*change);
    }
    format!("/authorize?{}", form(&pairs))
}

pub(super) fn registration() -> ClientRegistration {
    ClientRegistration {
        client_id: "desk".to_owned(),
        client_secret: "s3cret".to_owned(),
        redirect_uris: vec![CALLBACK.to_owned()],
        post_logout_redirect_uris: vec![HOME.to_owned()],
    }
}

impl Fixture {
    pub(super) async fn start() -> Self {
        Self::for_accounts(&ACCOUNTS).await
    }

    pub(super) async fn for_accounts(accounts: &'static [Account]) -> Self {
        let clock = Arc::new(HandClock(Mutex::new(OffsetDateTime::now_utc())));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let provider = Provider::for_accounts(accounts, any, registration(), clock.clone())
            .await
            .unwrap();
        let issuer = provider.issuer();
        let port = issuer.rsplit_once(':').unwrap().1.parse().unwrap();
        let tasks = Tasks::new();
        provider.serve(&tasks);
        Self {
            issuer,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            clock,
            tasks,
        }
    }

    pub(super) async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", "").await
    }

    pub(super) async fn log_in(&self, path: &str, username: &str) -> Reply {
        let handle = self.get(path).await.handle();
        let login = [
            ("handle", &*handle),
            ("username", username),
            ("password", username),
        ];
        self.send("POST", "/authorize", "", &form(&login)).await
    }

    pub(super) async fn code(&self) -> String {
        let reply = self.log_in(&authorize_path(&[]), "student").await;
        parameter(&reply.location(), "code").unwrap()
    }

    pub(super) async fn exchange(&self, changes: &[(&str, &str)], secret: &str) -> Reply {
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        for change in changes {
            pairs.retain(|(name, _)| *name != change.0);
            pairs.push(*change);
        }
        let credentials = BASE64_STANDARD.encode(format!("desk:{secret}"));
        let headers = format!("Authorization: Basic {credentials}\r\n");
        self.send("POST", "/token", &headers, &form(&pairs)).await
    }

    pub(super) fn pass(&self, time: Duration) {
        *self.clock.0.lock().unwrap() += time;
    }
}
