//! From text to final types. Every mistake is noted and the reading goes on, so that all of them are
//! reported at once; a value that could not be read is replaced by a placeholder that nobody ever sees.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::mistake::{ConfigError, Mistake};
use super::raw::Raw;
use super::settings::{WITHOUT_EFFECT, find};
use super::{
    Config, DatabaseConfig, DesktopConfig, EngineConfig, LogConfig, OidcConfig, OnLogout, Reach,
    Secret, ServerConfig, SessionConfig, TlsConfig, parse,
};
use crate::model::cidr::Cidr;
use crate::model::template::Template;

impl Config {
    /// Everything `serve` needs, or all that is wrong.
    pub fn resolve(raw: Raw) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(raw);
        let server = reader.server();
        let config = Self {
            database: reader.database(),
            oidc: reader.oidc(&server.public_url),
            server,
            sessions: reader.sessions(),
            engine: reader.engine(),
            desktops: reader.desktops(),
            secret_key: reader.secret_key(),
            without_effect: WITHOUT_EFFECT
                .iter()
                .copied()
                .filter(|key| reader.raw.said(key).is_some())
                .collect(),
        };
        reader.log();
        reader.finish(config)
    }
}

impl DatabaseConfig {
    /// Only where state is kept: all that `migrate` needs.
    pub fn resolve(raw: Raw) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(raw);
        let database = reader.database();
        reader.finish(database)
    }
}

impl ServerConfig {
    /// Only the front door: all that `health` needs.
    pub fn resolve(raw: Raw) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(raw);
        let server = reader.server();
        reader.finish(server)
    }
}

impl LogConfig {
    /// How to log. Mistakes are left to the command's own reading, which reports all of them.
    #[must_use]
    pub fn resolve(raw: &Raw) -> Self {
        Self {
            filter: raw.said("LOG").unwrap_or("info").to_owned(),
            json: raw.said("LOG_FORMAT") == Some("json"),
        }
    }
}

struct Reader {
    raw: Raw,
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn new(mut raw: Raw) -> Self {
        let mistakes = std::mem::take(&mut raw.mistakes);
        Self { raw, mistakes }
    }

    fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.mistakes.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError(self.mistakes))
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        let default = || find(key).and_then(|setting| setting.default);
        self.raw.said(key).or_else(default).map(str::to_owned)
    }

    fn wrong(&mut self, key: &str, expected: &str) {
        let secret = find(key).is_some_and(|setting| setting.secret);
        let found = self.text(key).filter(|_| !secret);
        self.mistakes.push(Mistake {
            key: key.to_owned(),
            found,
            expected: expected.to_owned(),
        });
    }

    /// The parsed value; a mistake and `None` when it cannot be parsed, `None` when nothing is said.
    fn parsed<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(key)?;
        let value = parse(&text);
        if value.is_none() {
            self.wrong(key, expected);
        }
        value
    }

    fn required(&mut self, key: &str, expected: &str) -> String {
        let text = self.text(key);
        if text.is_none() {
            self.wrong(key, &format!("is not set; it should be {expected}"));
        }
        text.unwrap_or_default()
    }

    fn duration(&mut self, key: &str) -> Option<Duration> {
        self.parsed(key, "a duration such as 90s, 15m or 6h", |text| {
            parse::duration(text).filter(|span| !span.is_zero())
        })
    }

    fn on_off(&mut self, key: &str) -> bool {
        self.parsed(key, "on or off", |text| match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })
        .unwrap_or(true)
    }

    fn address(&mut self, key: &str) -> Option<SocketAddr> {
        self.parsed(key, "an address and port such as 0.0.0.0:8443", |text| {
            text.parse().ok()
        })
    }

    fn server(&mut self) -> ServerConfig {
        let public_url = self.public_url();
        let desktop_origin = self.desktop_origin(public_url.as_ref());
        let tls = self.on_off("TLS").then(|| TlsConfig {
            cert: self.path("TLS_CERT"),
            key: self.path("TLS_KEY"),
        });
        if let Some(tls) = &tls
            && tls.cert.exists() != tls.key.exists()
        {
            self.wrong(
                "TLS_CERT",
                "a file that exists together with TLS_KEY, or neither of them",
            );
        }
        let metrics = match self.text("METRICS_LISTEN").as_deref() {
            Some("off") => None,
            _ => self.address("METRICS_LISTEN"),
        };
        let trusted = self.networks("TRUSTED_PROXIES");
        let proxy_protocol = self.on_off("PROXY_PROTOCOL");
        if proxy_protocol && self.text("TRUSTED_PROXIES").is_none() {
            self.wrong(
                "PROXY_PROTOCOL",
                "off, or on together with TRUSTED_PROXIES: only they are believed",
            );
        }
        ServerConfig {
            metrics,
            http_listen: self.address("HTTP_LISTEN"),
            workers: self.workers(),
            trusted,
            proxy_protocol,
            max_connections: self.count("MAX_CONNECTIONS"),
            max_connections_per_client: self.count("MAX_CONNECTIONS_PER_CLIENT"),
            max_streams_per_desktop: self.count("MAX_STREAMS_PER_DESKTOP"),
            public_url: public_url.unwrap_or_else(placeholder_url),
            desktop_origin,
            listen: self
                .address("LISTEN")
                .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8443))),
            tls,
            drain: self.duration("DRAIN").unwrap_or_default(),
        }
    }

    fn public_url(&mut self) -> Option<Url> {
        let key = match (
            self.raw.said("PUBLIC_URL"),
            self.raw.said("DOCKER_HOST_URL"),
        ) {
            (None, Some(_)) => "DOCKER_HOST_URL",
            _ => "PUBLIC_URL",
        };
        let expected =
            "https://host or https://host:port, without a path (http:// for localhost only)";
        self.required(key, expected);
        self.text(key)?;
        self.parsed(key, expected, parse::origin)
    }

    /// Cookies know hosts and no ports, so that only another host keeps them apart.
    fn desktop_origin(&mut self, public_url: Option<&Url>) -> Option<Url> {
        let expected = "https://host or https://host:port, without a path, whose host is not that of PUBLIC_URL \
            (http:// for localhost only)";
        let portal = public_url.and_then(Url::host_str).map(str::to_owned);
        self.parsed("DESKTOP_ORIGIN", expected, |text| {
            parse::origin(text).filter(|url| url.host_str() != portal.as_deref())
        })
    }

    /// Threads that serve connections.
    fn workers(&mut self) -> NonZeroUsize {
        let expected = "a number of threads between 1 and 256";
        let said = self.parsed("WORKERS", expected, |text| {
            let count: NonZeroUsize = text.parse().ok()?;
            (count.get() <= 256).then_some(count)
        });
        said.or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }

    /// A comma-separated list of networks; each wrong one is a mistake of its own.
    fn networks(&mut self, key: &str) -> Vec<Cidr> {
        let text = self.text(key).unwrap_or_default();
        let mut networks = Vec::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            match part.parse() {
                Ok(network) => networks.push(network),
                Err(error) => self.mistakes.push(Mistake {
                    key: key.to_owned(),
                    found: Some(part.to_owned()),
                    expected: format!("a network such as 10.0.0.0/8 ({error})"),
                }),
            }
        }
        networks
    }

    fn path(&self, key: &str) -> PathBuf {
        PathBuf::from(self.text(key).unwrap_or_default())
    }

    fn database(&mut self) -> DatabaseConfig {
        let text = self
            .text("DATABASE_URL")
            .unwrap_or_else(|| "sqlite://data/deskgate.db".into());
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return DatabaseConfig::Postgres(Secret::new(text));
        }
        let path = text
            .strip_prefix("sqlite:")
            .map(|path| path.strip_prefix("//").unwrap_or(path));
        match path {
            Some(":memory:") => DatabaseConfig::Sqlite(None),
            Some(path) if !path.is_empty() => DatabaseConfig::Sqlite(Some(Path::new(path).into())),
            _ => {
                self.wrong(
                    "DATABASE_URL",
                    "sqlite://PATH or postgres://USER:PASSWORD@HOST/NAME",
                );
                DatabaseConfig::Sqlite(None)
            }
        }
    }

    fn secret_key(&mut self) -> Secret {
        let text = self.required("SECRET_KEY", "a random text of at least 32 bytes");
        if !text.is_empty() && text.len() < 32 {
            self.wrong("SECRET_KEY", "is too short; it should have at least 32 bytes, for instance from `openssl rand -hex 32`");
        }
        Secret::new(text)
    }

    fn oidc(&mut self, public_url: &Url) -> OidcConfig {
        let issuer = self.required("OAUTH_ISSUER", "the provider's issuer URL");
        let is_web = |url: Url| matches!(url.scheme(), "https" | "http") && url.query().is_none();
        if !issuer.is_empty() && !issuer.parse().is_ok_and(is_web) {
            self.wrong("OAUTH_ISSUER", "an https:// URL without a query");
        }
        let mut scopes: Vec<String> = self
            .text("OAUTH_SCOPES")
            .unwrap_or_default()
            .split([' ', ','])
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect();
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".into());
        }
        let ca_file = self.text("OAUTH_CA_FILE").map(PathBuf::from);
        if ca_file.as_ref().is_some_and(|file| !file.exists()) {
            self.wrong("OAUTH_CA_FILE", "a PEM file that exists");
        }
        OidcConfig {
            issuer,
            client_id: self.required("OAUTH_CLIENT_ID", "the client id that the provider gave"),
            client_secret: self.text("OAUTH_CLIENT_SECRET").map(Secret::new),
            scopes,
            ca_file,
            redirect_url: with_path(public_url, "/authorize"),
            post_logout_url: with_path(public_url, "/"),
            admin_names: parse::names(&self.text("ROLE_ADMIN").unwrap_or_default()),
            teacher_names: parse::names(&self.text("ROLE_TEACHER").unwrap_or_default()),
        }
    }

    fn sessions(&mut self) -> SessionConfig {
        let on_logout = self.parsed(
            "DESKTOP_ON_LOGOUT",
            "keep, stop or remove",
            |text| match text {
                "keep" => Some(OnLogout::Keep),
                "stop" => Some(OnLogout::Stop),
                "remove" => Some(OnLogout::Remove),
                _ => None,
            },
        );
        SessionConfig {
            ttl: self.duration("SESSION_TTL").unwrap_or_default(),
            idle: self.duration("SESSION_IDLE").unwrap_or_default(),
            on_logout: on_logout.unwrap_or(OnLogout::Keep),
        }
    }

    fn engine(&mut self) -> EngineConfig {
        self.parsed("ENGINE", "docker", |text| (text == "docker").then_some(()));
        let host = self.parsed("DOCKER_HOST", "unix:///path or tcp://host:port", |text| {
            let known = ["unix:///", "tcp://", "http://"];
            known
                .iter()
                .any(|scheme| text.starts_with(scheme))
                .then(|| text.to_owned())
        });
        EngineConfig {
            docker_host: host.unwrap_or_default(),
        }
    }

    fn desktops(&mut self) -> DesktopConfig {
        let port = self.parsed("KASM_CONTAINER_PORT", "a port number", port);
        let image = self.text("KASM_IMAGE").unwrap_or_default();
        let raw_templates = std::mem::take(&mut self.raw.templates);
        let mut templates: Vec<Template> = raw_templates
            .into_iter()
            .map(|raw| raw.resolve(&mut self.mistakes))
            .collect();
        if templates.is_empty() {
            templates.push(Template::kasm(image, port.unwrap_or(6901)));
        }
        self.refuse_double_templates(&templates);
        let reach = self.parsed("DESKTOP_REACH", "port or network", |text| match text {
            "port" => Some(Reach::Port),
            "network" => Some(Reach::Network),
            _ => None,
        });
        let instance = self.parsed("INSTANCE", "1 to 40 of a-z, 0-9 and -", |text| {
            let fits = text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            (fits && (1..=40).contains(&text.len())).then(|| text.to_owned())
        });
        self.duration("DESKTOP_IDLE_PAUSE");
        self.duration("IDENTITY_RECHECK");
        DesktopConfig {
            instance,
            templates,
            password: self.text("VNC_PASSWORD").map(Secret::new),
            ports: self.ports(),
            reach: reach.unwrap_or(Reach::Port),
            max_total: self.count("MAX_DESKTOPS"),
            max_per_user: self.count("MAX_DESKTOPS_PER_USER"),
            idle_stop: self.duration("DESKTOP_IDLE_STOP"),
            max_lifetime: self.duration("DESKTOP_MAX_LIFETIME"),
            stopped_retention: self.duration("STOPPED_RETENTION").unwrap_or_default(),
        }
    }

    fn refuse_double_templates(&mut self, templates: &[Template]) {
        for (index, template) in templates.iter().enumerate() {
            if templates[..index]
                .iter()
                .any(|other| other.id == template.id)
            {
                self.mistakes.push(Mistake {
                    key: "template".into(),
                    found: Some(template.id.clone()),
                    expected: "an id that no other template has".into(),
                });
            }
        }
    }

    fn ports(&mut self) -> RangeInclusive<u16> {
        self.parsed(
            "PORT_RANGE",
            "two ports such as 7000-8000, the smaller first",
            parse::port_range,
        )
        .unwrap_or(1..=1)
    }

    fn count(&mut self, key: &str) -> u32 {
        self.parsed(key, "a whole number of at least 1", |text| {
            text.parse().ok().filter(|count| *count > 0)
        })
        .unwrap_or(1)
    }

    fn log(&mut self) {
        self.parsed("LOG_FORMAT", "text or json", |text| {
            matches!(text, "text" | "json").then_some(())
        });
        self.parsed(
            "LOG",
            "a tracing filter such as info or deskgate=debug,info",
            |text| text.parse::<tracing_subscriber::filter::Targets>().ok(),
        );
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

fn placeholder_url() -> Url {
    Url::parse("https://localhost").expect("a constant URL parses")
}

fn with_path(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env = |key: &str| {
            pairs
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| (*value).to_owned())
        };
        Config::resolve(Raw::load(None, &env))
    }

    const GOOD: &[(&str, &str)] = &[
        ("PUBLIC_URL", "https://desk.example"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
        ("OAUTH_ISSUER", "https://id.example"),
        ("OAUTH_CLIENT_ID", "deskgate"),
    ];

    #[test]
    fn the_least_configuration_is_enough() {
        let config = resolve(GOOD).expect("resolves");
        assert_eq!(config.desktops.templates.len(), 1);
        assert_eq!(config.desktops.ports, 7000..=8000);
        assert_eq!(
            config.oidc.redirect_url.as_str(),
            "https://desk.example/authorize"
        );
        assert_eq!(
            config.database,
            DatabaseConfig::Sqlite(Some("data/deskgate.db".into()))
        );
    }

    #[test]
    fn all_mistakes_are_reported_at_once_and_no_secret_is_shown() {
        let error = resolve(&[
            ("PUBLIC_URL", "http://desk.example/path"),
            ("SECRET_KEY", "hunter2"),
            ("LISTEN", "8443"),
            ("PORT_RANGE", "9-1"),
            ("SESSION_TTL", "soon"),
            ("DATABASE_URL", "mysql://root:hunter3@db"),
            ("LOG_FORMAT", "xml"),
        ])
        .expect_err("refused");
        let keys: Vec<&str> = error.0.iter().map(|mistake| mistake.key.as_str()).collect();
        for key in [
            "PUBLIC_URL",
            "SECRET_KEY",
            "LISTEN",
            "PORT_RANGE",
            "SESSION_TTL",
            "DATABASE_URL",
            "OAUTH_ISSUER",
            "OAUTH_CLIENT_ID",
            "LOG_FORMAT",
        ] {
            assert!(keys.contains(&key), "{key} is missing in {error}");
        }
        assert!(!error.to_string().contains("hunter"), "{error}");
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        let with = |url: &'static str| {
            let mut pairs = GOOD.to_vec();
            pairs[0] = ("PUBLIC_URL", url);
            resolve(&pairs).is_ok()
        };
        assert!(with("http://localhost:8080") && with("http://127.0.0.1:8080"));
        assert!(!with("http://desk.example") && !with("http://localhost.evil.example"));
        assert!(!with("ftp://localhost") && !with("https://a:b@desk.example"));
    }

    #[test]
    fn desktops_have_an_origin_of_their_own_only_under_another_host() {
        let with = |origin: &'static str| {
            let mut pairs = GOOD.to_vec();
            pairs.push(("DESKTOP_ORIGIN", origin));
            resolve(&pairs).map(|config| config.server.desktop_origin.map(String::from))
        };
        let other = "https://desktops.example:8443/".to_owned();
        assert_eq!(
            with("https://desktops.example:8443").ok(),
            Some(Some(other))
        );
        assert_eq!(with("").ok(), Some(None));
        for wrong in [
            "https://desk.example",
            "https://DESK.example:8443",
            "http://desktops.example",
            "https://desktops.example/desktop",
            "desktops.example",
        ] {
            let error = with(wrong).expect_err(wrong);
            assert_eq!(error.0.len(), 1, "{error}");
            assert_eq!(error.0[0].key, "DESKTOP_ORIGIN");
        }
    }

    #[test]
    fn the_alias_of_the_public_url_is_read() {
        let mut pairs = GOOD.to_vec();
        pairs[0] = ("DOCKER_HOST_URL", "https://alias.example:8443");
        let config = resolve(&pairs).expect("resolves");
        assert_eq!(
            config.server.public_url.as_str(),
            "https://alias.example:8443/"
        );
    }

    #[test]
    fn a_file_with_unknown_keys_is_refused_and_templates_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deskgate.toml");
        std::fs::write(&path, "public_url = 'https://desk.example'\nport_rang = '1-2'\n[[template]]\nid='office'\nimage='i'\ncpus=0.5\nmemory='1g'\n[[template]]\nid='office'\nimage='j'\nmemory='lots'\n").expect("written");
        let mut raw = Raw::load(Some(&path), &|_| None);
        for (key, value) in GOOD {
            raw.set_default(key, *value);
        }
        let error = Config::resolve(raw).expect_err("refused").to_string();
        assert!(error.contains("port_rang"), "{error}");
        assert!(
            error.contains("memory") && error.contains("lots"),
            "{error}"
        );
        assert!(error.contains("no other template"), "{error}");
    }
}
