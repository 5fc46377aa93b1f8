//! `/openapi.json`: it is there for everybody, and answers that differ from it are noticed.

use hyper::{Method, StatusCode};
use serde_json::json;

use crate::support::browser::Answer;
use crate::support::contract;
use crate::support::gateway::TestGateway;

#[tokio::test]
async fn the_description_is_for_everybody_and_kept() {
    let gateway = TestGateway::start().await;
    let mut anybody = gateway.browser();
    let answer = anybody.get("/openapi.json").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"], json!([{ "url": "https://desk.test" }]));
    let start = &document["paths"]["/api/container/start"]["post"];
    assert!(start["responses"]["201"]["headers"]["Location"].is_object());
    let etag = answer.header("etag").expect("an ETag").to_owned();
    let again = [("if-none-match", etag.as_str())];
    let again = anybody.send(Method::GET, "/openapi.json", &again, "").await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert!(again.bytes.is_empty());
    let wrong = anybody.post("/openapi.json", "").await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// Every file, in each encoding: the same content, a tag of its own, and the news that the copy is good.
#[tokio::test]
async fn files_are_compressed_for_those_who_want_that() {
    let gateway = TestGateway::start().await;
    let mut anybody = gateway.browser();
    for path in [
        "/openapi.json",
        "/docs",
        "/assets/deskgate.css",
        "/assets/home.js",
    ] {
        let mut tags = Vec::new();
        let mut bodies = Vec::new();
        for (accept, encoding) in [
            ("", None),
            ("gzip;q=0, identity", None),
            ("br, gzip;q=0.5", Some("gzip")),
        ] {
            let accept = [("accept-encoding", accept)];
            let answer = anybody.send(Method::GET, path, &accept, "").await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(
                answer.header("content-encoding"),
                encoding,
                "{path} {accept:?}"
            );
            let varies = answer.header("vary").expect("Vary");
            assert!(
                varies.split(", ").any(|name| name == "Accept-Encoding"),
                "{varies}"
            );
            let etag = answer.header("etag").expect("a tag").to_owned();
            let again = [accept[0], ("if-none-match", &*etag)];
            let kept = anybody.send(Method::GET, path, &again, "").await;
            assert_eq!(kept.status, StatusCode::NOT_MODIFIED, "{path} {accept:?}");
            assert_eq!(
                (kept.header("etag"), kept.header("vary")),
                (Some(&*etag), Some(varies))
            );
            assert!(kept.bytes.is_empty());
            let head = anybody.send(Method::HEAD, path, &accept, "").await;
            assert!(head.bytes.is_empty());
            for name in [
                "etag",
                "content-encoding",
                "content-type",
                "vary",
                "content-length",
            ] {
                assert_eq!(head.header(name), answer.header(name), "{name} of {path}");
            }
            bodies.push((answer.bytes.len(), contract::inflated(&answer)));
            tags.push(etag);
        }
        let [(plain, one), (_, two), (compressed, three)] = &bodies[..] else {
            panic!("three answers");
        };
        assert_eq!((one, one), (two, three), "{path}");
        assert!(
            compressed * 2 < *plain,
            "{path}: {compressed} of {plain} bytes"
        );
        assert_eq!(tags[0], tags[1]);
        assert_ne!(tags[0], tags[2]);
        // The tag of one encoding does not speak for the other.
        let crossed = [("accept-encoding", "gzip"), ("if-none-match", &*tags[0])];
        let answer = anybody.send(Method::GET, path, &crossed, "").await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

/// The attack BREACH: the length of a compressed page with a secret and a stranger's text in it tells of the secret.
#[tokio::test]
async fn what_has_something_of_a_person_is_not_compressed() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let mut pupil = gateway
        .browser()
        .with_cookie("__Host-Http-session", &session)
        .with("accept-encoding", "gzip")
        .with("accept", "text/html")
        .with("sec-fetch-dest", "document");
    for path in [
        "/",
        "/account",
        "/session",
        "/api/container/list",
        "/nothing",
    ] {
        let answer = pupil.get(path).await;
        assert_eq!(answer.header("content-encoding"), None, "{path}");
    }
}

/// The page has every call, every error and every schema of the description, and is for everybody.
#[tokio::test]
async fn the_page_tells_everything_that_is_described() {
    let gateway = TestGateway::start().await;
    let mut anybody = gateway.browser();
    let document = anybody.get("/openapi.json").await.json();
    let german = [("accept-language", "de"), ("accept", "text/html")];
    let german = anybody.send(Method::GET, "/docs", &german, "").await;
    assert_eq!(
        german.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = german.header("content-security-policy").expect("a policy");
    assert!(policy.contains("script-src 'self'") && policy.contains("frame-ancestors 'none'"));
    let english = anybody.get("/docs").await;
    assert!(
        german.text().contains("<html lang=\"de\"") && english.text().contains("<html lang=\"en\"")
    );
    assert!(!english.text().contains("<meta name=\"csrf"));
    let members = |pointer: &str| document.pointer(pointer).unwrap().as_object().unwrap();
    let mut anchors: Vec<String> = Vec::new();
    for calls in members("/paths").values() {
        for call in calls.as_object().unwrap().values() {
            anchors.push(call["operationId"].as_str().unwrap().into());
            let tag = &call["tags"][0];
            let tags = document["tags"].as_array().unwrap();
            assert!(tags.iter().any(|known| known["name"] == *tag), "{tag}");
        }
    }
    assert!(anchors.len() > 50);
    anchors.extend(
        members("/components/schemas")
            .keys()
            .map(|name| format!("schema-{name}")),
    );
    let problems = members("/components/responses").keys();
    anchors.extend(problems.map(|name| name.replace("Problem", "problem-")));
    for page in [german.text(), english.text()] {
        for anchor in &anchors {
            let found = page.matches(&format!("id=\"{anchor}\"")).count();
            assert_eq!(found, 1, "{anchor}");
        }
        // Each way within the page leads somewhere.
        for part in page.split("href=\"#").skip(1) {
            let to = part.split('"').next().unwrap();
            assert!(page.contains(&format!("id=\"{to}\"")), "#{to}");
        }
    }
    let start = &document["paths"]["/api/container/start"]["post"];
    assert_eq!(start["x-token-scopes"], json!(["desktops"]));
    assert_eq!(
        document["paths"]["/api/tokens"]["get"]["x-token-scopes"],
        json!([])
    );
    let post = anybody.post("/docs", "").await;
    assert_eq!(post.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn events_are_as_described() {
    use crate::support::socket::{next, open_events};
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let mut pupil = gateway
        .browser()
        .with("authorization", &format!("Bearer {session}"));
    gateway.running_desktop(&mut pupil).await;
    let mut socket = open_events(&gateway, &session).await;
    let message = next(&mut socket).await.expect("a message");
    let message = serde_json::from_str(message.to_text().unwrap()).unwrap();
    contract::fits("EventMessage", &message).expect("as described");
    pupil.post("/api/container/remove", "").await;
    let message = next(&mut socket).await.expect("a message");
    let message = serde_json::from_str(message.to_text().unwrap()).unwrap();
    contract::fits("EventMessage", &message).expect("as described");
    contract::fits("EventMessage", &json!({ "type": "other" })).expect_err("another type");
}

/// The comparison itself can fail: each of these differs from what was answered in one thing.
#[tokio::test]
async fn answers_that_differ_from_the_description_are_noticed() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    gateway.running_desktop(&mut pupil).await;
    let path = "/api/container/list";
    let good = pupil.get(path).await;
    let compare = |path: &str, status: StatusCode, change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = good.json();
        change(&mut value);
        let changed = Answer {
            status,
            headers: good.headers.clone(),
            bytes: value.to_string().into(),
        };
        contract::compare(&Method::GET, path, &changed)
    };
    let ok = StatusCode::OK;
    assert_eq!(compare(path, ok, &|_| {}), Ok(()));
    let first = |value: &mut serde_json::Value| value["containers"][0].take();
    assert!(
        compare(path, StatusCode::IM_A_TEAPOT, &|_| {}).is_err(),
        "the status"
    );
    assert!(
        compare("/api/templates", ok, &|_| {}).is_err(),
        "another call's answer"
    );
    let unknown = |value: &mut serde_json::Value| value["containers"][0]["x"] = json!(1);
    assert!(compare(path, ok, &unknown).is_err(), "an unknown field");
    let missing = |value: &mut serde_json::Value| {
        let container = value["containers"][0].as_object_mut().unwrap();
        container.remove("stopped_at").expect("it was there");
    };
    assert!(compare(path, ok, &missing).is_err(), "a missing field");
    let status =
        |value: &mut serde_json::Value| value["containers"][0]["status"] = json!("starting");
    assert!(compare(path, ok, &status).is_err(), "a word that is none");
    let time =
        |value: &mut serde_json::Value| value["containers"][0]["created_at"] = json!("today");
    assert!(compare(path, ok, &time).is_err(), "a time that is none");
    let nothing = |value: &mut serde_json::Value| drop(first(value));
    assert!(
        compare(path, ok, &nothing).is_err(),
        "null instead of a desktop"
    );
}
