//! `deskgate cleanup` on the real engine: its table, what it changes, and that a dry run changes nothing.

use std::process::Command;

use deskgate::demo;
use deskgate::engine::{ContainerState, Engine as _};
use deskgate::model::desktop::{Desktop, State};
use deskgate::store::containers::Change;

use crate::support::docker::{Real, docker, tester};

/// Lines of the table: act, what, state.
fn cleanup(real: &Real, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_deskgate"))
        .arg("cleanup")
        .args(arguments)
        .env_clear()
        .envs(real.values.iter().map(|(key, value)| (*key, value)))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let lines = said.lines().skip(1).filter(|line| !line.starts_with("0 "));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = lines.map(words).collect();
    lines.sort();
    lines
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_cleanup_does_what_its_dry_run_shows_and_that_changes_nothing() {
    let real = Real::new("18330-18339").await;
    let desktops = &real.core.desktops;
    let mut rows = Vec::new();
    for name in ["vanished", "stopping", "running"] {
        let user = real.user(name).await;
        let (desktop, _) = desktops.start(&user, &tester(), None).await.unwrap();
        rows.push(real.running(desktop.id).await);
    }
    let [vanished, stopping, running] = &rows[..] else {
        panic!("three of them")
    };
    docker(&["rm", "-f", &vanished.container_name]);
    let (from, to, change) = (State::Running, State::Stopping, Change::default());
    let database = &real.core.database;
    assert!(
        database
            .transition(stopping.id, from, to, change)
            .await
            .unwrap()
    );
    let label = format!("deskgate.instance={}", real.instance);
    let orphan = format!("deskgate-{}-orphan", real.instance);
    docker(&["create", "--name", &orphan, "--label", &label, demo::IMAGE]);

    let seen = async || {
        let rows: Vec<Desktop> = database.all_desktops("docker").await.unwrap();
        (rows, real.engine.list(&real.instance).await.unwrap().len())
    };
    let before = seen().await;
    let mut expected = vec![
        format!("note end {} running", vanished.container_name),
        format!("finish stop {} stopping", stopping.container_name),
        format!("remove orphan {orphan} created"),
    ];
    expected.sort();
    for _ in 0..2 {
        assert_eq!(cleanup(&real, &["--dry-run"]), expected);
        assert_eq!(seen().await, before);
    }
    assert_eq!(cleanup(&real, &[]), expected, "the same table");
    for (desktop, state) in [
        (vanished, State::Error),
        (stopping, State::Stopped),
        (running, State::Running),
    ] {
        let row = desktops.get(desktop.id).await.unwrap().unwrap();
        assert_eq!(row.status, state);
    }
    let found = real.engine.inspect(&stopping.container_name).await.unwrap();
    assert_eq!(found.unwrap().state, ContainerState::Exited);
    assert!(real.engine.inspect(&orphan).await.unwrap().is_none());
    assert_eq!(cleanup(&real, &[]), Vec::<String>::new());
    real.clean().await;
}
