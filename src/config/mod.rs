//! The settings, read once: [`raw`] collects what file and environment say, [`resolve`] turns it into
//! final types and reports all mistakes together. Each consumer gets its own section by value.

mod acme;
mod hours;
pub mod mistake;
mod mounts;
pub mod parse;
pub mod raw;
pub mod reference;
pub mod resolve;
pub mod secret;
pub mod settings;
mod table;
pub mod template;
mod template_container;
mod template_route;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::model::cidr::Cidr;
use crate::model::failpoint::Failpoint;
use crate::model::rate::Rate;
use crate::model::subnet::SubnetPool;
use crate::model::template::Template;
pub use acme::{AcmeChallenge, AcmeConfig, ExternalAccount};
pub use mistake::{ConfigError, Mistake};
pub use secret::Secret;

/// Everything `serve` needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sockets, TLS, deadlines.
    pub server: ServerConfig,
    /// Where state is kept.
    pub database: DatabaseConfig,
    /// The OpenID provider and how its claims become rights.
    pub oidc: OidcConfig,
    /// How long a login lasts.
    pub sessions: SessionConfig,
    /// How to reach the container engine.
    pub engine: EngineConfig,
    /// Templates, limits, lifetimes.
    pub desktops: DesktopConfig,
    /// Groups that make their students their teachers' pupils: names, or beginnings that end in `*`.
    pub teacher_groups: Vec<String>,
    /// What teachers see of their pupils' screens.
    pub teacher_look: TeacherLook,
    /// How long entries of the audit log are kept; unset: for ever.
    pub audit_retention: Option<Duration>,
    /// Where traces are sent, if anywhere.
    pub traces: Option<TraceConfig>,
    /// The key everything secret is derived from.
    pub secret_key: Secret,
}

/// The collector of traces.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// Base address of OTLP over HTTP, to which `/v1/traces` is added.
    pub endpoint: Url,
    /// The part of requests that is traced, from 0 to 1.
    pub sample: f64,
}

/// Sockets, TLS and deadlines of the front door.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The origin of the portal, and of desktops if they have no other; scheme https (http for this machine only), no path.
    pub public_url: Url,
    /// The origin of desktops, if it is another; of the same form, with another host.
    pub desktop_origin: Option<Url>,
    /// Whether the portal shows desktops of that origin in a frame: both are of one site.
    pub desktop_frame: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where plain HTTP is redirected from, if anywhere.
    pub http_listen: Option<SocketAddr>,
    /// Threads that serve connections.
    pub workers: NonZeroUsize,
    /// Balancers whose forwarding headers are believed.
    pub trusted: Vec<Cidr>,
    /// Whether they begin each connection with a PROXY header.
    pub proxy_protocol: bool,
    /// Connections at the same time.
    pub max_connections: u32,
    /// Connections at the same time from one address.
    pub max_connections_per_client: u32,
    /// WebSockets to one desktop at the same time.
    pub max_streams_per_desktop: u32,
    /// Requests under way at the same time, open WebSockets not among them.
    pub max_requests: u32,
    /// Logins from one address, each step of them.
    pub login_rate: Rate,
    /// Whether this process speaks TLS itself.
    pub tls: Option<TlsConfig>,
    /// Where its certificate is ordered, if it is ordered.
    pub acme: Option<AcmeConfig>,
    /// Where `/metrics` is, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// How long a stop waits for requests and tunnels.
    pub drain: Duration,
}

/// Where the certificate is.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// PEM chain.
    pub cert: PathBuf,
    /// PEM key.
    pub key: PathBuf,
}

/// Which database holds the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseConfig {
    /// Embedded; the file is created when absent. `None` is a database in memory, for tests.
    Sqlite(Option<PathBuf>),
    /// A server; the URL may carry a password.
    Postgres(Secret),
}

/// The OpenID provider.
#[derive(Clone, Debug)]
pub struct OidcConfig {
    /// Issuer URL, exactly as the provider writes it.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our password there.
    pub client_secret: Option<Secret>,
    /// Scopes to ask for; `openid` is always among them.
    pub scopes: Vec<String>,
    /// Further trusted roots, PEM.
    pub ca_file: Option<PathBuf>,
    /// Where the provider sends people back to.
    pub redirect_url: Url,
    /// Where it sends them after logout.
    pub post_logout_url: Url,
    /// `prompt` of each login, if any (OpenID Connect Core 1.0 section 3.1.2.1).
    pub prompt: Option<String>,
    /// How often a person who is signed in is asked about again, at least.
    pub recheck: Duration,
    /// How the provider's claims become a person with rights.
    pub claims: ClaimsConfig,
}

/// Which claims say what, and which names give which role. A name with dots may lead into objects.
#[derive(Clone, Debug, Default)]
pub struct ClaimsConfig {
    /// Claims that hold the user name; the first that is there counts.
    pub username: Vec<String>,
    /// The same for the full name.
    pub name: Vec<String>,
    /// The same for the mail address.
    pub email: Vec<String>,
    /// Claims that hold groups; all of them count.
    pub groups: Vec<String>,
    /// Claims that hold roles; all of them count.
    pub roles: Vec<String>,
    /// Prefixes of the group and role names that count; empty: all of them do.
    pub groups_only: Vec<String>,
    /// Prefixes that are cut off the names.
    pub groups_strip: Vec<String>,
    /// Group or role names that make an admin.
    pub admin_names: Vec<String>,
    /// Group or role names that make a teacher.
    pub teacher_names: Vec<String>,
}

/// How long a login lasts, and what its end means for desktops.
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// From login to the absolute end.
    pub ttl: Duration,
    /// Without any request, or input to a desktop.
    pub idle: Duration,
    /// What a logout does to the session's desktops.
    pub on_logout: OnLogout,
}

/// What a logout does to the desktops that the session started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLogout {
    /// They go on.
    Keep,
    /// They are stopped.
    Stop,
    /// They are stopped and their containers removed.
    Remove,
}

/// What teachers see of the screens of their pupils. Whoever may see more may see less too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TeacherLook {
    /// Nothing.
    #[default]
    Off,
    /// Small pictures, now and then.
    Thumbnails,
    /// One desktop at a time too, whose pupil is told.
    View,
}

/// How to reach the container engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// `unix://` or `tcp://` address.
    pub docker_host: String,
}

impl EngineConfig {
    /// Whether it is on this machine: its socket is a file.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.docker_host.starts_with("unix://")
    }
}

/// How the gateway reaches a desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Through a port published on 127.0.0.1.
    Port,
    /// By the container's own address; nothing is published.
    Network,
}

/// Templates, limits and lifetimes.
#[derive(Clone, Debug)]
pub struct DesktopConfig {
    /// Name of this installation in container labels and names: gateways with another leave ours alone.
    /// Unset: the random name that the database keeps.
    pub instance: Option<String>,
    /// What may be started, at least one.
    pub templates: Vec<Template>,
    /// One password for all desktops instead of one each.
    pub password: Option<Secret>,
    /// Host ports to publish on.
    pub ports: RangeInclusive<u16>,
    /// How to reach desktops.
    pub reach: Reach,
    /// Where each desktop gets a network of its own from; unset: they share one.
    pub subnets: Option<SubnetPool>,
    /// Live desktops in total.
    pub max_total: u32,
    /// Live desktops of one user.
    pub max_per_user: u32,
    /// Starts of one user that make a desktop.
    pub start_rate: Rate,
    /// Starts that the engine works on at the same time.
    pub parallel_starts: u32,
    /// Starts that wait for their turn.
    pub max_queued: u32,
    /// Memory that all live containers may use together, bytes, if there is a limit.
    pub max_memory: Option<u64>,
    /// Memory of this machine that has to stay free beside 256 MiB for each start under way, bytes, if it is the
    /// engine's too.
    pub min_free_memory: Option<u64>,
    /// Pause after this long without a sign of a person, if set.
    pub idle_pause: Option<Duration>,
    /// Stop after this long without a sign of a person, if set.
    pub idle_stop: Option<Duration>,
    /// Stop this long after the start, if set.
    pub max_lifetime: Option<Duration>,
    /// How long before a stop its user is warned, at most.
    pub warn: Duration,
    /// How much longer a desktop lives if its user wishes, if that may be.
    pub extend: Option<Duration>,
    /// How often, at most.
    pub extensions: u32,
    /// How long a stopped container is kept.
    pub stopped_retention: Duration,
    /// How long a home that was set aside is kept; unset: for ever.
    pub home_retention: Option<Duration>,
    /// Where the chaos suite wants this gateway to stand still. No setting leads here, and no release build heeds it.
    pub failpoint: Option<Failpoint>,
}

impl DesktopConfig {
    /// `most`, or a quarter of the shortest warning where that is less.
    #[must_use]
    pub fn share_of_limits(&self, most: Duration) -> Duration {
        let limits = [self.idle_pause, self.idle_stop, self.max_lifetime];
        let warnings = limits
            .into_iter()
            .flatten()
            .map(|limit| self.warning(limit));
        warnings
            .chain([self.warn])
            .fold(most, |least, warning| least.min(warning / 4))
    }

    /// How long before the end of a limit its user is warned: less where the limit itself is short.
    #[must_use]
    pub fn warning(&self, limit: Duration) -> Duration {
        self.warn.min(limit / 4)
    }
}

/// All that the door in front of the engine needs: what containers of this installation are like.
#[derive(Clone, Debug)]
pub struct FilterConfig {
    /// Name of the installation. The gateway's database, which keeps one otherwise, is out of reach here.
    pub instance: String,
    /// Templates, ports and networks.
    pub desktops: DesktopConfig,
}

/// How to log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A tracing filter.
    pub filter: String,
    /// JSON instead of text.
    pub json: bool,
}
