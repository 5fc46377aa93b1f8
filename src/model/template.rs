//! A template: what an image needs so that its container can be somebody's desktop.
//!
//! Every field can be set in `deskgate.toml`; [`super::preset`] has the defaults for known images.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use super::hours::Hours;
use super::id::DesktopId;
use super::mount::SharedMount;
use super::notice::Notice;

/// A text for people, in the languages of the pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// German.
    pub de: String,
    /// English.
    pub en: String,
}

impl Texts {
    /// The same in both languages.
    #[must_use]
    pub fn same(text: &str) -> Self {
        Self {
            de: text.into(),
            en: text.into(),
        }
    }
}

/// When an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// When it is not there.
    Missing,
    /// At each start, so that a tag that moves is followed; the image that is there is used if that fails.
    Always,
    /// By the administrator only.
    Never,
}

/// How the gateway speaks to the desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// TLS with whatever certificate the container made for itself.
    Https,
}

/// Which certificate a desktop may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVerify {
    /// Any, each time.
    None,
    /// Only that of its first answer, for as long as it lives.
    Pin,
}

/// What the desktop wants to see before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    None,
    /// Basic authentication; the container learns the password from `password_env`.
    Basic {
        /// User name the desktop expects.
        user: String,
        /// Environment variable that carries the password into the container.
        password_env: String,
        /// Environment variable that carries the user name, for images that want to be told.
        user_env: Option<String>,
    },
}

/// Which path the desktop is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// That below `/desktop/<id>`.
    Strip,
    /// The whole path, since the desktop was told where it is.
    Keep,
}

/// Which `Host` the desktop sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// That of the browser.
    Preserve,
    /// The address that the gateway reaches it at.
    Upstream,
}

/// Which `Origin` the desktop sees in a WebSocket handshake. The gateway has checked the browser's either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The browser's.
    Pass,
    /// One that agrees with the scheme and the `Host` that the desktop sees.
    Rewrite,
}

/// Whether the gateway can look at what a desktop shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// It cannot.
    None,
    /// As a client of RFB over its WebSocket.
    Rfb,
}

/// Changes to the headers of a desktop's answers. They come before the gateway's own, which nothing here undoes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Set, whatever the desktop said.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Taken away.
    pub remove: Vec<HeaderName>,
}

/// How a desktop shows that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Path that is asked for, below the prefix.
    pub path: String,
    /// Whether the credentials go along.
    pub auth: bool,
    /// The status that means yes; unset: any of success or redirection.
    pub expect: Option<u16>,
    /// From the container's start to the first such answer.
    pub timeout: Duration,
}

/// How a desktop is ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Signal; unset: the image's.
    pub signal: Option<String>,
    /// How long the container may take before it is killed.
    pub timeout: Duration,
    /// Command that is run in the container beforehand, for at most `timeout`.
    pub pre_stop: Vec<String>,
}

/// Whether the person's files outlive the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Files end with the container.
    None,
    /// One volume per (user, template), kept when the desktop is removed.
    Volume,
}

/// What a desktop reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkPolicy {
    /// The internet.
    Internet,
    /// Nothing but the gateway's questions.
    None,
}

/// Which system calls a container may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// Those of the engine's profile.
    Default,
    /// All.
    Unconfined,
    /// Those of this profile (JSON).
    Profile(String),
}

/// A device of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Path on the host.
    pub host: String,
    /// Path inside.
    pub container: String,
    /// Of `r`, `w` and `m`.
    pub permissions: String,
}

/// What a container may do to the host that it runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// `uid`, `uid:gid` or name; unset: the image's.
    pub user: Option<String>,
    /// Whether the engine's init is process 1.
    pub init: bool,
    /// Whether the image's files cannot be changed.
    pub read_only: bool,
    /// Directories in memory, with their mount options.
    pub tmpfs: BTreeMap<String, String>,
    /// Capabilities taken.
    pub cap_drop: Vec<String>,
    /// Capabilities given back.
    pub cap_add: Vec<String>,
    /// Whether no program may gain rights (setuid and the like).
    pub no_new_privileges: bool,
    /// System calls.
    pub seccomp: Seccomp,
    /// Devices of the host.
    pub devices: Vec<Device>,
}

/// One kind of desktop that people may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Short name in the API and in labels: `[a-z0-9-]`, at most 40 characters.
    pub id: String,
    /// What people read.
    pub title: Texts,
    /// One sentence for the card.
    pub description: Texts,
    /// Name of one of the portal's icons, or a `data:image/` address.
    pub icon: String,
    /// Image reference.
    pub image: String,
    /// When it is fetched.
    pub pull: Pull,
    /// Port the desktop listens on inside the container.
    pub port: u16,
    /// How to speak to it.
    pub scheme: Scheme,
    /// Which certificate it may show.
    pub tls_verify: TlsVerify,
    /// What it wants to see.
    pub auth: Auth,
    /// A user of it who only sees, with the same password: as whom the gateway looks at its screen.
    pub viewer_auth: Option<String>,
    /// Which path it is asked for.
    pub prefix: Prefix,
    /// Environment that tells it where it is, with placeholders.
    pub prefix_env: BTreeMap<String, String>,
    /// Path and query of the first page, with placeholders. Starts with a slash.
    pub entry: String,
    /// The paths of its WebSockets; empty: any.
    pub ws_paths: Vec<String>,
    /// Which `Host` it sees.
    pub host_header: HostHeader,
    /// Which `Origin` it sees.
    pub origin: Origin,
    /// Paths that browsers never reach, with everything below them.
    pub deny_paths: Vec<String>,
    /// Changes to its answers.
    pub headers: HeaderRules,
    /// Longest WebSocket frame that it takes, bytes; a longer one ends the WebSocket. None: the desktop decides.
    pub max_message: Option<u64>,
    /// Path and query of the picture that it makes of itself, with `{width}` and `{height}`, if it makes one.
    pub screenshot: Option<String>,
    /// Whether it can be looked at.
    pub view: View,
    /// How it shows that it is there.
    pub ready: Ready,
    /// How it is ended.
    pub stop: Stop,
    /// How it shows that somebody looks at it; without it, nobody may.
    pub notice: Option<Notice>,
    /// Shared memory, bytes.
    pub shm_size: u64,
    /// Memory limit, bytes.
    pub memory: u64,
    /// CPU limit, thousandths of a core.
    pub cpu_millis: u32,
    /// Limit of processes and threads.
    pub pids: u32,
    /// What the container may do.
    pub sandbox: Sandbox,
    /// What it reaches.
    pub network: NetworkPolicy,
    /// Further environment; a table adds to that of its preset.
    pub env: BTreeMap<String, String>,
    /// Environment variable for `resolution`.
    pub resolution_env: Option<String>,
    /// Size of the screen at the start, `WIDTHxHEIGHT`.
    pub resolution: Option<String>,
    /// Where the person's files are inside the container.
    pub home_path: String,
    /// Whether they outlive it.
    pub home: Home,
    /// Largest size of the home, bytes, where the engine can keep it.
    pub home_quota: Option<u64>,
    /// What it shares with others.
    pub mounts: Vec<SharedMount>,
    /// Groups or roles that may start it.
    pub groups: Vec<String>,
    /// User names that may start it. With no group either, everybody may.
    pub users: Vec<String>,
    /// Containers to keep ready for whoever starts next.
    pub warm: u32,
    /// When it may run; `None` means always.
    pub hours: Option<Hours>,
}

/// The placeholders that [`fill`] knows.
pub const PLACEHOLDERS: [&str; 3] = ["{id}", "{prefix}", "{prefix_bare}"];

/// The placeholders that [`fill_size`] knows.
pub const SIZE_PLACEHOLDERS: [&str; 2] = ["{width}", "{height}"];

/// `text` with the size of a picture, pixels.
#[must_use]
pub fn fill_size(text: &str, (width, height): (u16, u16)) -> String {
    text.replace("{width}", &width.to_string())
        .replace("{height}", &height.to_string())
}

/// The path under which browsers see a desktop, without a slash at its end.
#[must_use]
pub fn prefix_of(id: DesktopId) -> String {
    format!("/desktop/{id}")
}

/// `text` with its placeholders filled: the desktop's id, and the path of its pages with and without the first slash.
#[must_use]
pub fn fill(text: &str, id: DesktopId) -> String {
    let prefix = prefix_of(id);
    text.replace("{id}", &id.to_string())
        .replace("{prefix}", &prefix)
        .replace("{prefix_bare}", prefix.trim_start_matches('/'))
}

impl Template {
    /// Whether its containers are the same for everybody, so that one can be made before anybody wants it.
    #[must_use]
    pub fn suits_anybody(&self) -> bool {
        self.home == Home::None && !self.mounts.iter().any(SharedMount::is_per_group)
    }

    /// Whether there is a way to a picture of its desktops.
    #[must_use]
    pub fn has_pictures(&self) -> bool {
        self.screenshot.is_some() || self.view == View::Rfb
    }

    /// Whether a browser may ask the desktop for `path` (decoded, absolute).
    #[must_use]
    pub fn allows_path(&self, path: &str) -> bool {
        !self.deny_paths.iter().any(|denied| {
            path.strip_prefix(denied.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Whether a browser may open a WebSocket at `path` (decoded, absolute).
    #[must_use]
    pub fn allows_socket(&self, path: &str) -> bool {
        self.ws_paths.is_empty() || self.ws_paths.iter().any(|known| known == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_paths_cover_what_is_below_and_nothing_beside() {
        let template = Template::kasm("image".into(), 6901);
        assert!(!template.allows_path("/api"));
        assert!(!template.allows_path("/api/get_users"));
        assert!(!template.allows_path("/Downloads/Downloads/"));
        assert!(template.allows_path("/apiary.js"));
        assert!(template.allows_path("/app/api.js"));
    }

    #[test]
    fn placeholders_name_the_desktop_and_its_path() {
        let id = DesktopId::random();
        assert_eq!(fill("{prefix}/", id), format!("/desktop/{id}/"));
        assert_eq!(
            fill("/?path={prefix_bare}/ws&id={id}", id),
            format!("/?path=desktop/{id}/ws&id={id}")
        );
        assert_eq!(fill("{other}", id), "{other}");
        let size = fill_size("/p?w={width}&h={height}", (320, 240));
        assert_eq!(size, "/p?w=320&h=240");
    }
}
