//! What a container for a desktop looks like: a pure function of template, desktop and settings.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Reach;
use crate::model::desktop::Desktop;
use crate::model::id::{DesktopId, UserId};
use crate::model::mount::Mount;
use crate::model::subnet::SubnetPool;
use crate::model::template::{Auth, Home, NetworkPolicy, Sandbox, Template, fill};
use crate::model::time::Timestamp;

/// Label with the name of the installation.
pub const LABEL_INSTANCE: &str = "deskgate.instance";
/// Label with the desktop's id.
pub const LABEL_DESKTOP: &str = "deskgate.desktop";
/// Label with the user's id.
pub const LABEL_USER: &str = "deskgate.user";
/// Label with the template's id.
pub const LABEL_TEMPLATE: &str = "deskgate.template";

/// Label with the port on the host that leads to it, if there is one.
pub const LABEL_PORT: &str = "deskgate.port";
/// Label of a container that was made before anybody wanted it: the fingerprint of its description.
pub const LABEL_POOL: &str = "deskgate.pool";
/// Label with the time when it was made, milliseconds since 1970.
pub const LABEL_MADE: &str = "deskgate.made";

/// The name server of containers without the outside: their own loopback, where nobody answers. Told
/// none, engines before 23.0.11, 25.0.5 and 26.0 ask the host's on their behalf where that is on the host's loopback, past
/// all rules of the network (CVE-2024-29018); one that a container was given is asked from inside it by all of them. The names
/// of containers come from the engine itself.
const NO_NAME_SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Length of a user's id as text.
const USER_ID_LENGTH: usize = 36;

/// Everything the engine is told about a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Deterministic name: it is a lock across gateways.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// Labels that let the truth be rebuilt from the engine.
    pub labels: HashMap<String, String>,
    /// `NAME=value`; holds the desktop's password.
    pub env: Vec<String>,
    /// Port inside.
    pub port: u16,
    /// Port on 127.0.0.1 of the host, if one is published.
    pub host_port: Option<u16>,
    /// Network to join.
    pub network: Network,
    /// Where names of the outside are asked for, if not where the host asks; nobody waits long for that.
    pub name_server: Option<Ipv4Addr>,
    /// Shared memory, bytes.
    pub shm_size: i64,
    /// Memory limit, bytes.
    pub memory: i64,
    /// CPU limit, billionths of a core.
    pub nano_cpus: i64,
    /// Limit of processes and threads.
    pub pids: i64,
    /// What the container may do.
    pub sandbox: Sandbox,
    /// Signal that ends it, if not the image's.
    pub stop_signal: Option<String>,
    /// Volume for the person's files.
    pub home: Option<HomeVolume>,
    /// What it shares with other containers.
    pub mounts: Vec<Mount>,
    /// What it runs, if not what its image says.
    pub command: Option<Vec<String>>,
}

/// A network of one desktop alone, or one that desktops share without reaching each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Whether nothing outside can be reached from it. The engine publishes no ports there.
    pub internal: bool,
    /// What makes it one desktop's alone, if it is.
    pub own: Option<Own>,
}

/// What makes a network one desktop's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Whose.
    pub desktop: DesktopId,
    /// Where its addresses come from.
    pub pool: SubnetPool,
}

/// A named volume that outlives the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeVolume {
    /// Volume name, the same for each start by this user.
    pub name: String,
    /// Where it appears inside.
    pub path: String,
    /// Labels of the volume.
    pub labels: HashMap<String, String>,
    /// Largest size, bytes, where the engine can keep it.
    pub quota: Option<u64>,
}

/// The container's name for a desktop.
#[must_use]
pub fn container_name(instance: &str, desktop: DesktopId) -> String {
    format!("deskgate-{instance}-{desktop}")
}

/// What the names of a template's containers that wait for somebody begin with; the number of a place follows.
#[must_use]
pub fn pool_prefix(instance: &str, template: &str) -> String {
    format!("deskgate-{instance}-pool-{template}-")
}

/// The network that all desktops with this policy share, where none has its own.
#[must_use]
pub fn shared_network(instance: &str, policy: NetworkPolicy) -> Network {
    let internal = policy == NetworkPolicy::None;
    let ending = if internal { "-closed" } else { "" };
    Network {
        name: format!("deskgate-{instance}{ending}"),
        internal,
        own: None,
    }
}

/// The network of a desktop.
#[must_use]
pub fn network(place: Place<'_>, policy: NetworkPolicy, desktop: DesktopId) -> Network {
    match place.subnets {
        None => shared_network(place.instance, policy),
        Some(pool) => Network {
            name: container_name(place.instance, desktop),
            internal: policy == NetworkPolicy::None,
            own: Some(Own { desktop, pool }),
        },
    }
}

/// How desktops of `template` are reached where `reach` is configured: on a network without the outside, no port is
/// published.
#[must_use]
pub fn reach_of(template: &Template, reach: Reach) -> Reach {
    match template.network {
        NetworkPolicy::Internet => reach,
        NetworkPolicy::None => Reach::Network,
    }
}

/// The volume with the home of `user` for `template`, after it was set aside `generation` times.
#[must_use]
pub fn home_name(instance: &str, user: UserId, template: &str, generation: i64) -> String {
    let name = format!("deskgate-{instance}-home-{user}-{template}");
    // No template's id has a dot, so that no two homes share a name.
    match generation {
        0 => name,
        later => format!("{name}.{later}"),
    }
}

/// Whether a volume of this name is a home of this installation, whoever's it is.
#[must_use]
pub fn is_home_name(instance: &str, name: &str) -> bool {
    let rest = name.strip_prefix(&format!("deskgate-{instance}-home-"));
    let Some((user, rest)) = rest.and_then(|rest| rest.split_at_checked(USER_ID_LENGTH)) else {
        return false;
    };
    let Some((user, rest)) = user.parse().ok().zip(rest.strip_prefix('-')) else {
        return false;
    };
    let (template, later) = rest.split_once('.').unwrap_or((rest, "0"));
    // One home has one name.
    let is_same = |generation| home_name(instance, user, template, generation) == name;
    !template.is_empty() && later.parse().is_ok_and(is_same)
}

/// How often a home was set aside, by the name of its volume. `None` when it is another's.
#[must_use]
pub fn home_generation(instance: &str, user: UserId, template: &str, name: &str) -> Option<i64> {
    let rest = name.strip_prefix(&home_name(instance, user, template, 0))?;
    match rest.strip_prefix('.') {
        None => rest.is_empty().then_some(0),
        Some(later) => later.parse().ok(),
    }
}

/// The volume with the home of `user`.
#[must_use]
pub fn home_volume(
    instance: &str,
    user: UserId,
    template: &Template,
    generation: i64,
) -> HomeVolume {
    HomeVolume {
        name: home_name(instance, user, &template.id, generation),
        path: template.home_path.clone(),
        labels: owner_labels(instance, user, &template.id),
        quota: template.home_quota,
    }
}

fn owner_labels(instance: &str, user: UserId, template: &str) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_INSTANCE.to_owned(), instance.to_owned()),
        (LABEL_USER.to_owned(), user.to_string()),
        (LABEL_TEMPLATE.to_owned(), template.to_owned()),
    ])
}

/// What somebody brings along to a container.
#[derive(Clone, Debug, Default)]
pub struct Belongings {
    /// Their groups.
    pub groups: Vec<String>,
    /// How often their home was set aside.
    pub home_generation: i64,
}

impl ContainerSpec {
    /// Describes the container of `desktop`, which `password` protects.
    ///
    /// The port is published on 127.0.0.1 only, if at all: nobody reaches a desktop past the gateway.
    #[must_use]
    pub fn new(
        template: &Template,
        desktop: &Desktop,
        password: &str,
        place: Place<'_>,
        belongings: &Belongings,
    ) -> Self {
        let instance = place.instance;
        let mut labels = owner_labels(instance, desktop.user_id, &template.id);
        labels.insert(LABEL_DESKTOP.to_owned(), desktop.id.to_string());
        let reach = reach_of(template, place.reach);
        let host_port = desktop.host_port.filter(|_| reach == Reach::Port);
        labels.extend(host_port.map(|port| (LABEL_PORT.to_owned(), port.to_string())));
        let network = network(place, template.network, desktop.id);
        Self {
            name: desktop.container_name.clone(),
            image: desktop.image_name.clone(),
            labels,
            env: environment(template, desktop.id, password),
            port: desktop.container_port,
            host_port,
            name_server: network.internal.then_some(NO_NAME_SERVER),
            network,
            shm_size: saturating(template.shm_size),
            memory: saturating(template.memory),
            nano_cpus: i64::from(template.cpu_millis) * 1_000_000,
            pids: i64::from(template.pids),
            sandbox: template.sandbox.clone(),
            stop_signal: template.stop.signal.clone(),
            home: (template.home == Home::Volume).then(|| {
                let generation = belongings.home_generation;
                home_volume(instance, desktop.user_id, template, generation)
            }),
            mounts: template
                .mounts
                .iter()
                .flat_map(|shared| shared.of(&belongings.groups))
                .collect(),
            command: None,
        }
    }
}

/// What a container that waits for somebody has instead of an owner.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its place in the pool.
    pub place: u32,
    /// What it was made from.
    pub fingerprint: String,
    /// When it was made.
    pub made_at: Timestamp,
}

impl ContainerSpec {
    /// The same for a container that is nobody's yet.
    #[must_use]
    pub fn waiting(mut self, waiting: &Waiting) -> Self {
        self.labels.remove(LABEL_USER);
        let label = |name: &str| self.labels.get(name).map(String::as_str);
        let (instance, template) = (label(LABEL_INSTANCE), label(LABEL_TEMPLATE));
        let prefix = pool_prefix(instance.unwrap_or_default(), template.unwrap_or_default());
        self.name = format!("{prefix}{}", waiting.place);
        let made_at = waiting.made_at.millis().to_string();
        let labels = [
            (LABEL_POOL, waiting.fingerprint.clone()),
            (LABEL_MADE, made_at),
        ];
        self.labels
            .extend(labels.map(|(name, value)| (name.to_owned(), value)));
        self
    }

    /// What it says apart from its name, labels and port, and from which image, as a short text. Two that differ in
    /// anything that a desktop could notice have different ones.
    #[must_use]
    pub fn fingerprint(&self, image_id: &str) -> String {
        let same = Self {
            name: String::new(),
            labels: HashMap::new(),
            host_port: self.host_port.map(|_| 0),
            ..self.clone()
        };
        let text = format!("{same:?} {image_id}");
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
    }
}

/// `NAME=value` for each variable; what the gateway has to say comes last and so counts.
fn environment(template: &Template, id: DesktopId, password: &str) -> Vec<String> {
    let pair = |(name, value): (&String, &String)| format!("{name}={value}");
    let mut env: Vec<String> = template.env.iter().map(pair).collect();
    if let (Some(name), Some(size)) = (&template.resolution_env, &template.resolution) {
        env.push(format!("{name}={size}"));
    }
    let told = template.prefix_env.iter();
    env.extend(told.map(|(name, value)| format!("{name}={}", fill(value, id))));
    if let Auth::Basic {
        user,
        password_env,
        user_env,
    } = &template.auth
    {
        env.extend(user_env.iter().map(|name| format!("{name}={user}")));
        env.push(format!("{password_env}={password}"));
    }
    env
}

/// Where containers of this installation go.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Name of the installation.
    pub instance: &'a str,
    /// How the gateway reaches desktops.
    pub reach: Reach,
    /// Where each desktop gets a network of its own from; without it they share one.
    pub subnets: Option<SubnetPool>,
}

fn saturating(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::docker::create;
    use crate::model::mount::SharedMount;
    use crate::model::preset::Preset;

    fn desktop(template: &Template) -> Desktop {
        let id = DesktopId::random();
        let name = container_name("school", id);
        let now = Timestamp::default();
        Desktop {
            host_port: Some(7001),
            ..Desktop::queued(template, id, UserId::random(), name, now)
        }
    }

    fn spec(template: &Template, desktop: &Desktop, reach: Reach) -> ContainerSpec {
        let place = Place {
            instance: "school",
            reach,
            subnets: None,
        };
        let owner = Belongings {
            groups: vec!["8a".into()],
            home_generation: 2,
        };
        ContainerSpec::new(template, desktop, "pw", place, &owner)
    }

    #[test]
    fn a_container_has_a_password_limits_labels_and_only_a_loopback_port() {
        let template = Template::kasm("image:1".into(), 6901);
        let desktop = desktop(&template);
        let made = spec(&template, &desktop, Reach::Port);
        let password = made.env.last().map(String::as_str);
        assert_eq!(password, Some("VNC_PW=pw"));
        assert_eq!(made.host_port, Some(7001));
        assert_eq!(made.labels[LABEL_DESKTOP], desktop.id.to_string());
        assert_eq!(made.labels[LABEL_INSTANCE], "school");
        assert!(made.memory > 0 && made.pids > 0 && made.nano_cpus > 0);
        let home = made.home.expect("a home");
        assert!(
            !home.name.contains(&desktop.id.to_string()),
            "the home outlives the desktop"
        );
        let first = home_name("school", desktop.user_id, "desktop", 0);
        assert_eq!(home.name, format!("{first}.2"));
        assert_eq!(spec(&template, &desktop, Reach::Network).host_port, None);
    }

    #[test]
    fn a_container_without_the_outside_has_a_name_server_that_never_answers() {
        let mut template = Template::kasm("image:1".into(), 6901);
        let desktop = desktop(&template);
        assert_eq!(spec(&template, &desktop, Reach::Port).name_server, None);
        let open = spec(&template, &desktop, Reach::Port).fingerprint("sha256:1");
        template.network = NetworkPolicy::None;
        let closed = spec(&template, &desktop, Reach::Port);
        assert_eq!(closed.name_server, Some(Ipv4Addr::LOCALHOST));
        let body = create::body(&closed).host_config.expect("a host's part");
        assert_eq!(body.dns, Some(vec!["127.0.0.1".to_owned()]));
        let patience = ["timeout:1", "attempts:1"].map(str::to_owned);
        assert_eq!(body.dns_options, Some(patience.to_vec()));
        // One that was kept ready with another is not handed out.
        let asked = ContainerSpec {
            name_server: None,
            ..closed.clone()
        };
        assert_ne!(
            closed.fingerprint("sha256:1"),
            asked.fingerprint("sha256:1")
        );
        assert_ne!(closed.fingerprint("sha256:1"), open);
    }

    #[test]
    fn a_container_is_told_who_asks_where_it_is_and_how_large_the_screen_is() {
        let mut template = Preset::Selkies.template("image:1".into());
        template.prefix_env = [("SUBFOLDER".to_owned(), "{prefix}/".to_owned())].into();
        template.env = [("LANG".to_owned(), "de".to_owned())].into();
        (template.resolution_env, template.resolution) =
            (Some("SIZE".into()), Some("800x600".into()));
        let desktop = desktop(&template);
        let subfolder = format!("SUBFOLDER=/desktop/{}/", desktop.id);
        assert_eq!(
            spec(&template, &desktop, Reach::Port).env,
            [
                "LANG=de",
                "SIZE=800x600",
                &subfolder,
                "CUSTOM_USER=desktop",
                "PASSWORD=pw"
            ]
        );
    }

    #[test]
    fn a_fingerprint_tells_what_matters_from_what_does_not() {
        let template = Template::kasm("image:1".into(), 6901);
        let row = desktop(&template);
        let made = spec(&template, &row, Reach::Port);
        let print = made.fingerprint("sha256:1");
        let renamed = ContainerSpec {
            name: "other".into(),
            labels: HashMap::from([("a".to_owned(), "b".to_owned())]),
            host_port: Some(9),
            ..made.clone()
        };
        assert_eq!(renamed.fingerprint("sha256:1"), print);
        assert_ne!(
            made.fingerprint("sha256:2"),
            print,
            "the image was made anew"
        );
        let unreached = spec(&template, &row, Reach::Network);
        assert_ne!(unreached.fingerprint("sha256:1"), print);
        let mut other = template.clone();
        other.env = [("LANG".to_owned(), "de".to_owned())].into();
        let other = spec(&other, &row, Reach::Port);
        assert_ne!(other.fingerprint("sha256:1"), print);
    }

    #[test]
    fn without_the_outside_nothing_is_published() {
        let mut template = Template::kasm("image:1".into(), 6901);
        template.network = NetworkPolicy::None;
        let made = spec(&template, &desktop(&template), Reach::Port);
        assert_eq!(made.host_port, None);
        assert!(made.network.internal && made.network.name != "deskgate-school");
    }

    #[test]
    fn homes_are_told_by_their_names() {
        let user = UserId::random();
        for (template, generation) in [("desktop", 0), ("a-b", 3), ("1", 12)] {
            let name = home_name("school", user, template, generation);
            assert!(is_home_name("school", &name), "{name}");
            assert!(!is_home_name("schoo", &name) && !is_home_name("school-2", &name));
            let read = home_generation("school", user, template, &name);
            assert_eq!(read, Some(generation));
            assert_eq!(home_generation("school", user, "other", &name), None);
        }
        let home = home_name("school", user, "desktop", 0);
        for other in [
            "deskgate-school-home-",
            "deskgate-school-home-x",
            "/",
            &format!("{home}.0"),
            &format!("{home}.x"),
            &format!("{home}.1.2"),
            &home.replace("-desktop", ""),
            &home.replace("-desktop", "-"),
            &home.replace("-desktop", "desktop"),
        ] {
            assert!(!is_home_name("school", other), "{other}");
        }
    }

    #[test]
    fn class_folders_are_those_of_the_persons_groups() {
        let mut template = Template::kasm("image:1".into(), 6901);
        template.mounts = vec![SharedMount {
            source: "class-{group}".into(),
            target: "/class/{group}".into(),
            read_only: true,
            groups: vec!["8a".into(), "8b".into()],
        }];
        let made = spec(&template, &desktop(&template), Reach::Port);
        assert_eq!(made.mounts.len(), 1);
        assert_eq!(made.mounts[0].source, "class-8a");
    }
}
