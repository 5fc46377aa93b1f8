//! What desktops reach on the real engine: with nothing done about it, behind the rules of `scripts/firewall`, and what
//! `deskgate check` says of both.

use std::net::{IpAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use deskgate::demo;
use deskgate::engine::{Engine, probe};
use serde_json::Value;

use crate::support::docker::{Real, docker, reaches};
use crate::support::firewall::{Beside, Firewall};

/// One with the outside and one without it.
fn templates() -> [String; 2] {
    let image = demo::IMAGE;
    [
        format!("id = 'desk'\nimage = '{image}'\nhome = 'none'"),
        format!("id = 'exam'\nimage = '{image}'\nhome = 'none'\nnetwork = 'none'"),
    ]
}

/// A service of this machine that takes connections and says nothing. It goes with the process.
fn service(address: &str) -> u16 {
    let service = TcpListener::bind(address).unwrap();
    let port = service.local_addr().unwrap().port();
    std::thread::spawn(move || service.incoming().for_each(drop));
    port
}

/// The address of this machine in the network of a desktop.
fn engine_side(container: &str) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}";
    let said = docker(&["inspect", "--format", format, container]);
    said.trim().to_owned()
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_desktops_reach_nothing_around_them_behind_the_firewall() {
    let Some(firewall) = Firewall::ours().await else {
        return;
    };
    let beside = Beside::start(&firewall);
    let real = Real::with_templates("18370-18379", &templates()).await;
    let user = real.user("first").await;
    let desk = real.desktop_of(&user, "desk").await.container_name;
    let exam = real.desktop_of(&user, "exam").await.container_name;
    let port = service("0.0.0.0:0");
    let on_desk = engine_side(&desk);
    let service_on_bridge = service(&format!("{on_desk}:0"));
    let around = [
        ("a service on all addresses", on_desk.as_str(), port),
        ("the same by another address", Beside::HERE, port),
        (
            "one on the bridge's address",
            on_desk.as_str(),
            service_on_bridge,
        ),
        ("the network around", Beside::THERE, 80),
        ("the metadata address", Beside::METADATA, 80),
    ];
    let reached = |from: &str| {
        let reached = around.iter();
        let reached = reached.filter(|(_, address, port)| reaches(from, address, *port));
        reached.map(|(what, ..)| *what).collect::<Vec<_>>()
    };
    let all: Vec<&str> = around.iter().map(|(what, ..)| *what).collect();
    // The engine closes what is outside to one that is to have none of it, and not this machine.
    let on_exam = engine_side_of_internal(&real, &exam).await;
    let host_of_exam = |open: bool| assert_eq!(reaches(&exam, &on_exam, port), open);
    assert_eq!(reached(&desk), all, "without rules");
    host_of_exam(true);

    firewall.set(&[]);
    assert_eq!(reached(&desk), Vec::<&str>::new());
    assert_eq!(reached(&exam), Vec::<&str>::new());
    host_of_exam(false);
    // Setting them again changes nothing, and desktops still come up and answer.
    let before = Firewall::rules("DESKGATE-OUT") + &Firewall::rules("INPUT");
    firewall.set(&[]);
    let after = Firewall::rules("DESKGATE-OUT") + &Firewall::rules("INPUT");
    assert_eq!(before, after);
    let other = real.user("second").await;
    let second = real.desktop_of(&other, "desk").await.container_name;
    assert!(!reaches(&second, &engine_side(&second), port));

    firewall.remove();
    assert_eq!(reached(&desk), all, "all rules are gone");
    host_of_exam(true);
    drop(beside);
    real.clean().await;
}

/// The same where the engine does not say it: the first address of the network.
async fn engine_side_of_internal(real: &Real, container: &str) -> String {
    let found = real.engine.inspect(container).await.unwrap().unwrap();
    let Some(IpAddr::V4(address)) = found.address else {
        panic!("it has an address")
    };
    let pool = real.config.desktops.subnets.unwrap();
    pool.engine_side(address).to_string()
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_firewall_opens_what_it_is_told_and_names_to_those_with_the_outside() {
    let Some(firewall) = Firewall::ours().await else {
        return;
    };
    let _beside = Beside::start(&firewall);
    let real = Real::with_templates("18380-18389", &templates()).await;
    let user = real.user("pupil").await;
    let desk = real.desktop_of(&user, "desk").await.container_name;
    let exam = real.desktop_of(&user, "exam").await.container_name;
    let (here, there) = (Beside::HERE, Beside::THERE);
    let port = service("0.0.0.0:0");

    firewall.set(&["--allow", there]);
    assert!(reaches(&desk, there, 80));
    assert!(!reaches(&desk, Beside::METADATA, 80));
    assert!(!reaches(&desk, here, port));
    // A network, and a second one; what was allowed before is so no more.
    firewall.set(&["--allow", "198.51.100.0/24", "--allow", "169.254.169.0/24"]);
    assert!(!reaches(&desk, there, 80));
    assert!(reaches(&desk, Beside::METADATA, 80));
    let before = Firewall::rules("DESKGATE-OUT");
    for wrong in [
        &["--allow", "fileserver"][..],
        &["--allow"],
        &["--allow", "::1"],
    ] {
        firewall.refuses(wrong);
    }
    assert_eq!(
        Firewall::rules("DESKGATE-OUT"),
        before,
        "nothing is half done"
    );

    // This machine as the name server of its desktops.
    service(&format!("{here}:53"));
    firewall.set(&[]);
    assert!(!reaches(&desk, here, 53));
    firewall.set_with_name_server(here);
    assert!(reaches(&desk, here, 53));
    assert!(!reaches(&exam, here, 53), "names are a way out");
    assert!(!reaches(&desk, here, port));
    firewall.remove();
    assert!(reaches(&exam, here, 53), "it was the rules");
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_desktops_without_the_outside_have_no_name_server_but_their_own_names() {
    let real = Real::with_templates("18390-18399", &templates()).await;
    let user = real.user("pupil").await;
    let desk = real.desktop_of(&user, "desk").await.container_name;
    let exam = real.desktop_of(&user, "exam").await.container_name;
    let inspect = |container: &str, format: &str| {
        let said = docker(&["inspect", "--format", format, container]);
        said.trim().to_owned()
    };
    let servers = "{{json .HostConfig.Dns}}";
    assert_eq!(inspect(&exam, servers), r#"["127.0.0.1"]"#);
    assert!(["null", "[]"].contains(&&*inspect(&desk, servers)));
    let limit = Duration::from_secs(20);
    let look_up = async |container: &str, name: &str| {
        let command = probe::look_up(name).unwrap();
        real.engine.exec(container, &command, limit).await.unwrap()
    };
    // As its hosts file and as the engine has it.
    let short = inspect(&exam, "{{.Config.Hostname}}");
    for name in ["localhost", &short, &exam] {
        assert_eq!(look_up(&exam, name).await, Some(10), "{name}");
    }
    assert_eq!(look_up(&exam, "id.deskgate.test").await, Some(12));
    // Whoever asks waits no longer than that, where the engine says nothing.
    let begun = Instant::now();
    let asked = "getent ahosts id.deskgate.test || echo unknown";
    let said = docker(&["exec", &exam, "bash", "-c", asked]);
    let took = begun.elapsed();
    assert_eq!(said.trim(), "unknown");
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Rules are for IPv4, so there is no other.
    for container in [&desk, &exam] {
        let name = inspect(container, "{{.HostConfig.NetworkMode}}");
        let ipv6 = docker(&["network", "inspect", "--format", "{{.EnableIPv6}}", &name]);
        assert_eq!(ipv6.trim(), "false");
        let addresses = docker(&["exec", container, "cat", "/proc/net/if_inet6"]);
        let others = addresses.lines().filter(|line| !line.ends_with(" lo"));
        assert_eq!(others.count(), 0, "{addresses}");
    }
    real.clean().await;
}

/// What `deskgate check` says of what desktops reach.
struct Told(Vec<Value>);

impl Told {
    /// Whether a line of this outcome has these words.
    fn has(&self, check: &str, outcome: &str, words: &str) -> bool {
        let mut lines = self.0.iter();
        lines.any(|line| {
            line["check"] == check
                && line["outcome"] == outcome
                && line["found"].as_str().unwrap().contains(words)
        })
    }

    fn reach(&self) -> Vec<&Value> {
        let lines = self.0.iter();
        lines.filter(|line| line["check"] == "reach").collect()
    }
}

/// Mounts a file over the list of names, for one command alone.
const OTHER_HOSTS: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;

fn check(real: &Real, range: &str, more: &[(&str, &str)], hosts: Option<&str>) -> Told {
    let data = tempfile::tempdir().unwrap();
    let [desk, exam] = templates();
    // The first of its kind whose image is there is tried, wherever it stands.
    let gone = "id = 'gone'\nimage = 'deskgate/no-such-image:1'\npull = 'never'";
    let file = [gone, &desk, &exam].map(|template| format!("[[template]]\n{template}\n"));
    std::fs::write(data.path().join("deskgate.toml"), file.concat()).unwrap();
    let list = data.path().join("hosts");
    let program = env!("CARGO_BIN_EXE_deskgate");
    let mut command = match hosts {
        None => Command::new(program),
        Some(hosts) => {
            std::fs::write(&list, hosts).unwrap();
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", OTHER_HOSTS]);
            command.arg(&list).arg(program);
            command
        }
    };
    let output = command
        .args(["check", "--json"])
        .current_dir(data.path())
        .env_clear()
        .envs([
            ("PUBLIC_URL", "https://desk.test"),
            ("SECRET_KEY", "an-entirely-secret-key-for-tests"),
            ("OAUTH_ISSUER", "https://id.test"),
            ("OAUTH_CLIENT_ID", "test"),
            ("INSTANCE", &real.instance),
            ("PORT_RANGE", range),
        ])
        .envs(more.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let json: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{output:?}"));
    println!("{json:#}");
    let label = format!("label=deskgate.instance={}-check", real.instance);
    for list in [
        &["ps", "-aq", "--filter"][..],
        &["network", "ls", "-q", "--filter"],
    ] {
        let left = docker(&[list, &[&label]].concat());
        assert_eq!(left, "", "{list:?}");
    }
    Told(json["checks"].as_array().unwrap().clone())
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_check_says_what_a_desktop_reaches_and_leaves_nothing_behind() {
    let Some(firewall) = Firewall::ours().await else {
        return;
    };
    let _beside = Beside::start(&firewall);
    let range = "18210-18219";
    let real = Real::new(range).await;
    let metrics = format!("0.0.0.0:{}", service("0.0.0.0:0"));
    let database = service(&format!("{}:0", Beside::HERE));
    let database = format!("postgres://desk:secret@{}:{database}/desk", Beside::HERE);
    let settings = [
        ("METRICS_LISTEN", metrics.as_str()),
        ("DATABASE_URL", &database),
    ];
    let told = check(&real, range, &settings, None);
    assert!(told.has("engine", "ok", "Docker answers"));
    assert!(told.has("image", "ok", "is here"));
    assert!(told.has("ports", "warn", range));
    // Docker keeps desktops apart, and not from this machine, unless there are firewall rules.
    for (template, closed) in [("desk", false), ("exam", true)] {
        let reaches = |outcome: &str, what: &str| {
            let words = format!("template {template} reaches {what}");
            told.has("reach", outcome, &words)
        };
        assert!(reaches("warn", "this machine's ssh"), "{template}");
        assert!(reaches("fail", "the gateway's metrics"), "{template}");
        assert!(reaches("fail", "the database"), "{template}");
        assert!(!reaches("fail", "another desktop"), "{template}");
        // Outside of it, for one that is to have nothing outside.
        assert_eq!(reaches("fail", "the metadata address"), !closed);
    }

    firewall.set(&[]);
    let told = check(&real, range, &settings, None);
    let reach = told.reach();
    assert_eq!(reach.len(), 2, "{reach:?}");
    for template in ["desk", "exam"] {
        let fine = format!("template {template} reaches no other desktop, not this machine");
        assert!(told.has("reach", "ok", &fine), "{reach:?}");
    }
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_check_says_who_finds_names() {
    let range = "18400-18409";
    let real = Real::new(range).await;
    // The provider's name is in a list of this machine alone, with an address for documentation (RFC 5737).
    let told = check(&real, range, &[], Some("203.0.113.7 id.test\n"));
    assert!(told.has("reach", "warn", "template desk does not find id.test"));
    assert!(told.has("reach", "ok", "template exam has no name looked up outside"));
    real.clean().await;
}
