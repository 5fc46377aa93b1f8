//! The pages of admins: who comes in, what they show, and what they do without a script.

use std::sync::atomic::Ordering;

use deskgate::model::user::{Identity, Role};
use hyper::StatusCode;
use serde_json::json;

use crate::support::browser::Browser;
use crate::support::gateway::{TestGateway, identity};

const SESSION: &str = "__Host-Http-session";
const PAGES: [&str; 1] = ["/admin"];

/// Somebody of this role who opens pages by clicking, in English.
async fn person(gateway: &TestGateway, name: &str, role: Role) -> Browser {
    let somebody = Identity {
        role,
        ..identity(name)
    };
    let session = gateway.session_of(&somebody).await;
    let browser = gateway.browser().with_cookie(SESSION, &session);
    let browser = browser.with("accept", "text/html,*/*");
    let browser = browser.with("accept-language", "en");
    browser.with("sec-fetch-dest", "document")
}

#[tokio::test]
async fn only_admins_see_the_pages_and_the_way_to_them() {
    let gateway = TestGateway::start().await;
    let mut admin = person(&gateway, "boss", Role::Admin).await;
    let mut others = [
        person(&gateway, "pupil", Role::Student).await,
        person(&gateway, "teacher", Role::Teacher).await,
    ];
    let mut stranger = gateway.browser().with("accept", "text/html");
    for path in PAGES {
        let page = admin.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text());
        assert_eq!(page.header("cache-control"), Some("no-store"));
        for other in &mut others {
            let refused = other.get(path).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
            assert!(refused.text().contains("data-code=\"wrong_role\""));
        }
        let sent = stranger.get(path).await;
        assert_eq!(sent.status, StatusCode::FOUND, "{path}");
        let to = sent.header("location").unwrap();
        let back = path.replace('/', "%2F");
        assert_eq!(to, format!("/login?return_to={back}"));
    }
    assert!(admin.get("/").await.text().contains("href=\"/admin\""));
    for other in &mut others {
        assert!(!other.get("/").await.text().contains("href=\"/admin\""));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_script_gets_no_token_with_a_page() {
    let gateway = TestGateway::start().await;
    let mut admin = person(&gateway, "boss", Role::Admin).await;
    let mut script = gateway
        .browser()
        .with_cookie(SESSION, admin.cookie(SESSION).unwrap())
        .with("accept", "text/html")
        .with("sec-fetch-dest", "empty");
    for path in PAGES {
        assert!(
            admin.get(path).await.text().contains("csrf-token"),
            "{path}"
        );
        assert!(!script.get(path).await.text().contains("csrf"), "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_overview_shows_what_desktops_take_while_somebody_looks() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    assert_eq!(gateway.engine.looks.load(Ordering::SeqCst), 0);
    let mut admin = person(&gateway, "boss", Role::Admin).await;
    let page = admin.get("/admin").await.text();
    assert_eq!(gateway.engine.looks.load(Ordering::SeqCst), 1);
    for text in ["Running: 1", "105 MB / 1.1 GB", "pupil", "All is well."] {
        assert!(page.contains(text), "{text} in {page}");
    }
    let mut program = gateway.program_as("boss", Role::Admin).await;
    let overview = program.get("/api/admin/overview").await.json();
    assert_eq!(overview["starts"]["succeeded"], 1);
    assert!(overview["starts"]["p95_ms"].as_u64().is_some());
    assert_eq!(overview["alerts"], json!([]));
    assert_eq!(overview["busiest"][0]["username"], "pupil");
    assert_eq!(overview["busiest"][0]["memory_bytes"], 100 << 20);
    gateway.stop().await;
}

#[tokio::test]
async fn the_overview_says_what_is_wrong() {
    let gateway = TestGateway::start_with(&[("MAX_DESKTOPS", "1")]).await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    gateway.engine.down.store(true, Ordering::SeqCst);
    let mut admin = person(&gateway, "boss", Role::Admin).await;
    let page = admin.get("/admin").await.text();
    let words = ["The engine does not answer.", "nearly as many desktops"];
    let found = words.map(|words| page.find(words).unwrap_or_else(|| panic!("{page}")));
    assert!(found[0] < found[1], "the gravest first");
    assert_eq!(gateway.engine.looks.load(Ordering::SeqCst), 0);
    let mut program = gateway.program_as("boss", Role::Admin).await;
    let overview = program.get("/api/admin/overview").await.json();
    let alerts = json!(["engine_down", "desktops_nearly_full"]);
    assert_eq!(overview["alerts"], alerts);
    assert_eq!(overview["busiest"], json!([]));
    gateway.stop().await;
}
