//! Logins that must fail: each ends in a page that tells the person what to do, in one line that tells the
//! operator why, and in no session.

use deskgate::clock::{Clock, SystemClock};
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::providers::log_in;
use crate::support::browser::{Answer, Browser};
use crate::support::gateway::TestGateway;
use crate::support::logs::Logs;
use crate::support::oidc_keys::{Key, Signature};
use crate::support::oidc_provider::{Knobs, OidcProvider, Trouble};

const SESSION: &str = "__Host-Http-session";
/// Headings of the pages, in German.
const FAILED: &str = "Die Anmeldung hat nicht geklappt";
const DENIED: &str = "Der Anmeldedienst hat dich nicht hereingelassen";
const AGAIN: &str = "Die Anmeldung hat zu lange gedauert";
const DOWN: &str = "Der Anmeldedienst antwortet nicht";

struct Stage {
    logs: Logs,
    provider: OidcProvider,
    gateway: TestGateway,
}

impl Stage {
    async fn set() -> Self {
        let logs = Logs::capture();
        let provider = OidcProvider::start().await;
        let settings = [("OAUTH_ISSUER", &*provider.issuer())];
        let gateway = TestGateway::start_with(&settings).await;
        Self {
            logs,
            provider,
            gateway,
        }
    }

    fn person(&self) -> Browser {
        let browser = self.gateway.browser().with("accept", "text/html");
        browser.with("accept-language", "de")
    }

    /// A login while the provider behaves like this ends with this page, and `why` in the log.
    async fn fails(&self, turn: impl FnOnce(&mut Knobs), page: &str, why: &str) {
        self.provider.behave();
        self.provider.turn(turn);
        self.logs.clear();
        let mut browser = self.person();
        let answer = log_in(&mut browser, &self.provider).await;
        self.failed(&mut browser, &answer, (page, why)).await;
    }

    async fn failed(&self, browser: &mut Browser, answer: &Answer, (page, why): (&str, &str)) {
        let text = answer.text();
        assert!(
            answer.status.is_client_error() || answer.status.is_server_error(),
            "{why}: {}",
            answer.status
        );
        assert!(
            text.contains(page) && text.contains("lang=\"de\""),
            "{why}: {text}"
        );
        assert!(text.contains("href=\"/login\""), "{why}: {text}");
        assert_eq!(browser.cookie(SESSION), None, "{why}");
        assert_eq!(
            browser.get("/session").await.status,
            StatusCode::UNAUTHORIZED,
            "{why}"
        );
        let lines = self.logs.with("login failed");
        assert_eq!(lines.len(), 1, "{why}: {lines:?}");
        assert!(
            lines[0].contains(why) && lines[0].contains(" WARN "),
            "{why}: {lines:?}"
        );
        let audit = self.logs.with("action=\"login_failed\"");
        assert_eq!(audit.len(), 1, "{why}: {audit:?}");
    }
}

#[tokio::test]
async fn tokens_that_must_not_be_believed() {
    let stage = Stage::set().await;
    let now = SystemClock.timestamp().millis() / 1000;
    let claims = |claims: Value| move |knobs: &mut Knobs| knobs.claims = claims;
    for (wrong, why) in [
        (json!({"aud": "other"}), "its aud is not us"),
        (json!({"aud": ["test", "other"]}), "its azp is not us"),
        (json!({"azp": "other"}), "its azp is not us"),
        (
            json!({"iss": "https://evil.test"}),
            "its iss is https://evil.test",
        ),
        (
            json!({"nonce": "another"}),
            "its nonce is not that of this login",
        ),
        (
            json!({"nonce": null}),
            "its nonce is not that of this login",
        ),
        (json!({"exp": now - 61}), "it has expired"),
        (json!({"exp": null}), "its exp is missing"),
        (
            json!({"iat": now + 120, "exp": now + 300}),
            "it is not valid yet",
        ),
        (json!({"sub": null}), "its sub is missing"),
        (
            json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
            "its at_hash is not that of the access token",
        ),
    ] {
        stage.fails(claims(wrong), FAILED, why).await;
    }
    for (signature, why) in [
        (Signature::Wrong, "its signature is wrong"),
        (
            Signature::None,
            "its signature algorithm \"none\" is not accepted",
        ),
        (
            Signature::PublicKeyAsSecret,
            "its signature algorithm \"HS256\" is not accepted",
        ),
        (Signature::Stranger, "its signature is wrong"),
    ] {
        stage
            .fails(|knobs| knobs.signature = signature, FAILED, why)
            .await;
    }
    let header = |header: Value| move |knobs: &mut Knobs| knobs.header = header;
    stage
        .fails(
            header(json!({"kid": "elsewhere"})),
            FAILED,
            "the provider has no key Some(\"elsewhere\")",
        )
        .await;
    stage
        .fails(
            header(json!({"crit": ["x"]})),
            FAILED,
            "its header demands an extension",
        )
        .await;
    stage.gateway.stop().await;
}

#[tokio::test]
async fn answers_that_must_not_be_believed() {
    let stage = Stage::set().await;
    let token = |value: Value| move |knobs: &mut Knobs| knobs.tokens = value;
    stage
        .fails(
            token(json!({"id_token": null})),
            FAILED,
            "it has no ID token",
        )
        .await;
    stage
        .fails(
            token(json!({"id_token": "x"})),
            FAILED,
            "it is no signed JSON Web Token",
        )
        .await;
    stage
        .fails(
            token(json!({"access_token": null})),
            FAILED,
            "not the JSON expected",
        )
        .await;
    let user_info = |value: Value| move |knobs: &mut Knobs| knobs.user_info = value;
    stage
        .fails(
            user_info(json!({"sub": "ben"})),
            FAILED,
            "its user information: its sub is another person",
        )
        .await;
    stage
        .fails(
            user_info(json!({"sub": null})),
            FAILED,
            "its user information: its sub is missing",
        )
        .await;
    let signed = |value: Value| {
        move |knobs: &mut Knobs| (knobs.signed_user_info, knobs.user_info) = (true, value)
    };
    stage
        .fails(
            signed(json!({"aud": "other"})),
            FAILED,
            "its user information: its aud is not us",
        )
        .await;
    stage
        .fails(
            signed(json!({"sub": "ben"})),
            FAILED,
            "its user information: its sub is another person",
        )
        .await;
    let callback = |value: Value| move |knobs: &mut Knobs| knobs.callback = value;
    stage
        .fails(
            callback(json!({"iss": "https://evil.test"})),
            FAILED,
            "its iss parameter: its iss is https://evil.test",
        )
        .await;
    stage
        .fails(callback(json!({"code": null})), FAILED, "it has no code")
        .await;
    stage
        .fails(
            callback(json!({"code": "invented"})),
            FAILED,
            "\"invalid_grant\" \"no longer good\"",
        )
        .await;
    let silent = |knobs: &mut Knobs| {
        knobs.metadata = json!({"authorization_response_iss_parameter_supported": true});
    };
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    stage.fails(silent, FAILED, "its iss parameter").await;
    stage.gateway.stop().await;
}

#[tokio::test]
async fn a_provider_that_says_no() {
    let stage = Stage::set().await;
    for (error, page) in [
        ("access_denied", DENIED),
        ("login_required", AGAIN),
        ("interaction_required", AGAIN),
        ("temporarily_unavailable", DOWN),
        ("invalid_scope", FAILED),
        ("unheard_of", FAILED),
    ] {
        stage
            .fails(
                |knobs| knobs.callback = json!({"code": null, "error": error}),
                page,
                error,
            )
            .await;
    }
    let trouble = |path, trouble| move |knobs: &mut Knobs| knobs.trouble = [(path, trouble)].into();
    for (path, status, page, why) in [
        (
            "/token",
            Trouble::Status(401, r#"{"error":"invalid_client"}"#),
            FAILED,
            "\"invalid_client\"",
        ),
        ("/token", Trouble::Status(503, ""), DOWN, "status 503"),
        (
            "/token",
            Trouble::Status(200, "<html>"),
            FAILED,
            "not the JSON expected",
        ),
        ("/userinfo", Trouble::Status(403, ""), FAILED, "status 403"),
        ("/userinfo", Trouble::Huge, DOWN, "cannot be read"),
        (
            "/token",
            Trouble::Silent,
            DOWN,
            "did not answer within 10 s",
        ),
    ] {
        stage.fails(trouble(path, status), page, why).await;
    }
    stage.gateway.stop().await;
}

#[tokio::test]
async fn a_state_that_is_not_ours_and_a_code_that_was_used() {
    let stage = Stage::set().await;
    let mut browser = stage.person();
    stage
        .provider
        .turn(|knobs| knobs.callback = json!({"state": "another"}));
    let answer = log_in(&mut browser, &stage.provider).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains(AGAIN), "{}", answer.text());
    assert_eq!(browser.cookie(SESSION), None);
    assert_eq!(
        stage.provider.asked("/token").len(),
        0,
        "the code is not shown to anybody"
    );
    let said = stage.logs.with("login failed");
    assert!(
        said.len() == 1 && said[0].contains("no login of this browser is in progress"),
        "{said:?}"
    );

    stage
        .provider
        .turn(|knobs| knobs.callback = json!({"code": "code-2"}));
    let begun = stage.person();
    let mut first = begun.clone();
    assert_eq!(
        log_in(&mut first, &stage.provider).await.status,
        StatusCode::FOUND
    );
    stage.logs.clear();
    let mut second = begun.clone();
    let again = log_in(&mut second, &stage.provider).await;
    stage
        .failed(&mut second, &again, (FAILED, "\"invalid_grant\""))
        .await;
    stage.gateway.stop().await;
}

#[tokio::test]
async fn keys_that_cannot_be_had() {
    let logs = Logs::capture();
    for (trouble, page, why) in [
        (
            Trouble::Status(404, ""),
            DOWN,
            "its key set is answered with status 404",
        ),
        (
            Trouble::Status(200, r#"{"keys":[]}"#),
            DOWN,
            "its key set holds no key",
        ),
        (
            Trouble::Status(200, r#"{"keys":[{"kty":"oct","k":"AA"},7]}"#),
            FAILED,
            "the provider has no key",
        ),
        (Trouble::Huge, DOWN, "its key set cannot be fetched"),
        (Trouble::Silent, DOWN, "did not answer within 10 s"),
    ] {
        logs.clear();
        let provider = OidcProvider::start_at("", Key::generate("ES256")).await;
        let settings = [("OAUTH_ISSUER", &*provider.issuer())];
        let gateway = TestGateway::start_with(&settings).await;
        let stage = Stage {
            logs: logs.clone(),
            provider,
            gateway,
        };
        stage
            .fails(
                |knobs| knobs.trouble = [("/jwks", trouble)].into(),
                page,
                why,
            )
            .await;
        stage.gateway.stop().await;
    }
}

#[tokio::test]
async fn metadata_that_are_not_the_providers() {
    let logs = Logs::capture();
    for (turn, why) in [
        (
            json!({"issuer": "https://evil.test"}),
            "its discovery document is that of issuer \"https://evil.test\"",
        ),
        (
            json!({"token_endpoint": null}),
            "its token_endpoint has no usable address",
        ),
    ] {
        logs.clear();
        let provider = OidcProvider::start().await;
        provider.turn(|knobs| knobs.metadata = turn);
        let gateway = TestGateway::start_with(&[("OAUTH_ISSUER", &*provider.issuer())]).await;
        let stage = Stage {
            logs: logs.clone(),
            provider,
            gateway,
        };
        let mut browser = stage.person();
        let page = browser.get("/login").await;
        stage.failed(&mut browser, &page, (DOWN, why)).await;
        stage.gateway.stop().await;
    }
}
