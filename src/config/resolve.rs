//! From text to final types. Every mistake is noted and the reading goes on, so that all of them are
//! reported at once; a value that could not be read is replaced by a placeholder that nobody ever sees.

mod acme;
mod desktops;
mod identity;
mod server;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::mistake::{ConfigError, Mistake};
use super::raw::Raw;
use super::settings::find;
use super::{Config, DatabaseConfig, FilterConfig, LogConfig, ServerConfig, TraceConfig, parse};
use crate::model::rate::Rate;

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
            teacher_groups: reader.teacher_groups(),
            teacher_look: reader.teacher_look(),
            audit_retention: reader.audit_retention(),
            traces: reader.traces(),
            secret_key: reader.secret_key(),
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

impl FilterConfig {
    /// Only what desktops are like: all that `engine-filter` needs. The name of the installation has to be set.
    pub fn resolve(raw: Raw) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(raw);
        let expected = "the same name for filter and gateway, 1 to 40 of a-z, 0-9 and -";
        let instance = reader.required("INSTANCE", expected);
        let desktops = reader.desktops();
        reader.finish(Self { instance, desktops })
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

    fn rate(&mut self, key: &str) -> Rate {
        let expected = "a rate such as 600/5m, at most 1000000 times in at most 1d";
        self.parsed(key, expected, parse::rate)
            .unwrap_or(Rate::new(NonZeroU32::MIN, Duration::from_secs(1)))
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

    fn path(&self, key: &str) -> PathBuf {
        PathBuf::from(self.text(key).unwrap_or_default())
    }

    fn count(&mut self, key: &str) -> u32 {
        self.parsed(key, "a whole number of at least 1", |text| {
            text.parse().ok().filter(|count| *count > 0)
        })
        .unwrap_or(1)
    }

    fn audit_retention(&mut self) -> Option<Duration> {
        let expected = "a duration such as 30d or 180d, or 0 to keep everything";
        let span = self.parsed("AUDIT_RETENTION", expected, |text| match text {
            "0" => Some(Duration::ZERO),
            text => parse::duration(text),
        });
        span.filter(|span| !span.is_zero())
    }

    fn traces(&mut self) -> Option<TraceConfig> {
        let sample = self.parsed("OTLP_SAMPLE", "a number from 0 to 1, such as 0.1", |text| {
            text.parse().ok().filter(|part| (0.0..=1.0).contains(part))
        });
        let expected =
            "the http:// or https:// address of a collector, without user, query and fragment";
        let endpoint = self.parsed("OTLP_ENDPOINT", expected, |text| {
            let url: Url = text.parse().ok()?;
            let plain = url.username().is_empty() && url.password().is_none();
            let bare = url.query().is_none() && url.fragment().is_none();
            let fits = matches!(url.scheme(), "http" | "https") && url.has_host();
            (fits && plain && bare).then_some(url)
        })?;
        let sample = sample.unwrap_or_default();
        Some(TraceConfig { endpoint, sample })
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

#[cfg(test)]
mod tests;
