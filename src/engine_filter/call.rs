//! What is asked of the engine, read strictly: the calls that a gateway makes, with the parameters that it gives, and
//! nothing else. What goes on to the engine is written anew from what was read here.

use std::collections::BTreeMap;

use hyper::{Method, Uri};
use url::form_urlencoded;

use super::refusal::Refusal;

/// Longest path with its parameters, bytes.
const MAX_TARGET: usize = 4096;
/// Longest name of a container, network or volume.
const MAX_NAME: usize = 255;

/// What is done with one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Inspect,
    Start,
    Stop,
    Pause,
    Unpause,
    Remove,
    Logs,
    Stats,
}

impl Act {
    const fn ending(self) -> &'static str {
        match self {
            Self::Inspect => "/json",
            Self::Start => "/start",
            Self::Stop => "/stop",
            Self::Pause => "/pause",
            Self::Unpause => "/unpause",
            Self::Remove => "",
            Self::Logs => "/logs",
            Self::Stats => "/stats",
        }
    }
}

/// One call. Names are as they came, and only of characters that mean nothing else in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Ping,
    Version,
    Events,
    ListContainers,
    CreateContainer,
    Container(String, Act),
    Rename(String),
    CreateExec(String),
    StartExec(String),
    InspectExec(String),
    ListNetworks,
    CreateNetwork,
    RemoveNetwork(String),
    ListImages,
    Image(String),
    Registry(String),
    Pull,
    ListVolumes,
    CreateVolume,
    Volume(String),
    RemoveVolume(String),
}

/// Filters of a list.
pub(super) type Filters = BTreeMap<String, Vec<String>>;

/// A call with its parameters.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) call: Call,
    /// `/v1.41`, or nothing.
    version: String,
    parameters: BTreeMap<String, String>,
    pub(super) filters: Option<Filters>,
}

impl Asked {
    /// Reads a request's method and target.
    pub(super) fn read(method: &Method, target: &Uri) -> Result<Self, Refusal> {
        let (path, query) = (target.path(), target.query().unwrap_or_default());
        let unknown = || Refusal::Call(method.clone(), path.to_owned());
        // Nothing that a gateway names has to be escaped, so that there is one reading of a path.
        if path.len() + query.len() > MAX_TARGET || !path.bytes().all(is_plain) {
            let shown = path.chars().take(MAX_NAME).collect();
            return Err(Refusal::Call(method.clone(), shown));
        }
        let (version, rest) = split_version(path);
        let segments: Vec<&str> = rest.split('/').skip(1).collect();
        let call = call(method, &segments).ok_or_else(unknown)?;
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let twice = parameters.contains_key(name.as_ref());
            if twice || !fits(&call, &name, &value) {
                return Err(Refusal::Parameter(name.into_owned()));
            }
            parameters.insert(name.into_owned(), value.into_owned());
        }
        let filters = match parameters.remove("filters") {
            None => None,
            Some(text) => Some(serde_json::from_str(&text).map_err(|_| Refusal::Filters)?),
        };
        Ok(Self {
            method: method.clone(),
            call,
            version: version.to_owned(),
            parameters,
            filters,
        })
    }

    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// The target for the engine; what is asked about has this id there.
    pub(super) fn target(&self, id: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.parameters);
        if let Some(filters) = &self.filters {
            let text = serde_json::json!(filters).to_string();
            query.append_pair("filters", &text);
        }
        let (version, path, query) = (&self.version, self.call.path(id), query.finish());
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{version}{path}{mark}{query}")
    }

    /// The target that tells about something that this call is about.
    pub(super) fn look(&self, kind: &str, name: &str) -> String {
        let ending = if kind == "networks" { "" } else { "/json" };
        format!("{}/{kind}/{name}{ending}", self.version)
    }
}

impl Call {
    fn path(&self, id: &str) -> String {
        match self {
            Self::Ping => "/_ping".into(),
            Self::Version => "/version".into(),
            Self::Events => "/events".into(),
            Self::ListContainers => "/containers/json".into(),
            Self::CreateContainer => "/containers/create".into(),
            Self::Container(_, act) => format!("/containers/{id}{}", act.ending()),
            Self::Rename(_) => format!("/containers/{id}/rename"),
            Self::CreateExec(_) => format!("/containers/{id}/exec"),
            Self::StartExec(_) => format!("/exec/{id}/start"),
            Self::InspectExec(_) => format!("/exec/{id}/json"),
            Self::ListNetworks => "/networks".into(),
            Self::CreateNetwork => "/networks/create".into(),
            Self::RemoveNetwork(_) => format!("/networks/{id}"),
            Self::ListImages => "/images/json".into(),
            Self::Image(_) => format!("/images/{id}/json"),
            Self::Registry(_) => format!("/distribution/{id}/json"),
            Self::Pull => "/images/create".into(),
            Self::ListVolumes => "/volumes".into(),
            Self::CreateVolume => "/volumes/create".into(),
            Self::Volume(_) | Self::RemoveVolume(_) => format!("/volumes/{id}"),
        }
    }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b':' | b'@')
}

/// A name of the engine's: it begins with a letter or digit, so that it is never `.` or `..`.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| is_plain(byte) && !matches!(byte, b'/' | b':' | b'@'))
}

/// The version of the API in front of a path, as far as there is one.
fn split_version(path: &str) -> (&str, &str) {
    let end = path.bytes().skip(1).position(|byte| byte == b'/');
    let (version, rest) = path.split_at(end.map_or(0, |end| end + 1));
    let number = version.strip_prefix("/v1.").unwrap_or_default();
    if !number.is_empty() && number.len() <= 2 && number.bytes().all(|b| b.is_ascii_digit()) {
        (version, rest)
    } else {
        ("", path)
    }
}

fn call(method: &Method, segments: &[&str]) -> Option<Call> {
    let name = |text: &str| is_name(text).then(|| text.to_owned());
    let act = |container: &str, act| Some(Call::Container(name(container)?, act));
    match (method.as_str(), segments) {
        ("GET", ["_ping"]) => Some(Call::Ping),
        ("GET", ["version"]) => Some(Call::Version),
        ("GET", ["events"]) => Some(Call::Events),
        ("GET", ["containers", "json"]) => Some(Call::ListContainers),
        ("POST", ["containers", "create"]) => Some(Call::CreateContainer),
        ("GET", ["containers", container, "json"]) => act(container, Act::Inspect),
        ("GET", ["containers", container, "logs"]) => act(container, Act::Logs),
        ("GET", ["containers", container, "stats"]) => act(container, Act::Stats),
        ("POST", ["containers", container, "start"]) => act(container, Act::Start),
        ("POST", ["containers", container, "stop"]) => act(container, Act::Stop),
        ("POST", ["containers", container, "pause"]) => act(container, Act::Pause),
        ("POST", ["containers", container, "unpause"]) => act(container, Act::Unpause),
        ("DELETE", ["containers", container]) => act(container, Act::Remove),
        ("POST", ["containers", container, "rename"]) => name(container).map(Call::Rename),
        ("POST", ["containers", container, "exec"]) => name(container).map(Call::CreateExec),
        ("POST", ["exec", id, "start"]) => name(id).map(Call::StartExec),
        ("GET", ["exec", id, "json"]) => name(id).map(Call::InspectExec),
        ("GET", ["networks"]) => Some(Call::ListNetworks),
        ("POST", ["networks", "create"]) => Some(Call::CreateNetwork),
        ("DELETE", ["networks", network]) => name(network).map(Call::RemoveNetwork),
        ("GET", ["images", "json"]) => Some(Call::ListImages),
        ("POST", ["images", "create"]) => Some(Call::Pull),
        ("GET", ["images", image @ .., "json"]) => Some(Call::Image(image.join("/"))),
        ("GET", ["distribution", image @ .., "json"]) => Some(Call::Registry(image.join("/"))),
        ("GET", ["volumes"]) => Some(Call::ListVolumes),
        ("POST", ["volumes", "create"]) => Some(Call::CreateVolume),
        ("GET", ["volumes", volume]) => name(volume).map(Call::Volume),
        ("DELETE", ["volumes", volume]) => name(volume).map(Call::RemoveVolume),
        _ => None,
    }
}

/// Whether a call may have this parameter. What a client library always sends has to be as if it were not there.
fn fits(call: &Call, name: &str, value: &str) -> bool {
    let flag = matches!(value, "true" | "false");
    let off = matches!(value, "" | "0" | "false");
    let number = !value.is_empty() && value.len() < 10 && value.bytes().all(|b| b.is_ascii_digit());
    match (call, name) {
        (
            Call::ListContainers | Call::ListNetworks | Call::ListVolumes | Call::Events,
            "filters",
        )
        | (Call::Pull, "fromImage") => true,
        // A stream of them would never end.
        (Call::Container(_, Act::Stats), "stream") => value == "false",
        (Call::ListContainers, "all")
        | (Call::Container(_, Act::Stats), "one-shot")
        | (Call::Container(_, Act::Remove), "v" | "force")
        | (Call::Container(_, Act::Logs), "stdout" | "stderr") => flag,
        (Call::CreateContainer | Call::Rename(_), "name") => is_name(value),
        (Call::Container(_, Act::Stop), "t") | (Call::Container(_, Act::Logs), "tail") => number,
        (Call::ListContainers, "size")
        | (Call::CreateContainer | Call::Pull, "platform")
        | (Call::Container(_, Act::Remove), "link")
        | (Call::Container(_, Act::Logs), "follow" | "since" | "until" | "timestamps")
        | (Call::ListImages, "all" | "shared-size" | "digests" | "manifests") => off,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, target: &str) -> Result<Asked, Refusal> {
        Asked::read(
            &method.parse().expect("a method"),
            &target.parse().expect("a target"),
        )
    }

    #[test]
    fn what_a_gateway_asks_is_read_and_written_again() {
        for (method, target) in [
            ("GET", "/_ping"),
            ("GET", "/v1.41/version"),
            (
                "GET",
                "/containers/json?all=true&size=false&filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D",
            ),
            (
                "POST",
                "/v1.41/containers/create?name=deskgate-school-1&platform=",
            ),
            ("DELETE", "/containers/c?force=true&link=false&v=true"),
            ("POST", "/containers/c/stop?t=10"),
            ("POST", "/containers/c/rename?name=d"),
            (
                "GET",
                "/containers/c/logs?follow=false&since=0&stderr=true&stdout=true&tail=20&timestamps=false&until=0",
            ),
            (
                "POST",
                "/images/create?fromImage=registry%3A5000%2Fa%3A1&platform=",
            ),
            ("GET", "/containers/c/stats?one-shot=true&stream=false"),
            ("GET", "/volumes/v"),
        ] {
            let asked = read(method, target).expect(target);
            let id = match &asked.call {
                Call::Container(name, _) | Call::Rename(name) | Call::Volume(name) => name.clone(),
                _ => String::new(),
            };
            assert_eq!(asked.target(&id), target);
        }
        let asked = read("GET", "/images/registry:5000/a/b:1/json").expect("an image");
        assert_eq!(asked.call, Call::Image("registry:5000/a/b:1".into()));
    }

    #[test]
    fn everything_else_is_refused() {
        for (method, target) in [
            ("GET", "/"),
            ("GET", "/info"),
            ("HEAD", "/_ping"),
            ("POST", "/_ping"),
            ("POST", "/build"),
            ("POST", "/commit?container=c"),
            ("POST", "/auth"),
            ("GET", "/containers/c/archive?path=/"),
            ("PUT", "/containers/c/archive?path=/"),
            ("GET", "/containers/c/export"),
            ("POST", "/containers/c/attach?stream=1"),
            ("POST", "/containers/c/update"),
            ("POST", "/containers/c/kill"),
            ("POST", "/containers/prune"),
            ("DELETE", "/images/a"),
            ("POST", "/images/load"),
            ("POST", "/networks/n/connect"),
            ("POST", "/swarm/init"),
            ("POST", "/plugins/pull"),
            ("POST", "/session"),
            ("GET", "/containers/../json"),
            ("GET", "/containers/.hidden/json"),
            ("GET", "/containers/a%2Fb/json"),
            ("GET", "/containers//json"),
            ("POST", "/containers/create/"),
            ("POST", "//containers/create"),
            ("POST", "/v2.0/containers/create"),
            ("POST", "/v1.41/v1.41/containers/create"),
            ("POST", "/containers/create?name=a/../b"),
            ("POST", "/containers/create?name=a&name=b"),
            ("POST", "/containers/create?name=a&platform=linux"),
            ("POST", "/containers/c/start?checkpoint=x"),
            ("POST", "/containers/c/stop?signal=SIGUSR1"),
            ("POST", "/images/create?fromSrc=-"),
            ("POST", "/images/create?fromImage=a&tag=b"),
            ("POST", "/images/create?fromImage=a&changes=USER%20root"),
            ("GET", "/containers/c/logs?follow=true"),
            ("GET", "/containers/c/stats?stream=true"),
            ("GET", "/containers/json?filters=x"),
            (
                "GET",
                "/containers/json?filters=%7B%22label%22%3A%7B%22a%22%3Atrue%7D%7D",
            ),
        ] {
            assert!(read(method, target).is_err(), "{method} {target}");
        }
        let long = format!("/containers/{}/json", "a".repeat(MAX_NAME + 1));
        assert!(read("GET", &long).is_err());
    }
}
