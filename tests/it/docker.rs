//! The real Docker engine, with the demo desktop's image. Run by `scripts/test`, which has both.

use std::net::TcpListener;
use std::time::Duration;

use deskgate::config::Reach;
use deskgate::demo;
use deskgate::desktop::Found;
use deskgate::desktop::readiness;
use deskgate::desktop::upstream::Dialer;
use deskgate::engine::spec::{self, Place};
use deskgate::engine::{ContainerState, Engine, EngineError};
use deskgate::model::desktop::State;
use deskgate::model::id::DesktopId;
use deskgate::model::reason::Reason;
use deskgate::model::template::NetworkPolicy;

use crate::support::docker::{Real, docker, reaches, tester};

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_runs_a_desktop_from_start_to_removal() {
    let real = Real::new("18000-18009").await;
    let desktops = &real.core.desktops;
    let user = real.user("pupil").await;
    let (desktop, new) = desktops.start(&user, &tester(), None).await.unwrap();
    assert!(new);
    let desktop = real.running(desktop.id).await;

    let Found::Up(entry) = desktops.find(desktop.id).await.unwrap().unwrap() else {
        panic!("it runs")
    };
    assert!(entry.upstream.addr.ip().is_loopback());
    assert_eq!(
        readiness::status(&Dialer::new(), &entry.upstream, "/").await,
        Some(200)
    );
    let mut without = entry.upstream.clone();
    without.authorization = None;
    assert_eq!(
        readiness::status(&Dialer::new(), &without, "/").await,
        Some(401)
    );

    let format = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}} {{.HostConfig.CapDrop}} \
        {{.HostConfig.SecurityOpt}} {{.HostConfig.ShmSize}} {{json .HostConfig.PortBindings}}";
    let limits = docker(&["inspect", "--format", format, &desktop.container_name]);
    let port = desktop.host_port.unwrap();
    for part in [
        "2147483648 1024 2000000000 [ALL] [no-new-privileges] 536870912",
        "127.0.0.1",
        &port.to_string(),
    ] {
        assert!(limits.contains(part), "{part} in {limits}");
    }

    let name = &desktop.container_name;
    let state = async || real.engine.inspect(name).await.unwrap().unwrap().state;
    for _ in 0..2 {
        real.engine.pause(name).await.unwrap();
        assert_eq!(state().await, ContainerState::Paused);
    }
    let begun = std::time::Instant::now();
    for _ in 0..2 {
        real.engine.unpause(name).await.unwrap();
        assert_eq!(state().await, ContainerState::Running);
    }
    println!("woken and looked at twice: {:?}", begun.elapsed());
    // A frozen container stops as politely as another one.
    real.engine.pause(name).await.unwrap();
    let stopped = desktops
        .stop(desktop.id, &tester(), Reason::Asked)
        .await
        .unwrap();
    assert_eq!(stopped.status, State::Stopped);
    assert!(entry.gone.is_cancelled(), "its streams are cut");
    let container = real
        .engine
        .inspect(&desktop.container_name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(container.state, ContainerState::Exited);
    desktops
        .remove(desktop.id, &tester(), Reason::Asked)
        .await
        .unwrap();
    assert!(
        real.engine
            .inspect(&desktop.container_name)
            .await
            .unwrap()
            .is_none()
    );
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_desktops_can_be_reached_without_a_published_port_and_not_from_each_other() {
    let real = Real::with("18080-18089", "network").await;
    let desktops = &real.core.desktops;
    let mut rows = Vec::new();
    for name in ["one", "two"] {
        let (desktop, _) = desktops
            .start(&real.user(name).await, &tester(), None)
            .await
            .unwrap();
        let desktop = real.running(desktop.id).await;
        assert_eq!(desktop.host_port, None);
        rows.push(desktop);
    }
    let ports = docker(&["port", &rows[0].container_name]);
    assert_eq!(ports.trim(), "", "nothing is published");
    let own = real.engine.networks(&real.instance).await.unwrap();
    let mut owners: Vec<_> = own.iter().map(|network| network.desktop).collect();
    owners.sort_unstable();
    let mut ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    assert_eq!(owners, ids, "each has its own network");
    assert!(own.iter().all(|network| network.made_at.is_some()));
    let other = real
        .engine
        .inspect(&rows[1].container_name)
        .await
        .unwrap()
        .unwrap();
    let address = other.address.unwrap().to_string();
    assert!(
        !reaches(&rows[0].container_name, &address, 6901),
        "one desktop does not reach another"
    );
    for row in &rows {
        let by = tester();
        let removed = desktops.remove(row.id, &by, Reason::Asked).await;
        removed.unwrap();
    }
    let own = real.engine.networks(&real.instance).await.unwrap();
    assert!(own.is_empty(), "networks go with their desktops: {own:?}");
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_networks_are_made_from_the_range_until_it_is_used_up() {
    let real = Real::new("18190-18199").await;
    let pool = "10.213.254.0/24".parse().unwrap();
    let place = Place {
        instance: &real.instance,
        reach: Reach::Network,
        subnets: Some(pool),
    };
    let make = async |desktop| {
        let network = spec::network(place, NetworkPolicy::None, desktop);
        let made = real.engine.prepare(&network, &real.instance).await;
        // A repeat does no harm.
        if made.is_ok() {
            real.engine.prepare(&network, &real.instance).await.unwrap();
        }
        made.map(|()| network.name)
    };
    let (one, two) = tokio::join!(make(DesktopId::random()), make(DesktopId::random()));
    let mut names = vec![one.unwrap(), two.unwrap()];
    let full = loop {
        match make(DesktopId::random()).await {
            Ok(name) => names.push(name),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, EngineError::NoSubnet), "{full:?}");
    assert_eq!(names.len(), 32);
    let subnets = docker(&[
        "network",
        "inspect",
        "--format",
        "{{range .IPAM.Config}}{{.Subnet}}{{end}} {{.Internal}}",
        &names[0],
        &names[31],
    ]);
    let lines: Vec<&str> = subnets.lines().collect();
    assert!(
        lines.iter().all(|line| line.ends_with("/29 true")),
        "{lines:?}"
    );
    assert_ne!(lines[0], lines[1]);
    for name in &names {
        real.engine.remove_network(name).await.unwrap();
    }
    real.engine.remove_network(&names[0]).await.unwrap();
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_says_when_a_port_or_a_name_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:18020").unwrap();
    let real = Real::new("18020-18021").await;
    let user = real.user("pupil").await;
    let (desktop, _) = real
        .core
        .desktops
        .start(&user, &tester(), None)
        .await
        .unwrap();
    let desktop = real.running(desktop.id).await;
    assert_eq!(desktop.host_port, Some(18021));
    drop(taken);
    let template = &real.config.desktops.templates[0];
    let place = Place {
        instance: &real.instance,
        reach: real.config.desktops.reach,
        subnets: real.config.desktops.subnets,
    };
    let spec =
        spec::ContainerSpec::new(template, &desktop, "x", place, &spec::Belongings::default());
    assert!(matches!(
        real.engine.create(&spec).await,
        Err(EngineError::NameTaken)
    ));
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_repeats_do_no_harm_and_what_is_not_there_is_said() {
    let real = Real::new("18040-18049").await;
    let engine = &real.engine;
    assert!(!engine.has_image("deskgate/no-such-image:1").await.unwrap());
    assert!(
        engine
            .inspect("deskgate-no-such-container")
            .await
            .unwrap()
            .is_none()
    );
    engine
        .stop("deskgate-no-such-container", Duration::ZERO)
        .await
        .unwrap();
    engine.remove("deskgate-no-such-container").await.unwrap();
    assert!(matches!(
        engine.start("deskgate-no-such-container").await,
        Err(EngineError::NotFound)
    ));

    let user = real.user("pupil").await;
    let (desktop, _) = real
        .core
        .desktops
        .start(&user, &tester(), None)
        .await
        .unwrap();
    real.running(desktop.id).await;
    let name = &desktop.container_name;
    engine.start(name).await.unwrap();
    for _ in 0..2 {
        engine.stop(name, Duration::from_secs(5)).await.unwrap();
    }
    let parallel = futures_util::future::join_all((0..4).map(|_| engine.remove(name))).await;
    assert!(parallel.iter().all(Result::is_ok), "{parallel:?}");
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_containers_and_rows_are_brought_together() {
    let real = Real::new("18060-18069").await;
    let desktops = &real.core.desktops;
    let user = real.user("pupil").await;
    let (desktop, _) = desktops.start(&user, &tester(), None).await.unwrap();
    real.running(desktop.id).await;
    let label = format!("deskgate.instance={}", real.instance);
    let orphan = docker(&["create", "--label", &label, demo::IMAGE]);
    docker(&["rm", "-f", &desktop.container_name]);
    let report = desktops.reconcile().await.unwrap();
    assert_eq!((report.orphans, report.ended), (1, 1));
    assert!(real.engine.inspect(orphan.trim()).await.unwrap().is_none());
    let row = desktops.get(desktop.id).await.unwrap().unwrap();
    assert_eq!(row.status, State::Error);
    assert_eq!(
        desktops.reconcile().await.unwrap(),
        deskgate::desktop::reconcile::Report::default()
    );
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_starts_thirty_desktops_of_thirty_people_on_thirty_ports() {
    let real = Real::new("18100-18139").await;
    let mut waits = Vec::new();
    for number in 0..30 {
        let user = real.user(&format!("pupil-{number}")).await;
        let (desktop, _) = real
            .core
            .desktops
            .start(&user, &tester(), None)
            .await
            .unwrap();
        waits.push(
            real.core
                .desktops
                .wait_launched(desktop.id, Duration::from_secs(120)),
        );
    }
    let rows = futures_util::future::join_all(waits).await;
    let rows: Vec<_> = rows.into_iter().map(|row| row.unwrap().unwrap()).collect();
    for row in &rows {
        assert_eq!(row.status, State::Running, "{:?}", row.status_reason);
    }
    let ports: std::collections::HashSet<_> = rows.iter().map(|row| row.host_port).collect();
    assert_eq!(ports.len(), 30);
    assert_eq!(real.engine.list(&real.instance).await.unwrap().len(), 30);
    real.clean().await;
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_hands_out_what_was_kept_ready() {
    let warm = format!(
        "id = 'exam'\nimage = '{}'\nhome = 'none'\nwarm = 2",
        demo::IMAGE
    );
    let real = Real::of("18200-18219", "port", Some(&warm)).await;
    let desktops = &real.core.desktops;
    desktops.fill_pool().await.unwrap();
    let kept = real.engine.list(&real.instance).await.unwrap();
    assert_eq!(kept.len(), 2);
    let user = real.user("pupil").await;
    let begun = std::time::Instant::now();
    let (desktop, _) = desktops.start(&user, &tester(), None).await.unwrap();
    println!("handed out: {:?}", begun.elapsed());
    assert_eq!(
        desktop.status,
        State::Running,
        "{:?}",
        desktop.status_reason
    );
    let container = desktop.container_id.clone().unwrap();
    assert!(kept.iter().any(|kept| kept.id == container));
    let found = real.engine.inspect(&desktop.container_name).await.unwrap();
    assert_eq!(found.unwrap().id, container, "under its ordinary name");
    let Found::Up(entry) = desktops.find(desktop.id).await.unwrap().unwrap() else {
        panic!("it runs")
    };
    let status = readiness::status(&Dialer::new(), &entry.upstream, "/").await;
    assert_eq!(status, Some(200));
    assert!(matches!(
        real.engine
            .rename(&container, &desktop.container_name)
            .await,
        Err(EngineError::Refused(_))
    ));
    let other = kept.iter().find(|kept| kept.id != container).unwrap();
    assert!(matches!(
        real.engine.rename(&other.id, &desktop.container_name).await,
        Err(EngineError::NameTaken)
    ));
    assert!(matches!(
        real.engine.rename("deskgate-no-such-container", "x").await,
        Err(EngineError::NotFound)
    ));

    desktops.fill_pool().await.unwrap();
    assert_eq!(real.engine.list(&real.instance).await.unwrap().len(), 3);
    assert_eq!(
        desktops.reconcile().await.unwrap(),
        deskgate::desktop::reconcile::Report::default()
    );
    real.clean().await;
}
