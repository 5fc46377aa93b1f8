//! What others script against, word for word: JSON, problem documents and pages as snapshots.

use insta::{Settings, assert_json_snapshot, assert_snapshot};
use serde_json::Value;

use crate::support::gateway::TestGateway;

/// Snapshots with what differs between two runs replaced.
fn settings() -> Settings {
    let mut settings = Settings::clone_current();
    settings.add_filter(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "[uuid]",
    );
    settings.add_filter(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "[time]");
    settings.add_filter(r"deskgate-[0-9a-f]{8}-", "deskgate-[instance]-");
    settings.add_filter(r#""host_port": \d+"#, "\"host_port\": [port]");
    settings.add_filter(
        r#"csrf-token" content="[\w-]+""#,
        "csrf-token\" content=\"[token]\"",
    );
    settings.add_filter(
        r#"csrf_token" value="[\w-]+""#,
        "csrf_token\" value=\"[token]\"",
    );
    settings
}

/// A snapshot of JSON with its keys in order.
fn snapshot(name: &str, value: &Value) {
    settings().bind(|| assert_json_snapshot!(name, value));
}

#[tokio::test]
async fn json() {
    let gateway = TestGateway::start().await;
    let mut browser = gateway.browser();
    browser.log_in("student", "/").await;
    let session = browser.cookie("__Host-Http-session").unwrap().to_owned();
    let mut pupil = gateway.browser().with("x-session-id", &session);
    snapshot("session", &pupil.get("/session").await.json());
    snapshot("templates", &pupil.get("/api/templates").await.json());
    gateway.running_desktop(&mut pupil).await;
    snapshot("status", &pupil.get("/api/container/status").await.json());
    snapshot(
        "unknown_template",
        &pupil
            .post("/api/container/start", r#"{"template":"x"}"#)
            .await
            .json(),
    );
    snapshot(
        "malformed",
        &pupil.post("/api/container/stop", "[").await.json(),
    );
    snapshot(
        "stranger",
        &gateway.browser().get("/api/container/list").await.json(),
    );
    gateway.stop().await;
}

#[tokio::test]
async fn pages() {
    let gateway = TestGateway::start().await;
    for (lang, name) in [("en", "sign_in_en"), ("de", "sign_in_de")] {
        let mut browser = gateway
            .browser()
            .with("accept", "text/html")
            .with("accept-language", lang);
        let page = browser.get("/").await.text();
        settings().bind(|| assert_snapshot!(name, page));
    }
    let session = gateway.session("pupil").await;
    let mut browser = gateway
        .browser()
        .with("accept", "text/html")
        .with("sec-fetch-dest", "document")
        .with_cookie("__Host-Http-session", &session);
    let home = browser.get("/").await.text();
    settings().bind(|| assert_snapshot!("home", home));
    let missing = browser.get("/nothing").await.text();
    settings().bind(|| assert_snapshot!("not_found", missing));
    gateway.stop().await;
}
