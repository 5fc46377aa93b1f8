//! The `[[template]]` tables of `deskgate.toml`, and how each becomes a [`Template`].

use std::collections::BTreeMap;

use serde::Deserialize;

use super::mistake::Mistake;
use super::parse;
use crate::model::template::{Auth, Home, Scheme, Template};

/// One `[[template]]` table. What is left out keeps the default, which fits the Kasm images.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTemplate {
    id: String,
    title: Option<String>,
    description: Option<String>,
    icon: Option<String>,
    image: String,
    port: Option<u16>,
    scheme: Option<RawScheme>,
    auth: Option<RawAuth>,
    entry: Option<String>,
    deny_paths: Option<Vec<String>>,
    shm_size: Option<String>,
    memory: Option<String>,
    cpus: Option<f64>,
    pids: Option<u32>,
    cap_add: Option<Vec<String>>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    home: Option<RawHome>,
    home_path: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawScheme {
    Http,
    Https,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawHome {
    None,
    Volume,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    user: Option<String>,
    password_env: Option<String>,
    #[serde(default)]
    none: bool,
}

impl RawTemplate {
    /// The template, or what is wrong with the table.
    ///
    /// Mistakes are added to `mistakes` and the reading goes on, so that all of them are reported at once.
    pub fn resolve(self, mistakes: &mut Vec<Mistake>) -> Template {
        let mut template = Template::kasm(self.image, self.port.unwrap_or(6901));
        let id = self.id;
        let mut wrong = |field: &str, found: String, expected: &str| {
            mistakes.push(Mistake {
                key: format!("template {id:?}, {field}"),
                found: Some(found),
                expected: expected.to_owned(),
            });
        };
        if !is_short_name(&id) {
            wrong("id", id.clone(), "1 to 40 of a-z, 0-9 and -");
        }
        set_size(
            &mut template.shm_size,
            "shm_size",
            self.shm_size,
            &mut wrong,
        );
        set_size(&mut template.memory, "memory", self.memory, &mut wrong);
        if let Some(cpus) = self.cpus {
            match cpu_millis(cpus) {
                Some(millis) => template.cpu_millis = millis,
                None => wrong(
                    "cpus",
                    cpus.to_string(),
                    "a number of cores from 0.1 to 1000",
                ),
            }
        }
        if let Some(entry) = self.entry {
            if !entry.starts_with('/') {
                wrong("entry", entry.clone(), "a path that begins with /");
            }
            template.entry = entry;
        }
        for path in self.deny_paths.iter().flatten() {
            if !path.starts_with('/') || path.ends_with('/') {
                wrong(
                    "deny_paths",
                    path.clone(),
                    "paths that begin with / and do not end with it",
                );
            }
        }
        template.title = self.title.unwrap_or_else(|| id.clone());
        template.id = id;
        set(&mut template.description, self.description);
        set(&mut template.icon, self.icon);
        set(&mut template.deny_paths, self.deny_paths);
        set(&mut template.cap_add, self.cap_add);
        set(&mut template.pids, self.pids);
        set(&mut template.home_path, self.home_path);
        set(&mut template.scheme, self.scheme.map(Scheme::from));
        set(&mut template.home, self.home.map(Home::from));
        set(&mut template.auth, self.auth.map(Auth::from));
        template.env = self.env;
        template.groups = self.groups;
        template
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn set_size(
    field: &mut u64,
    name: &str,
    value: Option<String>,
    wrong: &mut dyn FnMut(&str, String, &str),
) {
    if let Some(text) = value {
        match parse::byte_size(&text).filter(|size| *size >= 1 << 20) {
            Some(size) => *field = size,
            None => wrong(name, text, "a size of at least 1m, as in 512m or 2g"),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked first"
)]
fn cpu_millis(cpus: f64) -> Option<u32> {
    (0.1..=1000.0)
        .contains(&cpus)
        .then(|| (cpus * 1000.0).round() as u32)
}

fn is_short_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl From<RawScheme> for Scheme {
    fn from(raw: RawScheme) -> Self {
        match raw {
            RawScheme::Http => Self::Http,
            RawScheme::Https => Self::Https,
        }
    }
}

impl From<RawHome> for Home {
    fn from(raw: RawHome) -> Self {
        match raw {
            RawHome::None => Self::None,
            RawHome::Volume => Self::Volume,
        }
    }
}

impl From<RawAuth> for Auth {
    fn from(raw: RawAuth) -> Self {
        if raw.none {
            return Self::None;
        }
        Self::Basic {
            user: raw.user.unwrap_or_else(|| "kasm_user".into()),
            password_env: raw.password_env.unwrap_or_else(|| "VNC_PW".into()),
        }
    }
}
