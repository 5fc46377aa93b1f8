//! The filter in front of the engine, through its sockets: a gateway's engine works through it, and whatever else is asked
//! never arrives.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use deskgate::config::raw::Raw;
use deskgate::config::{EngineConfig, FilterConfig, Reach};
use deskgate::engine::docker::DockerEngine;
use deskgate::engine::spec::{Belongings, ContainerSpec, Place, container_name};
use deskgate::engine::{Engine, EngineError, Percent, PullFailure};
use deskgate::engine_filter::Door;
use deskgate::model::desktop::Desktop;
use deskgate::model::id::{DesktopId, UserId};
use deskgate::model::time::Timestamp;
use serde_json::{Value, json};

use crate::support::wire_engine::{EXIT_CODE, Filtered, WireEngine};

const TEMPLATE: &str = "id = 'desk'\nimage = 'desk:1'\nstop = { pre_stop = ['/bin/save'] }";

fn config() -> FilterConfig {
    let mut raw = Raw::load(None, &|_| None);
    raw.set("INSTANCE", "school");
    raw.set("DESKTOP_SUBNETS", "off");
    raw.templates.push(toml::from_str(TEMPLATE).unwrap());
    FilterConfig::resolve(raw).unwrap()
}

struct Site {
    wire: WireEngine,
    filter: Filtered,
    engine: DockerEngine,
}

impl Site {
    async fn new() -> Self {
        let wire = WireEngine::start();
        let filter = Filtered::start(config(), &wire.socket).await;
        let docker_host = filter.docker_host();
        let engine = DockerEngine::new(EngineConfig { docker_host });
        let own = json!({ "deskgate.instance": "school", "deskgate.template": "desk" });
        wire.has("own", own);
        wire.has("foreign", json!({ "deskgate.instance": "other" }));
        wire.has("bare", Value::Null);
        Self {
            wire,
            filter,
            engine,
        }
    }
}

fn spec() -> ContainerSpec {
    let config = config().desktops;
    let id = DesktopId::random();
    let name = container_name("school", id);
    let template = &config.templates[0];
    let row = Desktop {
        host_port: Some(7001),
        ..Desktop::queued(template, id, UserId::random(), name, Timestamp::default())
    };
    let place = Place {
        instance: "school",
        reach: Reach::Port,
        subnets: None,
    };
    ContainerSpec::new(template, &row, "secret", place, &Belongings::default())
}

#[tokio::test]
async fn an_engine_behind_the_filter_works_like_one() {
    let site = Site::new().await;
    let engine = &site.engine;
    engine.ping().await.unwrap();
    assert_eq!(engine.create(&spec()).await.unwrap(), "new");
    site.wire.take_asked();
    engine.start("own").await.unwrap();
    let asked = site.wire.take_asked();
    let lines: Vec<&str> = asked.iter().map(|(line, _)| line.as_str()).collect();
    // By its id, which no other container gets.
    assert_eq!(
        lines,
        ["GET /containers/own/json", "POST /containers/own-id/start"]
    );
    engine.stop("own", Duration::from_secs(3)).await.unwrap();
    engine.pause("own").await.unwrap();
    engine.remove_network("own").await.unwrap();
    engine.log_tail("own", 20).await.unwrap();
    engine.stats("own").await.unwrap();
    assert!(engine.list("school").await.unwrap().is_empty());
    assert!(engine.list("school-check").await.unwrap().is_empty());
    assert_eq!(engine.inspect("own").await.unwrap().unwrap().id, "own-id");
    assert!(engine.inspect("nowhere").await.unwrap().is_none());
    assert!(matches!(
        engine.start("nowhere").await,
        Err(EngineError::NotFound)
    ));
    let command = ["/bin/save".to_owned()];
    let code = engine.exec("own", &command, Duration::from_secs(20)).await;
    assert_eq!(code.unwrap(), Some(EXIT_CODE));
    engine.remove("own").await.unwrap();
    let asked = site.wire.take_asked();
    let lines: Vec<&str> = asked.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(
        lines.last(),
        Some(&"GET /networks?filters=%7B%22name%22%3A%5B%22own%22%5D%7D")
    );
    assert!(
        lines.contains(&"DELETE /containers/own-id?force=true&link=false&v=true"),
        "{lines:?}"
    );
}

/// A question, and a word of the answer that refuses it.
type Case = (&'static str, String, String, &'static str);

/// Asks each, and sees that it is refused in the engine's own form.
async fn refuses(site: &Site, cases: &[Case]) {
    for (method, target, body, words) in cases {
        let (status, answer) = site.filter.ask(method, target, body).await;
        assert_eq!(status, 403, "{method} {target}: {answer}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let message = answer["message"].as_str().unwrap();
        assert!(message.starts_with("deskgate engine-filter: "), "{message}");
        assert!(message.contains(words), "{words} in {message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[tokio::test]
async fn containers_that_no_template_makes_never_arrive() {
    let site = Site::new().await;
    site.engine.create(&spec()).await.unwrap();
    let asked = site.wire.take_asked();
    let mut creates = asked.iter().filter(|(line, _)| line.starts_with("POST"));
    let (line, body) = creates.next().unwrap();
    let (_, create) = line.split_once(' ').unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let (status, answer) = site.filter.ask("POST", create, &body.to_string()).await;
    assert_eq!((status, answer.contains("new")), (201, true), "{answer}");
    site.wire.take_asked();
    let with = |name: &str, value: Value| {
        let mut other = body.clone();
        other["HostConfig"][name] = value;
        other.to_string()
    };
    let long = format!("{{\"Image\":\"{}\"}}", "x".repeat(2 << 20));
    let post = |body: String, words| ("POST", create.to_owned(), body, words);
    let cases = [
        post(with("Privileged", json!(true)), "HostConfig.Privileged"),
        post(with("Binds", json!(["/:/host"])), "HostConfig.Binds"),
        post(with("NetworkMode", json!("host")), "HostConfig.NetworkMode"),
        post("{".to_owned(), "JSON"),
        post(long, "larger"),
        (
            "POST",
            "/containers/create?name=x".into(),
            body.to_string(),
            "name",
        ),
    ];
    refuses(&site, &cases).await;
    assert_eq!(site.wire.take_asked(), []);
}

#[tokio::test]
async fn what_is_somebody_elses_is_looked_at_and_left_alone() {
    let site = Site::new().await;
    site.wire.runs("theirs", "foreign-id");
    let start = json!({ "Detach": false, "Tty": false, "OutputCapacity": null }).to_string();
    let command = json!({ "Cmd": ["/bin/sh"], "AttachStdout": true }).to_string();
    let case = |method, target: &str, words| (method, target.to_owned(), String::new(), words);
    let foreign = "not of this installation";
    let cases = [
        case("POST", "/containers/foreign/start", foreign),
        case("DELETE", "/containers/bare?force=true", foreign),
        case("GET", "/containers/foreign/json", foreign),
        case("POST", "/containers/own/rename?name=database", "name"),
        ("POST", "/containers/own/exec".into(), command, "command"),
        ("POST", "/exec/theirs/start".into(), start, foreign),
        case("GET", "/exec/theirs/json", foreign),
        case("DELETE", "/networks/foreign", foreign),
        case("DELETE", "/volumes/database", foreign),
        case("GET", "/containers/json?all=true", "deskgate.instance"),
        case("POST", "/images/create?fromImage=alpine", "no template"),
        case("GET", "/info", "GET /info"),
        case("PUT", "/containers/own/archive?path=%2F", "archive"),
        (
            "POST",
            "/containers/own/start".into(),
            "{\"HostConfig\":{}}".into(),
            "body",
        ),
    ];
    refuses(&site, &cases).await;
    for (line, _) in site.wire.take_asked() {
        let looks = ["GET /containers/", "GET /networks/", "GET /exec/"];
        assert!(looks.iter().any(|look| line.starts_with(look)), "{line}");
        assert!(
            line.ends_with("/json") || line == "GET /networks/foreign",
            "{line}"
        );
    }
    // The same, as an error of the engine.
    let unknown = site.engine.pull("alpine", &Percent::default()).await;
    assert!(
        matches!(&unknown, Err(EngineError::Pull(PullFailure::Filtered, _))),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn without_an_engine_nothing_is_known() {
    let wire = WireEngine::start();
    let filter = Filtered::start(config(), &wire.socket).await;
    let docker_host = filter.docker_host();
    let engine = DockerEngine::new(EngineConfig { docker_host });
    engine.ping().await.unwrap();
    drop(wire);
    assert!(matches!(
        engine.ping().await,
        Err(EngineError::Unreachable(_))
    ));
    filter.tasks.stop(Duration::from_secs(5)).await;
    assert!(!filter.socket.exists(), "its socket goes with it");
}

#[tokio::test]
async fn a_socket_has_one_filter_and_is_not_for_everybody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    // Left by one that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let door = Door::open(&path).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(Door::open(&path).await.is_err(), "somebody listens there");
    drop(door);
    std::fs::write(&path, "notes").unwrap();
    assert!(Door::open(&path).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
}

#[test]
fn a_filter_wants_to_know_the_installation() {
    let mistakes = FilterConfig::resolve(Raw::load(None, &|_| None)).unwrap_err();
    assert!(mistakes.to_string().contains("INSTANCE"), "{mistakes}");
}
