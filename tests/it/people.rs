//! What is stored about a person is handed out, and deleted without a trace.

use std::process::Command;

use deskgate::model::user::{Identity, Role};
use deskgate::store::Database;
use hyper::{Method, StatusCode};
use sqlx::Row;

use crate::support::gateway::{TestGateway, identity};

/// A person whose name, mail address and subject are found wherever they are.
fn erika() -> Identity {
    Identity {
        subject: "subject-of-erika".into(),
        name: Some("Erika Mustermann-Unique".into()),
        email: Some("erika.unique@school.example".into()),
        ..identity("erika.unique")
    }
}

const TRACES: [&str; 4] = [
    "subject-of-erika",
    "Mustermann-Unique",
    "@school.example",
    "erika.unique",
];

/// Everything in every table, as text.
async fn all_that_is_stored(gateway: &TestGateway) -> String {
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let Database::Sqlite(pool) = &database else {
        panic!("the tests run on SQLite")
    };
    let all = async |sql: String| {
        let query = sqlx::query(sqlx::AssertSqlSafe(sql));
        query.fetch_all(pool).await.unwrap()
    };
    let mut values = Vec::new();
    for table in all("SELECT name FROM sqlite_master WHERE type = 'table'".into()).await {
        let table: String = table.get("name");
        for column in all(format!("SELECT name FROM pragma_table_info('{table}')")).await {
            let column: String = column.get("name");
            for row in all(format!(
                "SELECT CAST(\"{column}\" AS BLOB) AS value FROM \"{table}\""
            ))
            .await
            {
                let value: Option<Vec<u8>> = row.get("value");
                let value = String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
                values.push(format!("{table}.{column}={value}"));
            }
        }
    }
    database.close().await;
    values.join("\n")
}

#[tokio::test]
async fn a_person_is_exported_and_then_forgotten_without_a_trace() {
    let gateway = TestGateway::start().await;
    let mut admin = gateway.program_as("boss", Role::Admin).await;
    let secret = gateway.session_of(&erika()).await;
    let mut pupil = gateway
        .browser()
        .with("authorization", &format!("Bearer {secret}"));
    let mut other = gateway.program("somebody else").await;
    let container = gateway.running_desktop(&mut pupil).await;
    gateway.running_desktop(&mut other).await;
    let id = container["user_id"].as_str().unwrap().to_owned();
    let desktop = container["id"].as_str().unwrap().to_owned();
    // An act of somebody else upon them.
    admin
        .post(&format!("/api/admin/containers/{desktop}/stop"), "")
        .await;

    let users = admin
        .get("/api/admin/users?q=mustermann&sort=-last_login")
        .await
        .json();
    assert_eq!(users["total"], 1);
    assert_eq!(users["users"][0]["id"], id.as_str());
    assert_eq!(users["users"][0]["sessions"], 1);

    let export = admin.get(&format!("/api/admin/users/{id}/export")).await;
    assert_eq!(export.status, StatusCode::OK, "{}", export.text());
    let text = export.text();
    for trace in TRACES {
        assert!(text.contains(trace), "{trace}");
    }
    let export = export.json();
    assert_eq!(export["users"][0]["email"], "erika.unique@school.example");
    assert_eq!(export["oauth_sessions"].as_array().unwrap().len(), 1);
    assert_eq!(export["containers"][0]["id"], desktop.as_str());
    assert_eq!(export["audit_log"].as_array().unwrap().len(), 2);
    assert!(!text.contains("hash") && !text.contains(&secret));

    let stored = all_that_is_stored(&gateway).await;
    for trace in TRACES {
        assert!(stored.contains(trace), "{trace}: the search finds it");
    }
    let path = format!("/api/admin/users/{id}");
    let forgotten = admin.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(forgotten.status, StatusCode::OK, "{}", forgotten.text());
    let forgotten = forgotten.json()["forgotten"].clone();
    assert_eq!(forgotten["sessions"], 1);
    assert_eq!(forgotten["desktops"], 1);
    assert_eq!(forgotten["volumes"], 1);

    let log = admin.get("/api/admin/audit").await.json();
    let log = log["entries"].as_array().unwrap();
    let words: Vec<&str> = log
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        words,
        [
            "user_forgotten",
            "remove",
            "user_exported",
            "stop",
            "start",
            "start"
        ],
        "the log stays whole"
    );
    let pseudonym = &forgotten["pseudonym"];
    assert_eq!(&log[3]["subject"]["id"], pseudonym);
    assert_eq!(&log[5]["actor"]["name"], pseudonym);
    assert_eq!(log[5]["address"], serde_json::Value::Null);
    assert_eq!(log[3]["actor"]["name"], "boss");

    let stored = all_that_is_stored(&gateway).await;
    for trace in TRACES.into_iter().chain([id.as_str()]) {
        assert!(!stored.contains(trace), "{trace} is left in {stored}");
    }
    assert_eq!(pupil.get("/session").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(gateway.engine.all().len(), 1, "only that of somebody else");
    assert_eq!(gateway.engine.volumes.lock().unwrap().len(), 1);
    let again = admin.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);

    let secret = gateway.session_of(&erika()).await;
    let mut returned = gateway
        .browser()
        .with("authorization", &format!("Bearer {secret}"));
    let user = returned.get("/session").await.json()["user"].clone();
    assert_ne!(user["id"], id.as_str(), "somebody new");
    gateway.stop().await;
}

#[tokio::test]
async fn a_person_whose_files_cannot_be_removed_is_still_known() {
    use std::sync::atomic::Ordering;

    let gateway = TestGateway::start().await;
    let mut admin = gateway.program_as("boss", Role::Admin).await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let path = format!(
        "/api/admin/users/{}",
        container["user_id"].as_str().unwrap()
    );
    gateway.engine.down.store(true, Ordering::SeqCst);
    let refused = admin.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(refused.code(), "engine_unavailable");
    gateway.engine.down.store(false, Ordering::SeqCst);
    let done = admin.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    assert!(gateway.engine.all().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn the_operator_lists_exports_and_forgets() {
    let gateway = TestGateway::start().await;
    let mut twin = erika();
    twin.issuer = "https://other.test".into();
    for person in [erika(), twin, identity("pupil")] {
        gateway.session_of(&person).await;
    }
    let run = |arguments: &[&str]| {
        let url = format!("sqlite://{}/deskgate.db", gateway.data().display());
        let output = Command::new(env!("CARGO_BIN_EXE_deskgate"))
            .arg("user")
            .args(arguments)
            .current_dir(gateway.data())
            .env_clear()
            .envs([
                ("PUBLIC_URL", "https://desk.test"),
                ("SECRET_KEY", "an-entirely-secret-key-for-tests"),
                ("OAUTH_ISSUER", "https://id.test"),
                ("OAUTH_CLIENT_ID", "test"),
                ("DOCKER_HOST", "unix:///nowhere/docker.sock"),
                ("DATABASE_URL", &url),
            ])
            .output()
            .expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, listed, _) = run(&["list"]);
    assert_eq!((code, listed.lines().count()), (Some(0), 4), "{listed}");
    let (code, exported, _) = run(&["export", "pupil"]);
    assert_eq!(code, Some(0));
    let exported: serde_json::Value = serde_json::from_str(&exported).expect("JSON alone");
    assert_eq!(exported["users"][0]["username"], "pupil");
    let (code, _, said) = run(&["export", "erika.unique"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("https://id.test") && said.contains("https://other.test"),
        "{said}"
    );
    let (code, _, said) = run(&["export", "nobody"]);
    assert_eq!(
        (code, said.contains("no such user")),
        (Some(1), true),
        "{said}"
    );
    let (code, _, said) = run(&["forget", "pupil"]);
    assert_eq!((code, said.contains("--yes")), (Some(1), true), "{said}");
    // Without an engine their files cannot go, and so they stay known.
    let (code, _, said) = run(&["forget", "pupil", "--yes"]);
    assert_eq!(
        (code, said.contains("try again")),
        (Some(1), true),
        "{said}"
    );
    assert!(run(&["list"]).1.contains("pupil"));
    let mut admin = gateway.program_as("boss", Role::Admin).await;
    let log = admin
        .get("/api/admin/audit?action=user_exported")
        .await
        .json();
    assert_eq!(log["entries"][0]["actor"]["kind"], "operator");
    gateway.stop().await;
}
