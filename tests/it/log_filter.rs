//! Changing what is logged while the gateway runs: by admins, for a while, and told in the audit log.

use deskgate::model::user::Role;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::gateway::{TestGateway, eventually};
use crate::support::logs::Logs;

const PATH: &str = "/api/admin/log";

async fn change(admin: &mut Browser, body: Value) -> Value {
    let answer = admin.post(PATH, &body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn an_admin_changes_what_is_logged_for_a_while() {
    let (logs, log) = Logs::capture_with("info");
    let gateway = TestGateway::start_logging(log, &[]).await;
    let mut admin = gateway.program_as("boss", Role::Admin).await;
    let mut stranger = gateway.browser();
    // A line at debug, made on demand: a refused request.
    let refused = async |stranger: &mut Browser| {
        logs.clear();
        stranger.get("/api/container/list").await;
        logs.with("request refused").len()
    };
    assert_eq!(refused(&mut stranger).await, 0);
    let shown = admin.get(PATH).await.json();
    let configured = json!({ "filter": "info", "configured": "info", "until": null });
    assert_eq!(shown, configured);

    let changed = change(&mut admin, json!({ "filter": "deskgate=debug,info" })).await;
    assert_eq!(changed["filter"], "deskgate=debug,info");
    assert_eq!(changed["configured"], "info");
    assert!(changed["until"].is_string());
    let told = logs.with("admin_log_changed");
    assert!(
        told[0].contains("deskgate=debug,info") && told[0].contains("3600"),
        "{told:?}"
    );
    assert_eq!(refused(&mut stranger).await, 1);
    assert_eq!(
        admin.get(PATH).await.json()["filter"],
        "deskgate=debug,info"
    );

    // Its time ends by itself.
    let changed = change(&mut admin, json!({ "filter": "debug", "for": "1s" })).await;
    assert_eq!(changed["filter"], "debug");
    eventually("it is as configured again", || async {
        !logs.with("filtered as configured again").is_empty()
    })
    .await;
    assert_eq!(admin.get(PATH).await.json(), configured);
    assert_eq!(refused(&mut stranger).await, 0);

    // Nothing but the settings silences the audit log.
    logs.clear();
    change(&mut admin, json!({ "filter": "off", "for": "7d" })).await;
    admin.get("/").await;
    assert_eq!(logs.with("admin_log_changed").len(), 1);
    assert!(
        logs.with("request")
            .iter()
            .all(|line| line.contains("audit"))
    );
    let restored = admin.send(Method::DELETE, PATH, &[], "").await;
    assert_eq!(restored.json(), configured);
    assert_eq!(logs.with("admin_log_changed").len(), 2);
    let again = admin.send(Method::DELETE, PATH, &[], "").await;
    assert_eq!(again.json(), configured);
    assert_eq!(
        logs.with("admin_log_changed").len(),
        2,
        "nothing was changed"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_no_filter_is_refused_and_so_is_whoever_is_no_admin() {
    let (logs, log) = Logs::capture_with("info");
    let gateway = TestGateway::start_logging(log, &[]).await;
    let mut admin = gateway.program_as("boss", Role::Admin).await;
    for (body, code, said) in [
        (
            json!({ "filter": "deskgate=loud" }),
            "invalid_json",
            "filter",
        ),
        (json!({ "filter": "" }), "invalid_json", "empty"),
        (
            json!({ "filter": "a=info,".repeat(200) }),
            "invalid_json",
            "1000 bytes",
        ),
        (
            json!({ "filter": "debug", "for": "0s" }),
            "invalid_duration",
            "for",
        ),
        (
            json!({ "filter": "debug", "for": "8d" }),
            "invalid_duration",
            "for",
        ),
        (
            json!({ "filter": "debug", "for": "soon" }),
            "invalid_duration",
            "for",
        ),
        (
            json!({ "filter": "debug", "level": 1 }),
            "invalid_json",
            "level",
        ),
        (json!({ "for": "1h" }), "invalid_json", "filter"),
    ] {
        let answer = admin.post(PATH, &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.code(), code, "{body}");
        assert!(answer.text().contains(said), "{body}: {}", answer.text());
    }
    let empty = admin.post(PATH, "").await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST, "{}", empty.text());
    for role in [Role::Student, Role::Teacher] {
        let mut somebody = gateway.program_as("somebody", role).await;
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = somebody
                .send(method, PATH, &[], r#"{"filter": "off"}"#)
                .await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{role:?}");
        }
    }
    assert_eq!(admin.get(PATH).await.json()["filter"], "info");
    assert!(logs.with("admin_log_changed").is_empty());
    gateway.stop().await;
}
