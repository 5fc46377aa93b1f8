//! Login, session and logout, through the demo's OpenID provider.

use hyper::{Method, StatusCode};

use crate::support::browser::at_provider;
use crate::support::gateway::TestGateway;

const SESSION: &str = "__Host-Http-session";

#[tokio::test]
async fn a_person_logs_in_and_out() {
    let gateway = TestGateway::start().await;
    let mut browser = gateway.browser();
    assert_eq!(
        browser.get("/session").await.status,
        StatusCode::UNAUTHORIZED
    );

    let welcome = browser.log_in("teacher", "/desktop/x/%3Fa").await;
    assert_eq!(welcome.status, StatusCode::FOUND, "{}", welcome.text());
    assert_eq!(welcome.header("location"), Some("/desktop/x/?a"));
    let cookie = browser
        .cookie(SESSION)
        .expect("a session cookie")
        .to_owned();

    let session = browser.get("/session").await.json();
    assert_eq!(session["authenticated"], true);
    assert_eq!(session["user"]["role"], "teacher");
    assert_eq!(session["user"]["username"], "teacher");
    assert!(
        session["user"]["groups"]
            .as_array()
            .unwrap()
            .contains(&"ROLE_TEACHER".into())
    );
    assert_ne!(
        session["session"]["id"], cookie,
        "the public handle is not the secret"
    );

    for program in [
        gateway
            .browser()
            .with("authorization", &format!("Bearer {cookie}")),
        gateway.browser().with("x-session-id", &cookie),
    ] {
        assert_eq!(program.clone().get("/session").await.status, StatusCode::OK);
    }

    let page = browser
        .send(Method::GET, "/", &[("sec-fetch-dest", "document")], "")
        .await
        .text();
    let (_, rest) = page
        .split_once("name=\"csrf-token\" content=\"")
        .expect("a token on the page");
    let token = rest.split('"').next().unwrap().to_owned();

    let refused = browser.post("/logout", "{}").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let out = browser
        .send(Method::POST, "/logout", &[("x-csrf-token", &token)], "")
        .await;
    assert_eq!(out.status, StatusCode::OK, "{}", out.text());
    let provider = out.json()["logout_url"].as_str().unwrap().to_owned();
    assert!(
        provider.contains("/end_session?") && provider.contains("id_token_hint="),
        "{provider}"
    );
    assert_eq!(browser.cookie(SESSION), None);

    let mut old = gateway.browser().with_cookie(SESSION, &cookie);
    assert_eq!(old.get("/session").await.status, StatusCode::UNAUTHORIZED);
    gateway.stop().await;
}

#[tokio::test]
async fn a_login_is_good_once_in_its_own_browser_and_with_its_own_state() {
    let gateway = TestGateway::start().await;
    let mut browser = gateway.browser();
    let begin = browser.get("/login").await;
    let address = begin.header("location").unwrap().to_owned();
    for part in [
        "code_challenge_method=S256",
        "state=",
        "nonce=",
        "response_type=code",
    ] {
        assert!(address.contains(part), "{address}");
    }
    let callback = at_provider(&address, "student").await;
    let callback = &callback[url::Position::BeforePath..];

    let stranger = gateway.browser().get(callback).await;
    assert_eq!(
        (stranger.status, stranger.code().as_str()),
        (StatusCode::BAD_REQUEST, "login_expired")
    );
    let forged = callback.replace("state=", "state=x");
    assert_eq!(browser.get(&forged).await.code(), "login_expired");

    let before = browser.clone();
    assert_eq!(browser.get(callback).await.status, StatusCode::FOUND);
    let again = before.clone().get(callback).await;
    assert_eq!(again.code(), "login_failed", "a code is good once");
    gateway.stop().await;
}

#[tokio::test]
async fn a_login_makes_a_new_session_and_ends_the_old_one() {
    let gateway = TestGateway::start().await;
    // Begun in a second tab before the first one was through.
    let mut second_tab = gateway.browser();
    let begin = second_tab.get("/login").await;
    let mut browser = gateway.browser();
    browser.log_in("student", "/").await;
    let first = browser.cookie(SESSION).unwrap().to_owned();
    let mut second_tab = second_tab.with_cookie(SESSION, &first);
    let callback = at_provider(begin.header("location").unwrap(), "student").await;
    second_tab.get(&callback[url::Position::BeforePath..]).await;
    let second = second_tab.cookie(SESSION).unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(
        browser.get("/session").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(second_tab.get("/session").await.status, StatusCode::OK);
    gateway.stop().await;
}

#[tokio::test]
async fn a_login_of_somebody_who_is_signed_in_leads_straight_back() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let mut browser = gateway.browser().with_cookie(SESSION, &session);
    for (return_to, expected) in [
        ("", "/"),
        ("?return_to=/desktop/x/", "/desktop/x/"),
        ("?return_to=https://evil.test/", "/"),
        ("?return_to=//evil.test/", "/"),
    ] {
        let answer = browser.get(&format!("/login{return_to}")).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{return_to}");
        assert_eq!(answer.header("location"), Some(expected), "{return_to}");
        assert_eq!(answer.header("set-cookie"), None, "{return_to}");
    }
    assert_eq!(browser.get("/session").await.status, StatusCode::OK);
    let mut stale = gateway.browser().with_cookie(SESSION, &"x".repeat(43));
    let answer = stale.get("/login").await;
    assert!(
        answer
            .header("location")
            .unwrap()
            .contains("code_challenge=")
    );
    gateway.stop().await;
}

#[tokio::test]
async fn the_token_is_only_on_a_page_that_a_person_opened() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let mut browser = gateway.browser().with_cookie(SESSION, &session);
    let document = browser
        .send(Method::GET, "/", &[("sec-fetch-dest", "document")], "")
        .await;
    assert!(document.text().contains("csrf-token"));
    assert_eq!(
        document.header("cross-origin-opener-policy"),
        Some("same-origin")
    );
    assert!(
        document
            .header("content-security-policy")
            .unwrap()
            .contains("frame-ancestors 'none'")
    );
    for dest in ["empty", "iframe", "script"] {
        let page = browser
            .send(Method::GET, "/", &[("sec-fetch-dest", dest)], "")
            .await;
        assert!(!page.text().contains("csrf-token"), "{dest}");
    }
    assert!(!browser.get("/").await.text().contains("csrf-token"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_is_found_whatever_a_script_wrote_into_other_cookies() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let planted = format!("\u{2000}{SESSION}=planted; x=\u{fc}\u{4e2d}");
    let mut browser = gateway.browser().with(
        "cookie",
        &format!("{planted}; {SESSION}={session}; y=\u{fc}"),
    );
    assert_eq!(browser.get("/session").await.status, StatusCode::OK);
    gateway.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_down_is_said_on_the_page() {
    let gateway = TestGateway::start_with(&[("OAUTH_ISSUER", "http://127.0.0.1:9")]).await;
    let mut browser = gateway
        .browser()
        .with("accept", "text/html")
        .with("accept-language", "de");
    let page = browser.get("/login").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.header("retry-after").is_some());
    assert!(page.text().contains("lang=\"de\""), "{}", page.text());
    assert!(
        !page.text().contains("127.0.0.1"),
        "no inner address on the page"
    );
    gateway.stop().await;
}
