//! An OpenID provider that can be any other one, and wrong in any way: what it says is changed by [`Knobs`], while
//! it is strict about what it is asked, and answers once on each connection. It lets everybody in without a page.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as URL};
use bytes::Bytes;
use deskgate::clock::{Clock, SystemClock};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::Url;

use super::oidc_keys::{Key, Signature, merge, token};

pub const CLIENT: &str = "test";
pub const SECRET: &str = "test-secret";

/// How an endpoint misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It answers with this status and this body.
    Status(u16, &'static str),
    /// It never answers.
    Silent,
    /// It answers without end.
    Huge,
}

/// What may be turned. `Value` knobs are objects whose members replace those of the honest document; null removes
/// one.
#[derive(Debug, Default)]
pub struct Knobs {
    pub metadata: Value,
    pub header: Value,
    pub claims: Value,
    pub user_info: Value,
    pub tokens: Value,
    /// Changes what the browser brings back; null removes a parameter.
    pub callback: Value,
    pub signature: Signature,
    /// Whether the userinfo answer is a signed token.
    pub signed_user_info: bool,
    /// Whether it gives refresh tokens.
    pub refresh: bool,
    /// Whether refresh tokens are no longer good.
    pub locked_out: bool,
    pub trouble: HashMap<&'static str, Trouble>,
}

/// What it was asked, by endpoint.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
    pub parameters: HashMap<String, String>,
}

struct State {
    issuer: String,
    keys: Vec<Arc<Key>>,
    knobs: Knobs,
    asked: Vec<Asked>,
    /// Nonce and challenge by code.
    codes: HashMap<String, (Option<String>, String)>,
    refresh_token: Option<String>,
    made: u32,
}

pub struct OidcProvider {
    pub addr: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl OidcProvider {
    /// With a P-256 key, and an issuer without a path.
    pub async fn start() -> Self {
        Self::start_at("", Key::generate("ES256")).await
    }

    /// With this key, and `path` at the end of its issuer.
    pub async fn start_at(path: &str, key: Key) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            issuer: format!("http://localhost:{}{path}", addr.port()),
            keys: vec![Arc::new(key)],
            knobs: Knobs::default(),
            asked: Vec::new(),
            codes: HashMap::new(),
            refresh_token: None,
            made: 0,
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, state.clone()));
        Self {
            addr,
            state,
            _tasks: tasks,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn issuer(&self) -> String {
        self.state().issuer.clone()
    }

    /// Turns knobs; those that were turned before stay.
    pub fn turn(&self, turn: impl FnOnce(&mut Knobs)) {
        turn(&mut self.state().knobs);
    }

    /// Turns all knobs back.
    pub fn behave(&self) {
        self.state().knobs = Knobs::default();
    }

    /// Replaces its keys.
    pub fn rotate(&self, key: Key) {
        self.state().keys = vec![Arc::new(key)];
    }

    /// What was asked of this endpoint.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let state = self.state();
        let asked = state.asked.iter().filter(|asked| asked.path == path);
        asked.cloned().collect()
    }

    /// A token with these claims, beside those that every token has.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let state = self.state();
        let mut all = state.common();
        merge(&mut all, claims);
        token(&state.keys[0], header, &all, state.knobs.signature)
    }
}

impl State {
    fn common(&self) -> Map<String, Value> {
        let now = SystemClock.timestamp().millis() / 1000;
        let claims =
            json!({"iss": self.issuer, "aud": CLIENT, "sub": "anna", "iat": now, "exp": now + 300});
        claims.as_object().unwrap().clone()
    }

    fn metadata(&self) -> Value {
        let issuer = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        let mut metadata = json!({
            "issuer": self.issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "jwks_uri": format!("{issuer}/jwks"),
            "end_session_endpoint": format!("{issuer}/logout"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.keys[0].alg],
        });
        merge(metadata.as_object_mut().unwrap(), &self.knobs.metadata);
        metadata
    }

    fn authorize(&mut self, parameters: &HashMap<String, String>) -> Answer {
        let get = |name: &str| parameters.get(name).map(String::as_str);
        assert_eq!(get("client_id"), Some(CLIENT));
        assert_eq!(get("response_type"), Some("code"));
        assert_eq!(get("code_challenge_method"), Some("S256"));
        self.made += 1;
        let code = format!("code-{}", self.made);
        let challenge = get("code_challenge").expect("a challenge").to_owned();
        let nonce = get("nonce").map(str::to_owned);
        self.codes.insert(code.clone(), (nonce, challenge));
        let mut back = json!({"code": code, "state": get("state")});
        merge(back.as_object_mut().unwrap(), &self.knobs.callback);
        let mut url: Url = get("redirect_uri").expect("an address").parse().unwrap();
        for (name, value) in back.as_object().unwrap() {
            url.query_pairs_mut()
                .append_pair(name, value.as_str().unwrap());
        }
        let answer = Response::builder()
            .status(302)
            .header("location", url.as_str());
        answer.body(Full::default()).unwrap()
    }

    fn token(&mut self, asked: &Asked) -> Answer {
        let get = |name: &str| asked.parameters.get(name).map(String::as_str);
        let basic = format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("{CLIENT}:{SECRET}"))
        );
        let known = match asked.authorization.as_deref() {
            Some(header) => header == basic && get("client_secret").is_none(),
            None => {
                get("client_id") == Some(CLIENT)
                    && get("client_secret").is_none_or(|secret| secret == SECRET)
            }
        };
        if !known {
            return json_answer(401, &json!({"error": "invalid_client"}));
        }
        let refused = json_answer(
            400,
            &json!({"error": "invalid_grant", "error_description": "no longer good"}),
        );
        let nonce = match get("grant_type") {
            Some("authorization_code") => {
                let Some((nonce, challenge)) = self.codes.remove(get("code").unwrap_or_default())
                else {
                    return refused;
                };
                let verifier = get("code_verifier").unwrap_or_default();
                let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
                assert_eq!(URL.encode(hash), challenge, "PKCE");
                nonce
            }
            Some("refresh_token") => {
                let shown = get("refresh_token").map(str::to_owned);
                if self.knobs.locked_out
                    || self.refresh_token.is_none()
                    || shown != self.refresh_token
                {
                    return refused;
                }
                None
            }
            other => panic!("grant type {other:?}"),
        };
        self.made += 1;
        let access = format!("access-{}", self.made);
        let mut claims = self.common();
        let key = self.keys[0].clone();
        claims.insert("at_hash".into(), json!(key.half_hash(&access)));
        claims.insert("sid".into(), json!("sid-of-anna"));
        if let Some(nonce) = nonce {
            claims.insert("nonce".into(), json!(nonce));
        }
        merge(&mut claims, &self.knobs.claims);
        let id_token = token(&key, &self.knobs.header, &claims, self.knobs.signature);
        let mut tokens = json!({"access_token": access, "token_type": "Bearer", "id_token": id_token, "expires_in": 300});
        if self.knobs.refresh {
            self.refresh_token = Some(format!("refresh-{}", self.made));
            tokens["refresh_token"] = json!(self.refresh_token);
        }
        merge(tokens.as_object_mut().unwrap(), &self.knobs.tokens);
        json_answer(200, &tokens)
    }

    fn user_info(&self) -> Answer {
        let mut claims =
            json!({"sub": "anna", "preferred_username": "anna", "name": "Anna Schmidt"});
        let object = claims.as_object_mut().unwrap();
        if self.knobs.signed_user_info {
            merge(object, &json!({"iss": self.issuer, "aud": CLIENT}));
        }
        merge(object, &self.knobs.user_info);
        if !self.knobs.signed_user_info {
            return json_answer(200, &claims);
        }
        let token = token(&self.keys[0], &Value::Null, object, Signature::Right);
        let answer = Response::builder().header("content-type", "application/jwt; charset=utf-8");
        answer.body(Full::from(token)).unwrap()
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        match asked.path.as_str() {
            "/.well-known/openid-configuration" => json_answer(200, &self.metadata()),
            "/jwks" => {
                let keys: Vec<Value> = self.keys.iter().map(|key| key.jwk()).collect();
                json_answer(200, &json!({"keys": keys}))
            }
            "/authorize" => self.authorize(&asked.parameters),
            "/token" => self.token(asked),
            "/userinfo" => self.user_info(),
            _ => json_answer(404, &Value::Null),
        }
    }
}

type Answer = Response<Full<Bytes>>;

fn json_answer(status: u16, value: &Value) -> Answer {
    let answer = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    answer.body(Full::from(value.to_string())).unwrap()
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let state = state.clone();
        // Any other request comes too late: a provider that closes idle connections has just closed this one.
        let used = AtomicBool::new(false);
        let service = hyper::service::service_fn(move |request| {
            let late = used.swap(true, Ordering::Relaxed);
            respond(state.clone(), request, late)
        });
        let connection = hyper::server::conn::http1::Builder::new();
        connections.spawn(async move {
            let _ = connection
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn respond(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
    late: bool,
) -> Result<Answer, io::Error> {
    if late {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let pairs = url::form_urlencoded::parse(query).chain(url::form_urlencoded::parse(&body));
    let authorization = head.headers.get(AUTHORIZATION);
    let mut asked = Asked {
        path: head.uri.path().to_owned(),
        authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
        parameters: pairs
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
    };
    let trouble = {
        let mut state = state.lock().unwrap();
        let at = state.issuer.parse::<Url>().unwrap().path().to_owned();
        let at = at.strip_suffix('/').unwrap_or(&at);
        asked.path = asked.path.strip_prefix(at).unwrap_or("outside").to_owned();
        state.asked.push(asked.clone());
        state.knobs.trouble.get(asked.path.as_str()).copied()
    };
    match trouble {
        None => Ok(state.lock().unwrap().answer(&asked)),
        Some(Trouble::Silent) => std::future::pending().await,
        Some(Trouble::Status(status, body)) => Ok(Response::builder()
            .status(status)
            .body(Full::from(body))
            .unwrap()),
        Some(Trouble::Huge) => Ok(Response::new(Full::from(vec![b' '; 8 << 20]))),
    }
}
