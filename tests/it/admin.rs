//! The API of admins: who comes in, what they see, and what they do to others.

use std::time::{Duration, Instant};

use deskgate::model::user::{Identity, Role};
use futures_util::StreamExt;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::browser::{Browser, HOST, ORIGIN};
use crate::support::gateway::{PATIENCE, TestGateway, eventually, identity};

const NOBODY: &str = "6e390c03-048b-4b93-aded-0068b8d718d1";

fn addresses() -> Vec<(Method, String)> {
    let mut all: Vec<(Method, String)> = [
        "overview",
        "containers",
        "users",
        "sessions",
        "images",
        "homes",
        "audit",
    ]
    .map(|word| (Method::GET, format!("/api/admin/{word}")))
    .into();
    all.extend([
        (Method::POST, "/api/admin/containers/stop".into()),
        (Method::POST, "/api/admin/containers/remove".into()),
        (Method::POST, format!("/api/admin/containers/{NOBODY}/stop")),
        (
            Method::POST,
            format!("/api/admin/containers/{NOBODY}/remove"),
        ),
        (Method::GET, format!("/api/admin/users/{NOBODY}/export")),
        (Method::DELETE, format!("/api/admin/users/{NOBODY}")),
        (Method::DELETE, format!("/api/admin/sessions/{NOBODY}")),
        (Method::DELETE, "/api/admin/homes/x".into()),
        (Method::POST, "/api/admin/images/pull".into()),
        // Not even what exists is told.
        (Method::GET, "/api/admin".into()),
        (Method::GET, "/api/admin/".into()),
        (Method::GET, "/api/admin/nothing".into()),
        (Method::DELETE, "/api/admin/overview".into()),
        (Method::GET, "/api/admin/audit?nonsense=1".into()),
    ]);
    all
}

#[tokio::test]
async fn another_role_is_refused_before_anything_else_is_looked_at() {
    let gateway = TestGateway::start().await;
    let mut strangers = gateway.browser();
    let mut others = vec![
        gateway.program("pupil").await,
        gateway.program_as("teacher", Role::Teacher).await,
    ];
    // Somebody signed in by cookie, whose page has no token: the role comes first.
    let mut by_cookie = gateway.browser();
    by_cookie.log_in("student", "/").await;
    others.push(by_cookie);
    for (method, path) in addresses() {
        let answer = strangers.send(method.clone(), &path, &[], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        for other in &mut others {
            let answer = other.send(method.clone(), &path, &[], "{broken").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
            assert_eq!(answer.code(), "wrong_role", "{method} {path}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_admins_change_by_cookie_needs_the_token_of_the_page() {
    let gateway = TestGateway::start().await;
    let mut admin = gateway.browser();
    admin.log_in("admin", "/").await;
    assert_eq!(
        admin.get("/api/admin/overview").await.status,
        StatusCode::OK
    );
    for (method, path) in addresses() {
        if method == Method::GET {
            continue;
        }
        let answer = admin.send(method.clone(), &path, &[], "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        assert_eq!(answer.code(), "csrf_token_missing", "{method} {path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_admin_stops_and_removes_a_foreign_desktop_and_cannot_enter_it() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let mut admin = gateway.program_as("boss", Role::Admin).await;
    let container = gateway.running_desktop(&mut pupil).await;
    let id = container["id"].as_str().unwrap();

    for (method, path) in [
        (Method::GET, format!("/desktop/{id}/")),
        (Method::GET, format!("/api/container/status?id={id}")),
    ] {
        let answer = admin.send(method, &path, &[], "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let listed = admin.get("/api/admin/containers").await.json();
    assert_eq!(listed["total"], 1);
    let row = &listed["containers"][0];
    assert_eq!(row["owner"]["username"], "pupil");
    assert_eq!(
        (&row["id"], &row["status"]),
        (&container["id"], &json!("running"))
    );

    let stopped = admin
        .post(&format!("/api/admin/containers/{id}/stop"), "")
        .await;
    let stopped = stopped.json()["container"].clone();
    assert_eq!(stopped["status"], "stopped");
    assert_eq!(stopped["status_reason_code"], "admin");
    let seen = pupil.get("/api/container/status").await.json();
    assert_eq!(seen["container"]["status_reason_code"], "admin");
    let removed = admin
        .post(&format!("/api/admin/containers/{id}/remove"), "")
        .await;
    assert_eq!(removed.status, StatusCode::OK);
    assert!(gateway.engine.all().is_empty());
    let again = admin
        .post(&format!("/api/admin/containers/{id}/stop"), "")
        .await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);

    let log = admin.get("/api/admin/audit").await.json();
    let entries = log["entries"].as_array().unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            let name = |who: &str, field: &str| entry[who][field].as_str().unwrap().to_owned();
            let words = (name("actor", "name"), name("subject", "username"));
            (entry["action"].as_str().unwrap(), words.0, words.1)
        })
        .collect();
    let row = |action, by: &str| (action, by.to_owned(), "pupil".to_owned());
    assert_eq!(
        told,
        [
            row("remove", "boss"),
            row("stop", "boss"),
            row("start", "pupil")
        ],
        "newest first, with the admin as the actor"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn desktops_are_found_sorted_paged_and_stopped_together() {
    let gateway = TestGateway::start().await;
    let mut admin = gateway.program_as("boss", Role::Admin).await;
    let mut ids = Vec::new();
    for name in ["Zoë", "anna_b", "annab", "bert"] {
        let mut pupil = gateway.program(name).await;
        let container = gateway.running_desktop(&mut pupil).await;
        ids.push(container["id"].as_str().unwrap().to_owned());
    }
    let names = async |admin: &mut Browser, query: &str| -> Vec<String> {
        let answer = admin.get(&format!("/api/admin/containers?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text());
        let rows = answer.json()["containers"].as_array().unwrap().clone();
        let name = |row: &Value| row["owner"]["username"].as_str().unwrap().to_owned();
        rows.iter().map(name).collect()
    };
    assert_eq!(
        names(&mut admin, "sort=user&limit=2").await,
        ["anna_b", "annab"]
    );
    assert_eq!(
        names(&mut admin, "sort=user&limit=2&offset=2").await,
        ["bert", "Zoë"]
    );
    assert_eq!(names(&mut admin, "sort=-created").await[0], "bert");
    assert_eq!(
        names(&mut admin, "q=a_b").await,
        ["anna_b"],
        "not a pattern"
    );
    assert_eq!(names(&mut admin, "q=ANNA&sort=user").await.len(), 2);
    assert_eq!(names(&mut admin, "q=Zo%C3%AB").await, ["Zoë"]);
    assert_eq!(names(&mut admin, "user=bert&status=live").await, ["bert"]);
    assert!(names(&mut admin, "status=stopped").await.is_empty());
    for wrong in [
        "status=gone",
        "sort=shoe",
        "limit=many",
        "limit=0",
        "limit=501",
        "page=2",
    ] {
        let answer = admin.get(&format!("/api/admin/containers?{wrong}")).await;
        assert_eq!(answer.code(), "invalid_query", "{wrong}");
    }
    for list in ["containers", "users", "sessions"] {
        let most = admin.get(&format!("/api/admin/{list}?limit=500")).await;
        assert_eq!(most.status, StatusCode::OK, "{list}");
        let more = admin.get(&format!("/api/admin/{list}?limit=501")).await;
        assert_eq!(more.status, StatusCode::BAD_REQUEST, "{list}");
        assert!(more.text().contains("limit is 1 to 500"), "{list}");
    }

    let many = json!({ "ids": [ids[0], ids[1], NOBODY] }).to_string();
    let stopped = admin.post("/api/admin/containers/stop", &many).await.json();
    assert_eq!(
        stopped["results"],
        json!([
            { "id": ids[0], "status": "stopped" },
            { "id": ids[1], "status": "stopped" },
            { "id": NOBODY, "error": "not_found" },
        ])
    );
    let overview = admin.get("/api/admin/overview").await.json();
    assert_eq!(overview["desktops"]["live"], 2);
    assert_eq!(overview["desktops"]["by_status"]["stopped"], 2);
    assert_eq!(overview["ports"], json!({ "used": 2, "total": 49 }));
    assert_eq!(
        (&overview["users"], &overview["sessions"]),
        (&json!(5), &json!(5))
    );
    for part in ["database", "engine"] {
        assert_eq!(overview[part]["status"], "ok");
        assert!(overview[part]["latency_ms"].as_f64().unwrap() < 5000.0);
    }
    let none = admin
        .post("/api/admin/containers/stop", "{\"ids\":[]}")
        .await;
    assert_eq!(none.status, StatusCode::BAD_REQUEST);
    gateway.stop().await;
}

/// The stream of events, as this program hears it.
async fn events(
    gateway: &TestGateway,
    session: &str,
    query: &str,
) -> Result<WebSocketStream<TcpStream>, StatusCode> {
    let address = format!("ws://{HOST}/api/container/events{query}");
    let mut request = address.into_client_request().unwrap();
    for (name, value) in [
        ("origin", ORIGIN.to_owned()),
        ("authorization", format!("Bearer {session}")),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let socket = TcpStream::connect(gateway.addr).await.unwrap();
    match tokio_tungstenite::client_async(request, socket).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_revoked_session_ends_with_its_streams_within_a_second() {
    let gateway = TestGateway::start().await;
    let mut admin = gateway.program_as("boss", Role::Admin).await;
    let session = gateway.session("pupil").await;
    let mut socket = events(&gateway, &session, "").await.expect("it opens");
    let listed = admin.get("/api/admin/sessions?user=pupil").await.json();
    assert_eq!(listed["total"], 1);
    let row = &listed["sessions"][0];
    assert_eq!(
        (&row["user"]["username"], &row["current"]),
        (&json!("pupil"), &json!(false))
    );
    assert!(!listed.to_string().contains(&session));
    let path = format!("/api/admin/sessions/{}", row["id"].as_str().unwrap());

    let begun = Instant::now();
    let revoked = admin.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    let end = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                _ => return None,
            }
        }
    };
    let code: Option<u16> = tokio::time::timeout(PATIENCE, end).await.expect("an end");
    assert_eq!(code, Some(1008));
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let again = admin.send(Method::DELETE, &path, &[], "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let log = admin
        .get("/api/admin/audit?action=session_ended")
        .await
        .json();
    let entry = &log["entries"][0];
    assert_eq!(
        (&entry["actor"]["name"], &entry["subject"]["username"]),
        (&json!("boss"), &json!("pupil"))
    );
    gateway.stop().await;
}

#[tokio::test]
async fn only_an_admin_hears_of_everybodys_desktops() {
    let gateway = TestGateway::start().await;
    let pupil = gateway.session("pupil").await;
    assert_eq!(
        events(&gateway, &pupil, "?all=1").await.err(),
        Some(StatusCode::FORBIDDEN)
    );
    let mut program = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut program).await;
    let boss = Identity {
        role: Role::Admin,
        ..identity("boss")
    };
    let secret = gateway.session_of(&boss).await;
    let mut socket = events(&gateway, &secret, "?all=1").await.expect("it opens");
    let first = tokio::time::timeout(PATIENCE, socket.next()).await;
    let first = first.expect("in time").unwrap().unwrap();
    let told: Value = serde_json::from_str(first.to_text().unwrap()).unwrap();
    assert_eq!(told["container"]["id"], container["id"]);
    gateway.stop().await;
}

#[tokio::test]
async fn images_are_listed_and_pulled_with_progress() {
    let gateway = TestGateway::start().await;
    let mut admin = gateway.program_as("boss", Role::Admin).await;
    let wanted = json!({ "image": "good/desktop:1" }).to_string();
    for _ in 0..2 {
        let begun = admin.post("/api/admin/images/pull", &wanted).await;
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text());
    }
    let pulls = async |admin: &Browser| -> Value {
        let mut admin = admin.clone();
        admin.get("/api/admin/images").await.json()["pulls"].clone()
    };
    eventually("the pull is at 40 %", || async {
        pulls(&admin).await[0]["percent"] == 40
    })
    .await;
    assert_eq!(pulls(&admin).await.as_array().unwrap().len(), 1, "joined");
    gateway.engine.pull_on.notify_one();
    eventually("the pull is done", || async {
        pulls(&admin).await[0]["state"] == "done"
    })
    .await;
    let images = admin.get("/api/admin/images").await.json();
    assert_eq!(images["images"][0]["names"], json!(["good/desktop:1"]));

    let missing = json!({ "image": "missing:1" }).to_string();
    admin.post("/api/admin/images/pull", &missing).await;
    eventually("the pull has failed", || async {
        pulls(&admin).await[0]["state"] == "failed"
    })
    .await;
    assert_eq!(pulls(&admin).await[0]["reason"], "other");
    assert_eq!(pulls(&admin).await[1]["reason"], Value::Null);
    let odd = json!({ "image": "a b" }).to_string();
    let odd = admin.post("/api/admin/images/pull", &odd).await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST);
    let log = admin
        .get("/api/admin/audit?action=admin_image_pulled")
        .await
        .json();
    assert_eq!(log["entries"].as_array().unwrap().len(), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn the_audit_log_is_paged_filtered_and_copied() {
    let gateway = TestGateway::start().await;
    let mut admin = gateway.program_as("boss", Role::Admin).await;
    for name in ["one", "two", "three"] {
        let mut somebody = gateway.program(name).await;
        somebody.post("/logout", "").await;
    }
    let page = admin.get("/api/admin/audit?limit=2").await.json();
    assert_eq!(page["entries"][0]["subject"]["username"], "three");
    let next = page["next"].as_str().expect("more");
    let rest = admin
        .get(&format!("/api/admin/audit?limit=2&before={next}"))
        .await
        .json();
    assert_eq!(rest["entries"].as_array().unwrap().len(), 1);
    assert_eq!(rest["entries"][0]["subject"]["username"], "one");
    assert_eq!(rest["next"], Value::Null);
    let of_two = admin
        .get("/api/admin/audit?user=two&action=logout")
        .await
        .json();
    assert_eq!(of_two["entries"].as_array().unwrap().len(), 1);
    let later = admin.get("/api/admin/audit?since=2999-01-01").await.json();
    assert_eq!(later["entries"], json!([]));
    for wrong in [
        "action=dance",
        "since=yesterday",
        "before=1",
        "limit=-1",
        "limit=0",
        "limit=1001",
    ] {
        let answer = admin.get(&format!("/api/admin/audit?{wrong}")).await;
        assert_eq!(answer.code(), "invalid_query", "{wrong}");
    }

    let copy = [("accept", "application/x-ndjson")];
    let copy = admin.send(Method::GET, "/api/admin/audit", &copy, "").await;
    assert_eq!(copy.header("content-type"), Some("application/x-ndjson"));
    let text = copy.text();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
        .collect();
    assert_eq!(lines.len(), 4);
    for (limit, status) in [("0", StatusCode::BAD_REQUEST), ("1001", StatusCode::OK)] {
        let path = format!("/api/admin/audit?limit={limit}");
        let copy = [("accept", "application/x-ndjson")];
        let copy = admin.send(Method::GET, &path, &copy, "").await;
        assert_eq!(copy.status, status, "{limit}");
    }
    assert_eq!(lines[0]["action"], "admin_audit_exported");
    assert_eq!(lines[3]["subject"]["username"], "one");
    gateway.stop().await;
}
