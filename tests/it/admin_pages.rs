//! The pages of admins: who comes in, what they show, and what they do without a script.

use std::sync::atomic::Ordering;

use deskgate::model::user::{Identity, Role};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::support::browser::{Answer, Browser};
use crate::support::gateway::{TestGateway, eventually, identity};

const SESSION: &str = "__Host-Http-session";
const PAGES: [&str; 7] = [
    "/admin",
    "/admin/desktops",
    "/admin/users",
    "/admin/sessions",
    "/admin/images",
    "/admin/templates",
    "/admin/audit",
];
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const NOBODY: &str = "6e390c03-048b-4b93-aded-0068b8d718d1";

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
    for text in ["Running: 1", "100 MiB / 1.0 GiB", "pupil", "All is well."] {
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

/// The token that a page carries.
fn token(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text
        .split_once("name=\"csrf-token\" content=\"")
        .unwrap_or_else(|| panic!("no token: {text}"));
    rest.split('"').next().unwrap().to_owned()
}

/// Sends a form of the page at `path`, with its token.
async fn submit(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = token(&browser.get(path).await);
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("csrf_token", &token).extend_pairs(fields);
    browser
        .send(Method::POST, path, &[FORM], &form.finish())
        .await
}

#[tokio::test]
async fn tables_show_choose_and_sort_what_the_api_lists() {
    let gateway = TestGateway::start().await;
    for name in ["anna", "<b>ert", "carla"] {
        let mut pupil = gateway.program(name).await;
        gateway.running_desktop(&mut pupil).await;
    }
    let mut admin = person(&gateway, "boss", Role::Admin).await;
    let rows = async |admin: &mut Browser, path: &str| {
        let page = admin.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text());
        (
            page.text().matches("data-testid=\"row\"").count(),
            page.text(),
        )
    };
    let (count, text) = rows(&mut admin, "/admin/desktops?sort=-user&limit=2").await;
    assert_eq!(count, 2);
    assert!(
        text.contains("1–2 of 3") && text.contains("100 MiB"),
        "{text}"
    );
    assert!(text.find("carla").unwrap() < text.find("anna").unwrap());
    assert!(
        text.contains("href=\"?sort=-user&#38;limit=2&#38;offset=2\""),
        "{text}"
    );
    let (count, _) = rows(&mut admin, "/admin/desktops?q=anna&status=live").await;
    assert_eq!(count, 1);
    let (count, text) = rows(&mut admin, "/admin/users?role=student").await;
    assert_eq!((count, text.contains("<b>ert")), (3, false));
    assert_eq!(rows(&mut admin, "/admin/sessions?user=anna").await.0, 1);
    assert_eq!(
        rows(&mut admin, "/admin/audit?action=start&user=anna")
            .await
            .0,
        1
    );
    assert_eq!(rows(&mut admin, "/admin/templates").await.0, 1);
    let wrong = admin.get("/admin/desktops?status=purple").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_offered_for_rows_that_are_not_there() {
    let gateway = TestGateway::start().await;
    let mut admin = person(&gateway, "boss", Role::Admin).await;
    let page = admin.get("/admin/desktops").await.text();
    let acts = |page: &str| {
        let (_, tag) = page.split_once("id=\"acts\"").expect("acts");
        tag.split('>').next().unwrap().to_owned()
    };
    assert!(page.contains("data-testid=\"empty\"") && acts(&page).ends_with(" hidden"));
    // One's own session is a row that nothing can be done to.
    let page = admin.get("/admin/sessions").await.text();
    assert!(page.contains("data-testid=\"row\"") && acts(&page).ends_with(" hidden"));
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    for path in ["/admin/desktops", "/admin/sessions"] {
        let page = admin.get(path).await.text();
        assert!(!acts(&page).ends_with(" hidden"), "{page}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn desktops_are_stopped_by_a_form_after_a_question() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let id = container["id"].as_str().unwrap();
    let mut admin = person(&gateway, "boss", Role::Admin).await;
    let path = "/admin/desktops";

    let stop = [
        ("act", "stop"),
        ("id", id),
        ("back", "?status=live\r\n&q=ä"),
    ];
    let asked = submit(&mut admin, path, &stop).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(
        asked.text().contains("Stop the chosen desktops (1)?"),
        "{}",
        asked.text()
    );
    let state = pupil.get("/api/container/status").await.json();
    assert_eq!(state["container"]["status"], "running");

    let yes = [&stop[..], &[("confirmed", "yes")]].concat();
    let done = submit(&mut admin, path, &yes).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text());
    let back = "/admin/desktops?status=live%0D%0A&q=%C3%A4";
    assert_eq!(done.header("location"), Some(back));
    let state = pupil.get("/api/container/status").await.json();
    assert_eq!(state["container"]["status_reason_code"], "admin");
    let log = admin.get("/admin/audit?action=stop").await.text();
    assert!(
        log.contains("boss") && log.contains("Desktop stopped"),
        "{log}"
    );
    let mut german = gateway
        .browser()
        .with_cookie(SESSION, admin.cookie(SESSION).unwrap())
        .with("accept", "text/html")
        .with("accept-language", "de");
    let log = german.get("/admin/audit?action=stop").await.text();
    for text in [
        &*format!("Desktop {id}"),
        "Der Desktop wurde von der Administration beendet.",
    ] {
        assert!(log.contains(text), "{text} in {log}");
    }

    let gone = [("act", "remove"), ("id", NOBODY), ("confirmed", "yes")];
    let failed = submit(&mut admin, path, &gone).await;
    assert!(failed.text().contains("data-testid=\"failure\""));
    for nothing in [
        &[("act", "stop"), ("confirmed", "yes")][..],
        &[("act", "burn"), ("id", id)],
    ] {
        let answer = submit(&mut admin, path, nothing).await;
        assert!(answer.text().contains("Nothing is chosen"));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_form_needs_the_token_of_the_page_and_the_role() {
    let gateway = TestGateway::start().await;
    let mut admin = person(&gateway, "boss", Role::Admin).await;
    let mut teacher = person(&gateway, "teacher", Role::Teacher).await;
    let form = format!("csrf_token=AAAA&act=stop&confirmed=yes&id={NOBODY}");
    for path in ["/admin/desktops", "/admin/sessions", "/admin/images"] {
        let refused = admin.send(Method::POST, path, &[FORM], &form).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        assert!(refused.text().contains("csrf_token_missing"), "{path}");
        let refused = teacher.send(Method::POST, path, &[FORM], &form).await;
        assert!(refused.text().contains("wrong_role"), "{path}");
    }
    for path in ["/admin", "/admin/users", "/admin/templates", "/admin/audit"] {
        let refused = admin.send(Method::POST, path, &[FORM], &form).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn sessions_are_ended_and_images_pulled_by_forms() {
    let gateway = TestGateway::start().await;
    let mut pupil = person(&gateway, "pupil", Role::Student).await;
    let mut admin = person(&gateway, "boss", Role::Admin).await;
    let list = admin.get("/api/admin/sessions?user=pupil").await.json();
    let id = list["sessions"][0]["id"].as_str().unwrap().to_owned();
    let revoke = [("act", "revoke"), ("id", &*id), ("confirmed", "yes")];
    let done = submit(&mut admin, "/admin/sessions", &revoke).await;
    assert_eq!(done.header("location"), Some("/admin/sessions"));
    assert_eq!(pupil.get("/session").await.status, StatusCode::UNAUTHORIZED);
    let own = admin.get("/admin/sessions?user=boss").await.text();
    assert!(own.contains("(this one)") && !own.contains("name=\"id\""));

    let pull = [("act", "pull"), ("image", "good/desktop:1")];
    let begun = submit(&mut admin, "/admin/images", &pull).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER);
    eventually("the page says how far it is", async || {
        admin
            .clone()
            .get("/admin/images")
            .await
            .text()
            .contains("value=\"40\"")
    })
    .await;
    gateway.engine.pull_on.notify_one();
    eventually("the image is there", async || {
        admin
            .clone()
            .get("/admin/images")
            .await
            .text()
            .contains("1.0 kB")
    })
    .await;
    let bad = [("act", "pull"), ("image", "a b")];
    let refused = submit(&mut admin, "/admin/images", &bad).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    gateway.stop().await;
}
