//! `deskgate check` from outside: what is wrong is found by its line, and nothing secret is in any of them.

use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::support::authority::Authority;
use crate::support::collector::Collector;
use crate::support::fake_daemon::FakeDaemon;
use crate::support::gateway::TestGateway;
use crate::support::postgres::OwnDatabase;

const SECRET: &str = "an-entirely-secret-key-for-tests";

/// An installation that could start, apart from its engine.
struct Site {
    directory: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

struct Checked {
    code: Option<i32>,
    json: Value,
    all: String,
}

impl Site {
    fn new(issuer: &str) -> Self {
        let free = || {
            let door = TcpListener::bind("127.0.0.1:0").unwrap();
            door.local_addr().unwrap().to_string()
        };
        let environment = [
            ("PUBLIC_URL", "https://desk.test".to_owned()),
            ("LISTEN", free()),
            ("METRICS_LISTEN", free()),
            ("SECRET_KEY", SECRET.to_owned()),
            ("OAUTH_ISSUER", issuer.to_owned()),
            ("OAUTH_CLIENT_ID", "test".to_owned()),
            ("OAUTH_CLIENT_SECRET", "test-secret".to_owned()),
            ("DOCKER_HOST", "unix:///nowhere/docker.sock".to_owned()),
        ];
        Self {
            directory: tempfile::tempdir().unwrap(),
            environment: environment.into(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskgate"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .envs(self.environment.iter().cloned());
        command
    }

    async fn check(&self, changes: &[(&'static str, &str)]) -> Checked {
        let mut command = self.command(&["check", "--json"]);
        command.envs(changes.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Checked {
            code: output.status.code(),
            json: serde_json::from_str(&said).expect("JSON"),
            all: said + &String::from_utf8_lossy(&output.stderr),
        }
    }
}

impl Checked {
    fn lines(&self, check: &str) -> Vec<&Value> {
        let lines = self.json["checks"].as_array().expect("lines").iter();
        lines.filter(|line| line["check"] == check).collect()
    }

    #[track_caller]
    fn assert(&self, check: &str, outcome: &str, words: &str) {
        let lines = self.lines(check);
        let fits = |line: &&&Value| line["outcome"] == outcome && line.to_string().contains(words);
        let line = lines.iter().find(fits);
        let line = line.unwrap_or_else(|| panic!("no {check} {outcome} {words:?} in {lines:?}"));
        assert_eq!(line["remedy"].is_string(), outcome != "ok", "{line}");
    }
}

#[tokio::test]
async fn what_is_right_is_said_and_only_the_engine_is_missing() {
    let gateway = TestGateway::start().await;
    let site = Site::new(&gateway.config.oidc.issuer);
    let checked = site.check(&[]).await;
    assert_eq!(checked.code, Some(1), "{}", checked.all);
    assert_eq!(checked.json["outcome"], "fail");
    checked.assert("configuration", "ok", "");
    checked.assert("database", "ok", "will be made");
    checked.assert("listen", "ok", "LISTEN");
    checked.assert("certificate", "warn", "self-signed");
    checked.assert("provider", "ok", "keys");
    checked.assert("client", "ok", "test");
    checked.assert("clock", "ok", "differ by");
    checked.assert("engine", "fail", "/nowhere/docker.sock");
    let made = std::fs::read_dir(site.directory.path()).unwrap().count();
    assert_eq!(made, 0, "a check leaves nothing behind");
    gateway.stop().await;
}

#[tokio::test]
async fn each_wrong_setting_has_its_line() {
    let gateway = TestGateway::start().await;
    let site = Site::new(&gateway.config.oidc.issuer);
    let file = site.directory.path().join("garbage.pem");
    std::fs::write(&file, "no certificate").unwrap();
    let garbage = file.to_str().unwrap();
    for (key, value, check, outcome, words) in [
        (
            "PORT_RANGE",
            "8000-7000",
            "configuration",
            "fail",
            "PORT_RANGE",
        ),
        (
            "DESKTOP_SUBNETS",
            "10.0.0.0/30",
            "configuration",
            "fail",
            "MAX_DESKTOPS",
        ),
        (
            "SECRET_KEY",
            "short-secret",
            "configuration",
            "fail",
            "SECRET_KEY",
        ),
        ("LISTEN", "198.51.100.1:8443", "listen", "fail", "LISTEN"),
        ("TLS_CERT", garbage, "configuration", "fail", "TLS_KEY"),
        ("TLS", "off", "certificate", "ok", "TLS=off"),
        (
            "DATABASE_URL",
            "sqlite:///proc/none/d.db",
            "database",
            "fail",
            "/proc/none",
        ),
        (
            "DATABASE_URL",
            "postgres://me:test-secret@127.0.0.1:9/d",
            "database",
            "fail",
            "database d on PostgreSQL at 127.0.0.1:9: error communicating with database: Connection refused",
        ),
        (
            "OAUTH_ISSUER",
            "http://127.0.0.1:9",
            "provider",
            "fail",
            "http://127.0.0.1:9",
        ),
        (
            "OAUTH_CA_FILE",
            garbage,
            "configuration",
            "fail",
            "OAUTH_CA_FILE",
        ),
        (
            "OAUTH_CA_FILE",
            "/nowhere.pem",
            "configuration",
            "fail",
            "OAUTH_CA_FILE",
        ),
        ("OAUTH_CLIENT_ID", "somebody", "client", "fail", "somebody"),
        (
            "OAUTH_CLIENT_SECRET",
            "a-wrong-secret",
            "client",
            "fail",
            "OAUTH_CLIENT_SECRET",
        ),
    ] {
        let checked = site.check(&[(key, value)]).await;
        checked.assert(check, outcome, words);
        for secret in ["test-secret", "a-wrong-secret", "short-secret", SECRET] {
            assert!(!checked.all.contains(secret), "{key}: {}", checked.all);
        }
    }
    let unreadable = [("TLS_CERT", garbage), ("TLS_KEY", garbage)];
    let checked = site.check(&unreadable).await;
    checked.assert("certificate", "fail", "garbage.pem");
    gateway.stop().await;
}

#[tokio::test]
async fn an_authority_is_looked_at() {
    let gateway = TestGateway::start().await;
    let authority = Authority::start().await;
    let site = Site::new(&gateway.config.oidc.issuer);
    let (directory, root) = (
        authority.directory(),
        authority.root().display().to_string(),
    );
    let good = [("ACME_DIRECTORY", &*directory), ("ACME_CA_FILE", &*root)];
    let checked = site.check(&good).await;
    checked.assert("acme", "ok", "https://terms.test/");
    checked.assert("certificate", "ok", "until the authority has issued one");
    authority.trouble(|troubles| troubles.external = Some(("customer", b"key")));
    site.check(&good)
        .await
        .assert("acme", "fail", "ACME_EAB_KID");
    let bound = [("ACME_EAB_KID", "customer"), ("ACME_EAB_KEY", "a2V5")];
    let checked = site.check(&[good, bound].concat()).await;
    checked.assert("acme", "ok", "answers");
    assert!(!checked.all.contains("a2V5"), "{}", checked.all);
    let elsewhere = directory.replace("/directory", "/nonce");
    for (key, value, words) in [
        ("ACME_CA_FILE", "", "ACME_CA_FILE"),
        ("ACME_DIRECTORY", &*elsewhere, "no directory"),
        (
            "ACME_DIRECTORY",
            "https://127.0.0.1:9/",
            "cannot be reached",
        ),
    ] {
        let changes = [&good[..], &[(key, value)]].concat();
        site.check(&changes).await.assert("acme", "fail", words);
    }
    for (key, value) in [
        ("ACME_DIRECTORY", "http://127.0.0.1/directory"),
        ("PUBLIC_URL", "https://10.0.0.7"),
        ("TLS", "off"),
        ("ACME_CHALLENGE", "http-01"),
        ("ACME_EAB_KID", "alone"),
    ] {
        let changes = [&good[..], &[(key, value)]].concat();
        site.check(&changes)
            .await
            .assert("configuration", "fail", "ACME_");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_collector_is_asked_and_is_no_reason_to_fail() {
    let (collector, authority) = (Collector::start().await, Authority::start().await);
    let site = Site::new("http://127.0.0.1:9");
    let good = collector.endpoint();
    let without = site.check(&[]).await;
    assert!(without.lines("collector").is_empty(), "{}", without.all);
    let checked = site.check(&[("OTLP_ENDPOINT", &good)]).await;
    checked.assert("collector", "ok", "takes traces");
    assert_eq!((collector.messages(), collector.names().len()), (1, 0));
    collector.assert_no_faults();

    for (status, words) in [
        (401, "shows no credentials"),
        (403, "shows no credentials"),
        (404, "below which /v1/traces is"),
        (503, "own log"),
    ] {
        collector.refusal.store(status, Ordering::SeqCst);
        let checked = site.check(&[("OTLP_ENDPOINT", &good)]).await;
        checked.assert("collector", "warn", words);
        checked.assert("collector", "warn", &status.to_string());
    }
    collector.refusal.store(0, Ordering::SeqCst);
    let elsewhere = format!("{good}/elsewhere");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let directory = authority.directory();
    let untrusted = directory.trim_end_matches("/directory");
    for (endpoint, words) in [
        (&*elsewhere, "404"),
        ("http://127.0.0.1:9", "refused"),
        ("http://collector.invalid:4318", "dns"),
        (untrusted, "UnknownIssuer"),
        (&silent, "did not answer within"),
    ] {
        let checked = site.check(&[("OTLP_ENDPOINT", endpoint)]).await;
        checked.assert("collector", "warn", words);
        let failed = without.json["checks"].as_array().map(Vec::len);
        let lines = checked.json["checks"].as_array().map(Vec::len);
        assert_eq!(lines, failed.map(|lines| lines + 1), "{}", checked.all);
    }
}

#[tokio::test]
async fn a_door_and_a_database_in_use_are_looked_at_as_they_are() {
    let gateway = TestGateway::start().await;
    let site = Site::new(&gateway.config.oidc.issuer);
    let door = gateway.addr.to_string();
    let database = format!("sqlite://{}/deskgate.db", gateway.data().display());
    let checked = site
        .check(&[("LISTEN", &door), ("DATABASE_URL", &database)])
        .await;
    checked.assert("listen", "warn", &door);
    checked.assert("database", "ok", "up to date");
    gateway.stop().await;
}

#[tokio::test]
async fn people_read_lines_with_what_to_do() {
    let site = Site::new("http://127.0.0.1:9");
    let output = site.command(&["check"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("ok   configuration  complete\n"), "{said}");
    assert!(said.contains("\nFAIL engine"), "{said}");
    assert!(
        said.contains("\n                    -> see that Docker runs"),
        "{said}"
    );
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(failed.contains("2 checks failed"), "{failed}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn mistakes_of_settings_share_a_remedy_and_a_missing_file_has_its_own() {
    let site = Site::new("http://127.0.0.1:9");
    let say = |json: &[&str]| {
        let arguments = [&["check", "--config", "nowhere.toml"], json].concat();
        let mut command = site.command(&arguments);
        let output = command.env("PORT_RANGE", "8000-7000").env("TLS", "maybe");
        let output = output.output().expect("the program runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = say(&[]);
    assert_eq!(said.matches("FAIL configuration").count(), 3, "{said}");
    assert_eq!(said.matches(" -> set it in the").count(), 1, "{said}");
    let file = "FAIL configuration  nowhere.toml: cannot be read";
    let (_, behind) = said.split_once(file).unwrap_or_else(|| panic!("{said}"));
    let remedy = behind.lines().nth(1).unwrap_or_default();
    assert!(remedy.contains(" -> name a file with --config"), "{said}");
    let list: Value = serde_json::from_str(&say(&["--json"])).expect("JSON");
    let lines = list["checks"].as_array().expect("lines");
    let has_one = |line: &&Value| line["remedy"].is_string();
    assert_eq!(
        lines.iter().filter(has_one).count(),
        3,
        "a list for programs"
    );
}

#[tokio::test]
async fn browsers_warn_of_a_self_signed_pair_whoever_made_it_and_when() {
    let site = Site::new("http://127.0.0.1:9");
    let made = rcgen::generate_simple_self_signed(["desk.test".to_owned()]).unwrap();
    let file = |name, text: String| {
        let path = site.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let cert = file("tls.crt", made.cert.pem());
    let key = file("tls.key", made.signing_key.serialize_pem());
    let settings = [("TLS_CERT", &*cert), ("TLS_KEY", &*key)];
    let checked = site.check(&settings).await;
    checked.assert("certificate", "warn", "self-signed");
    let elsewhere = [&settings[..], &[("PUBLIC_URL", "https://other.test")]].concat();
    let checked = site.check(&elsewhere).await;
    checked.assert("certificate", "fail", "not for other.test");
}

#[tokio::test]
async fn a_database_server_that_lets_nobody_in_says_why() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let site = Site::new("http://127.0.0.1:9");
    let mut url: url::Url = own.url.parse().expect("an address");
    url.set_username("nobody").expect("it has a host");
    let stranger = url.to_string();
    let mut url: url::Url = own.url.parse().expect("an address");
    url.set_path("/absent");
    for (url, words) in [
        (&*stranger, "nobody"),
        (url.as_str(), "database \\\"absent\\\" does not exist"),
    ] {
        let checked = site.check(&[("DATABASE_URL", url)]).await;
        checked.assert("database", "fail", words);
    }
    own.drop().await;
}

#[tokio::test]
async fn whether_homes_are_kept_to_a_size_is_tried_and_nothing_is_left() {
    let gateway = TestGateway::start().await;
    let mut site = Site::new(&gateway.config.oidc.issuer);
    let daemon = FakeDaemon::start();
    daemon.has_image("i:1");
    site.environment.push(("DOCKER_HOST", daemon.host()));
    let file = site.directory.path().join("deskgate.toml");
    let write = |quota: &str| {
        let other = "[[template]]\nid = 'other'\nimage = 'i:1'\n";
        let text = format!("{other}[[template]]\nid = 'desk'\nimage = 'i:1'\n{quota}");
        std::fs::write(&file, text).unwrap();
    };
    write("");
    assert!(site.check(&[]).await.lines("homes").is_empty());
    write("home_quota = '1g'\n");
    site.check(&[]).await.assert("homes", "ok", "desk");
    for (status, words, outcome, said) in [
        (
            "400 Bad Request",
            "quota size requested but no quota support",
            "warn",
            "home_quota of template desk has no effect",
        ),
        (
            "403 Forbidden",
            "deskgate engine-filter: no",
            "fail",
            "engine-filter: no",
        ),
    ] {
        daemon.refuses_quotas(Some((status, words)));
        site.check(&[]).await.assert("homes", outcome, said);
    }
    let made = daemon.asked();
    let made = made.iter().filter(|asked| *asked == "POST /volumes/create");
    assert_eq!(made.count(), 3);
    assert!(daemon.volumes().is_empty(), "{:?}", daemon.volumes());
    gateway.stop().await;
}
