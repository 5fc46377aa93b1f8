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
