//! The filter in front of the real engine: the whole life of desktops goes through it, and nothing that a host could be
//! taken with.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use deskgate::demo;
use deskgate::desktop::reconcile::Report;
use deskgate::engine::{ContainerState, Engine};
use deskgate::model::desktop::State;
use deskgate::model::reason::Reason;

use crate::support::docker::{Real, docker, tester};

const PATIENCE: Duration = Duration::from_secs(60);
const ENGINE: &str = "/var/run/docker.sock";

/// Two templates: one with homes and something to do before the stop, one that is kept ready.
fn templates() -> [String; 2] {
    let image = demo::IMAGE;
    [
        format!(
            "id = 'desk'\nimage = '{image}'\nhome_quota = '1g'\nstop = {{ pre_stop = ['/bin/true'] }}"
        ),
        format!("id = 'exam'\nimage = '{image}'\nhome = 'none'\nnetwork = 'none'\nwarm = 1"),
    ]
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_desktops_live_behind_the_filter() {
    let templates = templates();
    let (real, _filter) = Real::filtered("18230-18239", &templates, Path::new(ENGINE)).await;
    let desktops = &real.core.desktops;
    let user = real.user("pupil").await;
    let (desktop, _) = desktops
        .start(&user, &tester(), Some("desk"))
        .await
        .unwrap();
    let desktop = real.running(desktop.id).await;
    let name = &desktop.container_name;
    let state = async || real.engine.inspect(name).await.unwrap().unwrap().state;
    real.engine.pause(name).await.unwrap();
    assert_eq!(state().await, ContainerState::Paused);
    real.engine.unpause(name).await.unwrap();
    assert_eq!(state().await, ContainerState::Running);
    assert_eq!(desktops.reconcile().await.unwrap(), Report::default());
    assert!(real.engine.stats(name).await.unwrap().memory > 0);
    let command = ["/bin/true".to_owned()];
    let code = real.engine.exec(name, &command, PATIENCE).await;
    assert_eq!(code.unwrap(), Some(0));
    let stopped = desktops
        .stop(desktop.id, &tester(), Reason::Asked)
        .await
        .unwrap();
    assert_eq!(stopped.status, State::Stopped);
    let log = real.engine.log_tail(name, 5).await.unwrap();
    assert!(!log.is_empty());
    desktops
        .remove(desktop.id, &tester(), Reason::Asked)
        .await
        .unwrap();
    assert!(real.engine.inspect(name).await.unwrap().is_none());

    desktops.fill_pool().await.unwrap();
    let kept = real.engine.list(&real.instance).await.unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let (exam, _) = desktops
        .start(&user, &tester(), Some("exam"))
        .await
        .unwrap();
    assert_eq!(exam.status, State::Running, "{:?}", exam.status_reason);
    assert_eq!(
        exam.container_id.as_ref(),
        Some(&kept[0].id),
        "handed out and renamed"
    );
    desktops
        .remove(exam.id, &tester(), Reason::Asked)
        .await
        .unwrap();

    // A fresh start: the old home is set aside, and then removed.
    desktops.reset(&user, "desk", &tester()).await.unwrap();
    let old = desktops.old_homes().await.unwrap();
    assert_eq!(old.len(), 1);
    desktops
        .remove_old_home(&old[0].volume, &tester())
        .await
        .unwrap();
    assert!(!real.engine.has_volume(&old[0].volume).await.unwrap());
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_check_works_behind_the_filter() {
    let templates = templates();
    let (real, filter) = Real::filtered("18240-18249", &templates, Path::new(ENGINE)).await;
    let data = tempfile::tempdir().unwrap();
    let file = templates
        .map(|template| format!("[[template]]\n{template}\n"))
        .concat();
    std::fs::write(data.path().join("deskgate.toml"), file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskgate"));
    command
        .args(["check", "--json"])
        .current_dir(data.path())
        .env_clear()
        .envs([
            ("PUBLIC_URL", "https://desk.test"),
            ("SECRET_KEY", "an-entirely-secret-key-for-tests"),
            ("OAUTH_ISSUER", "https://id.test"),
            ("OAUTH_CLIENT_ID", "test"),
            ("DOCKER_HOST", &filter.docker_host()),
            ("INSTANCE", &real.instance),
            ("PORT_RANGE", "18240-18249"),
        ]);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let lines: Vec<String> = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    let found = |words: &str| lines.iter().any(|line| line.contains(words));
    assert!(found("Docker answers"), "{said}");
    // Both kinds of networks were tried from inside.
    assert!(found("template exam reaches"), "{said}");
    assert!(found("template desk reaches"), "{said}");
    assert!(!found("engine can start a container"), "{said}");
    // Whatever this engine says to volumes of a size, the filter lets the question through.
    assert!(
        found("\"homes\"") && !found("no home can be made"),
        "{said}"
    );
    let label = format!("label=deskgate.instance={}-check", real.instance);
    assert_eq!(docker(&["ps", "-aq", "--filter", &label]), "");
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &label]), "");
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_hosts_are_not_to_be_had_through_the_filter() {
    let templates = templates();
    let (real, filter) = Real::filtered("18250-18259", &templates, Path::new(ENGINE)).await;
    let socket = filter.docker_host();
    let instance = format!("deskgate.instance={}", real.instance);
    let label = ["--label", &instance, "--label", "deskgate.template=desk"];
    for way in [
        &["create", "--privileged"][..],
        &["create", "--volume", "/:/host"],
        &["create", "--network", "host"],
        &["create", "--pid", "host"],
        &["create", "--cap-add", "SYS_ADMIN"],
        &["create"],
    ] {
        let arguments = [&["--host", &socket], way, &label, &[demo::IMAGE]].concat();
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let run = move || Command::new("docker").args(arguments).output();
        let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{way:?}");
        assert!(said.contains("deskgate engine-filter"), "{way:?}: {said}");
    }
    let left = docker(&["ps", "-aq", "--filter", &format!("label={instance}")]);
    assert_eq!(left, "", "nothing was made");
    // Nor are other containers of the engine to be seen or touched.
    let other = docker(&[
        "create",
        "--label",
        "deskgate.instance=test-other",
        demo::IMAGE,
    ]);
    for (method, target) in [
        ("GET", "json"),
        ("POST", "start"),
        ("GET", "logs?stdout=true"),
    ] {
        let target = format!("/containers/{}/{target}", other.trim());
        let (status, _) = filter.ask(method, &target, "").await;
        assert_eq!(status, 403, "{method} {target}");
    }
    docker(&["rm", other.trim()]);
    real.clean().await;
}
