//! The fields of a template that say what its container is like: limits, rights, files, network.

use std::path::Path;

use super::table::Table;
use super::template::{is_path, is_variable, required, set};
use crate::model::mount::{GROUP, SharedMount};
use crate::model::notice::Notice;
use crate::model::template::{Device, Home, NetworkPolicy, Sandbox, Seccomp, Stop, Template};

/// Places of the host that nobody gives to desktops by a slip: with them goes the host itself.
const HOST_ITSELF: [&str; 16] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/run",
    "/var/spool/at",
    "/var/spool/cron",
];
/// The files of engines, which are the host as well.
const ENGINE_FILES: [&str; 3] = [
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
];
/// Largest seccomp profile, bytes.
const MAX_PROFILE: u64 = 256 * 1024;

pub(super) fn read(table: &mut Table<'_>, template: &mut Template) {
    set(&mut template.shm_size, table.size("shm_size"));
    set(&mut template.memory, table.size("memory"));
    let cpus = table.read("cpus", "a number of cores from 0.1 to 1000", cpu_millis);
    set(&mut template.cpu_millis, cpus);
    set(&mut template.pids, table.number("pids", (16, 1_000_000)));
    let expected = "variables whose names are of letters, digits and _";
    let env = table.pairs("env", expected, |name, _| is_variable(name));
    template.env.extend(env.unwrap_or_default());
    let expected = "the name of an environment variable";
    let variable = table.parsed("resolution_env", expected, |text| {
        is_variable(text).then(|| text.to_owned())
    });
    template.resolution_env = variable.or(template.resolution_env.take());
    template.resolution = table.parsed("resolution", "a size such as 1280x720", |text| {
        is_resolution(text).then(|| text.to_owned())
    });
    if template.resolution.is_some() && template.resolution_env.is_none() {
        let expected = "set only together with resolution_env";
        table.wrong("resolution", template.resolution.clone(), expected);
    }
    sandbox(table, &mut template.sandbox);
    table.table("stop", |table| stop(table, &mut template.stop));
    let expected = "a command, of whose arguments one is {state} and one is {text}";
    template.notice = table.read("notice", expected, notice);
    let networks = [
        ("internet", NetworkPolicy::Internet),
        ("none", NetworkPolicy::None),
    ];
    set(&mut template.network, table.word("network", &networks));
    let homes = [("volume", Home::Volume), ("none", Home::None)];
    set(&mut template.home, table.word("home", &homes));
    let path = table.parsed("home_path", "an absolute path", |text| {
        is_path(text).then(|| text.to_owned())
    });
    set(&mut template.home_path, path);
    template.home_quota = table.size("home_quota");
    set(&mut template.mounts, table.tables("mounts", mount));
}

fn sandbox(table: &mut Table<'_>, sandbox: &mut Sandbox) {
    let user = table.parsed("user", "a user or uid, or uid:gid", |text| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
        (!text.is_empty() && text.chars().all(fits)).then(|| text.to_owned())
    });
    sandbox.user = user.or(sandbox.user.take());
    set(&mut sandbox.init, table.flag("init"));
    set(&mut sandbox.read_only, table.flag("read_only"));
    let expected = "absolute paths with mount options, as in { \"/tmp\" = \"size=64m\" }";
    let tmpfs = table.pairs("tmpfs", expected, |path, options| {
        is_path(path) && options.bytes().all(|b| b.is_ascii_graphic())
    });
    set(&mut sandbox.tmpfs, tmpfs);
    let expected = "capabilities such as CHOWN, or ALL";
    set(
        &mut sandbox.cap_drop,
        table.texts("cap_drop", expected, is_capability),
    );
    set(
        &mut sandbox.cap_add,
        table.texts("cap_add", expected, is_capability),
    );
    set(
        &mut sandbox.no_new_privileges,
        table.flag("no_new_privileges"),
    );
    let expected = "default, unconfined, or the path of a readable JSON file";
    set(
        &mut sandbox.seccomp,
        table.parsed("seccomp", expected, seccomp),
    );
    let expected = "devices such as /dev/dri/renderD128, with :PATH and :rwm if they differ inside";
    let mut devices = Vec::new();
    let written = table.texts("devices", expected, |text| device(text).is_some());
    devices.extend(written.iter().flatten().filter_map(|text| device(text)));
    set(&mut sandbox.devices, written.map(|_| devices));
}

fn stop(table: &mut Table<'_>, stop: &mut Stop) {
    let signal = table.parsed("signal", "a signal such as SIGTERM", |text| {
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'+';
        let name = text.strip_prefix("SIG").filter(|name| !name.is_empty());
        name.is_some_and(|name| name.bytes().all(fits))
            .then(|| text.to_owned())
    });
    stop.signal = signal.or(stop.signal.take());
    set(&mut stop.timeout, table.duration("timeout"));
    let expected = "a command and its arguments";
    set(
        &mut stop.pre_stop,
        table.texts("pre_stop", expected, |text| !text.contains('\0')),
    );
}

fn notice(value: &toml::Value) -> Option<Notice> {
    let words = value.as_array()?.iter();
    let words = words.map(|word| word.as_str().map(str::to_owned));
    Notice::new(words.collect::<Option<_>>()?)
}

fn mount(table: &mut Table<'_>) -> SharedMount {
    let expected = "a volume's name, or a directory of the host that neither is a part of its system nor holds one";
    let source = required(table, "source", expected, |text| {
        is_volume(text) || is_shared_directory(text)
    });
    let target = required(table, "target", "an absolute path", is_path);
    let mount = SharedMount {
        source,
        target,
        read_only: table.flag("read_only").unwrap_or(true),
        groups: table
            .texts("groups", "names", |name| !name.is_empty())
            .unwrap_or_default(),
    };
    let both = mount.source.contains(GROUP) && mount.target.contains(GROUP);
    if mount.is_per_group() && (!both || mount.groups.is_empty()) {
        let expected = "{group} in source and in target, and groups that have such a folder";
        table.wrong("source", Some(mount.source.clone()), expected);
    }
    if !mount.is_per_group() && !mount.groups.is_empty() {
        let expected = "together with {group} in source and in target";
        table.wrong("groups", Some(mount.groups.join(", ")), expected);
    }
    // Every group has its own path, and a group may be called like a part of the system.
    let mounts = mount.of(&mount.groups);
    let mut directories = mounts.iter().filter(|one| one.source.starts_with('/'));
    if let Some(one) = directories.find(|one| !is_shared_directory(&one.source)) {
        table.wrong("source", Some(one.source.clone()), expected);
    }
    mount
}

/// A name that Docker gives to volumes, in which a group may stand behind the first character.
fn is_volume(text: &str) -> bool {
    let plain = text.replace(GROUP, "x");
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && plain.len() > 1
        && plain.bytes().all(known)
}

fn is_shared_directory(text: &str) -> bool {
    let path = text.replace(GROUP, "x");
    let is_in = |path: &str, place: &str| {
        path.strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut places = HOST_ITSELF.into_iter().chain(ENGINE_FILES);
    is_path(&path) && !places.any(|place| is_in(&path, place) || is_in(place, &path))
}

fn is_capability(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

fn is_resolution(text: &str) -> bool {
    let side = |text: &str| {
        let number = text
            .parse()
            .ok()
            .filter(|side| (64..=16_384).contains(side));
        number.is_some_and(|side: u32| side.to_string() == text)
    };
    text.split_once('x')
        .is_some_and(|(width, height)| side(width) && side(height))
}

fn seccomp(text: &str) -> Option<Seccomp> {
    match text {
        "default" => Some(Seccomp::Default),
        "unconfined" => Some(Seccomp::Unconfined),
        path => {
            let size = std::fs::metadata(Path::new(path)).ok()?.len();
            let profile = (size <= MAX_PROFILE).then(|| std::fs::read_to_string(path).ok())??;
            serde_json::from_str::<serde_json::Map<_, _>>(&profile).ok()?;
            Some(Seccomp::Profile(profile))
        }
    }
}

/// `HOST`, `HOST:CONTAINER` or `HOST:CONTAINER:PERMISSIONS`.
fn device(text: &str) -> Option<Device> {
    let mut parts = text.split(':');
    let host = parts.next().filter(|path| is_path(path))?;
    let container = parts.next().unwrap_or(host);
    let permissions = parts.next().unwrap_or("rwm");
    let fits = is_path(container)
        && !permissions.is_empty()
        && permissions.bytes().all(|byte| b"rwm".contains(&byte));
    (fits && parts.next().is_none()).then(|| Device {
        host: host.into(),
        container: container.into(),
        permissions: permissions.into(),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the range is checked first"
)]
fn cpu_millis(value: &toml::Value) -> Option<u32> {
    let cpus = value
        .as_float()
        .or_else(|| value.as_integer().map(|whole| whole as f64))?;
    (0.1..=1000.0)
        .contains(&cpus)
        .then(|| (cpus * 1000.0).round() as u32)
}
