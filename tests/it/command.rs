//! The program from outside: exit codes and messages.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use deskgate::config::DatabaseConfig;
use deskgate::model::time::Timestamp;
use deskgate::model::user::{Identity, Role, User};
use deskgate::store::Database;

use crate::support::gateway::{TestGateway, identity};

pub fn deskgate(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deskgate"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the program runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_bad_configuration_ends_with_2_and_all_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("deskgate.toml"),
        "lisen = '0.0.0.0:1'\ntls = 'maybe'\n",
    )
    .unwrap();
    let secret = "short-secret";
    let environment = [
        ("SECRET_KEY", secret),
        ("PORT_RANGE", "8000-7000"),
        ("SESSION_TTL_FILE", "/nowhere"),
    ];
    let output = deskgate(directory.path(), &["serve"], &environment);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    for key in [
        "lisen",
        "TLS",
        "SECRET_KEY",
        "PORT_RANGE",
        "SESSION_TTL_FILE",
        "PUBLIC_URL",
        "OAUTH_ISSUER",
    ] {
        assert!(said.contains(key), "{key} is missing in {said}");
    }
    assert!(!said.contains(secret), "{said}");
    assert!(!directory.path().join("data").exists(), "nothing was begun");
}

#[test]
fn a_database_server_that_is_not_there_is_named_without_its_password() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [
        ("PUBLIC_URL", "https://desk.test"),
        ("SECRET_KEY", "an-entirely-secret-key-for-tests"),
        ("OAUTH_ISSUER", "https://id.test"),
        ("OAUTH_CLIENT_ID", "test"),
        ("DATABASE_URL", "postgres://me:unheard-of@127.0.0.1:9/desk"),
    ];
    let output = deskgate(directory.path(), &["serve"], &environment);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("database desk on PostgreSQL at 127.0.0.1:9"),
        "{said}"
    );
    assert!(said.contains("Connection refused"), "{said}");
    assert!(!said.contains("unheard-of"), "{said}");
}

#[test]
fn migrate_says_what_it_did() {
    let directory = tempfile::tempdir().unwrap();
    let first = deskgate(directory.path(), &["migrate"], &[]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert!(
        text(&first.stdout).starts_with("applied 0001 first\n"),
        "{}",
        text(&first.stdout)
    );
    assert_eq!(
        text(&deskgate(directory.path(), &["migrate"], &[]).stdout),
        "SQLite is up to date\n"
    );
    assert!(directory.path().join("data/deskgate.db").exists());
}

/// Signs people in, as the gateway would.
fn sign_in(directory: &Path, people: &[(&str, &str)]) -> Vec<User> {
    let path = directory.join("data/deskgate.db");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let database = Database::open(&DatabaseConfig::Sqlite(Some(path)))
            .await
            .unwrap();
        let mut users = Vec::new();
        for (issuer, name) in people {
            let identity = Identity {
                issuer: (*issuer).into(),
                subject: (*name).into(),
                username: (*name).into(),
                name: None,
                email: None,
                role: Role::Student,
                groups: Vec::new(),
            };
            let user = database.upsert_user(&identity, Timestamp::from_millis(1));
            users.push(user.await.unwrap());
        }
        database.close().await;
        users
    })
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let token = |arguments: &[&str]| {
        let arguments = [&["token"], arguments].concat();
        deskgate(directory.path(), &arguments, &[])
    };
    let users = sign_in(
        directory.path(),
        &[
            ("https://a.test", "mia"),
            ("https://b.test", "mia"),
            ("https://a.test", "ben"),
        ],
    );
    let made = token(&[
        "create", "--user", "ben", "--scope", "read", "--scope", "desktops", "--ttl", "30d",
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let secret = text(&made.stdout);
    assert!(
        secret.starts_with("dgt_") && secret.ends_with('\n') && secret.len() == 54,
        "{secret}"
    );
    assert!(!text(&made.stderr).contains("dgt_"));
    let listed = text(&token(&["list"]).stdout);
    let row: Vec<&str> = listed
        .lines()
        .nth(1)
        .expect("a row")
        .split_whitespace()
        .collect();
    assert_eq!(row[1..4], ["ben", "read", "desktops"], "{listed}");
    assert!(!listed.contains("dgt_"), "{listed}");

    let ambiguous = token(&["create", "--user", "mia"]);
    assert_eq!(ambiguous.status.code(), Some(1));
    for (user, issuer) in [(&users[0], "https://a.test"), (&users[1], "https://b.test")] {
        let line = format!("{} from {issuer}", user.id);
        assert!(
            text(&ambiguous.stderr).contains(&line),
            "{}",
            text(&ambiguous.stderr)
        );
    }
    let id = users[1].id.to_string();
    assert_eq!(token(&["create", "--user", &id]).status.code(), Some(0));
    for (arguments, code, reason) in [
        (&["create", "--user", "nobody"][..], 1, "nobody called"),
        (
            &["create", "--user", "ben", "--scope", "admin"],
            1,
            "no admin",
        ),
        (
            &["create", "--user", "ben", "--scope", "all"],
            2,
            "is no scope",
        ),
        (
            &["create", "--user", "ben", "--ttl", "soon"],
            2,
            "a duration",
        ),
        (&["create"], 2, "--user"),
    ] {
        let refused = token(arguments);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}");
        assert!(
            text(&refused.stderr).contains(reason),
            "{}",
            text(&refused.stderr)
        );
        assert!(refused.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(token(&["revoke", row[0]]).status.code(), Some(0));
    let again = token(&["revoke", row[0]]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stdout));
    let left = text(&token(&["list", "--user", "ben"]).stdout);
    assert_eq!(left.lines().count(), 1, "{left}");
}

#[test]
fn health_fails_where_nobody_listens() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [
        ("PUBLIC_URL", "https://desk.test"),
        ("LISTEN", "127.0.0.1:9"),
    ];
    let output = deskgate(directory.path(), &["health"], &environment);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("does not answer"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test]
async fn health_introduces_itself_where_balancers_have_to() {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name).display().to_string();
    let (cert, key) = (file("tls.crt"), file("tls.key"));
    for (tls, trusted) in [
        ("off", "127.0.0.0/8"),
        ("on", "127.0.0.0/8"),
        // Here nothing but the request is expected from this machine.
        ("on", "192.0.2.0/24"),
    ] {
        let mut settings = vec![
            ("TLS", tls),
            ("PROXY_PROTOCOL", "on"),
            ("TRUSTED_PROXIES", trusted),
        ];
        if tls == "on" {
            settings.extend([("TLS_CERT", &*cert), ("TLS_KEY", &*key)]);
        }
        let gateway = TestGateway::start_with(&settings).await;
        let listen = gateway.addr.to_string();
        let health = |proxy_protocol: &'static str| {
            let (listen, directory) = (listen.clone(), gateway.data());
            let environment = [
                ("PUBLIC_URL", "https://desk.test".to_owned()),
                ("LISTEN", listen),
                ("TLS", tls.to_owned()),
                ("PROXY_PROTOCOL", proxy_protocol.to_owned()),
                ("TRUSTED_PROXIES", trusted.to_owned()),
            ];
            tokio::task::spawn_blocking(move || {
                let environment = environment.each_ref().map(|(key, value)| (*key, &**value));
                deskgate(&directory, &["health"], &environment)
            })
        };
        let healthy = health("on").await.unwrap();
        assert_eq!(healthy.status.code(), Some(0), "{}", text(&healthy.stderr));
        let silent = health("off").await.unwrap();
        let let_in = trusted != "127.0.0.0/8";
        assert_eq!(silent.status.success(), let_in, "TLS={tls}, {trusted}");
        gateway.stop().await;
    }
}

#[test]
fn shells_and_man_know_the_commands() {
    let directory = tempfile::tempdir().unwrap();
    let commands = [
        "serve",
        "demo",
        "cleanup",
        "token",
        "user",
        "health",
        "engine-filter",
        "secret-key",
    ];
    for arguments in [
        &["completions", "bash"][..],
        &["completions", "zsh"],
        &["completions", "fish"],
        &["man"],
    ] {
        let output = deskgate(directory.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let text = text(&output.stdout).to_lowercase();
        for command in commands {
            assert!(text.contains(command), "{arguments:?}: {command}");
        }
    }
    let unknown = deskgate(directory.path(), &["completions", "teapot"], &[]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn a_key_is_made_once_and_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret_key");
    let make = || deskgate(directory.path(), &["secret-key", "secret_key"], &[]);
    let first = make();
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let key = std::fs::read_to_string(&file).unwrap();
    assert!(key.trim_end().len() >= 43, "256 bits");
    assert!(!text(&first.stdout).contains(key.trim_end()));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o400);
    assert_eq!(make().status.code(), Some(0), "it is there already");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), key);
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1, "nothing stays beside it");
    let nowhere = deskgate(directory.path(), &["secret-key", "nowhere/key"], &[]);
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn the_demo_refuses_to_be_reached_by_others() {
    let directory = tempfile::tempdir().unwrap();
    let output = deskgate(directory.path(), &["demo", "--listen", "0.0.0.0:8443"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("loopback"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test]
async fn nobody_who_reads_on_ends_a_command_quietly() {
    let gateway = TestGateway::start().await;
    gateway.session_of(&identity("pupil")).await;
    let url = format!("sqlite://{}/deskgate.db", gateway.data().display());
    for arguments in [
        &["user", "list"][..],
        &["user", "export", "pupil"],
        &["token", "list"],
        &["token", "create", "--user", "pupil"],
        &["migrate"],
        &["secret-key", "made"],
        &["settings"],
        &["man"],
        &["completions", "bash"],
        &["check", "--json"],
        &["check"],
    ] {
        let (out, far) = (closed_pipe(), closed_pipe());
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskgate"));
        command
            .args(arguments)
            .current_dir(gateway.data())
            .env_clear()
            .envs([
                ("PUBLIC_URL", "https://desk.test"),
                ("SECRET_KEY", "an-entirely-secret-key-for-tests"),
                ("OAUTH_ISSUER", "http://127.0.0.1:9"),
                ("OAUTH_CLIENT_ID", "test"),
                ("DOCKER_HOST", "unix:///nowhere/docker.sock"),
                ("DATABASE_URL", &url),
            ]);
        let heard = command.stdout(out).output().expect("the program runs");
        let said = text(&heard.stderr);
        // Without an engine a check ends as it does where all of it is read.
        let code = Some(i32::from(arguments[0] == "check"));
        assert_eq!(heard.status.code(), code, "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        // Nor does anything hang on who reads what goes wrong.
        let unheard = command.stdout(closed_pipe()).stderr(far).status();
        assert_eq!(unheard.expect("it runs").code(), code, "{arguments:?}");
    }
    gateway.stop().await;
}

/// What is written into it goes nowhere, from the first byte on.
fn closed_pipe() -> std::io::PipeWriter {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer
}
