//! Whatever the gateway makes passes, and it passes no more when one member of it is another.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::config::raw::Raw;
use crate::config::{FilterConfig, Reach};
use crate::engine::docker::networks;
use crate::engine::spec::{self, LABEL_PORT, Own};
use crate::model::notice::LookState;
use crate::model::template::NetworkPolicy;

/// Templates of every make: the presets, and one that asks for all that can be asked for.
const CONFIGURATION: &str = r#"
instance = "school"
port_range = "7000-7010"

[[template]]
id = "kasm"
image = "kasm:1"

[[template]]
id = "selkies"
preset = "selkies"
image = "registry:5000/selkies:1"
network = "none"
home = "none"
warm = 2

[[template]]
id = "plain"
preset = "novnc"
image = "novnc:1"
auth = { none = true }
home_quota = "1g"

[[template]]
id = "all"
image = "all:1"
env = { LANG = "de", Z = "1" }
user = "1000:1000"
read_only = true
tmpfs = { "/tmp" = "size=64m", "/run" = "" }
cap_add = ["CHOWN"]
no_new_privileges = false
seccomp = "unconfined"
devices = ["/dev/dri/renderD128"]
stop = { signal = "SIGINT", pre_stop = ["/bin/save", "all"] }
notice = ["/bin/show", "{state}", "{text}"]
mounts = [
    { source = "/srv/material", target = "/material", read_only = true },
    { source = "class-{group}", target = "/class/{group}", groups = ["8a", "8b"] },
    { source = "/srv/{group}", target = "/shared/{group}", groups = ["8a"] },
]
"#;

fn rules(reach: Reach, subnets: &str) -> Rules {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("deskgate.toml");
    std::fs::write(&file, CONFIGURATION).expect("a file");
    let mut raw = Raw::load(Some(&file), &|_| None);
    raw.set("DESKTOP_SUBNETS", subnets);
    raw.set("MAX_DESKTOPS", "10");
    let mut config = FilterConfig::resolve(raw).expect("a configuration");
    config.desktops.reach = reach;
    Rules::new(config)
}

fn arrangements() -> impl Iterator<Item = Rules> {
    let reaches = [Reach::Port, Reach::Network].into_iter();
    reaches.flat_map(|reach| ["off", "10.213.0.0/24"].map(|subnets| rules(reach, subnets)))
}

/// What a gateway makes of a template: desktops of several people, members of the pool, the check's.
fn made(rules: &Rules, template: &Template) -> Vec<ContainerSpec> {
    let (id, user) = (DesktopId::random(), UserId::random());
    let place = Place {
        instance: &rules.instance,
        reach: rules.reach,
        subnets: rules.subnets,
    };
    let name = container_name(&rules.instance, id);
    let row = Desktop {
        host_port: Some(7003),
        ..Desktop::queued(template, id, user, name, Timestamp::default())
    };
    let of = |groups: &[&str], home_generation| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let owner = Belongings {
            groups,
            home_generation,
        };
        ContainerSpec::new(template, &row, "pass=word", place, &owner)
    };
    let mut made = vec![of(&[], 0), of(&["8a"], 1), of(&["8b", "8a", "x"], 12)];
    if template.warm > 0 {
        let waiting = Waiting {
            place: 1,
            fingerprint: made[0].fingerprint("sha256:1"),
            made_at: Timestamp::from_millis(1_700_000_000_000),
        };
        made.push(of(&[], 0).waiting(&waiting));
    }
    let place = probe::place(&rules.probes, rules.subnets);
    made.push(probe::spec(template, place, id));
    made
}

fn every_container() -> Vec<(Rules, String, Value)> {
    let mut all = Vec::new();
    for rules in arrangements() {
        for template in &rules.templates {
            for spec in made(&rules, template) {
                let body = serde_json::to_value(create::body(&spec)).expect("JSON");
                all.push((rules.clone(), spec.name, body));
            }
        }
    }
    all
}

fn ask(rules: &Rules, name: &str, body: &Value) -> Result<Value, Refusal> {
    rules.container(name, body.to_string().as_bytes())
}

#[test]
fn whatever_the_gateway_makes_passes() {
    let all = every_container();
    assert!(all.len() > 60, "{}", all.len());
    for (rules, name, body) in all {
        assert_eq!(
            ask(&rules, &name, &body),
            Ok(body.clone()),
            "{name} {body:#}"
        );
    }
}

/// The value with another one at each of its places, with what was done.
fn mutations(value: &Value) -> Vec<(String, Value)> {
    let put = |pointer: &str, new: Value| {
        let mut other = value.clone();
        *other.pointer_mut(pointer).expect("a place") = new;
        other
    };
    let mut places = vec![(String::new(), value)];
    let mut all = Vec::new();
    while let Some((pointer, found)) = places.pop() {
        let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
        match found {
            Value::Object(members) => {
                for (name, member) in members {
                    places.push((format!("{pointer}/{}", escaped(name)), member));
                    let mut fewer = members.clone();
                    fewer.remove(name);
                    all.push((
                        format!("{pointer}/{name} removed"),
                        put(&pointer, fewer.into()),
                    ));
                }
                let mut more = members.clone();
                more.insert("Surprise".into(), json!("x"));
                all.push((format!("{pointer} extended"), put(&pointer, more.into())));
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    places.push((format!("{pointer}/{at}"), item));
                    let mut fewer = items.clone();
                    fewer.remove(at);
                    all.push((
                        format!("{pointer}/{at} removed"),
                        put(&pointer, fewer.into()),
                    ));
                }
                let more = items.iter().cloned().chain([json!("x")]).collect();
                all.push((format!("{pointer} extended"), put(&pointer, more)));
            }
            Value::String(text) => {
                all.push((pointer.clone(), put(&pointer, json!(format!("{text}x")))));
            }
            Value::Number(number) => {
                let more = number.as_i64().unwrap_or_default() + 1;
                all.push((pointer.clone(), put(&pointer, json!(more))));
            }
            Value::Bool(flag) => all.push((pointer.clone(), put(&pointer, json!(!flag)))),
            Value::Null => {}
        }
        if !pointer.is_empty() {
            all.push((format!("{pointer} null"), put(&pointer, Value::Null)));
        }
    }
    all
}

#[test]
fn nothing_passes_when_one_member_is_another() {
    for (rules, name, body) in every_container() {
        let password = format!(
            "/Env/{}",
            body["Env"].as_array().map_or(0, |env| env.len().max(1) - 1)
        );
        let groups = body["HostConfig"]["Mounts"].as_array().map_or(0, Vec::len);
        for (what, other) in mutations(&body) {
            // What differs between two desktops of one template: the password. A person may also be in one group less.
            let is_free = (what == password && ask_password(&body))
                || (what.starts_with("/HostConfig/Mounts/")
                    && what.ends_with(" removed")
                    && groups > 2);
            if !is_free {
                assert!(ask(&rules, &name, &other).is_err(), "{what} of {body:#}");
            }
        }
        let renamed = format!("{name}0");
        assert!(ask(&rules, &renamed, &body).is_err(), "{name}");
    }
}

fn ask_password(body: &Value) -> bool {
    let last = body["Env"].as_array().and_then(|env| env.last()?.as_str());
    last.is_some_and(|last| last.ends_with("pass=word"))
}

#[test]
fn none_of_the_known_ways_out_of_a_container_passes() {
    let bind = json!({ "Type": "bind", "Source": "/", "Target": "/host" });
    let ways = [
        ("Privileged", json!(true)),
        ("NetworkMode", json!("host")),
        ("NetworkMode", json!("container:other")),
        ("PidMode", json!("host")),
        ("IpcMode", json!("host")),
        ("UTSMode", json!("host")),
        ("UsernsMode", json!("host")),
        ("CgroupnsMode", json!("host")),
        ("Binds", json!(["/:/host"])),
        ("Mounts", json!([bind])),
        (
            "Mounts",
            json!([{ "Type": "volume", "Source": "x", "Target": "/x", "VolumeOptions": {
            "DriverConfig": { "Name": "local", "Options": { "type": "none", "o": "bind", "device": "/" } } } }]),
        ),
        ("VolumesFrom", json!(["other"])),
        ("VolumeDriver", json!("other")),
        (
            "Devices",
            json!([{ "PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm" }]),
        ),
        ("DeviceCgroupRules", json!(["a *:* rwm"])),
        ("DeviceRequests", json!([{ "Count": -1 }])),
        ("CapAdd", json!(["SYS_ADMIN"])),
        ("CapDrop", json!([])),
        ("SecurityOpt", json!(["apparmor=unconfined"])),
        ("SecurityOpt", json!([])),
        ("GroupAdd", json!(["0"])),
        ("CgroupParent", json!("/")),
        ("Runtime", json!("other")),
        ("Sysctls", json!({ "kernel.core_pattern": "|/x" })),
        ("MaskedPaths", json!([])),
        ("ReadonlyPaths", json!([])),
        ("PublishAllPorts", json!(true)),
        ("Links", json!(["other"])),
        ("ExtraHosts", json!(["a:1.2.3.4"])),
        ("RestartPolicy", json!({ "Name": "always" })),
        ("LogConfig", json!({ "Type": "syslog" })),
        ("Memory", json!(0)),
        ("PidsLimit", json!(-1)),
        ("OomKillDisable", json!(true)),
        ("privileged", json!(true)),
        ("PRIVILEGED", json!(true)),
    ];
    let rules = rules(Reach::Port, "10.213.0.0/24");
    let spec = made(&rules, &rules.templates[0]).remove(0);
    let body = serde_json::to_value(create::body(&spec)).expect("JSON");
    for (name, value) in ways {
        let mut other = body.clone();
        other["HostConfig"][name] = value;
        let Err(Refusal::Member(place)) = ask(&rules, &spec.name, &other) else {
            panic!("{name} passes");
        };
        assert!(place.starts_with(&format!("HostConfig.{name}")), "{place}");
    }
    for (name, value) in [
        ("Image", json!("other:1")),
        ("Entrypoint", json!(["/bin/sh"])),
        ("Cmd", json!(["/bin/sh"])),
        ("User", json!("0")),
        ("Volumes", json!({ "/host": {} })),
        ("hostconfig", json!({ "Privileged": true })),
        (
            "NetworkingConfig",
            json!({ "EndpointsConfig": { "bridge": {} } }),
        ),
    ] {
        let mut other = body.clone();
        other[name] = value;
        assert_eq!(
            ask(&rules, &spec.name, &other),
            Err(Refusal::Member(name.into()))
        );
    }
    // Of two members with one name the engine may take the first: it never sees the second.
    let text = body.to_string();
    let twice = text.replacen(
        "\"HostConfig\":",
        "\"HostConfig\":{\"Privileged\":true},\"HostConfig\":",
        1,
    );
    assert_ne!(text, twice);
    assert_eq!(rules.container(&spec.name, twice.as_bytes()), Ok(body));
}

#[test]
fn ports_owners_and_places_are_of_this_installation() {
    let rules = rules(Reach::Port, "10.213.0.0/24");
    let template = &rules.templates[0];
    let spec = made(&rules, template).remove(0);
    let with = |change: &dyn Fn(&mut ContainerSpec)| {
        let mut other = spec.clone();
        change(&mut other);
        let body = serde_json::to_value(create::body(&other)).expect("JSON");
        ask(&rules, &other.name, &body)
    };
    assert!(with(&|_| {}).is_ok());
    let moved = |spec: &mut ContainerSpec| {
        spec.host_port = Some(7010);
        spec.labels.insert(LABEL_PORT.into(), "7010".into());
    };
    assert!(with(&moved).is_ok());
    let untrue = with(&|spec| spec.host_port = Some(7010));
    assert!(matches!(untrue, Err(Refusal::Member(_))), "{untrue:?}");
    assert_eq!(
        with(&|spec| spec.host_port = Some(6999)),
        Err(Refusal::Port)
    );
    assert_eq!(with(&|spec| spec.host_port = None), Err(Refusal::Port));
    let label = |name: &'static str, value: &'static str| {
        with(&move |spec| drop(spec.labels.insert(name.into(), value.into())))
    };
    assert_eq!(label(LABEL_INSTANCE, "other"), Err(Refusal::Instance));
    assert_eq!(label("deskgate.template", "other"), Err(Refusal::Template));
    assert_eq!(label(LABEL_USER, "mia"), Err(Refusal::Owner));
    // Somebody else's home, and a label of the pool on somebody's desktop.
    let other = UserId::random().to_string();
    let stolen = with(&|spec| drop(spec.labels.insert(LABEL_USER.into(), other.clone())));
    assert!(matches!(stolen, Err(Refusal::Member(_))), "{stolen:?}");
    assert!(label(LABEL_POOL, &"x".repeat(FINGERPRINT).leak()[..]).is_err());

    let exam = &rules.templates[1];
    let member = made(&rules, exam).remove(3);
    let body = serde_json::to_value(create::body(&member)).expect("JSON");
    assert!(ask(&rules, &member.name, &body).is_ok());
    let beyond = format!("{}2", pool_prefix("school", &exam.id));
    assert_eq!(ask(&rules, &beyond, &body), Err(Refusal::Name));
}

#[test]
fn networks_volumes_and_commands_are_those_of_the_configuration() {
    for rules in arrangements() {
        let desktop = DesktopId::random();
        for (instance, internal) in [("school", false), ("school-check", true)] {
            let policy = if internal {
                NetworkPolicy::None
            } else {
                NetworkPolicy::Internet
            };
            let place = Place {
                instance,
                reach: rules.reach,
                subnets: rules.subnets,
            };
            let network = spec::network(place, policy, desktop);
            let own = rules.subnets.map(|pool| {
                let subnet = pool.subnets().nth(3).expect("a subnet");
                (Own { desktop, pool }, subnet)
            });
            let body = serde_json::to_value(networks::body(&network, instance, own)).expect("JSON");
            let ask = |body: &Value| rules.network(body.to_string().as_bytes());
            assert_eq!(ask(&body), Ok(body.clone()));
            for (what, other) in mutations(&body) {
                // Networks of both kinds are wanted here.
                if what != "/Internal" || rules.subnets.is_none() {
                    assert!(ask(&other).is_err(), "{what} of {body:#}");
                }
            }
        }
        let (plain, user) = (&rules.templates[2], UserId::random());
        let mut body = Value::Null;
        let ask = |body: &Value| rules.volume(body.to_string().as_bytes());
        for instance in ["school-check", "school"] {
            let home = spec::home_volume(instance, user, plain, 2);
            body = serde_json::to_value(create::volume_body(&home, 1 << 30)).expect("JSON");
            assert_eq!(ask(&body), Ok(body.clone()));
            for (what, other) in mutations(&body) {
                assert!(
                    ask(&other).is_err() || what == "/Name",
                    "{what} of {body:#}"
                );
            }
        }
        let mut bind = body.clone();
        bind["DriverOpts"] = json!({ "type": "none", "o": "bind", "device": "/" });
        assert_eq!(ask(&bind), Err(Refusal::Member("DriverOpts.device".into())));
    }
}

#[test]
fn commands_are_the_templates_or_the_checks() {
    let rules = rules(Reach::Port, "off");
    let labels = |instance: &str, template: &str| {
        let pairs = [(LABEL_INSTANCE, instance), ("deskgate.template", template)];
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    };
    let ask = |labels: &HashMap<String, String>, body: &Value| {
        rules.command(labels, body.to_string().as_bytes())
    };
    let save = json!({ "Cmd": ["/bin/save", "all"], "AttachStdout": true });
    assert_eq!(ask(&labels("school", "all"), &save), Ok(save.clone()));
    assert_eq!(ask(&labels("school", "kasm"), &save), Err(Refusal::Command));
    assert_eq!(
        ask(&labels("school-check", "all"), &save),
        Err(Refusal::Command)
    );
    let mut notices = rules.templates.iter().filter_map(|one| one.notice.as_ref());
    let notice = notices.next().expect("a notice");
    let shown = notice.command(LookState::Begin, "Frau Lehmann");
    let shown = json!({ "Cmd": shown, "AttachStdout": true });
    assert_eq!(ask(&labels("school", "all"), &shown), Ok(shown.clone()));
    let words = ["/bin/show", "begin", "Something else."];
    let words = json!({ "Cmd": words, "AttachStdout": true });
    for (template, body) in [("all", words), ("kasm", shown)] {
        let asked = ask(&labels("school", template), &body);
        assert_eq!(asked, Err(Refusal::Command), "{template}");
    }
    for (name, value) in [
        ("Privileged", json!(true)),
        ("User", json!("0")),
        ("Env", json!(["A=1"])),
    ] {
        let mut other = save.clone();
        other[name] = value;
        assert_eq!(
            ask(&labels("school", "all"), &other),
            Err(Refusal::Member(name.into()))
        );
    }
    let knock = probe::knock([10, 0, 0, 1].into(), 22);
    let knock = json!({ "Cmd": knock, "AttachStdout": true });
    assert_eq!(
        ask(&labels("school-check", "all"), &knock),
        Ok(knock.clone())
    );
    assert_eq!(ask(&labels("school", "all"), &knock), Err(Refusal::Command));
    let look_up = probe::look_up("id.school.test").expect("a name");
    let asked = json!({ "Cmd": look_up, "AttachStdout": true });
    let check = labels("school-check", "all");
    assert_eq!(ask(&check, &asked), Ok(asked.clone()));
    assert_eq!(ask(&labels("school", "all"), &asked), Err(Refusal::Command));
    for (place, word) in [(4, "$(id)"), (4, "-s"), (2, "id"), (0, "/bin/bash")] {
        let mut other = look_up.clone();
        word.clone_into(&mut other[place]);
        let other = json!({ "Cmd": other, "AttachStdout": true });
        assert_eq!(ask(&check, &other), Err(Refusal::Command), "{word}");
    }
    let start = json!({ "Detach": false, "Tty": false, "OutputCapacity": null });
    assert_eq!(
        Rules::start_command(start.to_string().as_bytes()),
        Ok(start)
    );
    assert!(Rules::start_command(b"{\"Tty\":true}").is_err());
}

#[test]
fn lists_are_of_this_installation_and_images_are_templates() {
    use super::super::call::Asked;
    let rules = rules(Reach::Port, "off");
    let ask = |target: &str| {
        let method = if target.starts_with("/images/create") {
            "POST"
        } else {
            "GET"
        };
        let asked = Asked::read(
            &method.parse().expect("a method"),
            &target.parse().expect("a target"),
        );
        rules.plain(&asked?)
    };
    let list = |kind: &str, label: &str| {
        let filters = url::form_urlencoded::byte_serialize(label.as_bytes()).collect::<String>();
        ask(&format!("{kind}?filters={filters}"))
    };
    for kind in ["/containers/json", "/volumes", "/events"] {
        for instance in ["school", "school-check"] {
            let label =
                json!({ "label": [format!("deskgate.instance={instance}"), "deskgate.user=x"] });
            assert_eq!(list(kind, &label.to_string()), Ok(()));
        }
        assert_eq!(
            list(kind, r#"{"label":["deskgate.instance=other"]}"#),
            Err(Refusal::Filters)
        );
        assert_eq!(
            list(kind, r#"{"name":["deskgate.instance=school"]}"#),
            Err(Refusal::Filters)
        );
        assert_eq!(ask(kind), Err(Refusal::Filters));
    }
    assert_eq!(ask("/images/registry:5000/selkies:1/json"), Ok(()));
    assert_eq!(ask("/images/other/json"), Err(Refusal::Image));
    assert_eq!(ask("/images/create?fromImage=all%3A1&platform="), Ok(()));
    assert_eq!(ask("/images/create?fromImage=alpine"), Err(Refusal::Image));
    for instance in ["school", "school-check"] {
        let home = spec::home_name(instance, UserId::random(), "gone", 1);
        assert_eq!(ask(&format!("/volumes/{home}")), Ok(()));
    }
    assert_eq!(ask("/volumes/database"), Err(Refusal::Foreign("volume")));
}

proptest! {
    #[test]
    fn no_member_that_is_added_anywhere_passes(name in "[A-Za-z]{1,20}", value in any::<i64>(), place in 0..4_usize) {
        let rules = rules(Reach::Network, "off");
        let spec = made(&rules, &rules.templates[3]).remove(1);
        let mut body = serde_json::to_value(create::body(&spec)).expect("JSON");
        let places = ["", "/HostConfig", "/HostConfig/Mounts/0", "/Labels"];
        let object: &mut Map<String, Value> = body.pointer_mut(places[place]).and_then(Value::as_object_mut).expect("an object");
        prop_assume!(!object.contains_key(&name));
        object.insert(name, value.into());
        prop_assert!(ask(&rules, &spec.name, &body).is_err());
    }

    #[test]
    fn whatever_is_sent_nothing_panics(name in ".*", body in ".*") {
        let rules = rules(Reach::Port, "off");
        prop_assert!(rules.container(&name, body.as_bytes()).is_err());
        prop_assert!(rules.network(body.as_bytes()).is_err());
        prop_assert!(rules.volume(body.as_bytes()).is_err());
    }
}
