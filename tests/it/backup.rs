//! What a person at a desktop has after the database was moved or restored: the same session, token and desktop. With the
//! tools that docs/operations names, on SQLite and, where a server is at hand, on PostgreSQL.

use std::path::Path;
use std::process::Command;

use deskgate::config::{DatabaseConfig, Secret};
use deskgate::model::time::Timestamp;
use deskgate::store::Database;
use deskgate::store::audit::Filter;
use hyper::StatusCode;
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::gateway::{TestGateway, eventually};
use crate::support::postgres::{OwnDatabase, tool};

/// A person who signed in, with a token and a desktop that runs.
struct Pupil {
    browser: Browser,
    program: Browser,
    desktop: Value,
}

impl Pupil {
    async fn at(gateway: &TestGateway) -> Self {
        let mut browser = gateway.browser();
        browser.log_in("student", "/").await;
        let secret = browser
            .cookie("__Host-Http-session")
            .expect("a session")
            .to_owned();
        let mut person = gateway
            .browser()
            .with("authorization", &format!("Bearer {secret}"));
        let wish = r#"{"name": "a", "scopes": ["desktops"]}"#;
        let token = person.post("/api/tokens", wish).await.json();
        let bearer = format!("Bearer {}", token["token"].as_str().expect("a secret"));
        let program = gateway.browser().with("authorization", &bearer);
        let desktop = gateway.running_desktop(&mut person).await;
        let database = Database::connect(&gateway.config.database).await.unwrap();
        eventually("what they did is written", || async {
            audit(&database).await.len() >= 3
        })
        .await;
        database.close().await;
        Self {
            browser,
            program,
            desktop,
        }
    }

    /// Whether all of it is theirs at another gateway.
    async fn finds_everything_at(mut self, gateway: &TestGateway) {
        self.browser.gateway = gateway.addr;
        self.program.gateway = gateway.addr;
        let session = self.browser.get("/session").await;
        assert_eq!(session.status, StatusCode::OK, "{}", session.text());
        let status = self.program.get("/api/container/status").await;
        assert_eq!(status.status, StatusCode::OK, "{}", status.text());
        assert_eq!(status.json()["container"]["id"], self.desktop["id"]);
        let path = format!("/desktop/{}/", self.desktop["id"].as_str().expect("an id"));
        eventually("the desktop is taken over", || {
            let (mut browser, path) = (self.browser.clone(), path.clone());
            async move { browser.get(&path).await.status == StatusCode::OK }
        })
        .await;
        let page = self.program.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "by the token, too");
        let name = self.desktop["container_name"].as_str().expect("a name");
        assert!(gateway.engine.spec_of(name).is_some(), "it is no orphan");
    }
}

async fn audit(database: &Database) -> Vec<String> {
    let entries = database.list_audit(&Filter::default(), 1000).await.unwrap();
    entries.iter().map(|entry| format!("{entry:?}")).collect()
}

#[tokio::test]
async fn a_gateway_goes_on_on_postgresql_where_another_was_on_sqlite() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let gateway = TestGateway::start().await;
    let pupil = Pupil::at(&gateway).await;
    let from = Database::connect(&gateway.config.database).await.unwrap();
    let to = DatabaseConfig::Postgres(Secret::new(own.url.clone()));
    let to = Database::open(&to).await.unwrap();
    let mut file = Vec::new();
    from.export(&mut file, Timestamp::from_millis(0))
        .await
        .unwrap();
    to.import(&mut &file[..]).await.unwrap();
    let told = audit(&from).await;
    assert_eq!(audit(&to).await, told);
    from.close().await;

    let settings = [("DATABASE_URL", own.url.as_str())];
    let gateway = gateway.killed_and_started_with(&settings, None).await;
    pupil.finds_everything_at(&gateway).await;
    let after = audit(&to).await;
    assert!(told.iter().all(|entry| after.contains(entry)));
    to.close().await;
    gateway.stop().await;
    own.drop().await;
}

#[tokio::test]
async fn what_sqlite_vacuums_into_a_file_while_a_gateway_runs_is_a_backup() {
    let gateway = TestGateway::start().await;
    let pupil = Pupil::at(&gateway).await;
    let backup = tempfile::tempdir().unwrap();
    let copy = backup.path().join("deskgate.db");
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let Database::Sqlite(pool) = &database else {
        panic!("it is SQLite")
    };
    sqlx::query("VACUUM INTO $1")
        .bind(copy.display().to_string())
        .execute(pool)
        .await
        .unwrap();
    database.close().await;
    let gateway = gateway.killed_and_started_with(&[], Some(backup)).await;
    pupil.finds_everything_at(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn files_that_were_copied_after_a_stop_are_a_backup() {
    let gateway = TestGateway::start().await;
    let pupil = Pupil::at(&gateway).await;
    let (engine, data) = (gateway.engine.clone(), gateway.keep_data());
    let backup = tempfile::tempdir().unwrap();
    let next = gateway.another().await;
    gateway.stop().await;
    // Killed, so that its log stays beside the file: both belong to the copy.
    next.kill().await;
    for file in std::fs::read_dir(data.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), backup.path().join(file.file_name())).unwrap();
    }
    let gateway = TestGateway::start_beside(engine, backup).await;
    pupil.finds_everything_at(&gateway).await;
    gateway.stop().await;
}

fn postgres(program: &str, arguments: &[&str], url: &str) {
    let output = Command::new(tool(program))
        .args(arguments)
        .arg(url)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a plain name")
}

#[tokio::test]
async fn what_pg_dump_writes_while_a_gateway_runs_pg_restore_brings_back_on_postgresql() {
    let (Some(old), Some(new)) = (OwnDatabase::create().await, OwnDatabase::create().await) else {
        return;
    };
    let settings = [("DATABASE_URL", old.url.as_str())];
    let gateway = TestGateway::start_with(&settings).await;
    let pupil = Pupil::at(&gateway).await;
    let backup = tempfile::tempdir().unwrap();
    let dump = backup.path().join("deskgate.dump");
    let (format, to) = ("--format=custom", format!("--file={}", path(&dump)));
    postgres("pg_dump", &[format, &to], &old.url);
    let restored = Command::new(tool("pg_restore"))
        .args([
            "--exit-on-error",
            "--no-owner",
            "--dbname",
            &new.url,
            path(&dump),
        ])
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{said}");
    let settings = [("DATABASE_URL", new.url.as_str())];
    let gateway = gateway.killed_and_started_with(&settings, None).await;
    pupil.finds_everything_at(&gateway).await;
    gateway.stop().await;

    // And into the same database, as after a mistake.
    let again = Command::new(tool("pg_restore"))
        .args([
            "--clean",
            "--if-exists",
            "--exit-on-error",
            "--dbname",
            &old.url,
            path(&dump),
        ])
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success(), "{said}");
    old.drop().await;
    new.drop().await;
}
