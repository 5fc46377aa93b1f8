//! Tests of the demo provider through raw requests over a socket, as browsers and strangers send them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use time::OffsetDateTime;

use super::accounts::Account;
use super::provider::{Provider, ProviderError};
use super::provider_fixture_tests::{
    CALLBACK, Fixture, HOME, HandClock, authorize_path, form, parameter, registration,
};
use crate::clock::Clock as _;

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let open = "0.0.0.0:0".parse().unwrap();
    let clock = Arc::new(HandClock(Mutex::new(OffsetDateTime::UNIX_EPOCH)));
    let refused = Provider::bind(open, registration(), clock).await;
    assert!(matches!(refused, Err(ProviderError::NotLoopback(_))));
}

#[tokio::test]
async fn a_login_gives_tokens_with_the_claims_of_the_account() {
    let provider = Fixture::start().await;
    let reply = provider.log_in(&authorize_path(&[]), "student").await;
    let location = reply.location();
    assert!(location.as_str().starts_with(CALLBACK));
    assert_eq!(parameter(&location, "state").as_deref(), Some("st&te"));
    let code = parameter(&location, "code").unwrap();
    let reply = provider.exchange(&[("code", &code)], "s3cret").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let tokens = reply.json();
    let payload = tokens["id_token"]
        .as_str()
        .unwrap()
        .split('.')
        .nth(1)
        .unwrap();
    let claims: serde_json::Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!(claims["iss"], provider.issuer.as_str());
    assert_eq!(claims["aud"], serde_json::json!(["desk"]));
    assert_eq!(claims["sub"], "demo-student");
    assert_eq!(claims["nonce"], "n0nce");
    assert_eq!(claims["auth_time"], provider.clock.now().unix_timestamp());
    assert_eq!(claims["exp"], provider.clock.now().unix_timestamp() + 3600);
    assert!(claims["sid"].is_string() && claims["at_hash"].is_string());
    assert_eq!(claims["groups"]["1"]["act"], "klasse.8a");
    assert_eq!(claims["roles"][0]["id"], "ROLE_STUDENT");

    let bearer = format!(
        "Authorization: Bearer {}\r\n",
        tokens["access_token"].as_str().unwrap()
    );
    let info = provider.send("GET", "/userinfo", &bearer, "").await.json();
    assert_eq!(info["sub"], "demo-student");
    assert_eq!(info["name"], "Mia Schneider");
    assert_eq!(info["groups"], claims["groups"]);
    assert_eq!(info.get("sid"), None);
    provider.pass(Duration::from_secs(3600));
    let late = provider.send("GET", "/userinfo", &bearer, "").await;
    assert_eq!(late.status, 401);
    assert_eq!(
        late.header("www-authenticate"),
        Some("Bearer error=\"invalid_token\"")
    );
    assert!(provider.tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn it_may_know_other_people_than_those_of_the_demo() {
    static OTHERS: [Account; 1] = [Account {
        username: "pupil-1",
        subject: "soak-1",
        given_name: "Pupil",
        family_name: "One",
        email: "pupil-1@school.example",
        role: ("ROLE_STUDENT", "Schüler"),
        groups: &[],
    }];
    let provider = Fixture::for_accounts(&OTHERS).await;
    let known = provider.log_in(&authorize_path(&[]), "pupil-1").await;
    assert!(parameter(&known.location(), "code").is_some());
    let unknown = provider.log_in(&authorize_path(&[]), "student").await;
    assert_eq!(unknown.status, 200, "the form again");
    assert!(provider.tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_code_is_good_once_for_a_minute_and_with_its_verifier_only() {
    let provider = Fixture::start().await;
    let other = "wrong-verifier-wrong-verifier-wrong-verifier";
    for change in [
        ("code_verifier", other),
        ("redirect_uri", HOME),
        ("code_verifier", ""),
    ] {
        let code = provider.code().await;
        let reply = provider
            .exchange(&[("code", &code), change], "s3cret")
            .await;
        assert_eq!(
            (reply.status, reply.fault().as_str()),
            (400, "invalid_grant")
        );
        let again = provider.exchange(&[("code", &code)], "s3cret").await;
        assert_eq!(
            again.fault(),
            "invalid_grant",
            "a failed try uses the code up"
        );
    }
    let code = provider.code().await;
    assert_eq!(
        provider.exchange(&[("code", &code)], "s3cret").await.status,
        200
    );
    let replayed = provider.exchange(&[("code", &code)], "s3cret").await;
    assert_eq!(
        (replayed.status, replayed.fault().as_str()),
        (400, "invalid_grant")
    );
    let code = provider.code().await;
    provider.pass(Duration::from_secs(60));
    assert_eq!(
        provider
            .exchange(&[("code", &code)], "s3cret")
            .await
            .fault(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_wrong_client_secret_is_refused_and_leaves_the_code_usable() {
    let provider = Fixture::start().await;
    let code = provider.code().await;
    let reply = provider.exchange(&[("code", &code)], "wrong").await;
    assert_eq!(
        (reply.status, reply.fault().as_str()),
        (401, "invalid_client")
    );
    assert!(
        reply
            .header("www-authenticate")
            .unwrap()
            .starts_with("Basic")
    );
    assert_eq!(
        provider.exchange(&[("code", &code)], "s3cret").await.status,
        200
    );
    let grant = [("grant_type", "password")];
    assert_eq!(
        provider.exchange(&grant, "s3cret").await.fault(),
        "unsupported_grant_type"
    );
}

#[tokio::test]
async fn an_unknown_client_or_address_gets_a_page_and_never_a_redirect() {
    let provider = Fixture::start().await;
    for change in [
        ("redirect_uri", "https://evil.example/"),
        ("redirect_uri", "https://desk.example/auth/callback/"),
        ("redirect_uri", ""),
        ("client_id", "other"),
    ] {
        let reply = provider.get(&authorize_path(&[change])).await;
        assert_eq!(reply.status, 400, "{change:?}");
        assert_eq!(reply.header("location"), None);
        assert!(
            reply
                .header("content-security-policy")
                .unwrap()
                .contains("default-src 'none'")
        );
    }
}

#[tokio::test]
async fn other_faults_go_back_to_the_client() {
    let provider = Fixture::start().await;
    for (change, fault) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "profile"), "invalid_scope"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("max_age", "-1"), "invalid_request"),
        (("prompt", "none login"), "invalid_request"),
        (("prompt", "none"), "login_required"),
        (("request", "e30."), "request_not_supported"),
    ] {
        let location = provider.get(&authorize_path(&[change])).await.location();
        assert_eq!(
            parameter(&location, "error").as_deref(),
            Some(fault),
            "{change:?}"
        );
        assert_eq!(parameter(&location, "state").as_deref(), Some("st&te"));
        assert_eq!(parameter(&location, "code"), None);
    }
}

#[tokio::test]
async fn a_wrong_password_says_so_and_may_be_corrected() {
    let provider = Fixture::start().await;
    let handle = provider.get(&authorize_path(&[])).await.handle();
    let wrong = form(&[("handle", &handle), ("username", "<b>"), ("password", "x")]);
    let reply = provider.send("POST", "/authorize", "", &wrong).await;
    assert!(reply.body.contains("login-error") && !reply.body.contains("<b>"));
    assert_eq!(reply.header("set-cookie"), None);
    let right = form(&[
        ("handle", &reply.handle()),
        ("username", "admin"),
        ("password", "admin"),
    ]);
    assert!(
        parameter(
            &provider
                .send("POST", "/authorize", "", &right)
                .await
                .location(),
            "code"
        )
        .is_some()
    );
    assert_eq!(
        provider.send("POST", "/authorize", "", &right).await.status,
        400
    );
}

#[tokio::test]
async fn a_signed_in_browser_goes_straight_through_unless_asked_to_log_in() {
    let provider = Fixture::start().await;
    let cookie = format!(
        "Cookie: a=b; {}\r\n",
        provider
            .log_in(&authorize_path(&[]), "teacher")
            .await
            .cookie()
    );
    provider.pass(Duration::from_secs(100));
    for (change, straight) in [
        (("prompt", "none"), true),
        (("max_age", "101"), true),
        (("max_age", "100"), false),
        (("prompt", "login"), false),
        (("prompt", "select_account"), false),
    ] {
        let reply = provider
            .send("GET", &authorize_path(&[change]), &cookie, "")
            .await;
        assert_eq!(reply.status, if straight { 303 } else { 200 }, "{change:?}");
    }
    provider.pass(Duration::from_secs(8 * 3600));
    assert_eq!(
        provider
            .send("GET", &authorize_path(&[]), &cookie, "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn the_end_of_a_session_leads_to_registered_addresses_only() {
    let provider = Fixture::start().await;
    let cookie = format!(
        "Cookie: {}\r\n",
        provider
            .log_in(&authorize_path(&[]), "student")
            .await
            .cookie()
    );
    let known = form(&[("post_logout_redirect_uri", HOME), ("state", "s1")]);
    let reply = provider
        .send("GET", &format!("/end_session?{known}"), &cookie, "")
        .await;
    assert_eq!(reply.location().as_str(), "https://desk.example/?state=s1");
    assert!(
        reply
            .header("set-cookie")
            .unwrap()
            .starts_with("demo_sso=; ")
    );
    assert!(reply.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(
        provider
            .send("GET", &authorize_path(&[]), &cookie, "")
            .await
            .status,
        200
    );
    for pairs in [
        &[("post_logout_redirect_uri", "https://evil.example/")][..],
        &[("post_logout_redirect_uri", HOME), ("client_id", "other")][..],
        &[],
    ] {
        let reply = provider
            .send("POST", "/end_session", "", &form(pairs))
            .await;
        assert_eq!((reply.status, reply.header("location")), (200, None));
        assert!(reply.body.contains("You are signed out"));
    }
}

#[tokio::test]
async fn the_hint_ends_the_sign_in_that_its_token_came_from() {
    let provider = Fixture::start().await;
    let reply = provider.log_in(&authorize_path(&[]), "student").await;
    let cookie = format!("Cookie: {}\r\n", reply.cookie());
    let code = parameter(&reply.location(), "code").unwrap();
    let tokens = provider.exchange(&[("code", &code)], "s3cret").await.json();
    let (token, access) = (
        tokens["id_token"].as_str().unwrap(),
        tokens["access_token"].as_str().unwrap(),
    );
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{unsigned}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 256]));
    for (hint, status) in [(forged.as_str(), 303), (token, 200)] {
        let path = format!("/end_session?{}", form(&[("id_token_hint", hint)]));
        assert_eq!(provider.get(&path).await.status, 200);
        let next = provider
            .send("GET", &authorize_path(&[]), &cookie, "")
            .await;
        assert_eq!(next.status, status);
    }
    let bearer = format!("Authorization: Bearer {access}\r\n");
    assert_eq!(
        provider.send("GET", "/userinfo", &bearer, "").await.status,
        401
    );
}

#[tokio::test]
async fn paths_methods_and_sizes_it_does_not_serve_are_refused() {
    let provider = Fixture::start().await;
    assert_eq!(provider.get("/").await.status, 404);
    assert_eq!(provider.get("/token").await.status, 405);
    assert_eq!(
        provider.send("DELETE", "/authorize", "", "").await.status,
        405
    );
    let large = "x".repeat(16 * 1024 + 1);
    assert_eq!(
        provider.send("POST", "/token", "", &large).await.status,
        413
    );
    let discovery = provider
        .get("/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(discovery["issuer"], provider.issuer.as_str());
    assert_eq!(
        discovery["code_challenge_methods_supported"],
        serde_json::json!(["S256"])
    );
    assert_eq!(
        discovery["end_session_endpoint"],
        format!("{}/end_session", provider.issuer)
    );
}
