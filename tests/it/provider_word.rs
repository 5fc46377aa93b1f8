//! What the provider says after a login: about people it is asked about again, and about those who signed out there.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::providers::log_in;
use crate::sessions::{bearer, closed, desktop_path, stream};
use crate::support::browser::Answer;
use crate::support::gateway::{TestGateway, eventually};
use crate::support::logs::Logs;
use crate::support::oidc_keys::Signature;
use crate::support::oidc_provider::{OidcProvider, Trouble};

const SESSION: &str = "__Host-Http-session";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How soon the end of a session is felt.
const SOON: Duration = Duration::from_secs(1);

async fn gateway(provider: &OidcProvider, settings: &[(&str, &str)]) -> TestGateway {
    let issuer = provider.issuer();
    let mut all = vec![("OAUTH_ISSUER", &*issuer)];
    all.extend(settings);
    TestGateway::start_with(&all).await
}

/// A provider that gives refresh tokens, and a gateway that asks with them every second.
async fn asking() -> (OidcProvider, TestGateway) {
    let provider = OidcProvider::start().await;
    provider.turn(|knobs| knobs.refresh = true);
    let gateway = gateway(&provider, &[("IDENTITY_RECHECK", "1s")]).await;
    (provider, gateway)
}

/// Logs somebody in and returns their session.
async fn signed_in(gateway: &TestGateway, provider: &OidcProvider) -> String {
    let mut browser = gateway.browser();
    let answer = log_in(&mut browser, provider).await;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text());
    browser.cookie(SESSION).unwrap().to_owned()
}

async fn is_signed_in(gateway: &TestGateway, session: &str) -> bool {
    let answer = bearer(gateway, session).get("/session").await;
    answer.status == StatusCode::OK
}

/// How often the provider was asked with a refresh token.
fn refreshes(provider: &OidcProvider) -> usize {
    let asked = provider.asked("/token").into_iter();
    asked
        .filter(|asked| asked.parameters["grant_type"] == "refresh_token")
        .count()
}

#[tokio::test]
async fn somebody_who_is_locked_out_is_signed_out_and_their_streams_end() {
    let logs = Logs::capture();
    let (provider, gateway) = asking().await;
    let session = signed_in(&gateway, &provider).await;
    let path = desktop_path(&mut bearer(&gateway, &session), &gateway).await;
    let mut socket = stream(&gateway, &session, &path).await;
    let made = bearer(&gateway, &session)
        .post("/api/tokens", r#"{"name": "a script"}"#)
        .await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let works = async || {
        let list = bearer(&gateway, &token).get("/api/container/list").await;
        list.status
    };
    assert_eq!(works().await, StatusCode::OK);
    eventually("it asks", || async { refreshes(&provider) > 0 }).await;
    assert!(is_signed_in(&gateway, &session).await);
    provider.turn(|knobs| knobs.locked_out = true);
    let begun = Instant::now();
    assert_eq!(closed(&mut socket).await, Some(1008));
    println!(
        "a lockout was felt after {:?} with a re-check each second",
        begun.elapsed()
    );
    assert!(!is_signed_in(&gateway, &session).await);
    eventually("their tokens are worth nothing either", || async {
        works().await == StatusCode::UNAUTHORIZED
    })
    .await;
    let said = logs.with("session ended by the OpenID provider");
    assert!(
        said.len() == 1 && said[0].contains("invalid_grant"),
        "{said:?}"
    );
    let audit = logs.with("reason=\"provider_refused\"");
    assert!(
        audit.len() == 1 && audit[0].contains("action=\"session_ended\""),
        "{audit:?}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_down_ends_nothing_and_is_asked_again() {
    let (provider, gateway) = asking().await;
    let session = signed_in(&gateway, &provider).await;
    for trouble in [
        Trouble::Status(503, r#"{"error":"invalid_grant"}"#),
        Trouble::Status(401, r#"{"error":"invalid_client"}"#),
        Trouble::Status(200, "<html>"),
    ] {
        provider.turn(|knobs| knobs.trouble = [("/token", trouble)].into());
        let before = refreshes(&provider);
        eventually("it asks", || async { refreshes(&provider) > before + 1 }).await;
        assert!(is_signed_in(&gateway, &session).await, "{trouble:?}");
    }
    provider.turn(|knobs| knobs.trouble.clear());
    let before = refreshes(&provider);
    eventually("it asks", || async { refreshes(&provider) > before + 2 }).await;
    assert!(
        is_signed_in(&gateway, &session).await,
        "each token was shown once"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_role_that_is_lost_or_won_counts_at_once() {
    let logs = Logs::capture();
    let (provider, gateway) = asking().await;
    let role = |role: &'static str| {
        provider.turn(move |knobs| knobs.user_info = json!({"roles": [role]}));
    };
    role("ROLE_TEACHER");
    let session = signed_in(&gateway, &provider).await;
    let mut program = bearer(&gateway, &session);
    let before = program.get("/session").await.json();
    assert_eq!(before["user"]["role"], "teacher");
    for (name, word) in [("ROLE_ADMIN", "admin"), ("nothing", "student")] {
        role(name);
        eventually(word, || async {
            let now = bearer(&gateway, &session).get("/session").await.json();
            now["user"]["role"] == word
        })
        .await;
    }
    assert_eq!(
        program.get("/session").await.json()["session"],
        before["session"]
    );
    assert_eq!(logs.with("action=\"role_changed\"").len(), 2);
    // Somebody else's answer changes nothing.
    provider.turn(|knobs| knobs.user_info = json!({"sub": "ben", "roles": ["ROLE_ADMIN"]}));
    let asked = refreshes(&provider);
    eventually("it asks", || async { refreshes(&provider) > asked + 1 }).await;
    assert_eq!(
        program.get("/session").await.json()["user"]["role"],
        "student"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_not_repeated_is_as_it_was_at_the_login() {
    let (provider, gateway) = asking().await;
    provider.turn(|knobs| {
        knobs.metadata = json!({"userinfo_endpoint": null});
        knobs.claims = json!({"roles": ["ROLE_TEACHER"], "name": "Anna Schmidt"});
    });
    let session = signed_in(&gateway, &provider).await;
    provider.turn(|knobs| {
        knobs.claims = Value::Null;
        knobs.tokens = json!({"id_token": null});
    });
    eventually("it asks", || async { refreshes(&provider) > 1 }).await;
    let now = bearer(&gateway, &session).get("/session").await.json();
    assert_eq!(
        (&now["user"]["role"], &now["user"]["name"]),
        (&json!("teacher"), &json!("Anna Schmidt"))
    );
    gateway.stop().await;
}

#[tokio::test]
async fn without_a_refresh_token_nobody_is_asked_about() {
    let provider = OidcProvider::start().await;
    let gateway = gateway(&provider, &[("IDENTITY_RECHECK", "1s")]).await;
    let session = signed_in(&gateway, &provider).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(provider.asked("/token").len(), 1);
    assert!(is_signed_in(&gateway, &session).await);
    gateway.stop().await;
}

#[tokio::test]
async fn two_gateways_never_show_a_token_twice_and_keep_it_sealed() {
    let (provider, a) = asking().await;
    let b = a.sibling().await;
    let session = signed_in(&a, &provider).await;
    eventually("they ask", || async { refreshes(&provider) > 4 }).await;
    assert!(is_signed_in(&b, &session).await);
    let shown: Vec<_> = provider.asked("/token").into_iter().collect();
    let mut shown: Vec<_> = shown
        .iter()
        .filter_map(|asked| asked.parameters.get("refresh_token"))
        .collect();
    let count = shown.len();
    shown.sort();
    shown.dedup();
    assert_eq!(shown.len(), count);
    for file in ["deskgate.db", "deskgate.db-wal"] {
        let bytes = std::fs::read(a.data().join(file)).unwrap_or_default();
        assert!(
            !String::from_utf8_lossy(&bytes).contains("refresh-"),
            "{file}"
        );
    }
    b.stop().await;
    a.stop().await;
}

/// Sends a logout token as the provider does.
async fn tell(gateway: &TestGateway, token: &str) -> Answer {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!("logout_token={token}");
    gateway
        .browser()
        .send(Method::POST, "/backchannel-logout", &form, &body)
        .await
}

fn logout(changes: &Value) -> Value {
    let mut claims = json!({"events": {EVENT: {}}, "jti": uuid::Uuid::new_v4().to_string(), "sid": "sid-of-anna"});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[tokio::test]
async fn a_back_channel_logout_ends_the_session_its_streams_and_its_desktops() {
    let logs = Logs::capture();
    let provider = OidcProvider::start().await;
    let gateway = gateway(&provider, &[("DESKTOP_ON_LOGOUT", "remove")]).await;
    let session = signed_in(&gateway, &provider).await;
    let other = {
        provider.turn(|knobs| knobs.claims = json!({"sid": "another"}));
        signed_in(&gateway, &provider).await
    };
    let path = desktop_path(&mut bearer(&gateway, &session), &gateway).await;
    let mut socket = stream(&gateway, &session, &path).await;
    let token = provider.sign(
        &json!({"typ": "logout+jwt"}),
        &logout(&json!({"sub": null})),
    );
    let begun = Instant::now();
    let answer = tell(&gateway, &token).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(closed(&mut socket).await, Some(1008));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(!is_signed_in(&gateway, &session).await);
    assert!(
        is_signed_in(&gateway, &other).await,
        "another session of the same person"
    );
    eventually("the desktop is removed", || async {
        gateway.engine.all().is_empty()
    })
    .await;
    let audit = logs.with("backchannel_logout");
    assert!(
        audit
            .iter()
            .any(|line| line.contains("action=\"session_ended\"")),
        "{audit:?}"
    );

    let again = tell(&gateway, &token).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "a token counts once");
    let person = provider.sign(&json!({}), &logout(&json!({"sid": null})));
    assert_eq!(tell(&gateway, &person).await.status, StatusCode::OK);
    assert!(!is_signed_in(&gateway, &other).await);
    let nobody = provider.sign(&json!({}), &logout(&json!({"sid": "long gone"})));
    assert_eq!(tell(&gateway, &nobody).await.status, StatusCode::OK);
    gateway.stop().await;
}

#[tokio::test]
async fn a_back_channel_logout_that_is_none_ends_nothing() {
    let logs = Logs::capture();
    let provider = OidcProvider::start().await;
    let gateway = gateway(&provider, &[]).await;
    let session = signed_in(&gateway, &provider).await;
    let refused = async |token: &str, why: &str| {
        logs.clear();
        let answer = tell(&gateway, token).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{why}");
        assert_eq!(answer.json()["error"], "invalid_request", "{why}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let said = logs.with("logout token refused");
        assert!(said.len() == 1 && said[0].contains(why), "{why}: {said:?}");
        assert!(is_signed_in(&gateway, &session).await, "{why}");
    };
    for (changes, why) in [
        (json!({"nonce": "n"}), "it has a nonce"),
        (json!({"events": {}}), "its events tell of no logout"),
        (json!({"jti": null}), "its jti is missing"),
        (json!({"aud": "other"}), "its aud is not us"),
        (
            json!({"iss": "https://evil.test"}),
            "its iss is https://evil.test",
        ),
        (json!({"exp": 1_700_000_000}), "it has expired"),
        (
            json!({"sid": null, "sub": null}),
            "it has neither sid nor sub",
        ),
    ] {
        refused(&provider.sign(&json!({}), &logout(&changes)), why).await;
    }
    let id_token = provider.sign(&json!({}), &json!({"nonce": "n", "sid": "sid-of-anna"}));
    refused(&id_token, "its events tell of no logout").await;
    for (signature, why) in [
        (Signature::Wrong, "its signature is wrong"),
        (Signature::None, "\"none\" is not accepted"),
        (Signature::PublicKeyAsSecret, "\"HS256\" is not accepted"),
    ] {
        provider.turn(|knobs| knobs.signature = signature);
        refused(&provider.sign(&json!({}), &logout(&json!({}))), why).await;
    }
    let empty = gateway.browser().post("/backchannel-logout", "").await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
    let get = gateway.browser().get("/backchannel-logout").await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
    gateway.stop().await;
}

#[tokio::test]
async fn a_front_channel_logout_works_in_a_frame_of_the_provider_and_from_both_names_alone() {
    let provider = OidcProvider::start().await;
    let gateway = gateway(&provider, &[]).await;
    let session = signed_in(&gateway, &provider).await;
    let issuer = provider.issuer();
    let frame = async |query: &str| {
        let page = gateway
            .browser()
            .get(&format!("/frontchannel-logout{query}"))
            .await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.ends_with(&format!("frame-ancestors {issuer}")),
            "{policy}"
        );
        assert_eq!(page.header("x-frame-options"), None);
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("set-cookie"), None);
        page.text()
    };
    let mut pages = Vec::new();
    for query in [
        String::new(),
        format!("?iss={issuer}"),
        format!("?iss={issuer}&sid="),
        format!("?iss={issuer}&sid=another"),
        "?iss=https://evil.test&sid=sid-of-anna".to_owned(),
        "?sid=sid-of-anna".to_owned(),
    ] {
        pages.push(frame(&query).await);
        assert!(is_signed_in(&gateway, &session).await, "{query}");
    }
    pages.push(frame(&format!("?iss={issuer}&sid=sid-of-anna")).await);
    assert!(!is_signed_in(&gateway, &session).await);
    pages.dedup();
    assert_eq!(
        pages.len(),
        1,
        "it does not say whether anybody was signed out"
    );
    gateway.stop().await;
}
