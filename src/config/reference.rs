//! The reference of settings in the three forms in which people meet it: a table of USAGE.md, `.env.example`, and the
//! beginning of `deskgate.example.toml`. All of it is made of [`super::settings`]; a test compares the files.

use std::fmt::Write as _;

use super::settings::{SECTIONS, SETTINGS, Section, Setting};

/// Columns of the files.
const WIDTH: usize = 118;

/// What stands above the variables.
const ENV_HEAD: &str = "\
# Settings of Deskgate as environment variables. Copy this file to .env and remove the # in front of what you set; what
# stays commented out keeps the default that is shown. docker-compose reads .env by itself; docker-compose.yml sets
# DATABASE_URL, DOCKER_HOST, SECRET_KEY_FILE and the file of the client secret, and takes INSTANCE=main where nothing is
# said. Without it, load the file into the shell: `set -a; . ./.env; set +a`.
#
# `deskgate serve` needs PUBLIC_URL, SECRET_KEY, OAUTH_ISSUER and OAUTH_CLIENT_ID. An empty value counts as not set.
# KEY_FILE instead of KEY reads the value from a file, which suits secrets: SECRET_KEY_FILE=data/secrets/secret_key
# Durations: 90s, 15m, 6h, 7d. Variables that are not in this list are ignored. deskgate.toml takes the same keys in
# lower case.
#
# `deskgate settings` prints this for the version at hand.
";

/// What stands above the keys.
const TOML_HEAD: &str = "\
# Settings of Deskgate as a file. Copy it to deskgate.toml in the working directory, or name it:
#
#     deskgate serve --config /etc/deskgate/deskgate.toml
#
# The keys are those of .env.example in lower case; what is commented out shows its default, if it has one. The
# environment wins over this file. A key that does not exist is an error here. Secrets do not belong in this file: set
# KEY_file (as below), or KEY_FILE in the environment.
#
# `deskgate settings --format toml` prints this for the version at hand.
";

/// What the example of a file sets, as TOML.
const EXAMPLES: [(&str, &str); 12] = [
    ("PUBLIC_URL", "\"https://desktops.school.example\""),
    ("LISTEN", "\"0.0.0.0:8443\""),
    ("DATABASE_URL", "\"sqlite://data/deskgate.db\""),
    ("OAUTH_ISSUER", "\"https://school.example\""),
    ("OAUTH_CLIENT_ID", "\"the id that the provider gave\""),
    ("OAUTH_SCOPES", "\"openid profile email groups roles uuid\""),
    ("ROLE_ADMIN", "[\"ROLE_ADMIN\"]"),
    ("ROLE_TEACHER", "[\"ROLE_TEACHER\"]"),
    ("DESKTOP_IDLE_STOP", "\"2h\""),
    ("DESKTOP_MAX_LIFETIME", "\"12h\""),
    ("MAX_DESKTOPS", "40"),
    ("MAX_DESKTOPS_PER_USER", "2"),
];

/// As a file of environment variables.
#[must_use]
pub fn env() -> String {
    let mut text = ENV_HEAD.to_owned();
    for (section, settings) in sections() {
        divide(&mut text, section);
        for setting in settings {
            comment(&mut text, setting);
            let default = setting.default.unwrap_or_default();
            let quote = if default.contains(' ') { "\"" } else { "" };
            line(
                &mut text,
                format_args!("#{}={quote}{default}{quote}", setting.key),
            );
        }
    }
    text
}

/// As the part of a TOML file that is no template.
#[must_use]
pub fn toml() -> String {
    let mut text = TOML_HEAD.to_owned();
    for (section, settings) in sections() {
        divide(&mut text, section);
        for setting in settings {
            comment(&mut text, setting);
            let key = setting.key.to_lowercase();
            let example = EXAMPLES.iter().find(|(of, _)| *of == setting.key);
            if let Some((_, value)) = example {
                line(&mut text, format_args!("{key} = {value}"));
            } else if setting.secret {
                line(
                    &mut text,
                    format_args!("# {key}_file = \"data/secrets/{key}\""),
                );
            } else if let Some(default) = setting.default {
                let is_number = default.parse::<u64>().is_ok();
                let quote = if is_number { "" } else { "\"" };
                line(&mut text, format_args!("# {key} = {quote}{default}{quote}"));
            } else {
                line(&mut text, format_args!("# {key} ="));
            }
        }
    }
    text
}

/// As tables in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    for (section, settings) in sections() {
        line(&mut text, format_args!("\n### {}\n", section.title));
        line(
            &mut text,
            format_args!("| setting | default | |\n|---|---|---|"),
        );
        for setting in settings {
            let secret = if setting.secret { " (secret)" } else { "" };
            let default = setting.default.map(|text| format!("`{text}`"));
            let (key, default) = (setting.key, default.unwrap_or_default());
            let about = setting.about.replace('|', "\\|");
            line(
                &mut text,
                format_args!("| `{key}`{secret} | {default} | {about} |"),
            );
        }
    }
    text
}

/// Each section with its settings.
fn sections() -> impl Iterator<Item = (&'static Section, &'static [Setting])> {
    let at = |key: &str| SETTINGS.iter().position(|setting| setting.key == key);
    SECTIONS.iter().enumerate().map(move |(index, section)| {
        let next = SECTIONS.get(index + 1);
        let begin = at(section.first).unwrap_or_default();
        let end = next
            .and_then(|next| at(next.first))
            .unwrap_or(SETTINGS.len());
        (section, SETTINGS.get(begin..end).unwrap_or_default())
    })
}

fn divide(text: &mut String, section: &Section) {
    line(text, format_args!("\n# ---- {} ----", section.title));
}

/// What a setting is for, without what only Markdown shows.
fn comment(text: &mut String, setting: &Setting) {
    let mut row = String::from("#");
    text.push('\n');
    for word in plain(setting.about).split(' ') {
        if row.len() + word.len() >= WIDTH {
            line(text, format_args!("{row}"));
            row = String::from("#");
        }
        row.push(' ');
        row.push_str(word);
    }
    line(text, format_args!("{row}"));
}

/// Markdown as plain text: `[text](address)` is its text, and marks of code and weight go.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        text.push_str(before);
        let parts = link.split_once("](").and_then(|(label, rest)| {
            let (_, rest) = rest.split_once(')')?;
            (!label.contains(']')).then_some((label, rest))
        });
        if let Some((label, behind)) = parts {
            text.push_str(label);
            rest = behind;
        } else {
            text.push('[');
            rest = link;
        }
    }
    text.push_str(rest);
    text.replace('`', "").replace("**", "")
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::find;

    #[test]
    fn each_setting_is_in_one_section_and_the_sections_are_in_order() {
        let keys = sections().flat_map(|(_, settings)| settings.iter().map(|one| one.key));
        let keys: Vec<&str> = keys.collect();
        let all: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
        assert_eq!(keys, all);
        assert!(SECTIONS.iter().all(|section| find(section.first).is_some()));
        assert!(sections().all(|(_, settings)| !settings.is_empty()));
        assert!(EXAMPLES.iter().all(|(key, _)| find(key).is_some()));
    }

    #[test]
    fn markdown_becomes_text() {
        for (markdown, text) in [
            ("`on`, or `off`", "on, or off"),
            ("a [rate](#rates) of `1/m`", "a rate of 1/m"),
            (
                "https://host[:port] with [a](b) more",
                "https://host[:port] with a more",
            ),
            ("**Never** [x", "Never [x"),
        ] {
            assert_eq!(plain(markdown), text);
        }
    }

    #[test]
    fn what_is_commented_out_is_what_the_program_reads() {
        for row in toml().lines() {
            let row = row.trim_start_matches("# ");
            let Some((key, value)) = row.split_once(" =").filter(|(key, _)| !key.contains(' '))
            else {
                continue;
            };
            if !value.is_empty() {
                let parsed: Result<toml::Table, _> = row.parse();
                assert!(parsed.is_ok_and(|table| table.len() == 1), "{row}");
            }
            let upper = key.to_uppercase();
            let known = find(&upper).or_else(|| find(upper.strip_suffix("_FILE")?));
            assert!(known.is_some(), "{row}");
        }
        assert!(
            env()
                .lines()
                .chain(toml().lines())
                .all(|row| row.len() <= WIDTH + 2)
        );
    }
}
