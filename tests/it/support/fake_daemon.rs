//! A Docker daemon on a Unix socket that does wrong what daemons do wrong. It is strict: it answers what the real one
//! answers, and only to requests that the real one would take.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should be.
    Well,
    /// It accepts, reads, and says nothing.
    Hung,
    /// It is killed in the middle of each answer.
    Breaking,
    /// Something else listens at its address.
    Foreign,
    /// It answers, and not in JSON.
    Garbled,
}

/// What it says to a pull, line by line.
#[derive(Clone, Debug)]
pub enum Step {
    /// This.
    Say(Value),
    /// Nothing any more.
    Silence,
    /// It is killed.
    Break,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    containers: Vec<Value>,
    pull: Vec<Step>,
    images: Vec<String>,
    volumes: Vec<Value>,
    /// Status and words with which it refuses volumes of a size.
    no_quota: Option<(&'static str, String)>,
    asked: Vec<String>,
}

/// The daemon; ends on drop.
pub struct FakeDaemon {
    state: Arc<Mutex<State>>,
    directory: TempDir,
    _serving: JoinSet<()>,
}

impl FakeDaemon {
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("docker.sock")).expect("a socket");
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Well,
            containers: Vec::new(),
            pull: Vec::new(),
            images: Vec::new(),
            volumes: Vec::new(),
            no_quota: None,
            asked: Vec::new(),
        }));
        let mut serving = JoinSet::new();
        let known = state.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, known.clone()));
            }
        });
        Self {
            state,
            directory,
            _serving: serving,
        }
    }

    /// Its address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> Box<Path> {
        self.directory.path().join("docker.sock").into()
    }

    pub fn be(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// Has a container: what an inspection of it says.
    pub fn has_container(&self, inspected: Value) {
        self.state.lock().unwrap().containers.push(inspected);
    }

    pub fn forget_containers(&self) {
        self.state.lock().unwrap().containers.clear();
    }

    /// Says this to pulls from now on.
    pub fn pulls(&self, steps: &[Step]) {
        self.state.lock().unwrap().pull = steps.to_vec();
    }

    pub fn has_image(&self, image: &str) {
        self.state.lock().unwrap().images.push(image.to_owned());
    }

    /// Refuses volumes of a size from now on, or not any more.
    pub fn refuses_quotas(&self, refusal: Option<(&'static str, &str)>) {
        let refusal = refusal.map(|(status, words)| (status, words.to_owned()));
        self.state.lock().unwrap().no_quota = refusal;
    }

    /// Its volumes as they were asked for.
    pub fn volumes(&self) -> Vec<Value> {
        self.state.lock().unwrap().volumes.clone()
    }

    /// The requests so far: method and path.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }
}

/// A request's head without its end, or `None` when nothing whole comes.
async fn head(stream: &mut UnixStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// The body that a head announces.
async fn body(stream: &mut UnixStream, head: &str) -> Option<Value> {
    let head = head.to_ascii_lowercase();
    let (_, length) = head.split_once("\r\ncontent-length:")?;
    let length = length.lines().next()?.trim().parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    serde_json::from_slice(&body).ok()
}

async fn serve(mut stream: UnixStream, state: Arc<Mutex<State>>) {
    let Some(head) = head(&mut stream).await else {
        return;
    };
    let (method, target) = head.split_once(' ').expect("a method");
    let (target, _) = target.split_once(' ').expect("a target");
    assert!(head.to_ascii_lowercase().contains("\r\nhost:"), "{head}");
    // The API's version may be before the path.
    let path = target
        .strip_prefix("/v1.")
        .and_then(|rest| rest.split_once('/'))
        .map_or_else(|| target.to_owned(), |(_, path)| format!("/{path}"));
    let path = path.split('?').next().unwrap_or_default().to_owned();
    let body = body(&mut stream, &head).await.unwrap_or_default();
    let (mood, pull) = {
        let mut state = state.lock().unwrap();
        state.asked.push(format!("{method} {path}"));
        (state.mood, state.pull.clone())
    };
    match mood {
        Mood::Hung => std::future::pending().await,
        Mood::Breaking => {
            let half = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[{\"Id\"";
            // The other side may be gone already.
            let _ = stream.write_all(half.as_bytes()).await;
        }
        Mood::Foreign => {
            let page = "<html><body><h1>404 Not Found</h1></body></html>";
            answer(&mut stream, ("404 Not Found", "text/html"), page).await;
        }
        Mood::Garbled => {
            answer(&mut stream, ("200 OK", "application/json"), "{]").await;
        }
        Mood::Well if (method, path.as_str()) == ("POST", "/images/create") => {
            say(&mut stream, &pull).await;
        }
        Mood::Well if path == "/_ping" => {
            answer(&mut stream, ("200 OK", "text/plain"), "OK").await;
        }
        Mood::Well => {
            let (status, body) = well(&mut state.lock().unwrap(), (method, &path), &body);
            let body = match body {
                Value::Null => String::new(),
                body => body.to_string(),
            };
            answer(&mut stream, (status, "application/json"), &body).await;
        }
    }
}

/// What a daemon that is well answers.
fn well(state: &mut State, (method, path): (&str, &str), body: &Value) -> (&'static str, Value) {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let missing = |what: &str, name: &str| {
        let message = format!("No such {what}: {name}");
        ("404 Not Found", json!({ "message": message }))
    };
    match (method, parts.as_slice()) {
        ("GET", ["version"]) => ("200 OK", json!({ "ApiVersion": "1.47" })),
        ("GET", ["networks"]) => ("200 OK", json!([])),
        ("GET", ["containers", "json"]) => {
            let listed = state.containers.iter().map(|known| {
                json!({
                    "Id": known["Id"],
                    "Names": [known["Name"]],
                    "State": known["State"]["Status"],
                    "Labels": known["Config"]["Labels"],
                })
            });
            ("200 OK", listed.collect())
        }
        ("GET", ["containers", name, "json"]) => {
            let mut known = state.containers.iter();
            let named =
                |known: &&Value| known["Id"] == *name || known["Name"] == format!("/{name}");
            match known.find(named) {
                Some(known) => ("200 OK", known.clone()),
                None => missing("container", name),
            }
        }
        ("POST", ["containers", "create"]) => {
            let volumes = body["HostConfig"]["Mounts"]
                .as_array()
                .into_iter()
                .flatten();
            for mount in volumes.filter(|mount| mount["Type"] == "volume") {
                let name = &mount["Source"];
                if !state.volumes.iter().any(|known| known["Name"] == *name) {
                    state.volumes.push(json!({ "Name": name }));
                }
            }
            ("201 Created", json!({ "Id": "abc", "Warnings": [] }))
        }
        ("GET", ["volumes"]) => ("200 OK", json!({ "Volumes": [], "Warnings": null })),
        ("POST", ["volumes", "create"]) => match &state.no_quota {
            Some((status, words)) if body["DriverOpts"]["size"].is_string() => {
                (*status, json!({ "message": words }))
            }
            _ => {
                state.volumes.push(body.clone());
                (
                    "201 Created",
                    volume(body["Name"].as_str().unwrap_or_default()),
                )
            }
        },
        ("GET", ["volumes", name]) => {
            if state.volumes.iter().any(|known| known["Name"] == *name) {
                ("200 OK", volume(name))
            } else {
                missing("volume", name)
            }
        }
        ("DELETE", ["volumes", name]) => {
            let before = state.volumes.len();
            state.volumes.retain(|known| known["Name"] != *name);
            if state.volumes.len() < before {
                ("204 No Content", Value::Null)
            } else {
                missing("volume", name)
            }
        }
        ("DELETE", ["containers", name]) => missing("container", name),
        ("GET", ["images", image @ .., "json"]) => {
            let image = image.join("/").replace("%3A", ":");
            if state.images.contains(&image) {
                ("200 OK", json!({ "Id": "sha256:00" }))
            } else {
                missing("image", &image)
            }
        }
        _ => ("404 Not Found", json!({ "message": "page not found" })),
    }
}

/// What an inspection of a volume says.
fn volume(name: &str) -> Value {
    json!({
        "Name": name,
        "Driver": "local",
        "Mountpoint": "/x",
        "Labels": {},
        "Options": {},
        "Scope": "local",
    })
}

async fn answer(stream: &mut UnixStream, (status, kind): (&str, &str), body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
}

/// A pull's answer, which has no length.
async fn say(stream: &mut UnixStream, steps: &[Step]) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let _ = stream.write_all(head.as_bytes()).await;
    for step in steps {
        match step {
            Step::Say(line) => {
                let line = format!("{line}\r\n");
                let chunk = format!("{:x}\r\n{line}\r\n", line.len());
                let _ = stream.write_all(chunk.as_bytes()).await;
            }
            Step::Silence => std::future::pending().await,
            Step::Break => return,
        }
    }
    let _ = stream.write_all(b"0\r\n\r\n").await;
}
