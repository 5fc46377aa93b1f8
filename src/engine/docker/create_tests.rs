//! The words that the engine gets, written out: whatever a template says about its container stands in them.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::Reach;
use crate::engine::spec::{Belongings, Place, Waiting};
use crate::model::desktop::Desktop;
use crate::model::id::{DesktopId, UserId};
use crate::model::mount::SharedMount;
use crate::model::notice::Notice;
use crate::model::subnet::SubnetPool;
use crate::model::template::{
    Auth, Device, HeaderRules, Home, HostHeader, NetworkPolicy, Origin, Prefix, Pull, Ready,
    Scheme, Stop, Template, Texts, TlsVerify, View,
};
use crate::model::time::Timestamp;

const DESKTOP: &str = "00000000-0000-4000-8000-000000000001";
const USER: &str = "00000000-0000-4000-8000-000000000002";

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn pairs<T: FromIterator<(String, String)>>(pairs: &[(&str, &str)]) -> T {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// Every field is written out and differs from its default where that can be seen in a container: a new field does not
/// compile until somebody has thought of it here.
fn template() -> Template {
    let shared = |source: &str, target: &str, read_only| SharedMount {
        source: source.into(),
        target: target.into(),
        read_only,
        groups: Vec::new(),
    };
    let classes = SharedMount {
        groups: texts(&["8a", "8b"]),
        ..shared("class-{group}", "/mnt/{group}", false)
    };
    let notice = texts(&["show", "{state}", "{text}"]);
    Template {
        id: "all".into(),
        title: Texts::same("All"),
        description: Texts::same("Everything"),
        icon: "code".into(),
        image: "registry.test/all:1".into(),
        pull: Pull::Never,
        port: 6123,
        scheme: Scheme::Http,
        tls_verify: TlsVerify::None,
        auth: Auth::Basic {
            user: "mia".into(),
            password_env: "SECRET".into(),
            user_env: Some("WHO".into()),
        },
        viewer_auth: Some("viewer".into()),
        prefix: Prefix::Keep,
        prefix_env: pairs(&[("SUBFOLDER", "{prefix}/")]),
        entry: "/start".into(),
        ws_paths: texts(&["/ws"]),
        host_header: HostHeader::Upstream,
        origin: Origin::Rewrite,
        deny_paths: texts(&["/api"]),
        headers: HeaderRules::default(),
        max_message: Some(1000),
        screenshot: None,
        view: View::Rfb,
        ready: Ready {
            path: "/ready".into(),
            auth: false,
            expect: Some(204),
            timeout: Duration::from_secs(9),
        },
        stop: Stop {
            signal: Some("SIGINT".into()),
            timeout: Duration::from_secs(11),
            pre_stop: texts(&["/bin/save"]),
        },
        notice: Notice::new(notice),
        shm_size: 256 << 20,
        memory: 3 << 30,
        cpu_millis: 1500,
        pids: 321,
        sandbox: Sandbox {
            user: Some("1001:1002".into()),
            init: true,
            read_only: true,
            tmpfs: pairs(&[("/tmp", "size=64m")]),
            cap_drop: texts(&["ALL"]),
            cap_add: texts(&["CHOWN"]),
            no_new_privileges: true,
            seccomp: Seccomp::Profile("{}".into()),
            devices: vec![Device {
                host: "/dev/dri/renderD128".into(),
                container: "/dev/dri/card0".into(),
                permissions: "rw".into(),
            }],
        },
        network: NetworkPolicy::Internet,
        env: pairs(&[("LANG", "de_DE.UTF-8")]),
        resolution_env: Some("SIZE".into()),
        resolution: Some("1280x720".into()),
        home_path: "/home/mia".into(),
        home: Home::Volume,
        home_quota: Some(5 << 30),
        mounts: vec![
            shared("/srv/material", "/mnt/material", true),
            shared("common", "/mnt/common", false),
            classes,
        ],
        groups: texts(&["8a"]),
        users: texts(&["mia"]),
        warm: 0,
        hours: None,
    }
}

fn spec(template: &Template, reach: Reach, subnets: Option<SubnetPool>) -> ContainerSpec {
    let id: DesktopId = DESKTOP.parse().expect("an id");
    let user: UserId = USER.parse().expect("an id");
    let row = Desktop {
        host_port: Some(7001),
        ..Desktop::queued(
            template,
            id,
            user,
            "deskgate-school-1".into(),
            Timestamp::default(),
        )
    };
    let place = Place {
        instance: "school",
        reach,
        subnets,
    };
    let owner = Belongings {
        groups: texts(&["8b", "choir"]),
        home_generation: 3,
    };
    ContainerSpec::new(template, &row, "pass word", place, &owner)
}

fn asked(spec: &ContainerSpec) -> Value {
    serde_json::to_value(body(spec)).expect("JSON")
}

#[test]
fn all_that_a_template_says_is_in_what_the_engine_is_asked() {
    let home = format!("deskgate-school-home-{USER}-all.3");
    let labels = json!({
        "deskgate.instance": "school",
        "deskgate.user": USER,
        "deskgate.template": "all",
    });
    let mut own = labels.clone();
    own["deskgate.desktop"] = json!(DESKTOP);
    own["deskgate.port"] = json!("7001");
    let shared = json!({ "deskgate.instance": "school" });
    let expected = json!({
        "Image": "registry.test/all:1",
        "Env": [
            "LANG=de_DE.UTF-8",
            "SIZE=1280x720",
            format!("SUBFOLDER=/desktop/{DESKTOP}/"),
            "WHO=mia",
            "SECRET=pass word",
        ],
        "Labels": own,
        "ExposedPorts": { "6123/tcp": {} },
        "User": "1001:1002",
        "StopSignal": "SIGINT",
        "HostConfig": {
            "PortBindings": { "6123/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "7001" }] },
            "Mounts": [
                { "Type": "volume", "Source": home, "Target": "/home/mia", "ReadOnly": false,
                  "VolumeOptions": { "Labels": labels } },
                { "Type": "bind", "Source": "/srv/material", "Target": "/mnt/material", "ReadOnly": true },
                { "Type": "volume", "Source": "common", "Target": "/mnt/common", "ReadOnly": false,
                  "VolumeOptions": { "Labels": shared } },
                { "Type": "volume", "Source": "class-8b", "Target": "/mnt/8b", "ReadOnly": false,
                  "VolumeOptions": { "Labels": shared } },
            ],
            "NetworkMode": "deskgate-school",
            "ShmSize": 268_435_456,
            "Memory": 3_221_225_472_u64,
            "MemorySwap": 3_221_225_472_u64,
            "NanoCpus": 1_500_000_000,
            "PidsLimit": 321,
            "Init": true,
            "ReadonlyRootfs": true,
            "Tmpfs": { "/tmp": "size=64m" },
            "CapDrop": ["ALL"],
            "CapAdd": ["CHOWN"],
            "SecurityOpt": ["no-new-privileges", "seccomp={}"],
            "Devices": [{
                "PathOnHost": "/dev/dri/renderD128",
                "PathInContainer": "/dev/dri/card0",
                "CgroupPermissions": "rw",
            }],
        },
    });
    let made = asked(&spec(&template(), Reach::Port, None));
    assert_eq!(made, expected, "{made:#}");
}

#[test]
fn what_a_template_leaves_out_is_not_asked_for() {
    let mut template = template();
    template.home = Home::None;
    template.mounts = Vec::new();
    template.network = NetworkPolicy::None;
    template.sandbox.seccomp = Seccomp::Unconfined;
    template.sandbox.no_new_privileges = false;
    template.sandbox.user = None;
    template.stop.signal = None;
    template.auth = Auth::None;
    let pool: SubnetPool = "10.213.0.0/24".parse().expect("a network");
    let made = asked(&spec(&template, Reach::Network, Some(pool)));
    let host = &made["HostConfig"];
    assert_eq!(host["Mounts"], json!([]));
    assert_eq!(host["SecurityOpt"], json!(["seccomp=unconfined"]));
    assert_eq!(host["NetworkMode"], format!("deskgate-school-{DESKTOP}"));
    for (place, name) in [
        (&made, "User"),
        (&made, "StopSignal"),
        (&made, "Entrypoint"),
        (host, "PortBindings"),
    ] {
        assert!(
            place.get(name).is_none_or(Value::is_null),
            "{name}: {made:#}"
        );
    }
    let env = made["Env"].as_array().expect("a list");
    assert_eq!(env.len(), 3, "{env:?}");
}

#[test]
fn a_container_that_waits_is_nobodys() {
    let mut template = template();
    template.home = Home::None;
    template.mounts.truncate(2);
    let waiting = Waiting {
        place: 4,
        fingerprint: "print".into(),
        made_at: Timestamp::from_millis(1_700_000_000_000),
    };
    let spec = spec(&template, Reach::Port, None).waiting(&waiting);
    assert_eq!(spec.name, "deskgate-school-pool-all-4");
    let expected = json!({
        "deskgate.instance": "school",
        "deskgate.template": "all",
        "deskgate.desktop": DESKTOP,
        "deskgate.pool": "print",
        "deskgate.port": "7001",
        "deskgate.made": "1700000000000",
    });
    assert_eq!(asked(&spec)["Labels"], expected);
}

#[test]
fn a_home_that_is_kept_to_a_size_says_so() {
    let home = spec(&template(), Reach::Port, None).home.expect("a home");
    let quota = home.quota.expect("a quota");
    let expected = json!({
        "Name": format!("deskgate-school-home-{USER}-all.3"),
        "DriverOpts": { "size": "5368709120" },
        "Labels": {
            "deskgate.instance": "school",
            "deskgate.user": USER,
            "deskgate.template": "all",
        },
    });
    assert_eq!(
        serde_json::to_value(volume_body(&home, quota)).expect("JSON"),
        expected
    );
}
