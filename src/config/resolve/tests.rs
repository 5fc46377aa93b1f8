//! Reading settings as a whole.

use super::*;
use crate::config::{AcmeChallenge, TeacherLook};

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
        ("LOGIN_RATE", "many"),
        ("START_RATE", "0/1m"),
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
        "LOGIN_RATE",
        "START_RATE",
    ] {
        assert!(keys.contains(&key), "{key} is missing in {error}");
    }
    assert!(!error.to_string().contains("hunter"), "{error}");
}

#[test]
fn a_class_is_named_and_never_everything() {
    let with = |said: &'static str| {
        let mut pairs = GOOD.to_vec();
        pairs.push(("TEACHER_GROUPS", said));
        resolve(&pairs).map(|config| config.teacher_groups)
    };
    let said = with("klasse.*, AG Robotik").expect("resolves");
    assert_eq!(said, ["klasse.*", "AG Robotik"]);
    for wrong in ["*", "klasse.*, *", "*.8a", "kl*sse", "klasse.**"] {
        assert!(with(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn teachers_see_no_screens_unless_somebody_says_so() {
    let with = |said: Option<&'static str>| {
        let mut pairs = GOOD.to_vec();
        pairs.extend(said.map(|value| ("TEACHER_LOOK", value)));
        resolve(&pairs).map(|config| config.teacher_look)
    };
    assert_eq!(with(None).ok(), Some(TeacherLook::Off));
    assert_eq!(with(Some("thumbnails")).ok(), Some(TeacherLook::Thumbnails));
    assert_eq!(with(Some("view")).ok(), Some(TeacherLook::View));
    assert!(with(Some("on")).is_err() && with(Some("View")).is_err());
    assert!(TeacherLook::View > TeacherLook::Thumbnails);
}

#[test]
fn the_audit_log_is_kept_for_a_time_or_for_ever() {
    let with = |said: Option<&'static str>| {
        let mut pairs = GOOD.to_vec();
        pairs.extend(said.map(|value| ("AUDIT_RETENTION", value)));
        resolve(&pairs).map(|config| config.audit_retention.map(|span| span.as_secs() / 86400))
    };
    assert_eq!(with(None).ok(), Some(Some(180)));
    assert_eq!(with(Some("30d")).ok(), Some(Some(30)));
    assert_eq!(with(Some("0")).ok(), Some(None));
    assert!(with(Some("30")).is_err() && with(Some("for ever")).is_err());
}

#[test]
fn a_password_is_not_too_long_for_a_head() {
    for (length, expected) in [(256, None), (257, Some("VNC_PASSWORD"))] {
        let password = "hunter2".repeat(37)[..length].to_owned();
        let mut pairs = GOOD.to_vec();
        pairs.push(("VNC_PASSWORD", &password));
        let error = resolve(&pairs).err();
        let key = error.as_ref().map(|error| error.0[0].key.as_str());
        assert_eq!(key, expected);
        assert!(error.is_none_or(|error| !error.to_string().contains("hunter")));
    }
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

#[test]
fn what_an_authority_cannot_certify_is_a_mistake() {
    let with = |more: &[(&str, &str)]| {
        let directory = ("ACME_DIRECTORY", "https://acme.example/directory");
        let earlier = GOOD
            .iter()
            .filter(|(key, _)| !more.iter().any(|(other, _)| key == other));
        let all: Vec<_> = earlier.chain(&[directory]).chain(more).copied().collect();
        resolve(&all)
    };
    let acme = with(&[("DESKTOP_ORIGIN", "https://desktops.example")])
        .expect("resolves")
        .server
        .acme;
    let acme = acme.expect("it is on");
    assert_eq!(acme.hosts, ["desk.example", "desktops.example"]);
    assert_eq!(acme.challenge, AcmeChallenge::TlsAlpn01);
    for (more, key) in [
        (&[("PUBLIC_URL", "https://192.0.2.1")][..], "ACME_DIRECTORY"),
        (&[("PUBLIC_URL", "https://[2001:db8::1]")], "ACME_DIRECTORY"),
        (
            &[("PUBLIC_URL", "https://localhost:8443")],
            "ACME_DIRECTORY",
        ),
        (
            &[("DESKTOP_ORIGIN", "https://x.localhost")],
            "ACME_DIRECTORY",
        ),
        (&[("TLS", "off")], "ACME_DIRECTORY"),
        (&[("ACME_CHALLENGE", "dns-01")], "ACME_CHALLENGE"),
        (&[("ACME_CHALLENGE", "http-01")], "ACME_CHALLENGE"),
        (&[("ACME_EMAIL", "nobody")], "ACME_EMAIL"),
        (&[("ACME_CA_FILE", "/nowhere.pem")], "ACME_CA_FILE"),
        (&[("ACME_EAB_KID", "k")], "ACME_EAB_KID"),
        (&[("ACME_EAB_KEY", "aaaa")], "ACME_EAB_KEY"),
        (
            &[("ACME_EAB_KID", "k"), ("ACME_EAB_KEY", "hunter2 +")],
            "ACME_EAB_KEY",
        ),
    ] {
        let error = with(more).expect_err(key);
        let keys: Vec<&str> = error.0.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(keys, [key], "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let http = [("ACME_CHALLENGE", "http-01"), ("HTTP_LISTEN", "0.0.0.0:80")];
    assert!(with(&http).is_ok());
    assert!(resolve(GOOD).expect("resolves").server.acme.is_none());
}

#[test]
fn an_empty_file_says_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    let resolve_with = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        let path = file.to_str().expect("a path");
        let pairs = [GOOD, &[("OAUTH_CLIENT_SECRET_FILE", path)]].concat();
        resolve(&pairs).expect("resolves").oidc.client_secret
    };
    assert!(resolve_with("\n").is_none());
    let secret = resolve_with("a-secret\n").expect("a secret");
    assert_eq!(secret.expose(), "a-secret");
}

#[test]
fn a_collector_is_an_address_and_a_part_of_the_requests() {
    let with = |more: &[(&str, &str)]| resolve(&[GOOD, more].concat());
    assert!(with(&[]).expect("resolves").traces.is_none());
    let traces = with(&[("OTLP_ENDPOINT", "http://collector:4318")])
        .expect("resolves")
        .traces;
    assert!((traces.expect("it is on").sample - 0.1).abs() < f64::EPSILON);
    for (key, value) in [
        ("OTLP_ENDPOINT", "collector:4318"),
        ("OTLP_ENDPOINT", "http://me:secret@collector"),
        ("OTLP_ENDPOINT", "http://collector/?key=secret"),
        ("OTLP_SAMPLE", "1.1"),
        ("OTLP_SAMPLE", "NaN"),
        ("OTLP_SAMPLE", "all"),
    ] {
        let error = with(&[(key, value)]).expect_err(value);
        assert_eq!(error.0.len(), 1, "{error}");
        assert_eq!(error.0[0].key, key);
    }
}

#[test]
fn gateway_and_filter_refuse_the_same_mounts() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("deskgate.toml");
    let mounts = "mounts = [{ source = '/srv/all', target = '/mnt/all', read_only = false }, \
        { source = '/srv/all/8a', target = '/mnt/8a' }]";
    let text = format!("instance = 'school'\n[[template]]\nid = 'a'\nimage = 'i'\n{mounts}\n");
    std::fs::write(&file, text).expect("a file");
    let env = |key: &str| {
        let mut good = GOOD.iter();
        good.find(|(name, _)| *name == key)
            .map(|(_, value)| (*value).to_owned())
    };
    let raw = || Raw::load(Some(&file), &env);
    let gateway = Config::resolve(raw()).expect_err("refused").0;
    let filter = FilterConfig::resolve(raw()).expect_err("refused").0;
    assert_eq!(gateway, filter);
    assert_eq!(gateway[0].key, "template \"a\", mounts 2, source");
    assert_eq!(gateway.len(), 1);
}
