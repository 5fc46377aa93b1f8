//! The front door and where state is kept.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;

use url::Url;

use super::super::mistake::Mistake;
use super::super::{DatabaseConfig, Secret, ServerConfig, TlsConfig, parse};
use super::Reader;
use crate::model::cidr::Cidr;
use crate::model::site;

impl Reader {
    pub(super) fn server(&mut self) -> ServerConfig {
        let public_url = self.public_url();
        let desktop_origin = self.desktop_origin(public_url.as_ref());
        let desktop_frame = self.on_off("DESKTOP_FRAME")
            && public_url
                .as_ref()
                .zip(desktop_origin.as_ref())
                .is_some_and(|(portal, desktops)| site::is_same(portal, desktops));
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
        let origins = [public_url.as_ref(), desktop_origin.as_ref()];
        let acme = self.acme(&origins, tls.is_some());
        ServerConfig {
            metrics,
            http_listen: self.address("HTTP_LISTEN"),
            workers: self.workers(),
            trusted,
            proxy_protocol,
            max_connections: self.count("MAX_CONNECTIONS"),
            max_connections_per_client: self.count("MAX_CONNECTIONS_PER_CLIENT"),
            max_streams_per_desktop: self.count("MAX_STREAMS_PER_DESKTOP"),
            max_requests: self.count("MAX_REQUESTS"),
            login_rate: self.rate("LOGIN_RATE"),
            public_url: public_url.unwrap_or_else(placeholder_url),
            desktop_origin,
            desktop_frame,
            listen: self
                .address("LISTEN")
                .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8443))),
            tls,
            acme,
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

    pub(super) fn database(&mut self) -> DatabaseConfig {
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
                    "is no database; it should be sqlite://PATH or postgres://USER:PASSWORD@HOST/NAME",
                );
                DatabaseConfig::Sqlite(None)
            }
        }
    }
}

fn placeholder_url() -> Url {
    Url::parse("https://localhost").expect("a constant URL parses")
}
