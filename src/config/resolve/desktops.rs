//! What runs desktops, which there are, and their limits.

use std::ops::RangeInclusive;

use super::super::mistake::Mistake;
use super::super::{DesktopConfig, EngineConfig, Reach, Secret, mounts, parse};
use super::Reader;
use crate::model::subnet::SubnetPool;
use crate::model::template::Template;

/// What is left free on a machine that runs desktops, bytes, unless something else is said.
const MIN_FREE_MEMORY: u64 = 512 << 20;
/// Longest password of desktops, bytes: it is sent in each head, and KasmVNC reads no long ones.
const MAX_PASSWORD: usize = 256;

impl Reader {
    pub(super) fn engine(&mut self) -> EngineConfig {
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

    pub(super) fn desktops(&mut self) -> DesktopConfig {
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
        mounts::check(&templates, &mut self.mistakes);
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
        DesktopConfig {
            instance,
            templates,
            password: self.password(),
            ports: self.ports(),
            reach: reach.unwrap_or(Reach::Port),
            subnets: self.subnets(),
            max_total: self.count("MAX_DESKTOPS"),
            max_per_user: self.count("MAX_DESKTOPS_PER_USER"),
            start_rate: self.rate("START_RATE"),
            parallel_starts: self.count("PARALLEL_STARTS"),
            max_queued: self.count("MAX_QUEUED_STARTS"),
            max_memory: self.parsed("MAX_DESKTOP_MEMORY", "a size such as 48g", parse::byte_size),
            min_free_memory: self.min_free_memory(),
            idle_pause: self.duration("DESKTOP_IDLE_PAUSE"),
            idle_stop: self.duration("DESKTOP_IDLE_STOP"),
            max_lifetime: self.duration("DESKTOP_MAX_LIFETIME"),
            warn: self.duration("DESKTOP_WARN").unwrap_or_default(),
            extend: self.extend(),
            extensions: self.count("DESKTOP_EXTENSIONS"),
            stopped_retention: self.duration("STOPPED_RETENTION").unwrap_or_default(),
            home_retention: match self.raw.said("HOME_RETENTION") {
                Some("forever") => None,
                _ => self.duration("HOME_RETENTION"),
            },
            failpoint: None,
        }
    }

    /// An engine behind a socket file is on this machine, and what is free here is free there.
    fn min_free_memory(&mut self) -> Option<u64> {
        let said = self.parsed("MIN_FREE_MEMORY", "a size such as 512m, or off", |text| {
            if text == "off" {
                return Some(None);
            }
            parse::byte_size(text).map(Some)
        });
        let here = self
            .text("DOCKER_HOST")
            .is_some_and(|host| host.starts_with("unix://"));
        said.unwrap_or_else(|| here.then_some(MIN_FREE_MEMORY))
    }

    fn password(&mut self) -> Option<Secret> {
        let text = self.text("VNC_PASSWORD")?;
        if text.len() > MAX_PASSWORD {
            self.wrong("VNC_PASSWORD", "at most 256 bytes");
        }
        Some(Secret::new(text))
    }

    fn extend(&mut self) -> Option<std::time::Duration> {
        let expected = "off, or a duration such as 90s, 15m or 6h";
        let extend = self.parsed("DESKTOP_EXTEND", expected, |text| match text {
            "off" => Some(None),
            text => parse::duration(text)
                .filter(|span| !span.is_zero())
                .map(Some),
        });
        extend.flatten()
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

    fn subnets(&mut self) -> Option<SubnetPool> {
        let most = self.text("MAX_DESKTOPS").and_then(|text| text.parse().ok());
        let most: u32 = most.unwrap_or_default();
        let expected = format!(
            "off, or an IPv4 network from /8 to /24 such as 10.213.0.0/16, with room for MAX_DESKTOPS ({most}) times /29"
        );
        let said = self.parsed("DESKTOP_SUBNETS", &expected, |text| match text {
            "off" => Some(None),
            text => {
                let pool: SubnetPool = text.parse().ok()?;
                (pool.count() >= most).then_some(Some(pool))
            }
        });
        said.flatten()
    }

    fn ports(&mut self) -> RangeInclusive<u16> {
        self.parsed(
            "PORT_RANGE",
            "two ports such as 7000-8000, the smaller first",
            parse::port_range,
        )
        .unwrap_or(1..=1)
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}
