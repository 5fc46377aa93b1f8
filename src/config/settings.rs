//! The list of all settings: key, default, whether it is secret, and what it is for. Every reference of them is made of it
//! ([`super::reference`]).

/// One setting as it may appear in the environment or, in lower case, in `deskgate.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Upper-case key.
    pub key: &'static str,
    /// Value when nothing is said.
    pub default: Option<&'static str>,
    /// Never printed; may be read from the file that `KEY_FILE` names.
    pub secret: bool,
    /// What it is for, in Markdown, for the reference.
    pub about: &'static str,
}

/// Settings that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// The first of them; the rest follow up to the next section.
    pub first: &'static str,
}

const fn section(title: &'static str, first: &'static str) -> Section {
    Section { title, first }
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

/// The sections of the reference.
pub const SECTIONS: &[Section] = &[
    section("The front door", "PUBLIC_URL"),
    section("State and secrets", "DATABASE_URL"),
    section("The OpenID provider", "OAUTH_ISSUER"),
    section("Who is who", "CLAIM_USERNAME"),
    section("Containers, and the way to them", "DOCKER_HOST"),
    section("How long a login lasts", "SESSION_TTL"),
    section("How long a desktop lives", "DESKTOP_IDLE_PAUSE"),
    section("How many, and how often", "MAX_DESKTOPS"),
    section("Logs and traces", "AUDIT_RETENTION"),
];

/// Every setting, in the order of the reference.
pub const SETTINGS: &[Setting] = &[
    plain(
        "PUBLIC_URL",
        None,
        "The origin that browsers see, https://host[:port]",
    ),
    plain(
        "DOCKER_HOST_URL",
        None,
        "Alias of `PUBLIC_URL`, which wins when both are set",
    ),
    plain(
        "LISTEN",
        Some("0.0.0.0:8443"),
        "Address and port of the front door",
    ),
    plain(
        "HTTP_LISTEN",
        None,
        "Address that redirects plain HTTP to `PUBLIC_URL`",
    ),
    plain(
        "METRICS_LISTEN",
        Some("127.0.0.1:9100"),
        "Address of /metrics, or `off`",
    ),
    plain(
        "TLS",
        Some("on"),
        "`on`, or `off` behind a balancer that terminates TLS; then plain HTTP/1.1",
    ),
    plain(
        "TLS_CERT",
        Some("certs/tls.crt"),
        "PEM certificate chain; a self-signed pair is made when both files are absent",
    ),
    plain("TLS_KEY", Some("certs/tls.key"), "PEM key of `TLS_CERT`"),
    plain(
        "ACME_DIRECTORY",
        None,
        "https:// directory of an ACME authority that certificates are ordered from; setting it agrees to its terms",
    ),
    plain(
        "ACME_CHALLENGE",
        Some("tls-alpn-01"),
        "How names are proven: tls-alpn-01 (the authority asks at port 443) or http-01 (at port 80, HTTP_LISTEN)",
    ),
    plain(
        "ACME_EMAIL",
        None,
        "Where the authority may write to when something is wrong",
    ),
    plain(
        "ACME_CA_FILE",
        None,
        "PEM file with further trusted roots for a private authority",
    ),
    plain(
        "ACME_EAB_KID",
        None,
        "Key id of the account at the authority that ours is bound to (external account binding)",
    ),
    secret("ACME_EAB_KEY", "The key that belongs to it, base64url"),
    plain(
        "TRUSTED_PROXIES",
        None,
        "CIDRs whose `X-Forwarded-For` and PROXY headers are believed, comma-separated",
    ),
    plain(
        "PROXY_PROTOCOL",
        Some("off"),
        "`on`: each connection from `TRUSTED_PROXIES` begins with a PROXY header (v1 or v2)",
    ),
    plain(
        "WORKERS",
        None,
        "Threads that serve connections; unset: one for each processor",
    ),
    plain(
        "MAX_CONNECTIONS",
        Some("20000"),
        "Connections at the same time, open desktops included; more wait in the system's queue",
    ),
    plain(
        "MAX_CONNECTIONS_PER_CLIENT",
        Some("10000"),
        "Connections at the same time from one address (IPv6: one /64). A school may share one address",
    ),
    plain(
        "MAX_STREAMS_PER_DESKTOP",
        Some("8000"),
        "WebSockets to one desktop at the same time; one more is 429",
    ),
    plain(
        "MAX_REQUESTS",
        Some("10000"),
        "Requests under way at the same time; one more is 503. Open WebSockets are none, and `/healthz` and `/readyz` are always answered",
    ),
    plain(
        "DRAIN",
        Some("30s"),
        "How long a stop waits for requests and open desktops",
    ),
    secret(
        "DATABASE_URL",
        "`sqlite://PATH` or `postgres://USER:PASSWORD@HOST/NAME`; unset: `sqlite://data/deskgate.db`",
    ),
    secret(
        "SECRET_KEY",
        "At least 32 bytes; everything secret is derived from it",
    ),
    plain(
        "OAUTH_ISSUER",
        None,
        "Issuer URL of the [OpenID provider](#openid-providers)",
    ),
    plain("OAUTH_CLIENT_ID", None, "Client id at the provider"),
    secret(
        "OAUTH_CLIENT_SECRET",
        "Client secret at the provider; unset: none is sent",
    ),
    plain(
        "OAUTH_SCOPES",
        Some("openid profile email"),
        "Scopes to ask for, separated by spaces; `openid` is always among them",
    ),
    plain(
        "OAUTH_CA_FILE",
        None,
        "PEM file with further trusted roots for the provider",
    ),
    plain(
        "OAUTH_PROMPT",
        None,
        "`prompt` of each login, as `login` or `select_account`. Unset: `consent` if `OAUTH_SCOPES` has `offline_access`, otherwise none; `off`: none",
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
        "Claims that hold roles, likewise, as in `realm_access.roles`",
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
        "Groups that are classes, comma-separated: exact names, or what they begin with (`klasse.*`). A teacher looks after the students with whom they share one; none: after nobody. Never name a group that the whole school is in",
    ),
    plain(
        "TEACHER_LOOK",
        Some("off"),
        "What teachers [see of their pupils' screens](#pictures-of-desktops): `off`, nothing; `thumbnails`, small pictures on the page of a class; `view`, one desktop too, after its pupil was told. Each look is in the audit log, and pupils read that it may happen. Ask whoever answers for data protection first",
    ),
    plain(
        "DOCKER_HOST",
        Some("unix:///var/run/docker.sock"),
        "`unix://` or `tcp://` address of the Docker engine; no TLS to it yet",
    ),
    plain(
        "ENGINE",
        Some("docker"),
        "What runs containers: only `docker`",
    ),
    plain(
        "INSTANCE",
        None,
        "Name of this installation in container labels and names, 1 to 40 of `a-z`, `0-9`, `-`. Unset: a random name kept in the database. **Never give two databases on one engine the same name**: each gateway removes containers that its own database does not know",
    ),
    plain(
        "KASM_IMAGE",
        Some("kasmweb/ubuntu-focal-desktop:1.15.0"),
        "Image of the default template; not used with `[[template]]` tables",
    ),
    plain(
        "KASM_CONTAINER_PORT",
        Some("6901"),
        "Port of the default template; not used with `[[template]]` tables",
    ),
    secret(
        "VNC_PASSWORD",
        "One password for all desktops, at most 256 bytes; unset: one per desktop, which is better",
    ),
    plain(
        "PORT_RANGE",
        Some("7000-8000"),
        "Host ports that desktops are published on",
    ),
    plain(
        "DESKTOP_REACH",
        Some("port"),
        "`port`: published on 127.0.0.1 of the host; `network`: by container address, nothing published. Both need a gateway on the engine's host",
    ),
    plain(
        "DESKTOP_SUBNETS",
        Some("10.213.0.0/16"),
        "The range of addresses, used nowhere else in your network, that each desktop gets a /29 network of its own from, at least `MAX_DESKTOPS` of them; or `off`: all share one network. Whatever else has a network in the range is left alone",
    ),
    plain(
        "DESKTOP_ORIGIN",
        None,
        "A [second origin](#a-second-origin) for desktops, https://host[:port] with another host than `PUBLIC_URL`",
    ),
    plain(
        "DESKTOP_FRAME",
        Some("on"),
        "Show desktops of DESKTOP_ORIGIN in a page of the portal with a bar, if both hosts are of one site",
    ),
    plain(
        "SESSION_TTL",
        Some("12h"),
        "From login to the end of the session",
    ),
    plain(
        "SESSION_IDLE",
        Some("4h"),
        "End of a session without any request or input to a desktop. An open desktop that nobody touches does not keep it",
    ),
    plain(
        "IDENTITY_RECHECK",
        Some("15m"),
        "Within what time a person who is signed in is [checked again](#openid-providers) at the provider, if it gives refresh tokens",
    ),
    plain(
        "DESKTOP_IDLE_PAUSE",
        None,
        "[Pause](#pause-and-wake) a desktop after this long without a sign of a person",
    ),
    plain(
        "DESKTOP_IDLE_STOP",
        None,
        "Stop a desktop after this long without [a sign of a person](#idle-desktops)",
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
        "How much longer than `DESKTOP_MAX_LIFETIME` a desktop lives if its user wishes to stay, or `off`",
    ),
    plain(
        "DESKTOP_EXTENSIONS",
        Some("1"),
        "How often one desktop is extended",
    ),
    plain(
        "DESKTOP_ON_LOGOUT",
        Some("keep"),
        "`keep`, `stop` or `remove` the desktops that the session started, at logout or when its person ends it elsewhere; not when it runs out",
    ),
    plain(
        "STOPPED_RETENTION",
        Some("1h"),
        "How long a stopped desktop and its container are kept; the home volume stays",
    ),
    plain(
        "HOME_RETENTION",
        Some("30d"),
        "How long a home that a reset set aside is kept; `forever`",
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
        "Starts that each gateway hands to the engine at the same time",
    ),
    plain(
        "MAX_QUEUED_STARTS",
        Some("200"),
        "Starts that wait for their turn; one more is refused",
    ),
    plain(
        "MAX_DESKTOP_MEMORY",
        None,
        "Sum of the memory limits of all live desktops, such as `48g`; unset: no limit",
    ),
    plain(
        "MIN_FREE_MEMORY",
        None,
        "Memory of this machine that has to stay free beside 256 MiB for each start under way, such as `1g`, or `off`; unset: `512m` with a `unix://` engine, which is on this machine, and off otherwise",
    ),
    plain(
        "START_RATE",
        Some("20/1m"),
        "[Rate](#rates) at which one user may make desktops; a start that finds a live desktop does not count",
    ),
    plain(
        "LOGIN_RATE",
        Some("600/5m"),
        "[Rate](#rates) of logins from one address (IPv6: one /64), which a school may share",
    ),
    plain(
        "AUDIT_RETENTION",
        Some("180d"),
        "How long entries of the audit log are kept; `0`: for ever",
    ),
    plain(
        "OTLP_ENDPOINT",
        None,
        "Collector of OpenTelemetry traces (OTLP over HTTP), such as `http://127.0.0.1:4318`",
    ),
    plain(
        "OTLP_SAMPLE",
        Some("0.1"),
        "Part of the requests that is traced, from 0 to 1",
    ),
    plain(
        "LOG",
        Some("info"),
        "Tracing filter, as `info` or `info,deskgate=debug`; see docs/LOGGING.md",
    ),
    plain("LOG_FORMAT", Some("text"), "`text` or `json`"),
];

/// The setting with this upper-case key.
#[must_use]
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
