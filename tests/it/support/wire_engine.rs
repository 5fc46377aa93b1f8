//! A container engine as far as its HTTP goes: it knows a few containers, networks and commands, and notes everything
//! that it is asked. And a filter in front of it, or of another engine.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use deskgate::config::FilterConfig;
use deskgate::engine_filter::Door;
use deskgate::tasks::Tasks;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// What a command says, as the engine frames it: standard output, three bytes.
const OUTPUT: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 3, b'o', b'k', b'\n'];
/// What it ends with.
pub const EXIT_CODE: i64 = 7;

/// One question: method and target, and the body.
pub type Question = (String, String);

#[derive(Debug, Default)]
struct Known {
    /// Labels of containers and networks, by name.
    labels: HashMap<String, Value>,
    /// Containers of commands, by the command's id.
    commands: HashMap<String, String>,
    /// What commands say.
    outputs: JoinSet<()>,
    asked: Vec<Question>,
}

/// The engine.
pub struct WireEngine {
    known: Arc<Mutex<Known>>,
    pub socket: PathBuf,
    _tasks: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl WireEngine {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let known = Arc::new(Mutex::new(Known::default()));
        let (mut tasks, shared) = (JoinSet::new(), known.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let known = shared.clone();
                let service = service_fn(move |request| answer(known.clone(), request));
                connections.spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades();
                    let _ = connection.await;
                });
            }
        });
        Self {
            known,
            socket,
            _tasks: tasks,
            _directory: directory,
        }
    }

    /// There is a container or network of this name from now on; its id is the name and `-id`.
    pub fn has(&self, name: &str, labels: Value) {
        self.known
            .lock()
            .unwrap()
            .labels
            .insert(name.to_owned(), labels);
    }

    /// A command runs in this container.
    pub fn runs(&self, command: &str, container: &str) {
        let mut known = self.known.lock().unwrap();
        known
            .commands
            .insert(command.to_owned(), container.to_owned());
    }

    /// What it was asked since the last time, in order.
    pub fn take_asked(&self) -> Vec<Question> {
        std::mem::take(&mut self.known.lock().unwrap().asked)
    }
}

type Said = Response<Full<Bytes>>;

fn said(status: u16, body: &Value) -> Said {
    let mut said = Response::new(Full::from(body.to_string()));
    *said.status_mut() = StatusCode::from_u16(status).unwrap();
    said
}

async fn answer(
    known: Arc<Mutex<Known>>,
    mut request: Request<hyper::body::Incoming>,
) -> Result<Said, Infallible> {
    let (method, target) = (request.method().to_string(), request.uri().to_string());
    let path = request.uri().path().to_owned();
    let upgrade = hyper::upgrade::on(&mut request);
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let mut known = known.lock().unwrap();
    known.asked.push((format!("{method} {target}"), body));
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let missing = || said(404, &json!({ "message": format!("No such thing: {path}") }));
    let labels = |name: &str| {
        let name = name.trim_end_matches("-id");
        known
            .labels
            .get(name)
            .map(|labels| (name.to_owned(), labels.clone()))
    };
    Ok(match (method.as_str(), parts.as_slice()) {
        ("GET", ["_ping"]) => Response::new(Full::from("OK")),
        ("GET", ["version"]) => said(
            200,
            &json!({ "ApiVersion": "1.41", "MinAPIVersion": "1.12" }),
        ),
        ("GET", ["containers", "json"] | ["networks"]) => said(200, &json!([])),
        ("GET", ["containers", name, "json"]) => match labels(name) {
            Some((name, labels)) => said(
                200,
                &json!({
                    "Id": format!("{name}-id"), "Name": format!("/{name}"),
                    "State": { "Status": "running" }, "Config": { "Labels": labels }
                }),
            ),
            None => missing(),
        },
        ("GET", ["networks", name]) => match labels(name) {
            Some((name, labels)) => said(
                200,
                &json!({ "Id": format!("{name}-id"), "Name": name, "Labels": labels }),
            ),
            None => missing(),
        },
        ("POST", ["containers", "create"]) => said(201, &json!({ "Id": "new", "Warnings": [] })),
        ("POST", ["containers", container, "exec"]) => {
            let container = (*container).to_owned();
            known.commands.insert("command".into(), container);
            said(201, &json!({ "Id": "command" }))
        }
        ("POST", ["exec", _, "start"]) => {
            known.outputs.spawn(async move {
                let mut output = TokioIo::new(upgrade.await.unwrap());
                output.write_all(OUTPUT).await.unwrap();
                output.shutdown().await.unwrap();
            });
            let mut said = said(101, &json!(""));
            *said.body_mut() = Full::default();
            let headers = said.headers_mut();
            headers.insert("connection", "Upgrade".parse().unwrap());
            headers.insert("upgrade", "tcp".parse().unwrap());
            said
        }
        ("GET", ["exec", id, "json"]) => match known.commands.get(*id) {
            Some(container) => said(
                200,
                &json!({
                    "ID": id, "ContainerID": container, "Running": false, "ExitCode": EXIT_CODE
                }),
            ),
            None => missing(),
        },
        ("GET", ["containers", _, "stats"]) => said(200, &json!({})),
        _ => {
            let mut said = said(204, &json!(""));
            *said.body_mut() = Full::default();
            said
        }
    })
}

/// A filter in front of an engine, until it is dropped.
pub struct Filtered {
    pub socket: PathBuf,
    pub tasks: Tasks,
    _directory: tempfile::TempDir,
}

impl Filtered {
    pub async fn start(config: FilterConfig, engine: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("filter.sock");
        let door = Door::open(&socket).await.unwrap();
        let tasks = Tasks::new();
        tasks.spawn(
            "filter",
            door.serve(config, engine.to_owned(), tasks.clone()),
        );
        Self {
            socket,
            tasks,
            _directory: directory,
        }
    }

    /// The same for the gateway's settings.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Asks as somebody does who keeps to no client library; returns status and body.
    pub async fn ask(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        // It may have answered before it has read everything.
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(20), read)
            .await
            .expect("an end");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.unwrap_or_default(), body.to_owned())
    }
}
