//! What file and environment say, before it means anything: text by key, and where it came from.
//! The environment wins over the file, and `KEY_FILE` gives the contents of a file.

use std::collections::BTreeMap;
use std::path::Path;

use super::mistake::Mistake;
use super::settings::{SETTINGS, Setting, find};
use super::template::RawTemplate;

/// The settings as text, and the templates as tables.
#[derive(Debug, Default)]
pub struct Raw {
    values: BTreeMap<&'static str, String>,
    /// `[[template]]` tables in the order of the file.
    pub templates: Vec<RawTemplate>,
    /// What was wrong already.
    pub mistakes: Vec<Mistake>,
    /// The file, if there is one; a mistake with this key is one of the file and not of a setting.
    pub file: Option<String>,
}

impl Raw {
    /// Reads `file`, if one is named or `deskgate.toml` exists, then the environment through `env`.
    #[must_use]
    pub fn load(file: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut raw = Self::default();
        let default = Path::new("deskgate.toml");
        if let Some(path) = file.or_else(|| default.exists().then_some(default)) {
            raw.read_file(path);
        }
        for setting in SETTINGS {
            raw.read_environment(setting, env);
        }
        raw
    }

    /// Sets a value that neither file nor environment gave.
    pub fn set_default(&mut self, key: &str, value: impl Into<String>) {
        if let Some(setting) = find(key) {
            self.values
                .entry(setting.key)
                .or_insert_with(|| value.into());
        }
    }

    /// Sets a value whatever file and environment say.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        if let Some(setting) = find(key) {
            self.values.insert(setting.key, value.into());
        }
    }

    /// What was said for `key`, without the default.
    #[must_use]
    pub fn said(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    fn mistake(
        &mut self,
        key: impl Into<String>,
        found: Option<String>,
        expected: impl Into<String>,
    ) {
        self.mistakes.push(Mistake {
            key: key.into(),
            found,
            expected: expected.into(),
        });
    }

    fn read_environment(
        &mut self,
        setting: &'static Setting,
        env: &dyn Fn(&str) -> Option<String>,
    ) {
        if let Some(value) = env(setting.key).filter(|value| !value.is_empty()) {
            self.values.insert(setting.key, value);
        }
        let file_key = format!("{}_FILE", setting.key);
        // OAUTH_CA_FILE and its like are settings of their own, not files of another one.
        if find(&file_key).is_some() {
            return;
        }
        if let Some(path) = env(&file_key).filter(|value| !value.is_empty()) {
            self.read_value_file(setting, &file_key, &path);
        }
    }

    fn read_value_file(&mut self, setting: &'static Setting, file_key: &str, path: &str) {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let value = text.trim_end_matches(['\r', '\n']);
                // As everywhere, empty is not set.
                if !value.is_empty() {
                    self.values.insert(setting.key, value.to_owned());
                }
            }
            Err(error) => self.mistake(
                file_key,
                Some(path.to_owned()),
                format!("a readable file ({error})"),
            ),
        }
    }

    fn read_file(&mut self, path: &Path) {
        let shown = path.display().to_string();
        self.file = Some(shown.clone());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.mistake(shown, None, format!("cannot be read ({error})")),
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return self.mistake(shown, None, format!("is not valid TOML: {error}")),
        };
        for (key, value) in table {
            self.read_entry(&shown, &key, value);
        }
    }

    fn read_entry(&mut self, file: &str, key: &str, value: toml::Value) {
        if key == "template" {
            return match value.try_into::<Vec<RawTemplate>>() {
                Ok(templates) => self.templates = templates,
                Err(_) => self.mistake(
                    "template",
                    None,
                    format!("in {file}: should be tables, written [[template]]"),
                ),
            };
        }
        let upper = key.to_uppercase();
        if key == key.to_lowercase() {
            if let Some(setting) = find(&upper) {
                return match text_of(&value) {
                    Some(text) => {
                        self.values.insert(setting.key, text);
                    }
                    None => self.mistake(
                        upper,
                        None,
                        "expected a string, number, boolean or list of strings",
                    ),
                };
            }
            let file_setting = upper.strip_suffix("_FILE").and_then(find);
            if let (Some(setting), Some(path)) = (file_setting, value.as_str()) {
                return self.read_value_file(setting, &upper, path);
            }
        }
        self.mistake(
            key,
            None,
            format!(
                "is not a setting (in {file}); the keys are those of .env.example in lower case"
            ),
        );
    }
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(if *on { "on" } else { "off" }.to_owned()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}
