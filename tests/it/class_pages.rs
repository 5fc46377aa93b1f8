//! The pages of teachers: who comes in, what they show, and what their forms do.

use deskgate::model::user::{Identity, Role};
use hyper::{Method, StatusCode};

use crate::support::browser::{Answer, Browser};
use crate::support::gateway::{TestGateway, eventually, identity};

const SESSION: &str = "__Host-Http-session";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const CLASS: &str = "/class?name=klasse.8a";

async fn person(gateway: &TestGateway, name: &str, role: Role, groups: &[&str]) -> Browser {
    let somebody = Identity {
        role,
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        ..identity(name)
    };
    let session = gateway.session_of(&somebody).await;
    let browser = gateway.browser().with_cookie(SESSION, &session);
    let browser = browser.with("accept", "text/html,*/*");
    let browser = browser.with("accept-language", "en");
    browser.with("sec-fetch-dest", "document")
}

async fn start() -> TestGateway {
    TestGateway::start_with(&[("TEACHER_GROUPS", "klasse.*")]).await
}

/// Sends a form of the class's page, with its token.
async fn submit(browser: &mut Browser, fields: &[(&str, &str)]) -> Answer {
    let page = browser.get(CLASS).await.text();
    let (_, rest) = page
        .split_once("name=\"csrf_token\" value=\"")
        .expect(&page);
    let token = rest.split('"').next().unwrap();
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("csrf_token", token).extend_pairs(fields);
    let body = form.finish();
    browser.send(Method::POST, "/class", &[FORM], &body).await
}

#[tokio::test]
async fn only_teachers_come_in_and_see_their_own_classes() {
    let gateway = start().await;
    let mut teacher = person(&gateway, "frau-m", Role::Teacher, &["klasse.8a"]).await;
    let mut pupil = person(&gateway, "mia", Role::Student, &["klasse.8a"]).await;
    person(&gateway, "ben", Role::Student, &["klasse.8b"]).await;
    for path in ["/class", CLASS] {
        let refused = pupil.get(path).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        assert!(refused.text().contains("data-code=\"wrong_role\""));
    }
    assert!(!pupil.get("/").await.text().contains("href=\"/class\""));
    assert!(teacher.get("/").await.text().contains("href=\"/class\""));
    let classes = teacher.get("/class").await.text();
    assert!(
        classes.contains("klasse.8a") && classes.contains("Pupils: 1"),
        "{classes}"
    );
    let class = teacher.get(CLASS).await.text();
    assert!(class.contains(">mia<") && !class.contains("ben"), "{class}");
    for foreign in ["klasse.8b", "lehrer", ""] {
        let answer = teacher.get(&format!("/class?name={foreign}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{foreign}");
    }
    let mut colleague = person(&gateway, "herr-k", Role::Teacher, &["lehrer"]).await;
    assert!(
        colleague
            .get("/class")
            .await
            .text()
            .contains("No class is set up")
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_class_is_started_and_stopped_by_forms() {
    let gateway = start().await;
    let mut teacher = person(&gateway, "frau-m", Role::Teacher, &["klasse.8a"]).await;
    let mut mia = person(&gateway, "mia", Role::Student, &["klasse.8a"]).await;
    let start = [
        ("class", "klasse.8a"),
        ("act", "start"),
        ("template", "desktop"),
    ];
    let started = submit(&mut teacher, &start).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text());
    assert_eq!(started.header("location"), Some(CLASS));
    eventually("it runs", async || {
        teacher
            .clone()
            .get(CLASS)
            .await
            .text()
            .contains("data-state=\"running\"")
    })
    .await;
    let stop = [("class", "klasse.8a"), ("act", "stop")];
    let asked = submit(&mut teacher, &stop).await.text();
    assert!(asked.contains("Stop all desktops of klasse.8a?"), "{asked}");
    let state = mia.get("/api/container/status").await.json();
    assert_eq!(state["container"]["status"], "running");
    let yes = [&stop[..], &[("confirmed", "yes")]].concat();
    let stopped = submit(&mut teacher, &yes).await;
    assert_eq!(stopped.status, StatusCode::SEE_OTHER, "{}", stopped.text());
    let state = mia.get("/api/container/status").await.json();
    assert_eq!(state["container"]["status_reason_code"], "teacher");

    let wrong = [
        ("class", "klasse.8a"),
        ("act", "start"),
        ("template", "none"),
    ];
    let failed = submit(&mut teacher, &wrong).await.text();
    assert!(
        failed.contains("mia: ") && failed.contains("template"),
        "{failed}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn one_pupils_desktop_is_stopped_and_nobody_elses() {
    let gateway = start().await;
    let mut teacher = person(&gateway, "frau-m", Role::Teacher, &["klasse.8a"]).await;
    person(&gateway, "mia", Role::Student, &["klasse.8a"]).await;
    let mut stranger = gateway.program("stranger").await;
    let foreign = gateway.running_desktop(&mut stranger).await;
    let foreign = foreign["id"].as_str().unwrap();
    let start = [("class", "klasse.8a"), ("act", "start")];
    submit(&mut teacher, &start).await;
    let class = teacher.get("/api/teacher/classes/klasse.8a").await.json();
    let own = class["pupils"][0]["containers"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let stop = |id: &str| {
        let fields = [
            ("class", "klasse.8a"),
            ("act", "stop-one"),
            ("confirmed", "yes"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        [&fields[..], &[("id".to_owned(), id.to_owned())]].concat()
    };
    for (id, status) in [
        (foreign, StatusCode::NOT_FOUND),
        (&own, StatusCode::SEE_OTHER),
    ] {
        let fields = stop(id);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(submit(&mut teacher, &fields).await.status, status);
    }
    eventually("it is over", async || {
        let text = teacher.clone().get(CLASS).await.text();
        text.contains("data-state=\"stopped\"")
    })
    .await;
    let state = stranger.get("/api/container/status").await.json();
    assert_eq!(state["container"]["status"], "running");
    let bad = "csrf_token=AAAA&class=klasse.8a&act=start";
    let refused = teacher.send(Method::POST, "/class", &[FORM], bad).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    gateway.stop().await;
}
