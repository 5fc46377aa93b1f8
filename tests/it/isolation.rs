//! Each desktop has a network of its own, which goes when it goes, and no other network is touched.

use deskgate::clock::Clock;
use deskgate::desktop::repair::Repair;
use deskgate::engine::OwnNetwork;
use deskgate::model::id::DesktopId;
use deskgate::model::time::Timestamp;
use std::time::Duration;

use crate::support::gateway::{TEMPLATE, TestGateway};

fn names(gateway: &TestGateway) -> Vec<String> {
    let networks = gateway.engine.networks.lock().unwrap();
    networks
        .iter()
        .map(|network| network.name.clone())
        .collect()
}

#[tokio::test]
async fn a_network_comes_and_goes_with_its_desktop() {
    let gateway = TestGateway::start().await;
    let mut first = gateway.program("first").await;
    let container = gateway.running_desktop(&mut first).await;
    let mut second = gateway.program("second").await;
    gateway.running_desktop(&mut second).await;
    assert_eq!(names(&gateway).len(), 2);
    let pool = gateway.config.desktops.subnets.expect("the default range");
    for spec in gateway.engine.specs() {
        assert_eq!(spec.network.own.expect("its own").pool, pool);
        assert!(names(&gateway).contains(&spec.network.name));
        assert!(!spec.network.internal);
    }
    first.post("/api/container/remove", "").await;
    let left = names(&gateway);
    assert_eq!(left.len(), 1);
    assert_ne!(left[0], container["container_name"].as_str().unwrap());
    gateway.stop().await;
}

#[tokio::test]
async fn what_stayed_behind_is_removed_after_a_while() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    let in_use = names(&gateway);
    let lost = |name: &str, made_at: Option<Timestamp>| {
        let network = OwnNetwork {
            name: name.into(),
            desktop: DesktopId::random(),
            made_at,
        };
        gateway.engine.networks.lock().unwrap().push(network);
    };
    lost("old", None);
    lost("new", Some(gateway.clock.timestamp()));
    let networks = |name: &str| names(&gateway).contains(&name.to_owned());
    gateway.desktops.reconcile().await.unwrap();
    assert!(!networks("old"));
    assert!(networks("new"), "its container may be about to be made");
    gateway.clock.advance(Duration::from_secs(121));
    let repairs = gateway.desktops.repairs().await.unwrap();
    let lost: Vec<_> = repairs.iter().map(Repair::what).collect();
    assert_eq!(lost, ["new"]);
    assert!(networks("new"), "it was only looked for");
    gateway.desktops.reconcile().await.unwrap();
    assert_eq!(names(&gateway), in_use);
    gateway.stop().await;
}

#[tokio::test]
async fn desktops_share_a_network_where_that_is_said() {
    let closed = "id = 'closed'\nimage = 'i'\nnetwork = 'none'\nport = 17911";
    for (template, ending) in [("id = 'a'\nimage = 'i'", ""), (closed, "-closed")] {
        let settings = [(TEMPLATE, template), ("DESKTOP_SUBNETS", "off")];
        let gateway = TestGateway::start_with(&settings).await;
        let mut pupil = gateway.program("pupil").await;
        gateway.running_desktop(&mut pupil).await;
        let network = gateway.engine.specs().pop().expect("a container").network;
        let instance = gateway.desktops.instance();
        assert_eq!(network.name, format!("deskgate-{instance}{ending}"));
        assert_eq!((network.own, network.internal), (None, !ending.is_empty()));
        gateway.stop().await;
    }
}
