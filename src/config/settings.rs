//! The list of all settings: key, default, whether it is secret, and what it is for.
//! `.env.example` is checked against it.

/// One setting as it may appear in the environment or, in lower case, in `deskgate.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Upper-case key.
    pub key: &'static str,
    /// Value when nothing is said.
    pub default: Option<&'static str>,
    /// Never printed; may be read from the file that `KEY_FILE` names.
    pub secret: bool,
    /// One line for the reference.
    pub about: &'static str,
}

const fn plain(key: &'static str, default: Option<&'static str>, about: &'static str) -> Setting {
    Setting {
        key,
        default,
        secret: false,
        about,
    }
}

const fn secret(key: &'static str, about: &'static str) -> Setting {
    Setting {
        key,
        default: None,
        secret: true,
        about,
    }
}

/// Every setting, in the order of the reference.
pub const SETTINGS: &[Setting] = &[
    plain(
        "PUBLIC_URL",
        None,
        "The origin that browsers see, https://host[:port]",
    ),
    plain("DOCKER_HOST_URL", None, "Alias of PUBLIC_URL"),
    plain(
        "LISTEN",
        Some("0.0.0.0:8443"),
        "Address and port of the front door",
    ),
    plain(
        "HTTP_LISTEN",
        None,
        "Address that redirects plain HTTP to PUBLIC_URL",
    ),
    plain(
        "METRICS_LISTEN",
        Some("127.0.0.1:9100"),
        "Address of /metrics, or off",
    ),
    plain(
        "TLS",
        Some("on"),
        "on, or off behind a balancer that terminates TLS",
    ),
    plain(
        "TLS_CERT",
        Some("certs/tls.crt"),
        "PEM certificate chain; a self-signed pair is made when both files are absent",
    ),
    plain("TLS_KEY", Some("certs/tls.key"), "PEM key of TLS_CERT"),
    plain(
        "TRUSTED_PROXIES",
        None,
        "CIDRs whose forwarding headers are believed, comma-separated",
    ),
    plain(
        "PROXY_PROTOCOL",
        Some("off"),
        "on: connections from TRUSTED_PROXIES begin with a PROXY header (v1 or v2)",
    ),
    plain(
        "WORKERS",
        None,
        "Threads that serve connections; unset: one for each processor",
    ),
    plain(
        "MAX_CONNECTIONS",
        Some("20000"),
        "Connections at the same time, open desktops included",
    ),
    plain(
        "MAX_CONNECTIONS_PER_CLIENT",
        Some("10000"),
        "Connections at the same time from one address; a school may share one",
    ),
    plain(
        "MAX_STREAMS_PER_DESKTOP",
        Some("8000"),
        "WebSockets to one desktop at the same time",
    ),
    plain(
        "MAX_REQUESTS",
        Some("10000"),
        "Requests under way at the same time; open WebSockets are none",
    ),
    plain(
        "DRAIN",
        Some("30s"),
        "How long a stop waits for requests and open desktops",
    ),
    secret(
        "DATABASE_URL",
        "sqlite://PATH (default sqlite://data/deskgate.db) or postgres://...",
    ),
    secret(
        "SECRET_KEY",
        "At least 32 bytes; everything secret is derived from it",
    ),
    plain("OAUTH_ISSUER", None, "Issuer URL of the OpenID provider"),
    plain("OAUTH_CLIENT_ID", None, "Client id at the provider"),
    secret("OAUTH_CLIENT_SECRET", "Client secret at the provider"),
    plain(
        "OAUTH_SCOPES",
        Some("openid profile email"),
        "Scopes to ask for, space-separated",
    ),
    plain(
        "OAUTH_CA_FILE",
        None,
        "PEM file with further trusted roots for the provider",
    ),
    plain(
        "OAUTH_PROMPT",
        None,
        "prompt of each login; unset: consent if OAUTH_SCOPES has offline_access, otherwise none; off: none",
    ),
    plain(
        "CLAIM_USERNAME",
        Some("preferred_username"),
        "Claims that hold the user name, comma-separated; the first that is there counts",
    ),
    plain(
        "CLAIM_NAME",
        Some("name"),
        "Claims that hold the full name, likewise",
    ),
    plain(
        "CLAIM_EMAIL",
        Some("email"),
        "Claims that hold the mail address, likewise",
    ),
    plain(
        "CLAIM_GROUPS",
        Some("groups,iserv:groups"),
        "Claims that hold groups, comma-separated; all count; dots lead into objects",
    ),
    plain(
        "CLAIM_ROLES",
        Some("roles,iserv:roles"),
        "Claims that hold roles, likewise, as in realm_access.roles",
    ),
    plain(
        "GROUPS_ONLY",
        None,
        "Only group and role names that begin with one of these count, comma-separated",
    ),
    plain(
        "GROUPS_STRIP",
        None,
        "What is cut off the beginning of group and role names, comma-separated",
    ),
    plain(
        "ROLE_ADMIN",
        None,
        "Group or role names that make an admin, comma-separated",
    ),
    plain(
        "ROLE_TEACHER",
        None,
        "Group or role names that make a teacher, comma-separated",
    ),
    plain(
        "TEACHER_GROUPS",
        None,
        "Groups that are classes, comma-separated: names, or beginnings as klasse.*; none: teachers have no pupils",
    ),
    plain(
        "DOCKER_HOST",
        Some("unix:///var/run/docker.sock"),
        "unix:// or tcp:// address of the Docker engine",
    ),
    plain("ENGINE", Some("docker"), "What runs containers: docker"),
    plain(
        "INSTANCE",
        None,
        "Name of this installation in container labels; unset: a random name kept in the database",
    ),
    plain(
        "KASM_IMAGE",
        Some("kasmweb/ubuntu-focal-desktop:1.15.0"),
        "Image of the default template",
    ),
    plain(
        "KASM_CONTAINER_PORT",
        Some("6901"),
        "Port of the default template",
    ),
    secret(
        "VNC_PASSWORD",
        "One password for all desktops; unset: one per desktop",
    ),
    plain(
        "PORT_RANGE",
        Some("7000-8000"),
        "Host ports that desktops are published on",
    ),
    plain(
        "DESKTOP_REACH",
        Some("port"),
        "port: published on 127.0.0.1; network: by container address",
    ),
    plain(
        "DESKTOP_SUBNETS",
        Some("10.213.0.0/16"),
        "Addresses, unused elsewhere, that each desktop gets a /29 network of its own from, or off: one network for all",
    ),
    plain(
        "DESKTOP_ORIGIN",
        None,
        "A second origin for desktops, https://host[:port] with another host than PUBLIC_URL",
    ),
    plain(
        "SESSION_TTL",
        Some("12h"),
        "From login to the end of the session",
    ),
    plain(
        "SESSION_IDLE",
        Some("4h"),
        "End of a session without any request, or input to a desktop",
    ),
    plain(
        "IDENTITY_RECHECK",
        Some("15m"),
        "How often a user's rights are checked again at the provider",
    ),
    plain(
        "DESKTOP_IDLE_PAUSE",
        None,
        "Pause a desktop after this long without a sign of a person; the next use wakes it",
    ),
    plain(
        "DESKTOP_IDLE_STOP",
        None,
        "Stop a desktop after this long without a sign of a person",
    ),
    plain(
        "DESKTOP_MAX_LIFETIME",
        None,
        "Stop a desktop this long after its start",
    ),
    plain(
        "DESKTOP_WARN",
        Some("5m"),
        "How long before such a stop its user is warned; at most a quarter of the limit",
    ),
    plain(
        "DESKTOP_EXTEND",
        Some("1h"),
        "How much longer than DESKTOP_MAX_LIFETIME a desktop lives if its user wishes to stay, or off",
    ),
    plain(
        "DESKTOP_EXTENSIONS",
        Some("1"),
        "How often one desktop is extended",
    ),
    plain(
        "DESKTOP_ON_LOGOUT",
        Some("keep"),
        "keep, stop or remove the session's desktops at logout",
    ),
    plain(
        "STOPPED_RETENTION",
        Some("1h"),
        "How long a stopped container is kept",
    ),
    plain(
        "HOME_RETENTION",
        Some("30d"),
        "How long a home that a reset set aside is kept, or forever",
    ),
    plain("MAX_DESKTOPS", Some("100"), "Live desktops in total"),
    plain(
        "MAX_DESKTOPS_PER_USER",
        Some("3"),
        "Live desktops of one user",
    ),
    plain(
        "PARALLEL_STARTS",
        Some("4"),
        "Starts that the engine works on at the same time",
    ),
    plain(
        "MAX_QUEUED_STARTS",
        Some("200"),
        "Starts that wait for their turn; one more is refused",
    ),
    plain(
        "MAX_DESKTOP_MEMORY",
        None,
        "Sum of the memory limits of all live desktops, such as 48g; unset: no limit",
    ),
    plain(
        "MIN_FREE_MEMORY",
        None,
        "Memory of this machine below which nothing is started, or off; unset: 512m with a unix:// engine",
    ),
    plain(
        "START_RATE",
        Some("20/1m"),
        "New desktops of one user, times/period",
    ),
    plain(
        "LOGIN_RATE",
        Some("600/5m"),
        "Logins from one address, times/period; a school may share one",
    ),
    plain(
        "AUDIT_RETENTION",
        Some("180d"),
        "How long entries of the audit log are kept; 0: for ever",
    ),
    plain("LOG", Some("info"), "Tracing filter"),
    plain("LOG_FORMAT", Some("text"), "text or json"),
];

/// The setting with this upper-case key.
#[must_use]
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
