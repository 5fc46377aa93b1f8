//! An ACME authority (RFC 8555) that is as strict as the strictest: nonces count once, every signature is verified, what a
//! client may not send is refused and noted, and names are really looked for at the gateway's doors.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL;
use bytes::Bytes;
use deskgate::clock::Clock;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::authority_rules::Answer;
use super::manual_clock::ManualClock;

/// For how long it certifies, days.
pub const DAYS: i64 = 90;
pub(super) const ERROR: &str = "urn:ietf:params:acme:error:";

/// What it does wrong, or refuses, next.
#[derive(Default)]
pub struct Troubles {
    /// Nonces that it will not know.
    pub bad_nonces: u32,
    /// Orders are refused, with this many seconds to wait.
    pub limited: Option<u64>,
    /// Accounts that it has forgotten: all.
    pub forgets_accounts: bool,
    /// The one external account, and its key.
    pub external: Option<(&'static str, &'static [u8])>,
}

pub(super) struct Account {
    pub(super) jwk: Value,
    pub(super) contact: Value,
}

pub(super) struct Order {
    pub(super) account: usize,
    pub(super) hosts: Vec<String>,
    pub(super) authorizations: Vec<usize>,
    pub(super) status: &'static str,
    pub(super) chain: Option<String>,
}

pub(super) struct Authorization {
    pub(super) account: usize,
    pub(super) host: String,
    pub(super) status: &'static str,
    pub(super) token: String,
    pub(super) kind: Option<String>,
    pub(super) error: Option<Value>,
}

#[derive(Default)]
pub(super) struct State {
    nonces: HashSet<String>,
    pub(super) accounts: Vec<Account>,
    pub(super) orders: Vec<Order>,
    pub(super) authorizations: Vec<Authorization>,
    /// What a client did that it must not.
    faults: Vec<String>,
    pub(super) troubles: Troubles,
    /// Where the doors of a host are: the plain one, the encrypted one.
    pub(super) doors: BTreeMap<String, (SocketAddr, SocketAddr)>,
    pub(super) refused_orders: usize,
}

pub(super) struct Inner {
    base: String,
    state: Mutex<State>,
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) root_pem: String,
    clock: ManualClock,
    /// What is being looked for at doors.
    pub(super) looks: Mutex<JoinSet<()>>,
}

/// The authority; clones are the same one.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
    files: Arc<TempDir>,
    running: Arc<Mutex<JoinSet<()>>>,
}

/// A problem document (section 6.7), and what is noted of it.
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) detail: String,
    pub(super) retry_after: Option<u64>,
}

pub(super) fn refuse<T>(kind: &'static str, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        status: 400,
        kind,
        detail: detail.into(),
        retry_after: None,
    })
}

pub(super) fn malformed<T>(detail: impl Into<String>) -> Result<T, Refusal> {
    refuse("malformed", detail)
}

/// A request whose signature is good.
pub(super) struct Signed {
    /// Of the account, if one has signed.
    pub(super) account: Option<usize>,
    pub(super) jwk: Value,
    /// Empty for "POST-as-GET" (section 6.3).
    pub(super) payload: Option<Value>,
}

impl Authority {
    /// Listens on this machine, with a certificate of its own root.
    pub async fn start() -> Self {
        let mut root = CertificateParams::new(Vec::<String>::new()).unwrap();
        root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        root.distinguished_name
            .push(rcgen::DnType::CommonName, "Test authority");
        let root_key = KeyPair::generate().unwrap();
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let issuer = Issuer::new(root, root_key);
        let own_key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let own = own.signed_by(&own_key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![own.der().clone()],
                PrivateKeyDer::Pkcs8(own_key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let files = TempDir::new().unwrap();
        std::fs::write(files.path().join("root.pem"), &root_pem).unwrap();
        let authority = Self {
            inner: Arc::new(Inner {
                base: format!("https://{}", listener.local_addr().unwrap()),
                state: Mutex::default(),
                issuer,
                root_pem,
                clock: ManualClock::default(),
                looks: Mutex::default(),
            }),
            files: Arc::new(files),
            running: Arc::default(),
        };
        let (inner, acceptor) = (authority.inner.clone(), TlsAcceptor::from(Arc::new(tls)));
        let serving = serve(listener, acceptor, inner);
        authority.running.lock().unwrap().spawn(serving);
        authority
    }

    pub fn directory(&self) -> String {
        format!("{}/directory", self.inner.base)
    }

    /// The file with its root.
    pub fn root(&self) -> PathBuf {
        self.files.path().join("root.pem")
    }

    /// Its own clock, by which it certifies.
    pub fn clock(&self) -> &ManualClock {
        &self.inner.clock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// Says where a host's doors are, as DNS would.
    pub fn point(&self, host: &str, plain: SocketAddr, encrypted: SocketAddr) {
        self.state().doors.insert(host.into(), (plain, encrypted));
    }

    pub fn trouble(&self, change: impl FnOnce(&mut Troubles)) {
        change(&mut self.state().troubles);
    }

    /// Certificates issued.
    pub fn issued(&self) -> usize {
        let state = self.state();
        state
            .orders
            .iter()
            .filter(|order| order.chain.is_some())
            .count()
    }

    /// Orders made, and refused.
    pub fn orders(&self) -> (usize, usize) {
        let state = self.state();
        (state.orders.len(), state.refused_orders)
    }

    /// What each account was opened with.
    pub fn contacts(&self) -> Vec<Value> {
        let state = self.state();
        state
            .accounts
            .iter()
            .map(|account| account.contact.clone())
            .collect()
    }

    /// How names were proven.
    pub fn proofs(&self) -> Vec<(String, String)> {
        let state = self.state();
        let valid = state
            .authorizations
            .iter()
            .filter(|one| one.status == "valid");
        valid
            .map(|one| (one.host.clone(), one.kind.clone().unwrap_or_default()))
            .collect()
    }

    /// Certifies a key for these names, as another way than by this protocol.
    pub fn certify(&self, hosts: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        self.inner.date(&mut params);
        let leaf = params.signed_by(&key, &self.inner.issuer).unwrap();
        (leaf.pem() + &self.inner.root_pem, key.serialize_pem())
    }

    #[track_caller]
    pub fn assert_no_faults(&self) {
        assert_eq!(self.state().faults, Vec::<String>::new());
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, inner: Arc<Inner>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (acceptor, inner) = (acceptor.clone(), inner.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(socket).await else {
                return;
            };
            let service = service_fn(|request| {
                let inner = inner.clone();
                async move { Ok::<_, std::convert::Infallible>(inner.answer(request).await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn date(&self, params: &mut CertificateParams) {
        let now = self.clock.now();
        params.not_before = now - time::Duration::hours(1);
        params.not_after = now + time::Duration::days(DAYS);
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let answer = Response::builder().header("cache-control", "no-store");
        if head.method == Method::GET && path == "/directory" {
            let required = self.state().troubles.external.is_some();
            let directory = json!({
                "newNonce": self.url("nonce"), "newAccount": self.url("account"),
                "newOrder": self.url("order"), "revokeCert": self.url("revoke"),
                "keyChange": self.url("key"),
                "meta": {"termsOfService": "https://terms.test/", "externalAccountRequired": required},
            });
            let answer = answer.header("content-type", "application/json");
            return answer.body(Full::from(directory.to_string())).unwrap();
        }
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        self.state().nonces.insert(nonce.clone());
        let answer = answer.header("replay-nonce", nonce);
        if path == "/nonce" {
            return answer.body(Full::default()).unwrap();
        }
        let kind = head.headers.get("content-type").cloned();
        let body = body.collect().await.unwrap().to_bytes();
        let result = if head.method != Method::POST {
            malformed(format!("{} {path}", head.method))
        } else if kind.is_none_or(|kind| kind != "application/jose+json") {
            malformed("content type")
        } else {
            self.clone().dispatch(&path, &body)
        };
        match result {
            Ok((status, location, body)) => {
                let mut answer = answer.status(status);
                if let Some(location) = location {
                    answer = answer.header("location", location);
                }
                let (kind, text) = match body {
                    Value::String(chain) => ("application/pem-certificate-chain", chain),
                    body => ("application/json", body.to_string()),
                };
                let answer = answer.header("content-type", kind);
                answer.body(Full::from(text)).unwrap()
            }
            Err(refusal) => {
                let mut answer = answer.status(refusal.status);
                if let Some(seconds) = refusal.retry_after {
                    answer = answer.header("retry-after", seconds);
                }
                let kind = format!("{ERROR}{}", refusal.kind);
                let problem =
                    json!({"type": kind, "detail": refusal.detail, "status": refusal.status});
                if !["rateLimited", "accountDoesNotExist"].contains(&refusal.kind)
                    && refusal.detail != "as the test wants it"
                {
                    let fault = format!("{path}: {}: {}", refusal.kind, refusal.detail);
                    self.state().faults.push(fault);
                }
                let answer = answer.header("content-type", "application/problem+json");
                answer.body(Full::from(problem.to_string())).unwrap()
            }
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    fn dispatch(self: Arc<Self>, path: &str, body: &[u8]) -> Result<Answer, Refusal> {
        let signed = self.verify(path, body)?;
        let mut parts = path.trim_start_matches('/').split('/');
        let what = parts.next().unwrap_or_default();
        let index = parts
            .next()
            .map(|text| text.parse::<usize>().unwrap_or(usize::MAX));
        if (what, index) == ("account", None) {
            return self.new_account(&signed);
        }
        let Some(account) = signed.account else {
            return malformed("only new accounts are signed for with a key");
        };
        match (what, index) {
            ("account", Some(index)) if index == account => {
                let payload = signed.payload.unwrap_or_default();
                self.state().accounts[index].contact = payload["contact"].clone();
                Ok((200, None, json!({"status": "valid"})))
            }
            ("order", None) => self.new_order(account, signed.payload.as_ref()),
            ("order", Some(index)) => self.order(account, index, signed.payload.as_ref()),
            ("authz", Some(index)) => self.authorization(account, index, signed.payload.as_ref()),
            ("challenge", Some(index)) => {
                let kind = parts.next().unwrap_or_default();
                self.challenge(account, (index, kind), signed.payload.as_ref())
            }
            ("finalize", Some(index)) => self.finalize(account, index, signed.payload.as_ref()),
            ("certificate", Some(index)) if signed.payload.is_none() => {
                let state = self.state();
                let order = state
                    .orders
                    .get(index)
                    .filter(|order| order.account == account);
                match order.and_then(|order| order.chain.clone()) {
                    Some(chain) => Ok((200, None, Value::String(chain))),
                    None => malformed("no such certificate"),
                }
            }
            _ => malformed("no such resource"),
        }
    }

    /// Sections 6.2 to 6.5.
    fn verify(&self, path: &str, body: &[u8]) -> Result<Signed, Refusal> {
        let Ok(Value::Object(jws)) = serde_json::from_slice(body) else {
            return malformed("no JSON");
        };
        let mut members: Vec<&str> = jws.keys().map(String::as_str).collect();
        members.sort_unstable();
        if members != ["payload", "protected", "signature"] {
            return malformed(format!("members {members:?}"));
        }
        let text = |name: &str| jws[name].as_str().unwrap_or_default();
        let decoded = |name: &str| URL.decode(text(name)).unwrap_or_default();
        let header: Value = serde_json::from_slice(&decoded("protected")).unwrap_or_default();
        if header["alg"] != "ES256" || header["url"] != json!(format!("{}{path}", self.base)) {
            return malformed(format!("header {header}"));
        }
        let (jwk, account) = match (&header["jwk"], header["kid"].as_str()) {
            (jwk @ Value::Object(_), None) => (jwk.clone(), None),
            (Value::Null, Some(kid)) => {
                let index = kid.strip_prefix(&self.url("account/"));
                let index = index.and_then(|index| index.parse::<usize>().ok());
                let mut state = self.state();
                if std::mem::take(&mut state.troubles.forgets_accounts) {
                    state.accounts.clear();
                }
                match index.and_then(|index| Some((state.accounts.get(index)?.jwk.clone(), index)))
                {
                    Some((jwk, index)) => (jwk, Some(index)),
                    None => return refuse("accountDoesNotExist", "no such account"),
                }
            }
            _ => return malformed("neither or both of jwk and kid"),
        };
        let message = format!("{}.{}", text("protected"), text("payload"));
        if !is_signed(&jwk, message.as_bytes(), &decoded("signature")) {
            return malformed("signature");
        }
        let mut state = self.state();
        if !state
            .nonces
            .remove(header["nonce"].as_str().unwrap_or_default())
        {
            return refuse("badNonce", "used or unknown");
        }
        if state.troubles.bad_nonces > 0 {
            state.troubles.bad_nonces -= 1;
            return refuse("badNonce", "as the test wants it");
        }
        let payload = match text("payload") {
            "" => None,
            _ => Some(serde_json::from_slice(&decoded("payload")).unwrap_or_default()),
        };
        Ok(Signed {
            account,
            jwk,
            payload,
        })
    }
}

fn is_signed(jwk: &Value, message: &[u8], signature: &[u8]) -> bool {
    let part = |name: &str| {
        URL.decode(jwk[name].as_str().unwrap_or_default())
            .unwrap_or_default()
    };
    if jwk["kty"] != "EC" || jwk["crv"] != "P-256" || !jwk["d"].is_null() {
        return false;
    }
    let point = [vec![4], part("x"), part("y")].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(message, signature).is_ok()
}
