//! The API of teachers: which classes are theirs, and what they may do to the desktops in them.

use deskgate::model::user::{Identity, Role};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::gateway::{TestGateway, eventually, identity};

const NOBODY: &str = "6e390c03-048b-4b93-aded-0068b8d718d1";
/// A name that has to be escaped in the address, in the pattern and in the JSON of the database.
const AWKWARD: &str = "klasse.50% \"Ä\"_b";
const AWKWARD_ADDRESS: &str = "klasse.50%25%20%22%C3%84%22_b";

async fn start() -> TestGateway {
    TestGateway::start_with(&[("TEACHER_GROUPS", "klasse.*")]).await
}

/// A program of somebody with this role and these groups.
async fn program(gateway: &TestGateway, name: &str, role: Role, groups: &[&str]) -> Browser {
    let somebody = Identity {
        role,
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        ..identity(name)
    };
    gateway.program_of(&somebody).await
}

fn names(pupils: &Value) -> Vec<&str> {
    let pupils = pupils["pupils"].as_array().expect("pupils");
    let name = |pupil: &'_ Value| pupil["user"]["username"].as_str().map(str::len);
    assert!(
        pupils.iter().all(|pupil| name(pupil).is_some()),
        "{pupils:?}"
    );
    pupils
        .iter()
        .filter_map(|pupil| pupil["user"]["username"].as_str())
        .collect()
}

#[tokio::test]
async fn a_teacher_sees_the_pupils_of_their_own_classes() {
    let gateway = start().await;
    let mut teacher = program(
        &gateway,
        "frau-m",
        Role::Teacher,
        &["lehrer", "klasse.8a", AWKWARD],
    )
    .await;
    let mut mia = program(&gateway, "mia", Role::Student, &["klasse.8a", "schueler"]).await;
    program(&gateway, "ben", Role::Student, &["klasse.8a"]).await;
    program(&gateway, "zoe", Role::Student, &["klasse.8ab", "KLASSE.8A"]).await;
    program(&gateway, "uwe", Role::Student, &[AWKWARD]).await;
    program(&gateway, "kim", Role::Student, &["klasse.50X \"Ä\"Xb"]).await;
    program(&gateway, "herr-k", Role::Teacher, &["klasse.8a"]).await;
    let container = gateway.running_desktop(&mut mia).await;

    let classes = teacher.get("/api/teacher/classes").await.json();
    let expected = json!([
        { "name": AWKWARD, "pupils": 1, "live_desktops": 0 },
        { "name": "klasse.8a", "pupils": 2, "live_desktops": 1 },
    ]);
    assert_eq!(classes["classes"], expected);
    let class = teacher.get("/api/teacher/classes/klasse.8a").await.json();
    assert_eq!(names(&class), ["ben", "mia"]);
    assert_eq!(class["pupils"][0]["containers"], json!([]));
    assert_eq!(class["pupils"][1]["containers"][0]["id"], container["id"]);
    let address = format!("/api/teacher/classes/{AWKWARD_ADDRESS}");
    assert_eq!(names(&teacher.get(&address).await.json()), ["uwe"]);
    for foreign in ["klasse.8ab", "lehrer", "klasse", "%25", "nothing"] {
        let answer = teacher
            .get(&format!("/api/teacher/classes/{foreign}"))
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{foreign}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn nobody_else_comes_in() {
    let gateway = start().await;
    let mut pupil = program(&gateway, "mia", Role::Student, &["klasse.8a"]).await;
    let calls = [
        (Method::GET, "/api/teacher/classes".to_owned()),
        (Method::GET, "/api/teacher/classes/klasse.8a".to_owned()),
        (
            Method::POST,
            "/api/teacher/classes/klasse.8a/start".to_owned(),
        ),
        (
            Method::POST,
            "/api/teacher/classes/klasse.8a/stop".to_owned(),
        ),
        (
            Method::POST,
            format!("/api/teacher/containers/{NOBODY}/stop"),
        ),
    ];
    for (method, path) in &calls {
        let stranger = gateway.browser().send(method.clone(), path, &[], "").await;
        assert_eq!(stranger.status, StatusCode::UNAUTHORIZED, "{path}");
        let classmate = pupil.send(method.clone(), path, &[], "").await;
        assert_eq!(classmate.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(classmate.code(), "wrong_role", "{path}");
    }
    // A program may not look after pupils, whatever its token is for.
    let mut teacher = program(&gateway, "frau-m", Role::Teacher, &["klasse.8a"]).await;
    let wanted = json!({ "name": "x", "scopes": ["read", "desktops"] }).to_string();
    let token = teacher.post("/api/tokens", &wanted).await.json();
    let secret = token["token"].as_str().expect("a secret").to_owned();
    let mut script = gateway
        .browser()
        .with("authorization", &format!("Bearer {secret}"));
    for (method, path) in &calls {
        let answer = script.send(method.clone(), path, &[], "").await;
        assert_eq!(answer.code(), "session_required", "{path}");
    }
    // By cookie, a change needs the page's token.
    let mut by_cookie = gateway.browser();
    by_cookie.log_in("teacher", "/").await;
    let answer = by_cookie
        .post("/api/teacher/classes/klasse.8a/stop", "")
        .await;
    assert_eq!(answer.code(), "csrf_token_missing");
    gateway.stop().await;
}

#[tokio::test]
async fn without_the_setting_no_group_is_a_class() {
    let gateway = TestGateway::start().await;
    let mut teacher = program(&gateway, "frau-m", Role::Teacher, &["klasse.8a"]).await;
    program(&gateway, "mia", Role::Student, &["klasse.8a"]).await;
    let classes = teacher.get("/api/teacher/classes").await.json();
    assert_eq!(classes, json!({ "classes": [] }));
    let class = teacher.get("/api/teacher/classes/klasse.8a").await;
    assert_eq!(class.status, StatusCode::NOT_FOUND);
    gateway.stop().await;
}

#[tokio::test]
async fn a_lesson_is_started_and_stopped_for_the_whole_class() {
    let gateway = start().await;
    let mut teacher = program(&gateway, "frau-m", Role::Teacher, &["klasse.8a"]).await;
    let mut pupils = Vec::new();
    for name in ["ben", "mia", "zoe"] {
        pupils.push(program(&gateway, name, Role::Student, &["klasse.8a"]).await);
    }
    let mut other = program(&gateway, "uwe", Role::Student, &["klasse.8b"]).await;
    gateway.running_desktop(&mut other).await;
    let own = gateway.running_desktop(&mut pupils[0]).await;

    let started = teacher
        .post("/api/teacher/classes/klasse.8a/start", "")
        .await
        .json();
    let results = started["results"].as_array().expect("results");
    assert_eq!(results.len(), 3, "{started}");
    for result in results {
        let ben = result["user"]["username"] == "ben";
        assert_eq!(result["new"], !ben, "{result}");
        assert_eq!(result["id"] == own["id"], ben, "{result}");
    }
    for pupil in &pupils {
        eventually("the pupil has a desktop", || {
            let mut pupil = pupil.clone();
            async move {
                let status = pupil.get("/api/container/status").await.json();
                status["container"]["status"] == "running"
            }
        })
        .await;
    }
    // They are the pupils' own: the teacher's logout is nothing to them.
    let mia = pupils[1].get("/api/container/status").await.json();
    assert_eq!(mia["container"]["session_id"], Value::Null);
    let id = mia["container"]["id"].as_str().expect("an id").to_owned();
    let opened = pupils[1].get(&format!("/desktop/{id}/")).await;
    assert_eq!(opened.status, StatusCode::OK);
    let peeked = teacher.get(&format!("/desktop/{id}/")).await;
    assert_eq!(peeked.status, StatusCode::NOT_FOUND, "nobody else uses it");

    let unknown = json!({ "template": "nothing" }).to_string();
    let none = teacher
        .post("/api/teacher/classes/klasse.8a/start", &unknown)
        .await
        .json();
    for result in none["results"].as_array().expect("results") {
        assert_eq!(result["error"], "unknown_template", "{none}");
    }
    let one = teacher
        .post(&format!("/api/teacher/containers/{id}/stop"), "")
        .await;
    assert_eq!(one.json()["container"]["status"], "stopped");
    let none = teacher
        .post("/api/teacher/classes/klasse.8a/stop", &unknown)
        .await;
    assert_eq!(none.json(), json!({ "results": [] }));
    let stopped = teacher
        .post("/api/teacher/classes/klasse.8a/stop", "")
        .await
        .json();
    assert_eq!(stopped["results"].as_array().map(Vec::len), Some(2));
    for pupil in &mut pupils {
        let status = pupil.get("/api/container/status").await.json();
        assert_eq!(status["container"]["status"], "stopped");
        assert_eq!(status["container"]["status_reason_code"], "teacher");
    }
    let others = other.get("/api/container/status").await.json();
    assert_eq!(others["container"]["status"], "running");
    gateway.stop().await;
}

#[tokio::test]
async fn a_pupil_who_is_called_like_somebodys_id_opens_nothing() {
    let gateway = start().await;
    let mut teacher = program(&gateway, "frau-m", Role::Teacher, &["klasse.8a"]).await;
    let mut other = program(&gateway, "uwe", Role::Student, &["klasse.8b"]).await;
    let container = gateway.running_desktop(&mut other).await;
    let victim = container["user_id"].as_str().expect("an id");
    // Providers let people choose their names.
    let impostor = Identity {
        subject: "zzz".into(),
        groups: vec!["klasse.8a".into()],
        ..identity(victim)
    };
    gateway.session_of(&impostor).await;
    let id = container["id"].as_str().expect("an id");
    let path = format!("/api/teacher/containers/{id}/stop");
    let answer = teacher.post(&path, "").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    let status = other.get("/api/container/status").await.json();
    assert_eq!(status["container"]["status"], "running");
    gateway.stop().await;
}

#[tokio::test]
async fn a_foreign_desktop_is_like_none() {
    let gateway = start().await;
    let mut teacher = program(&gateway, "frau-m", Role::Teacher, &["klasse.8a"]).await;
    let mut other = program(&gateway, "uwe", Role::Student, &["klasse.8b"]).await;
    let mut colleague = program(&gateway, "herr-k", Role::Teacher, &["klasse.8a"]).await;
    for owner in [&mut other, &mut colleague] {
        let container = gateway.running_desktop(owner).await;
        let id = container["id"].as_str().expect("an id");
        let mut answers = Vec::new();
        for id in [id, NOBODY, "no-id"] {
            let path = format!("/api/teacher/containers/{id}/stop");
            let answer = teacher.post(&path, "").await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
            answers.push(answer.code());
        }
        assert_eq!(answers, ["not_found"; 3]);
        let status = owner.get("/api/container/status").await.json();
        assert_eq!(status["container"]["status"], "running");
    }
    gateway.stop().await;
}
