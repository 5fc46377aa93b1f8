//! From a question to the engine's answer: what is asked about is looked up at the engine first, by whose labels it is
//! told whether it is ours, and then named by its id, so that it cannot be another one by the time it is used.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::UnixStream;

use super::call::{Asked, Call};
use super::refusal::Refusal;
use super::rules::Rules;
use crate::engine::docker::trouble::FILTER;
use crate::tasks::Tasks;
use crate::telemetry::ErrorChain;

/// Largest body of a question, bytes: a container with a seccomp profile of 256 KiB.
const MAX_BODY: usize = 1 << 20;
/// Largest answer about a container or network, bytes.
const MAX_LOOK: usize = 4 << 20;
/// How long the engine may take to tell whose something is.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = Response<Either<Full<Bytes>, Incoming>>;

/// Why a question has no answer. The connection ends without one then, and a gateway takes it as it would from the
/// engine: nothing is known of the outcome.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("the engine cannot be reached")]
    Connect(#[source] io::Error),
    #[error("the engine did not answer")]
    Engine(#[from] hyper::Error),
    #[error("the engine did not say whose this is")]
    Look(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the engine did not say within {} s whose this is", .0.as_secs())]
    Slow(Duration),
    #[error("the question could not be read")]
    Question(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the question could not be written")]
    Write(#[from] hyper::http::Error),
}

/// How a question that is not simply passed on ends.
enum Stop {
    Refused(Refusal),
    /// The engine has answered already: there is nothing of that name.
    Answered(Answer),
    Failed(ForwardError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ForwardError> for Stop {
    fn from(error: ForwardError) -> Self {
        Self::Failed(error)
    }
}

impl From<hyper::http::Error> for Stop {
    fn from(error: hyper::http::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// What the engine says about something that has labels.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Found {
    id: String,
    /// A network's.
    labels: Option<HashMap<String, String>>,
    /// A container's.
    config: Configured,
    /// The container of a command.
    #[serde(rename = "ContainerID")]
    container: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Configured {
    labels: Option<HashMap<String, String>>,
}

/// Answers questions.
#[derive(Debug)]
pub(super) struct Filter {
    rules: Rules,
    engine: PathBuf,
    tasks: Tasks,
}

impl Filter {
    pub(super) fn new(rules: Rules, engine: PathBuf, tasks: Tasks) -> Self {
        Self {
            rules,
            engine,
            tasks,
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Answer, ForwardError> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match self.ask(request).await {
            Ok(answer) | Err(Stop::Answered(answer)) => Ok(answer),
            Err(Stop::Refused(refusal)) => {
                let why = refusal.to_string();
                tracing::warn!(%method, path, why, "kept from the engine");
                Ok(refused(&why))
            }
            Err(Stop::Failed(error)) => {
                tracing::warn!(%method, path, error = %ErrorChain(&error), "no answer from the engine");
                Err(error)
            }
        }
    }

    async fn ask(&self, mut request: Request<Incoming>) -> Result<Answer, Stop> {
        let asked = Asked::read(request.method(), request.uri())?;
        self.rules.plain(&asked)?;
        let is_attached = matches!(asked.call, Call::StartExec(_));
        let downstream = is_attached.then(|| hyper::upgrade::on(&mut request));
        let body = read(request).await?;
        let (id, body) = self.judge(&asked, &body).await?;
        let mut onwards = Request::builder()
            .method(asked.method.clone())
            .uri(asked.target(&id))
            .header(HOST, "engine");
        if body.is_some() {
            onwards = onwards.header(CONTENT_TYPE, "application/json");
        }
        if is_attached {
            onwards = onwards.header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut answer = self.send(onwards.body(body.into())?).await?;
        let upstream = (answer.status() == StatusCode::SWITCHING_PROTOCOLS)
            .then(|| hyper::upgrade::on(&mut answer));
        if let Some((downstream, upstream)) = downstream.zip(upstream) {
            self.tasks.spawn("command output", async move {
                let (Ok(down), Ok(up)) = tokio::join!(downstream, upstream) else {
                    return;
                };
                let (mut down, mut up) = (TokioIo::new(down), TokioIo::new(up));
                // Either side may end it at any time.
                let _ = tokio::io::copy_bidirectional(&mut down, &mut up).await;
            });
        }
        Ok(passed(answer))
    }

    /// The engine's id for what is asked about, and the body to send.
    async fn judge(&self, asked: &Asked, body: &[u8]) -> Result<(String, Option<Value>), Stop> {
        let rules = &self.rules;
        let (subject, body) = match &asked.call {
            Call::CreateContainer => {
                let name = asked.parameter("name");
                return Ok((String::new(), Some(rules.container(name, body)?)));
            }
            Call::CreateNetwork => return Ok((String::new(), Some(rules.network(body)?))),
            Call::CreateVolume => return Ok((String::new(), Some(rules.volume(body)?))),
            Call::CreateExec(name) => {
                let found = self.container(asked, name).await?;
                let labels = found.config.labels.unwrap_or_default();
                (found.id, Some(rules.command(&labels, body)?))
            }
            Call::StartExec(id) => {
                let body = Rules::start_command(body)?;
                self.command(asked, id).await?;
                return Ok((id.clone(), Some(body)));
            }
            // Nothing else has a body.
            _ if !body.is_empty() => return Err(Refusal::Body.into()),
            Call::InspectExec(id) => {
                self.command(asked, id).await?;
                (id.clone(), None)
            }
            Call::Container(name, _) => (self.container(asked, name).await?.id, None),
            Call::Rename(name) => {
                let found = self.container(asked, name).await?;
                let labels = found.config.labels.unwrap_or_default();
                rules.rename(&labels, asked.parameter("name"))?;
                (found.id, None)
            }
            Call::RemoveNetwork(name) => {
                let found = self.look(&asked.look("networks", name)).await?;
                if !rules.owns(&found.labels.unwrap_or_default()) {
                    return Err(Refusal::Foreign("network").into());
                }
                (found.id, None)
            }
            Call::Image(name)
            | Call::Registry(name)
            | Call::Volume(name)
            | Call::RemoveVolume(name) => (name.clone(), None),
            Call::Ping
            | Call::Version
            | Call::Events
            | Call::ListContainers
            | Call::ListNetworks
            | Call::ListImages
            | Call::Pull
            | Call::ListVolumes => (String::new(), None),
        };
        Ok((subject, body))
    }

    /// A container of this installation.
    async fn container(&self, asked: &Asked, name: &str) -> Result<Found, Stop> {
        let found = self.look(&asked.look("containers", name)).await?;
        let no_labels = HashMap::new();
        if !self
            .rules
            .owns(found.config.labels.as_ref().unwrap_or(&no_labels))
        {
            return Err(Refusal::Foreign("container").into());
        }
        Ok(found)
    }

    /// Sees that a command runs in a container of this installation.
    async fn command(&self, asked: &Asked, id: &str) -> Result<(), Stop> {
        let found = self.look(&asked.look("exec", id)).await?;
        self.container(asked, &found.container).await.map(|_| ())
    }

    async fn look(&self, target: &str) -> Result<Found, Stop> {
        let question = Request::get(target)
            .header(HOST, "engine")
            .body(Full::default())?;
        let look = async {
            let answer = self.send(question).await?;
            if answer.status() != StatusCode::OK {
                return Err(Stop::Answered(passed(answer)));
            }
            let body = Limited::new(answer.into_body(), MAX_LOOK).collect().await;
            let body = body.map_err(ForwardError::Look)?.to_bytes();
            let found = serde_json::from_slice(&body);
            Ok(found.map_err(|error| ForwardError::Look(error.into()))?)
        };
        let looked = tokio::time::timeout(LOOK_TIMEOUT, look).await;
        looked.map_err(|_| ForwardError::Slow(LOOK_TIMEOUT))?
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ForwardError> {
        let stream = UnixStream::connect(&self.engine).await;
        let stream = TokioIo::new(stream.map_err(ForwardError::Connect)?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let connection = connection.with_upgrades();
        self.tasks.spawn("engine connection", async move {
            // The one who asks hears of it.
            let _ = connection.await;
        });
        Ok(sender.send_request(request).await?)
    }
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Stop> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::Length(MAX_BODY).into()),
        Ok(Err(error)) => Err(ForwardError::Question(error).into()),
        Err(slow) => Err(ForwardError::Question(slow.into()).into()),
    }
}

/// The engine's answer, with those of its headers that describe it.
fn passed(answer: Response<Incoming>) -> Answer {
    let (head, body) = answer.into_parts();
    let mut passed = Response::new(Either::Right(body));
    *passed.status_mut() = head.status;
    for name in [CONTENT_TYPE, CONNECTION, UPGRADE] {
        let is_for_upgrades = name != CONTENT_TYPE;
        if is_for_upgrades && head.status != StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        if let Some(value) = head.headers.get(&name) {
            passed.headers_mut().insert(name, value.clone());
        }
    }
    passed
}

/// As the engine says that something is not permitted.
fn refused(why: &str) -> Answer {
    let message = format!("{FILTER}{why}");
    let body = serde_json::json!({ "message": message }).to_string();
    let mut answer = Response::new(Either::Left(Full::from(body)));
    *answer.status_mut() = StatusCode::FORBIDDEN;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
