//! The `[[template]]` tables of `deskgate.toml`, and how each becomes a [`Template`].

use serde::Deserialize;

use super::mistake::Mistake;
use super::table::Table;
use super::{hours, template_container, template_route};
use crate::model::preset::Preset;
use crate::model::template::{Pull, Template, Texts};

/// Most containers that are kept ready of one template.
const MAX_WARM: u32 = 100;
/// Icons that the portal has.
const ICONS: [&str; 5] = ["browser", "code", "desktop", "office", "terminal"];

/// One `[[template]]` table as it was written.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct RawTemplate(toml::Table);

impl RawTemplate {
    /// The template, with the defaults of its preset where the table says nothing. Mistakes are added to `mistakes`.
    pub fn resolve(self, mistakes: &mut Vec<Mistake>) -> Template {
        let written = self.0.get("id").and_then(toml::Value::as_str);
        let name = format!("template {:?}", written.unwrap_or_default());
        let mut table = Table::new(name, self.0, mistakes);
        let words = Preset::ALL.map(|preset| (preset.as_str(), preset));
        let preset = table.word("preset", &words);
        let image = required(&mut table, "image", "an image reference", |text| {
            !text.is_empty() && !text.contains(char::is_whitespace)
        });
        let mut template = preset.unwrap_or(Preset::Kasm).template(image);
        template.id = required(&mut table, "id", "1 to 40 of a-z, 0-9 and -", is_short_name);
        template.title = texts(&mut table, "title").unwrap_or_else(|| Texts::same(&template.id));
        set(&mut template.description, texts(&mut table, "description"));
        let icon = table.parsed(
            "icon",
            "desktop, browser, code, office, terminal or a data:image/... address",
            |text| {
                let known = ICONS.contains(&text) || text.starts_with("data:image/");
                known.then(|| text.to_owned())
            },
        );
        set(&mut template.icon, icon);
        let pull = [
            ("missing", Pull::Missing),
            ("always", Pull::Always),
            ("never", Pull::Never),
        ];
        set(&mut template.pull, table.word("pull", &pull));
        template_route::read(&mut table, &mut template);
        template_container::read(&mut table, &mut template);
        for (key, field) in [
            ("groups", &mut template.groups),
            ("users", &mut template.users),
        ] {
            set(field, table.texts(key, "names", |name| !name.is_empty()));
        }
        template.hours = hours::read(&mut table);
        set(&mut template.warm, table.number("warm", (0, MAX_WARM)));
        if template.warm > 0 && !template.suits_anybody() {
            let expected =
                "0, or together with home = \"none\" and without mounts for each {group}";
            table.wrong("warm", Some(template.warm.to_string()), expected);
        }
        table.finish();
        template
    }
}

/// A text that has to be there.
pub(super) fn required(
    table: &mut Table<'_>,
    key: &'static str,
    expected: &str,
    fits: impl Fn(&str) -> bool,
) -> String {
    let mut found = false;
    let text = table.read(key, expected, |value| {
        found = true;
        value.as_str().filter(|text| fits(text)).map(str::to_owned)
    });
    if !found {
        table.wrong(key, None, &format!("is missing; it should be {expected}"));
    }
    text.unwrap_or_default()
}

/// `"text"`, or `{ de = "...", en = "..." }`, of which either may be left out.
fn texts(table: &mut Table<'_>, key: &'static str) -> Option<Texts> {
    table.read(key, "a text, or { de = \"...\", en = \"...\" }", |value| {
        if let Some(text) = value.as_str() {
            return Some(Texts::same(text));
        }
        let table = value.as_table()?;
        let only = table.keys().all(|key| matches!(key.as_str(), "de" | "en"));
        let said = |key: &str| table.get(key).map(toml::Value::as_str);
        match (only, said("de"), said("en")) {
            (true, Some(Some(de)), Some(Some(en))) => Some(Texts {
                de: de.into(),
                en: en.into(),
            }),
            (true, Some(Some(one)), None) | (true, None, Some(Some(one))) => Some(Texts::same(one)),
            _ => None,
        }
    })
}

/// Replaces a default by what was said.
pub(super) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// An absolute path that means one place: no empty or dot segments, no slash at the end, nothing odd in it.
pub(super) fn is_path(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(|rest| {
        !text.contains([':', '\\', ','])
            && !text.chars().any(char::is_control)
            && rest
                .split('/')
                .all(|segment| !matches!(segment, "" | "." | ".."))
    })
}

/// A name that an environment variable may have.
pub(super) fn is_variable(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_short_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::template::{Auth, Prefix, Scheme};

    fn resolve(text: &str) -> (Template, Vec<String>) {
        let mut mistakes = Vec::new();
        let raw: RawTemplate = toml::from_str(text).expect("TOML");
        let template = raw.resolve(&mut mistakes);
        (template, mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_left_out_is_the_presets_and_every_field_overrides_it() {
        let (template, mistakes) = resolve("id = 'a'\nimage = 'i'\npreset = 'selkies'");
        let preset = Preset::Selkies.template("i".into());
        let (id, title) = ("a".to_owned(), Texts::same("a"));
        assert_eq!(
            template,
            Template {
                id,
                title,
                ..preset
            }
        );
        assert_eq!(mistakes, Vec::<String>::new());
        let (selkies, mistakes) = resolve(
            "id = 'a'\nimage = 'i'\npreset = 'selkies'\nscheme = 'https'\nprefix = 'keep'\ncpus = 1\nauth = { user = 'x' }",
        );
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(
            (selkies.scheme, selkies.prefix),
            (Scheme::Https, Prefix::Keep)
        );
        assert_eq!(selkies.cpu_millis, 1000);
        let (template, mistakes) = resolve(
            "id = 'a'\nimage = 'i'\nenv = { START_PULSEAUDIO = '1', LANG = 'de' }\nviewer_auth = { user = 'v' }",
        );
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(template.viewer_auth.as_deref(), Some("v"));
        let env = |name: &str| template.env.get(name).map(String::as_str);
        let both = [env("START_PULSEAUDIO"), env("LANG"), env("KASM_SVC_AUDIO")];
        assert_eq!(both, [Some("1"), Some("de"), Some("0")]);
        let Auth::Basic {
            user, password_env, ..
        } = selkies.auth
        else {
            panic!("Basic");
        };
        assert_eq!((user.as_str(), password_env.as_str()), ("x", "PASSWORD"));
    }

    /// The templates of a file that is right.
    fn templates(file: &str) -> Vec<Template> {
        let file: toml::Table = file.parse().expect("TOML");
        let raws: Vec<RawTemplate> = file["template"].clone().try_into().expect("tables");
        let mut mistakes = Vec::new();
        let raws = raws.into_iter();
        let templates: Vec<Template> = raws.map(|raw| raw.resolve(&mut mistakes)).collect();
        super::super::mounts::check(&templates, &mut mistakes);
        assert_eq!(mistakes, []);
        templates
    }

    #[test]
    fn the_example_is_right_and_its_first_table_says_the_defaults() {
        let mut templates = templates(include_str!("../../deskgate.example.toml"));
        let image = templates[0].image.clone();
        assert_eq!(templates.remove(0), Preset::Kasm.template(image));
    }

    #[test]
    fn what_the_demo_offers_is_right() {
        assert!(!templates(include_str!("../../images/demo.toml")).is_empty());
    }

    #[test]
    fn every_field_that_is_wrong_is_named_with_what_was_found() {
        let wrong = [
            ("id = 'Big Desktop'", "Big Desktop"),
            ("preset = 'vnc'", "vnc"),
            ("title = 3", "3"),
            ("icon = 'x.png'", "x.png"),
            ("pull = 'often'", "often"),
            ("port = 70000", "70000"),
            ("scheme = 'ftp'", "ftp"),
            ("prefix = 'drop'", "drop"),
            ("prefix_env = { A = '{path}' }", "{path}"),
            ("entry = 'x'", "x"),
            ("ws_paths = ['ws']", "ws"),
            ("deny_paths = ['/a/']", "/a/"),
            ("host_header = 1", "1"),
            ("origin = 'any'", "any"),
            ("max_message = 3", "3"),
            ("screenshot = '/s?id={id}'", "/s?id={id}"),
            ("view = 'vnc'", "vnc"),
            (
                "headers = { set = { Content-Security-Policy = 'x' } }",
                "Content-Security-Policy",
            ),
            ("ready = { expect = 99 }", "99"),
            ("stop = { signal = 'TERM' }", "TERM"),
            ("notice = ['show', '{text}']", "show"),
            ("shm_size = '1'", "1"),
            ("memory = 'lots'", "lots"),
            ("cpus = 0", "0"),
            ("pids = -1", "-1"),
            ("user = 'a b'", "a b"),
            ("init = 'yes'", "yes"),
            ("tmpfs = { tmp = '' }", "tmp"),
            ("cap_drop = ['all']", "all"),
            ("cap_add = [1]", "1"),
            ("seccomp = '/nowhere.json'", "/nowhere.json"),
            ("devices = ['dri']", "dri"),
            ("env = { '1A' = 'x' }", "1A"),
            ("resolution = 'large'", "large"),
            ("network = 'lan'", "lan"),
            ("home = 'yes'", "yes"),
            ("home_path = 'home'", "home"),
            ("mounts = [{ source = '/etc/x', target = '/x' }]", "/etc/x"),
            ("groups = [1]", "1"),
            ("users = 'mia'", "mia"),
            (
                "hours = { timezone = 'Mars', from = '07:00', to = '18:00' }",
                "Mars",
            ),
            ("warm = 1000", "1000"),
            ("tls_verify = 'ca'", "ca"),
            ("colour = 'red'", "is not a field"),
        ];
        let text: Vec<&str> = wrong.iter().map(|(line, _)| *line).collect();
        let (_, mistakes) = resolve(&format!("image = ''\n{}", text.join("\n")));
        for (line, found) in wrong {
            let key = line.split(' ').next().unwrap_or_default();
            let named = mistakes
                .iter()
                .any(|text| text.contains(key) && text.contains(found));
            assert!(named, "{line} in {mistakes:#?}");
        }
        assert_eq!(mistakes.len(), wrong.len() + 1, "{mistakes:#?}");
    }

    #[test]
    fn neither_a_part_of_the_host_nor_what_holds_one_is_mounted() {
        let source = |source: &str| {
            let mount = format!("mounts = [{{ source = '{source}', target = '/x' }}]");
            resolve(&format!("id = 'a'\nimage = 'i'\n{mount}")).1
        };
        let refused = [
            "/",
            "/etc",
            "/lib64",
            "/var",
            "/var/lib",
            "/var/lib/docker",
            "/var/lib/docker/volumes",
            "/var/lib/containers",
            "/var/run/docker.sock",
            "/var/spool",
            "/srv/../etc",
            "/srv/",
        ];
        for place in refused {
            let mistakes = source(place);
            assert_eq!(mistakes.len(), 1, "{place}: {mistakes:?}");
            assert!(mistakes[0].contains("its system"), "{mistakes:?}");
        }
        for place in [
            "/srv",
            "/srv/var",
            "/variety",
            "/var/lib/school",
            "/home/all",
        ] {
            assert_eq!(source(place), Vec::<String>::new(), "{place}");
        }
    }

    #[test]
    fn what_only_makes_sense_together_is_checked_together() {
        for (line, key) in [
            ("scheme = 'http'\ntls_verify = 'pin'", "tls_verify"),
            ("view = 'none'\nviewer_auth = { user = 'x' }", "viewer_auth"),
            (
                "auth = { none = true }\nviewer_auth = { user = 'x' }",
                "viewer_auth",
            ),
            ("viewer_auth = { user = 'a:b' }", "user"),
            ("viewer_auth = {}", "user"),
            ("preset = 'novnc'\nresolution = '800x600'", "resolution"),
            (
                "mounts = [{ source = 'class-{group}', target = '/c', groups = ['a'] }]",
                "source",
            ),
            (
                "mounts = [{ source = 'class-{group}', target = '/c/{group}' }]",
                "source",
            ),
            (
                "mounts = [{ source = 'all', target = '/c', groups = ['a'] }]",
                "groups",
            ),
            (
                "mounts = [{ source = '/{group}', target = '/c/{group}', groups = ['etc', 'a'] }]",
                "/etc",
            ),
            ("mounts = [{ source = 'all' }]", "target"),
            ("warm = 2", "warm"),
            (
                "warm = 2\nhome = 'none'\nmounts = [{ source = 'class-{group}', target = '/c/{group}', groups = ['a'] }]",
                "warm",
            ),
        ] {
            let (_, mistakes) = resolve(&format!("id = 'a'\nimage = 'i'\n{line}"));
            assert!(
                mistakes.len() == 1 && mistakes[0].contains(key),
                "{line}: {mistakes:?}"
            );
        }
        let (_, mistakes) = resolve("");
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    }
}
