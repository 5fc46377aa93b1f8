//! Login with providers of every make: what they leave out, how they write things, and how they sign.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::browser::{Answer, Browser, send};
use crate::support::gateway::TestGateway;
use crate::support::oidc_keys::Key;
use crate::support::oidc_provider::{OidcProvider, SECRET, Trouble};

const SESSION: &str = "__Host-Http-session";

async fn gateway(provider: &OidcProvider, settings: &[(&str, &str)]) -> TestGateway {
    let issuer = provider.issuer();
    let mut all = vec![("OAUTH_ISSUER", &*issuer)];
    all.extend(settings);
    TestGateway::start_with(&all).await
}

/// Goes through a login and returns the last answer.
pub async fn log_in(browser: &mut Browser, provider: &OidcProvider) -> Answer {
    let begin = browser.get("/login").await;
    let to = begin
        .header("location")
        .unwrap_or_else(|| panic!("{}", begin.text()));
    let url: url::Url = to.parse().unwrap();
    let request =
        hyper::Request::get(&url[url::Position::BeforePath..]).header("host", "localhost");
    let back = send(
        provider.addr,
        request.body(http_body_util::Full::default()).unwrap(),
    )
    .await
    .unwrap();
    let back: url::Url = back
        .header("location")
        .expect("a way back")
        .parse()
        .unwrap();
    browser.get(&back[url::Position::BeforePath..]).await
}

/// Logs in somebody who is let in, and returns what `/session` says of them.
async fn user(gateway: &TestGateway, provider: &OidcProvider) -> Value {
    let mut browser = gateway.browser();
    let answer = log_in(&mut browser, provider).await;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text());
    browser.get("/session").await.json()["user"].clone()
}

/// A login at a provider like this one works; it is `anna`'s.
async fn works(provider: &OidcProvider, settings: &[(&str, &str)]) -> Value {
    let gateway = gateway(provider, settings).await;
    let user = user(&gateway, provider).await;
    gateway.stop().await;
    user
}

#[tokio::test]
async fn an_issuer_with_a_path_as_keycloak_has_it() {
    let provider = OidcProvider::start_at("/realms/school", Key::generate("RS256")).await;
    provider.turn(|knobs| {
        knobs.user_info = json!({"realm_access": {"roles": ["offline_access", "ROLE_TEACHER"]}, "groups": ["/8a"]});
    });
    let settings = [("CLAIM_ROLES", "realm_access.roles"), ("GROUPS_STRIP", "/")];
    let user = works(&provider, &settings).await;
    assert_eq!(user["role"], "teacher");
    assert_eq!(
        user["groups"],
        json!(["8a", "offline_access", "ROLE_TEACHER"])
    );
}

#[tokio::test]
async fn an_issuer_with_a_slash_at_its_end_as_authentik_has_it() {
    let provider = OidcProvider::start_at("/application/o/desk/", Key::generate("RS256")).await;
    assert_eq!(works(&provider, &[]).await["username"], "anna");
    let without = provider.issuer();
    let without = without.strip_suffix('/').unwrap();
    assert_eq!(
        works(&provider, &[("OAUTH_ISSUER", without)]).await["username"],
        "anna"
    );
}

#[tokio::test]
async fn an_issuer_that_is_configured_with_a_slash_too_many() {
    let provider = OidcProvider::start().await;
    let with = format!("{}/", provider.issuer());
    assert_eq!(
        works(&provider, &[("OAUTH_ISSUER", &with)]).await["username"],
        "anna"
    );
}

#[tokio::test]
async fn every_kind_of_public_key() {
    let provider = OidcProvider::start().await;
    let gateway = gateway(&provider, &[]).await;
    for alg in [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
    ] {
        let other = OidcProvider::start_at("", Key::generate(alg)).await;
        assert_eq!(works(&other, &[]).await["username"], "anna", "{alg}");
    }
    assert_eq!(user(&gateway, &provider).await["username"], "anna");
    gateway.stop().await;
}

#[tokio::test]
async fn keys_without_a_name_or_an_algorithm() {
    for alg in ["RS256", "ES256"] {
        let provider = OidcProvider::start_at("", Key::generate(alg).nameless()).await;
        assert_eq!(works(&provider, &[]).await["username"], "anna");
        // The token names a key, the key set does not.
        provider.turn(|knobs| knobs.header = json!({"kid": "k1"}));
        assert_eq!(works(&provider, &[]).await["username"], "anna");
    }
}

#[tokio::test]
async fn no_userinfo_and_no_end_session_endpoint_as_dex_or_a_mock() {
    let provider = OidcProvider::start().await;
    provider.turn(|knobs| {
        knobs.metadata = json!({"userinfo_endpoint": null, "end_session_endpoint": null});
        knobs.claims = json!({"email": "anna@school.example", "email_verified": "true", "updated_at": "2026-01-01T00:00:00Z"});
    });
    let gateway = gateway(&provider, &[]).await;
    let mut browser = gateway.browser();
    log_in(&mut browser, &provider).await;
    let session = browser.get("/session").await.json();
    assert_eq!(session["user"]["username"], "anna@school.example");
    assert!(provider.asked("/userinfo").is_empty());
    let bearer = format!("Bearer {}", browser.cookie(SESSION).unwrap());
    let mut program = gateway.browser().with("authorization", &bearer);
    let out = program.post("/logout", "").await.json();
    assert_eq!(out["logout_url"], "/?state=signed-out");
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_but_a_subject() {
    let provider = OidcProvider::start().await;
    provider.turn(|knobs| {
        knobs.metadata = json!({"userinfo_endpoint": null});
        knobs.claims = json!({"at_hash": null, "sid": null});
    });
    let user = works(&provider, &[]).await;
    assert_eq!(
        (&user["username"], &user["email"]),
        (&json!("anna"), &Value::Null)
    );
    assert_eq!(user["role"], "student");
}

#[tokio::test]
async fn several_audiences_as_zitadel_has_them_and_roles_as_keys() {
    let provider = OidcProvider::start().await;
    provider.turn(|knobs| {
        knobs.claims = json!({"aud": ["test", "3141592"], "azp": "test",
            "urn:zitadel:iam:org:project:roles": {"ROLE_ADMIN": {"27182": "school.example"}}});
    });
    let settings = [("CLAIM_ROLES", "urn:zitadel:iam:org:project:roles")];
    assert_eq!(works(&provider, &settings).await["role"], "admin");
}

#[tokio::test]
async fn the_client_proves_itself_as_the_provider_can() {
    type Case<'a> = (Value, &'a [(&'a str, &'a str)], bool, bool);
    let none = [("OAUTH_CLIENT_SECRET", "")];
    let cases: [Case; 6] = [
        (json!(null), &[], true, false),
        (
            json!(["client_secret_post", "client_secret_basic"]),
            &[],
            true,
            false,
        ),
        (json!(["client_secret_post"]), &[], false, true),
        (json!(["private_key_jwt"]), &[], true, false),
        (json!(["none"]), &[], false, false),
        (json!(["none"]), &none, false, false),
    ];
    for (methods, settings, header, field) in cases {
        let provider = OidcProvider::start().await;
        provider.turn(|knobs| {
            knobs.metadata = json!({"token_endpoint_auth_methods_supported": methods});
        });
        works(&provider, settings).await;
        let asked = &provider.asked("/token")[0];
        assert_eq!(asked.authorization.is_some(), header, "{methods}");
        let secret = asked.parameters.get("client_secret").map(String::as_str);
        assert_eq!(secret, field.then_some(SECRET), "{methods}");
    }
}

#[tokio::test]
async fn a_signed_userinfo_answer() {
    let provider = OidcProvider::start().await;
    provider.turn(|knobs| knobs.signed_user_info = true);
    assert_eq!(works(&provider, &[]).await["name"], "Anna Schmidt");
}

#[tokio::test]
async fn scopes_that_the_provider_does_not_announce_are_asked_for_all_the_same() {
    let provider = OidcProvider::start().await;
    provider.turn(|knobs| {
        knobs.metadata = json!({"scopes_supported": ["openid", "profile"]});
        knobs.user_info = json!({"groups": {"1": {"act": "8a", "name": "Klasse 8a"}}});
    });
    let user = works(&provider, &[("OAUTH_SCOPES", "profile groups")]).await;
    assert_eq!(user["groups"], json!(["8a", "Klasse 8a"]));
    let asked = &provider.asked("/authorize")[0];
    assert_eq!(asked.parameters["scope"], "openid profile groups");
    assert_eq!(asked.parameters.get("prompt"), None);
}

#[tokio::test]
async fn who_asks_for_offline_access_asks_the_person_unless_told_otherwise() {
    let provider = OidcProvider::start().await;
    for (prompt, expected) in [
        ("", Some("consent")),
        ("off", None),
        ("login", Some("login")),
    ] {
        let settings = [
            ("OAUTH_SCOPES", "openid offline_access"),
            ("OAUTH_PROMPT", prompt),
        ];
        let settings = if prompt.is_empty() {
            &settings[..1]
        } else {
            &settings
        };
        works(&provider, settings).await;
        let asked = provider.asked("/authorize");
        let sent = asked.last().unwrap().parameters.get("prompt");
        assert_eq!(sent.map(String::as_str), expected);
    }
}

#[tokio::test]
async fn a_provider_that_names_itself_in_its_answers() {
    let provider = OidcProvider::start().await;
    let issuer = provider.issuer();
    provider.turn(|knobs| {
        knobs.metadata = json!({"authorization_response_iss_parameter_supported": true});
        knobs.callback = json!({"iss": issuer});
    });
    assert_eq!(works(&provider, &[]).await["username"], "anna");
}

#[tokio::test]
async fn metadata_that_are_odd_where_we_do_not_look() {
    let provider = OidcProvider::start().await;
    provider.turn(|knobs| {
        knobs.metadata = json!({"id_token_signing_alg_values_supported": null, "response_types_supported": null,
            "subject_types_supported": "pairwise", "claims_supported": [1, {}], "x_vendor": {"a": []},
            "end_session_endpoint": ""});
        knobs.user_info = json!({"locale": 7, "email_verified": "yes", "address": "Main Street", "updated_at": "now"});
        knobs.tokens = json!({"expires_in": "300", "token_type": null, "scope": ["a"]});
    });
    assert_eq!(works(&provider, &[]).await["username"], "anna");
}

#[tokio::test]
async fn new_keys_are_found_at_the_first_login_that_needs_them() {
    let provider = OidcProvider::start().await;
    let gateway = gateway(&provider, &[]).await;
    user(&gateway, &provider).await;
    provider.rotate(Key::generate("RS256"));
    user(&gateway, &provider).await;
    assert_eq!(provider.asked("/jwks").len(), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn unknown_keys_make_us_ask_seldom_and_old_keys_stay() {
    let provider = OidcProvider::start().await;
    let gateway = gateway(&provider, &[]).await;
    user(&gateway, &provider).await;
    provider.turn(|knobs| {
        knobs.header = json!({"kid": "unheard of"});
        knobs.trouble = [("/jwks", Trouble::Status(500, ""))].into();
    });
    for _ in 0..5 {
        let answer = log_in(&mut gateway.browser(), &provider).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    }
    assert_eq!(
        provider.asked("/jwks").len(),
        2,
        "the first time, and once for five unknown keys"
    );
    provider.turn(|knobs| knobs.header = Value::Null);
    user(&gateway, &provider).await;
    gateway.stop().await;
}

#[tokio::test]
async fn people_are_known_by_issuer_and_subject_whatever_they_are_called() {
    let provider = OidcProvider::start().await;
    let gateway = gateway(&provider, &[]).await;
    let before = user(&gateway, &provider).await;
    provider.turn(|knobs| {
        knobs.user_info = json!({"preferred_username": "anna.new", "email": "new@school.example"});
    });
    let after = user(&gateway, &provider).await;
    assert_eq!(before["id"], after["id"]);
    assert_eq!(after["username"], "anna.new");
    provider.turn(|knobs| {
        knobs.claims = json!({"sub": "ben"});
        knobs.user_info = json!({"sub": "ben", "preferred_username": "anna.new"});
    });
    assert_ne!(user(&gateway, &provider).await["id"], before["id"]);
    gateway.stop().await;
}

#[tokio::test]
async fn while_the_provider_is_down_a_login_says_so_and_sessions_go_on() {
    let provider = OidcProvider::start().await;
    let gateway = gateway(&provider, &[]).await;
    let mut signed_in = gateway.browser();
    log_in(&mut signed_in, &provider).await;
    provider.turn(|knobs| {
        knobs.trouble = [(
            "/.well-known/openid-configuration",
            Trouble::Status(503, ""),
        )]
        .into();
    });
    // A moment ago it was there.
    tokio::time::sleep(Duration::from_millis(10_100)).await;
    let page = gateway
        .browser()
        .with("accept", "text/html")
        .get("/login")
        .await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        page.text().contains("The sign-in service does not answer"),
        "{}",
        page.text()
    );
    assert_eq!(signed_in.get("/session").await.status, StatusCode::OK);
    gateway.stop().await;
}
