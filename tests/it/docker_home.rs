//! A fresh start on the real engine: what was in the old home stays there, and the new one has nothing of it.

use deskgate::demo;
use deskgate::engine::Engine as _;
use deskgate::model::reason::Reason;

use crate::support::docker::{Real, docker, tester};

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_a_fresh_start_has_an_empty_home_and_the_old_one_keeps_its_files() {
    let real = Real::new("18150-18159").await;
    let desktops = &real.core.desktops;
    let user = real.user("pupil").await;
    let start = async || {
        let (desktop, _) = desktops.start(&user, &tester(), None).await.unwrap();
        real.running(desktop.id).await
    };
    let shell = |container: &str, script: &str| {
        let output = docker(&["exec", container, "sh", "-c", script]);
        output.trim().to_owned()
    };
    let first = start().await;
    shell(&first.container_name, "echo precious > \"$HOME/kept\"");
    // It is the home that outlives a desktop.
    desktops
        .remove(first.id, &tester(), Reason::Asked)
        .await
        .unwrap();
    let second = start().await;
    let there = "cat \"$HOME/kept\" 2>/dev/null || echo none";
    assert_eq!(shell(&second.container_name, there), "precious");

    let reset = desktops.reset(&user, &second.template, &tester()).await;
    assert_eq!(reset.unwrap().map(|desktop| desktop.id), Some(second.id));
    let third = start().await;
    assert_eq!(shell(&third.container_name, there), "none");
    let old = desktops.old_homes().await.unwrap();
    assert_eq!(old.len(), 1);
    let mount = format!("{}:/old:ro", old[0].volume);
    let arguments = [
        "run",
        "--rm",
        "--network=none",
        "--user=0",
        "--entrypoint=cat",
        "--volume",
        &mount,
        demo::IMAGE,
        "/old/kept",
    ];
    assert_eq!(docker(&arguments).trim(), "precious");

    desktops
        .remove(third.id, &tester(), Reason::Asked)
        .await
        .unwrap();
    desktops
        .remove_old_home(&old[0].volume, &tester())
        .await
        .unwrap();
    assert!(!real.engine.has_volume(&old[0].volume).await.unwrap());
    real.clean().await;
}
