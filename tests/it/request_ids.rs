//! The id of a request is in whatever the request sets off: the lines of a start, which goes on in the background, and of
//! its calls to the engine.

use deskgate::store::Database;
use deskgate::store::audit::Filter;
use hyper::StatusCode;

use crate::support::browser::Browser;
use crate::support::gateway::{TEMPLATE, TestGateway, eventually};
use crate::support::logs::Logs;

/// The value behind `name=` in a line, without its quotes.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("{name}="))?;
    rest.split([' ', '}', ',']).next()
}

/// Asks for a desktop and returns its id and the request's, as the log has it.
async fn asked(logs: &Logs, pupil: &mut Browser) -> (String, String) {
    logs.clear();
    let started = pupil.post("/api/container/start", "").await;
    assert_eq!(started.status, StatusCode::CREATED, "{}", started.text());
    let desktop = started.json()["container"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let line = logs.with("path=\"/api/container/start\"");
    let request = field(&line[0], " request").expect("an id").to_owned();
    (desktop, request)
}

#[tokio::test]
async fn a_start_carries_the_id_of_its_request_to_the_engine() {
    let (logs, log) = Logs::capture_with("deskgate=debug,info");
    let gateway = TestGateway::start_logging(log, &[]).await;
    let (mut anna, mut ben) = (gateway.program("anna").await, gateway.program("ben").await);
    let (first, of_first) = asked(&logs, &mut anna).await;
    eventually("it runs", || async {
        !logs.with("desktop running").is_empty()
    })
    .await;
    let (running, calls) = (logs.with("desktop running"), logs.with("engine call"));
    let of_start = |call: &str| {
        let call = format!("call=\"{call}\"");
        let mut lines = calls.iter().filter(|line| line.contains(&call));
        lines.any(|line| {
            field(line, "request_id") == Some(&of_first) && field(line, "desktop") == Some(&first)
        })
    };
    for call in ["prepare", "create", "start"] {
        assert!(of_start(call), "{call}: {calls:?}");
    }
    assert_eq!(
        field(&running[0], "request_id"),
        Some(&*of_first),
        "{running:?}"
    );
    let requested = logs.with("desktop requested");
    assert_eq!(field(&requested[0], "request_id"), Some(&*of_first));

    // Another start is another request, and work that nobody asked for has none.
    let (second, of_second) = asked(&logs, &mut ben).await;
    assert_ne!((&second, &of_second), (&first, &of_first));
    eventually("it runs", || async {
        !logs.with("desktop running").is_empty()
    })
    .await;
    let running = logs.with("desktop running");
    assert_eq!(field(&running[0], "request_id"), Some(&*of_second));
    logs.clear();
    gateway.desktops.reconcile().await.expect("a pass");
    let calls = logs.with("call=\"list\"");
    assert!(
        calls.iter().all(|line| field(line, "request_id").is_none()),
        "{calls:?}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_failed_start_can_be_traced_to_its_request_whatever_is_filtered() {
    let (logs, log) = Logs::capture_with("deskgate=warn,deskgate::gateway=info");
    let template = "id = 'a'\nimage = 'a:1'\nready = { path = '/', expect = 299, timeout = '1s' }";
    let gateway = TestGateway::start_logging(log, &[(TEMPLATE, template)]).await;
    let mut pupil = gateway.program("pupil").await;
    let (desktop, request) = asked(&logs, &mut pupil).await;
    eventually("it failed", || async {
        !logs.with("start failed").is_empty()
    })
    .await;
    assert!(logs.with("desktop requested").is_empty(), "it is at info");
    let failed = logs.with("start failed");
    assert_eq!(
        field(&failed[0], "request_id"),
        Some(&*request),
        "{failed:?}"
    );
    assert_eq!(field(&failed[0], "desktop"), Some(&*desktop), "{failed:?}");
    let database = Database::connect(&gateway.config.database).await.unwrap();
    let told = || async {
        let log = database.list_audit(&Filter::default(), 10).await.unwrap();
        let mut entries = log.into_iter();
        entries.find(|entry| entry.action == "desktop_failed")
    };
    eventually("it is in the audit log", || async {
        told().await.is_some()
    })
    .await;
    let entry = told().await.unwrap();
    assert_eq!(entry.object_id.as_deref(), Some(&*desktop), "{entry:?}");
    assert_eq!(entry.request_id.as_deref(), Some(&*request), "{entry:?}");
    database.close().await;
    gateway.stop().await;
}
