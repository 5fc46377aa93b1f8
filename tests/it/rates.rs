//! What is refused because it was too often, and what never is.

use deskgate::store::Database;
use deskgate::store::audit::{Entry, Filter};
use hyper::{Method, StatusCode};
use tokio::task::JoinSet;

use crate::support::browser::{Answer, Browser};
use crate::support::gateway::{TestGateway, eventually};

/// Asserts a 429 of ours and returns its `Retry-After` in seconds.
fn too_often(answer: &Answer) -> u64 {
    assert_eq!(
        answer.status,
        StatusCode::TOO_MANY_REQUESTS,
        "{}",
        answer.text()
    );
    assert_eq!(answer.code(), "rate_limited");
    let seconds = answer.header("retry-after").expect("Retry-After");
    seconds.parse().expect("whole seconds")
}

#[tokio::test]
async fn logins_of_one_address_have_a_rate() {
    let balancer = [("LOGIN_RATE", "3/1h"), ("TRUSTED_PROXIES", "127.0.0.1/32")];
    let gateway = TestGateway::start_with(&balancer).await;
    let from = |address: &str| gateway.browser().with("x-forwarded-for", address);
    for _ in 0..3 {
        let welcome = from("192.0.2.1").log_in("student", "/").await;
        assert_eq!(welcome.status, StatusCode::FOUND, "{}", welcome.text());
    }
    let refused = from("192.0.2.1").get("/login").await;
    assert!((1100..=1200).contains(&too_often(&refused)), "{refused:?}");
    assert_eq!(refused.header("set-cookie"), None);
    let page = from("192.0.2.1")
        .with("accept", "text/html")
        .with("accept-language", "de");
    let page = page.clone().get("/login").await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.header("retry-after").is_some());
    assert!(page.text().contains("zu schnell"), "{}", page.text());
    // The way back from the provider is counted by itself.
    let mut forger = from("192.0.2.2");
    for _ in 0..3 {
        assert_eq!(
            forger.get("/authorize?state=x&code=y").await.code(),
            "login_expired"
        );
    }
    too_often(&forger.get("/authorize?state=x&code=y").await);
    // One IPv6 network is one client, however many addresses it has.
    for host in 1..=3 {
        let begun = from(&format!("2001:db8::{host}")).get("/login").await;
        assert_eq!(begun.status, StatusCode::FOUND);
    }
    too_often(&from("2001:db8::ffff:1").get("/login").await);
    assert_eq!(
        from("2001:db8:0:1::1").get("/login").await.status,
        StatusCode::FOUND
    );
    gateway.stop().await;
}

#[tokio::test]
async fn logout_tokens_of_one_address_have_a_rate() {
    let balancer = [("TRUSTED_PROXIES", "127.0.0.1/32")];
    let gateway = TestGateway::start_with(&balancer).await;
    let from = |address: &str| gateway.browser().with("x-forwarded-for", address);
    let mut forger = from("192.0.2.1");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    // Without a token it counts as well, and takes less time here.
    let mut taken = 0;
    let refused = loop {
        let answer = forger
            .send(Method::POST, "/backchannel-logout", &form, "")
            .await;
        if answer.status != StatusCode::BAD_REQUEST {
            break answer;
        }
        taken += 1;
        assert!(taken < 20_000, "there is no rate");
    };
    assert!(taken >= 1000, "{taken}: a school's fit in");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.json()["error"], "temporarily_unavailable");
    assert!(refused.header("retry-after").is_some());
    let provider = from("192.0.2.2")
        .send(Method::POST, "/backchannel-logout", &form, "logout_token=x")
        .await;
    assert_eq!(provider.status, StatusCode::BAD_REQUEST);
    gateway.stop().await;
}

/// Asks with a wrong secret until that is too often. One more is allowed each second, so that a slow machine
/// needs more. Returns how many there were before.
async fn fail(guesser: &mut Browser, path: &str) -> usize {
    for count in 0..1000 {
        let answer = guesser.get(path).await;
        if answer.status != StatusCode::UNAUTHORIZED {
            assert_eq!(too_often(&answer), 1);
            return count;
        }
    }
    panic!("a thousand wrong secrets and no end");
}

#[tokio::test]
async fn whoever_is_signed_in_passes_however_often_others_fail() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let (session, other) = (
        gateway.session("pupil").await,
        gateway.session("other").await,
    );
    let token = pupil.post("/api/tokens", r#"{"name": "a"}"#).await.json();
    let token = format!("Bearer {}", token["token"].as_str().unwrap());
    let wrong = format!("Bearer {}", "x".repeat(43));
    let mut guesser = gateway.browser().with("authorization", &wrong);
    let before = fail(&mut guesser, "/session").await;
    assert!(before >= 300, "{before}");
    let mut others = JoinSet::new();
    for _ in 0..20 {
        let mut guesser = guesser.clone();
        others.spawn(async move { guesser.get("/api/container/list").await });
    }
    for answer in others.join_all().await {
        assert!(matches!(answer.status.as_u16(), 401 | 429), "{answer:?}");
    }
    let mut mistyped = gateway.browser().with("x-session-id", "dgt_mistyped");
    fail(&mut mistyped, "/api/templates").await;
    // Same address, all of them; the second session was not in use before.
    let by_cookie = |session: &str| {
        gateway
            .browser()
            .with_cookie("__Host-Http-session", session)
    };
    for mut good in [
        pupil,
        by_cookie(&session),
        by_cookie(&other),
        gateway.browser().with("authorization", &token),
    ] {
        assert_eq!(good.get("/session").await.status, StatusCode::OK);
        assert_eq!(good.get("/api/container/list").await.status, StatusCode::OK);
    }
    // The audit log is told, and not flooded.
    eventually("the audit log has it", || async {
        let database = Database::connect(&gateway.config.database).await.unwrap();
        let entries = database.list_audit(&Filter::default(), 100).await.unwrap();
        database.close().await;
        let count = |action, reason: &str| {
            let of =
                |entry: &&Entry| entry.action == action && entry.reason.as_deref() == Some(reason);
            entries.iter().filter(of).count()
        };
        assert!(count("rate_limited", "secret") <= 3, "{entries:?}");
        count("rate_limited", "secret") > 0 && count("token_refused", "token_invalid") > 0
    })
    .await;
    // Nobody is kept from signing in by what their browser kept from yesterday.
    let mut yesterday = by_cookie(&"x".repeat(43)).with("accept", "text/html");
    assert_eq!(yesterday.get("/").await.status, StatusCode::OK);
    assert_eq!(yesterday.get("/login").await.status, StatusCode::FOUND);
    assert_eq!(
        gateway.browser().get("/session").await.code(),
        "not_signed_in"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn starts_of_one_user_have_a_rate_that_counts_desktops_and_not_clicks() {
    let gateway = TestGateway::start_with(&[("START_RATE", "2/1h")]).await;
    let mut pupil = gateway.program("pupil").await;
    let start = async |pupil: &mut Browser| {
        let prefer = [("prefer", "wait=20")];
        pupil
            .send(Method::POST, "/api/container/start", &prefer, "")
            .await
    };
    for _ in 0..2 {
        let mut clicks = JoinSet::new();
        for _ in 0..10 {
            let mut pupil = pupil.clone();
            clicks.spawn(async move { pupil.post("/api/container/start", "").await.status });
        }
        let clicks = clicks.join_all().await;
        let made = clicks
            .iter()
            .filter(|status| **status == StatusCode::CREATED);
        assert_eq!(made.count(), 1, "{clicks:?}");
        assert!(clicks.iter().all(StatusCode::is_success), "{clicks:?}");
        assert_eq!(
            start(&mut pupil).await.json()["container"]["status"],
            "running"
        );
        assert_eq!(
            pupil.post("/api/container/remove", "").await.status,
            StatusCode::OK
        );
    }
    let refused = start(&mut pupil).await;
    assert!((1..=1800).contains(&too_often(&refused)));
    let list = pupil.get("/api/container/list").await.json();
    assert_eq!(
        list["containers"].as_array().unwrap().len(),
        0,
        "no row is left behind"
    );
    let other = start(&mut gateway.program("other").await).await;
    assert_eq!(other.status, StatusCode::CREATED);
    gateway.stop().await;
}
