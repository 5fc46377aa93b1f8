//! A container engine as far as its API goes (Docker's, as the gateway speaks it, on a Unix socket), whose containers are
//! the tests' strict fake desktops. It paints a picture on each of them, and breaks some of them on purpose.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use deskgate::clock::{Clock as _, SystemClock};
use deskgate::engine::spec::{ContainerSpec, LABEL_DESKTOP, LABEL_INSTANCE};
use deskgate::engine::{Container, ContainerState, Engine as _, EngineError};
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::random::Random;
use super::support::fake_engine::{Ending, FakeEngine};

/// Frames of a picture a second, and in how many parts of that time desktops paint.
const FPS: u64 = 4;
const SLOTS: u64 = 10;
/// Bytes of a frame: at least, and how many more there may be.
const LEAST_FRAME: u64 = 2 * 1024;
const FRAME_SPAN: u64 = 10 * 1024;
/// What a frame begins with; its number follows.
pub const PICTURE: &[u8] = b"PICTURE";
/// How often something is broken, at least and at most, milliseconds.
const TROUBLE: (u64, u64) = (6_000, 14_000);
/// News that nobody has read yet.
const NEWS: usize = 256;

/// The engine; it ends with this.
pub struct Daemon {
    state: Arc<State>,
    _serving: JoinSet<()>,
}

struct State {
    engine: FakeEngine,
    ledger: Arc<Ledger>,
    networks: Mutex<Vec<Value>>,
    /// What happens to containers, as lines of JSON.
    news: broadcast::Sender<Bytes>,
    /// Whether the next container is not made.
    fail_next: Mutex<bool>,
    /// The process on the other end.
    client: watch::Sender<Option<u32>>,
    seed: u64,
}

type Said = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl Daemon {
    /// Listens on a socket of this path.
    pub fn start(socket: &Path, ledger: &Arc<Ledger>, seed: u64) -> anyhow::Result<Self> {
        let listener = UnixListener::bind(socket).context("no socket for the engine")?;
        let state = Arc::new(State {
            engine: FakeEngine::default(),
            ledger: ledger.clone(),
            networks: Mutex::default(),
            news: broadcast::Sender::new(NEWS),
            fail_next: Mutex::default(),
            client: watch::Sender::default(),
            seed,
        });
        let mut serving = JoinSet::new();
        let (accepting, painting) = (state.clone(), state.clone());
        serving.spawn(async move { accepting.accept(listener).await });
        serving.spawn(async move { painting.paint().await });
        Ok(Self {
            state,
            _serving: serving,
        })
    }

    /// The process that asks, as soon as one has.
    pub async fn client(&self, patience: Duration) -> anyhow::Result<u32> {
        let mut client = self.state.client.subscribe();
        let asked = timeout(patience, client.wait_for(Option::is_some)).await;
        let pid = *asked.context("no gateway comes to the engine")??;
        pid.context("a client without a process")
    }

    /// Begins to break things after a while, until what it returns is cancelled.
    pub fn trouble(&self, after: Duration) -> CancellationToken {
        let (state, stop) = (self.state.clone(), CancellationToken::new());
        let until = stop.clone();
        let mut trouble = JoinSet::new();
        trouble.spawn(async move {
            let _ = until.run_until_cancelled(state.trouble(after)).await;
        });
        trouble.detach_all();
        stop
    }
}

impl State {
    async fn accept(self: Arc<Self>, listener: UnixListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let pid = stream
                .peer_cred()
                .ok()
                .and_then(|credentials| credentials.pid());
            self.client
                .send_replace(pid.and_then(|pid| u32::try_from(pid).ok()));
            connections.spawn(self.clone().converse(stream));
            while connections.try_join_next().is_some() {}
        }
    }

    async fn converse(self: Arc<Self>, stream: UnixStream) {
        let service = service_fn(move |request| {
            let state = self.clone();
            async move { Ok::<_, Infallible>(state.answer(request).await) }
        });
        // The other side may leave at any time.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Said {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let query: HashMap<String, String> =
            url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let body = request.into_body().collect().await;
        let body = body
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        // The API's version may be before the path.
        let path = match path
            .strip_prefix("/v1.")
            .and_then(|rest| rest.split_once('/'))
        {
            Some((_, rest)) => rest,
            None => path.trim_start_matches('/'),
        };
        let parts: Vec<&str> = path.split('/').collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["_ping"]) => plain("OK"),
            ("GET", ["version"]) => said(200, &json!({ "ApiVersion": "1.47" })),
            ("GET", ["events"]) => self.events(),
            ("GET", ["images", "json"]) => said(200, &json!([])),
            ("GET", ["images", .., "json"]) => said(200, &json!({ "Id": "sha256:00" })),
            ("GET", ["volumes", name]) => missing(&format!("get {name}: no such volume")),
            ("GET", ["networks"]) => said(200, &self.list_networks(&query)),
            ("POST", ["networks", "create"]) => self.create_network(body),
            ("DELETE", ["networks", id]) => {
                self.networks().retain(|known| known["Id"] != *id);
                said(204, &Value::Null)
            }
            ("GET", ["containers", "json"]) => self.list(&query).await,
            ("POST", ["containers", "create"]) => {
                let name = query.get("name").cloned().unwrap_or_default();
                self.create(name, &body).await
            }
            ("GET", ["containers", name, "json"]) => match self.engine.inspect(name).await {
                Ok(Some(found)) => said(200, &inspected(&found)),
                _ => missing(&format!("No such container: {name}")),
            },
            ("GET", ["containers", _, "logs"]) => plain(""),
            ("GET", ["containers", _, "stats"]) => said(200, &json!({})),
            ("POST" | "DELETE", ["containers", name, act @ ..]) => {
                self.act(name, act, &query).await
            }
            _ => missing("page not found"),
        }
    }

    /// What changes a container.
    async fn act(&self, name: &str, act: &[&str], query: &HashMap<String, String>) -> Said {
        let state = match self.engine.inspect(name).await {
            Ok(Some(found)) => found.state,
            _ => return missing(&format!("No such container: {name}")),
        };
        let done = match act {
            ["start"] if state == ContainerState::Running => return said(304, &Value::Null),
            ["start"] => self.engine.start(name).await,
            ["stop"] if !state.is_alive() => return said(304, &Value::Null),
            ["stop"] => {
                self.read_off(name).await;
                self.engine.stop(name, Duration::ZERO).await
            }
            ["pause"] => self.engine.pause(name).await,
            ["unpause"] if state != ContainerState::Paused => {
                return refused(409, &format!("Container {name} is not paused"));
            }
            ["unpause"] => self.engine.unpause(name).await,
            ["rename"] => {
                let to = query.get("name").cloned().unwrap_or_default();
                self.engine.rename(name, &to).await
            }
            [] => {
                self.read_off(name).await;
                self.engine.remove(name).await
            }
            _ => return missing("page not found"),
        };
        if let Err(error) = done {
            return trouble(name, &error);
        }
        match act {
            ["start" | "pause" | "unpause"] => self.tell(name, act[0]),
            ["stop"] => self.tell(name, "die"),
            _ => {}
        }
        said(204, &Value::Null)
    }

    async fn create(&self, name: String, body: &Value) -> Said {
        let spec = spec(name, body);
        if std::mem::take(
            &mut *self
                .fail_next
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        ) {
            let desktop = spec.labels.get(LABEL_DESKTOP).cloned().unwrap_or_default();
            self.ledger.strike("engine errors at a start", &desktop);
            return refused(500, "something is broken on purpose");
        }
        match self.engine.create(&spec).await {
            Ok(id) => said(201, &json!({ "Id": id, "Warnings": [] })),
            Err(error) => trouble(&spec.name, &error),
        }
    }

    async fn list(&self, query: &HashMap<String, String>) -> Said {
        let instance = filter(query, "label")
            .and_then(|label| {
                label
                    .strip_prefix(&format!("{LABEL_INSTANCE}="))
                    .map(str::to_owned)
            })
            .unwrap_or_default();
        match self.engine.list(&instance).await {
            Ok(found) => said(200, &found.iter().map(listed).collect()),
            Err(error) => trouble("", &error),
        }
    }

    fn networks(&self) -> MutexGuard<'_, Vec<Value>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list_networks(&self, query: &HashMap<String, String>) -> Value {
        let (name, label) = (filter(query, "name"), filter(query, "label"));
        let has = |known: &Value| {
            let label = label.as_ref().and_then(|label| label.split_once('='));
            name.as_ref().is_none_or(|name| known["Name"] == **name)
                && label.is_none_or(|(name, value)| known["Labels"][name] == *value)
        };
        let networks = self.networks();
        networks
            .iter()
            .filter(|known| has(known))
            .cloned()
            .collect()
    }

    fn create_network(&self, body: Value) -> Said {
        let mut networks = self.networks();
        let subnet = &body["IPAM"]["Config"][0]["Subnet"];
        let taken =
            |known: &Value| !subnet.is_null() && known["IPAM"]["Config"][0]["Subnet"] == *subnet;
        if networks.iter().any(taken) {
            return refused(403, "Pool overlaps with other one on this address space");
        }
        let mut body = body;
        let id = body["Name"].clone();
        body["Id"] = id.clone();
        // The gateway lets a young network be whose desktop it does not know yet.
        let now = SystemClock.now().format(&Rfc3339);
        body["Created"] = now.unwrap_or_default().into();
        networks.push(body);
        said(201, &json!({ "Id": id, "Warning": "" }))
    }

    /// What happens, line by line, for as long as somebody listens.
    fn events(&self) -> Said {
        let news = stream::unfold(self.news.subscribe(), |mut news| async move {
            // Who is too slow misses some, as with a real engine.
            loop {
                match news.recv().await {
                    Ok(line) => return Some((Ok(Frame::data(line)), news)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        Response::new(StreamBody::new(news).boxed_unsync())
    }

    fn tell(&self, name: &str, action: &str) {
        let name = self.name_of(name);
        let line = json!({
            "Type": "container", "Action": action, "scope": "local", "time": 0, "timeNano": 0,
            "Actor": { "ID": name, "Attributes": { "name": name } },
        });
        // Nobody listens while the gateway is not there yet.
        let _ = self.news.send(Bytes::from(format!("{line}\n")));
    }

    /// The name of a container that may be called by its id.
    fn name_of(&self, container: &str) -> String {
        let all = self.engine.all().into_iter().map(|(name, _)| name);
        let mut named =
            all.filter(|name| name == container || self.engine.id_of(name) == container);
        named.next().unwrap_or_else(|| container.to_owned())
    }

    /// Notes which rules the gateway broke at a desktop, before it is gone.
    async fn read_off(&self, container: &str) {
        let Ok(Some(found)) = self.engine.inspect(container).await else {
            return;
        };
        if found.state.is_alive() {
            for violation in self.engine.desktop(&found.name).violations() {
                self.ledger.error("a desktop's rule was broken", &violation);
            }
        }
    }

    /// Paints on all desktops that run, each at its own part of the time between two frames.
    async fn paint(&self) {
        let mut painted: HashMap<String, u64> = HashMap::new();
        for round in 0_u64.. {
            sleep(Duration::from_millis(1000 / FPS / SLOTS)).await;
            let all = self.engine.all();
            if round % (SLOTS * FPS * 60) == 0 {
                painted.retain(|name, _| all.iter().any(|(known, _)| known == name));
            }
            for (name, state) in all {
                let slot: u64 = name.bytes().map(u64::from).sum();
                if state == ContainerState::Running && slot % SLOTS == round % SLOTS {
                    let number = painted.entry(name.clone()).or_default();
                    *number += 1;
                    self.engine.desktop(&name).push(&frame(*number));
                }
            }
        }
    }

    /// Breaks one thing after the other: a desktop dies, or the engine does not make a container.
    async fn trouble(&self, after: Duration) {
        sleep(after).await;
        let mut random = Random::new(self.seed, u64::MAX);
        for round in 1_u64.. {
            sleep(random.between(TROUBLE.0, TROUBLE.1)).await;
            if round.is_multiple_of(3) {
                *self
                    .fail_next
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = true;
                continue;
            }
            let mut names: Vec<String> = self
                .engine
                .all()
                .into_iter()
                .filter(|(name, state)| {
                    *state == ContainerState::Running
                        && self.engine.desktop(name).open_websockets() > 0
                })
                .map(|(name, _)| name)
                .collect();
            names.sort_unstable();
            if names.is_empty() {
                continue;
            }
            let chosen = random.below(names.len() as u64);
            let name = names.swap_remove(usize::try_from(chosen).unwrap_or_default());
            let spec = self.engine.spec_of(&name);
            let desktop = spec.and_then(|spec| spec.labels.get(LABEL_DESKTOP).cloned());
            self.ledger
                .strike("desktops that died", &desktop.unwrap_or_default());
            self.read_off(&name).await;
            let ending = Ending {
                exit_code: 137,
                oom_killed: false,
            };
            self.engine.end(&name, ending);
            self.tell(&name, "die");
        }
    }
}

/// A frame of a picture: not two of them are alike, nor as long.
pub fn frame(number: u64) -> Vec<u8> {
    let size = LEAST_FRAME + number.wrapping_mul(2_654_435_761) % FRAME_SPAN;
    let mut frame = PICTURE.to_vec();
    frame.extend(number.to_be_bytes());
    let byte = number.to_le_bytes()[0];
    frame.resize(usize::try_from(size).unwrap_or_default(), byte);
    frame
}

/// The value of a filter of the query: one of `{"name":["value"]}`.
fn filter(query: &HashMap<String, String>, name: &str) -> Option<String> {
    let filters: Value = serde_json::from_str(query.get("filters")?).ok()?;
    filters[name][0].as_str().map(str::to_owned)
}

/// As much of a description as the fake engine looks at.
fn spec(name: String, body: &Value) -> ContainerSpec {
    let words = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(|word| word.as_str().map(str::to_owned))
            .collect()
    };
    let bindings = body["HostConfig"]["PortBindings"].as_object();
    let (port, host_port) = bindings
        .and_then(|bindings| bindings.iter().next())
        .map(|(port, hosts)| {
            let port = port.split('/').next().and_then(|port| port.parse().ok());
            let host = hosts[0]["HostPort"]
                .as_str()
                .and_then(|port| port.parse().ok());
            (port, host)
        })
        .unwrap_or_default();
    let labels = body["Labels"].as_object().into_iter().flatten();
    ContainerSpec {
        name,
        image: body["Image"].as_str().unwrap_or_default().to_owned(),
        labels: labels
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        env: words(&body["Env"]),
        port: port.unwrap_or_default(),
        host_port,
        network: deskgate::engine::spec::Network {
            name: body["HostConfig"]["NetworkMode"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            internal: false,
            own: None,
        },
        name_server: None,
        shm_size: 0,
        memory: 0,
        nano_cpus: 0,
        pids: 0,
        sandbox: deskgate::model::template::Sandbox {
            user: None,
            init: true,
            read_only: false,
            tmpfs: std::collections::BTreeMap::new(),
            cap_drop: Vec::new(),
            cap_add: Vec::new(),
            no_new_privileges: true,
            seccomp: deskgate::model::template::Seccomp::Default,
            devices: Vec::new(),
        },
        stop_signal: None,
        home: None,
        mounts: Vec::new(),
        command: None,
    }
}

const fn word(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Paused => "paused",
        ContainerState::Exited => "exited",
        ContainerState::Dead => "dead",
    }
}

fn inspected(found: &Container) -> Value {
    json!({
        "Id": found.id,
        "Name": format!("/{}", found.name),
        "State": {
            "Status": word(found.state),
            "ExitCode": found.exit_code.unwrap_or_default(),
            "OOMKilled": found.oom_killed,
        },
        "Config": { "Labels": found.labels },
    })
}

fn listed(found: &Container) -> Value {
    json!({
        "Id": found.id,
        "Names": [format!("/{}", found.name)],
        "State": word(found.state),
        "Labels": found.labels,
    })
}

fn plain(text: &'static str) -> Said {
    Response::new(Full::from(text).boxed_unsync())
}

fn said(status: u16, body: &Value) -> Said {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut said = Response::new(Full::from(body).boxed_unsync());
    *said.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let kind = hyper::header::HeaderValue::from_static("application/json");
    said.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    said
}

fn refused(status: u16, message: &str) -> Said {
    said(status, &json!({ "message": message }))
}

fn missing(message: &str) -> Said {
    refused(404, message)
}

/// An error of the fake engine, in Docker's words.
fn trouble(name: &str, error: &EngineError) -> Said {
    match error {
        EngineError::NotFound => missing(&format!("No such container: {name}")),
        EngineError::NameTaken => refused(
            409,
            &format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"x\""
            ),
        ),
        EngineError::PortTaken => {
            refused(500, "Bind for 127.0.0.1 failed: port is already allocated")
        }
        other => refused(500, &other.to_string()),
    }
}
