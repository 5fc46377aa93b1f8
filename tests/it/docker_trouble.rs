//! The real Docker engine and containers that do not live: what is told of their end is what happened.

use std::time::Duration;

use deskgate::demo;
use deskgate::engine::{Engine, EngineError, Percent, PullFailure};
use deskgate::model::desktop::{Desktop, State};

use crate::support::docker::{Real, docker, tester};
use crate::support::gateway::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// The demo's image, made to do something else; removed by its name.
fn image(name: &str, entrypoint: &str) -> String {
    let tag = format!("deskgate/test-{name}:{}", std::process::id());
    let label = format!("deskgate.instance=test-{name}");
    let id = docker(&["create", "--label", &label, demo::IMAGE, "true"]);
    let change = format!("ENTRYPOINT {entrypoint}");
    let label = format!("LABEL {label}");
    docker(&[
        "commit",
        "--change",
        &change,
        "--change",
        &label,
        id.trim(),
        &tag,
    ]);
    docker(&["rm", id.trim()]);
    tag
}

async fn failed(real: &Real) -> Desktop {
    let desktops = &real.core.desktops;
    let user = real.user("pupil").await;
    let (desktop, _) = desktops.start(&user, &tester(), None).await.unwrap();
    let desktop = desktops.wait_launched(desktop.id, PATIENCE).await;
    let desktop = desktop.unwrap().unwrap();
    assert_eq!(desktop.status, State::Error, "{desktop:?}");
    desktop
}

/// The row says that it failed before the container goes.
async fn nothing_left(real: &Real) {
    eventually("its container is gone", || async {
        let left = real.engine.list(&real.instance).await;
        left.unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_containers_that_end_at_once_leave_their_last_words() {
    for (name, reach, ports) in [
        ("ends-port", "port", "18300-18309"),
        ("ends-network", "network", "18310-18319"),
    ] {
        let script =
            r#"["sh", "-c", "printf 'one\\n\\033[31mpassword %s\\n' \"$VNC_PW\" >&2; exit 3"]"#;
        let tag = image(name, script);
        let template = format!("id = 'ends'\nimage = '{tag}'\nhome = 'none'\npull = 'never'");
        let real = Real::of(ports, reach, Some(&template)).await;
        let desktop = failed(&real).await;
        assert_eq!(desktop.status_reason.as_deref(), Some("ended_starting"));
        let detail = desktop.status_detail.as_deref();
        assert_eq!(detail, Some("exit code 3\none\npassword ***"), "{reach}");
        nothing_left(&real).await;
        real.clean().await;
        docker(&["rmi", &tag]);
    }
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_containers_without_memory_are_told_as_such() {
    let tag = image(
        "hungry",
        r#"["sh", "-c", "echo hungry; exec tail /dev/zero"]"#,
    );
    let template =
        format!("id = 'hungry'\nimage = '{tag}'\nhome = 'none'\npull = 'never'\nmemory = '24m'");
    let real = Real::of("18320-18329", "port", Some(&template)).await;
    let desktop = failed(&real).await;
    assert_eq!(desktop.status_reason.as_deref(), Some("out_of_memory"));
    let detail = desktop.status_detail.as_deref();
    assert_eq!(detail, Some("exit code 137\nhungry"));
    real.clean().await;
    docker(&["rmi", &tag]);
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_containers_that_cannot_be_started_or_are_killed_say_so() {
    let tag = image("lacking", r#"["/no/such/program"]"#);
    let template = format!("id = 'lacking'\nimage = '{tag}'\nhome = 'none'\npull = 'never'");
    let real = Real::of("18330-18339", "port", Some(&template)).await;
    let desktop = failed(&real).await;
    assert_eq!(desktop.status_reason.as_deref(), Some("engine_failed"));
    let detail = desktop.status_detail.unwrap_or_default();
    assert!(detail.contains("/no/such/program"), "{detail}");
    nothing_left(&real).await;
    real.clean().await;
    docker(&["rmi", &tag]);

    let real = Real::new("18340-18349").await;
    let desktops = &real.core.desktops;
    let user = real.user("pupil").await;
    let (desktop, _) = desktops.start(&user, &tester(), None).await.unwrap();
    let desktop = real.running(desktop.id).await;
    // What ends before the first look may have been ended by the engine.
    desktops.reconcile().await.unwrap();
    docker(&["kill", &desktop.container_name]);
    desktops.reconcile().await.unwrap();
    let desktop = desktops.get(desktop.id).await.unwrap().unwrap();
    assert_eq!(desktop.status_reason.as_deref(), Some("ended"));
    let detail = desktop.status_detail.unwrap_or_default();
    assert!(detail.starts_with("exit code 137"), "{detail}");
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_says_why_it_cannot_pull() {
    let real = Real::new("18350-18359").await;
    // Nobody listens there.
    let percent = Percent::default();
    match real.engine.pull("127.0.0.1:9/desktop", &percent).await {
        Err(EngineError::Pull(PullFailure::Registry, _)) => {}
        other => panic!("{other:?}"),
    }
    real.clean().await;
}
