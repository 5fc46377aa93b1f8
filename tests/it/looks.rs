//! Looks at desktops: nobody sees anything before the desktop has shown it, whatever becomes of gateways, sessions and
//! desktops meanwhile. On SQLite and, where a server is at hand, on PostgreSQL.

use std::sync::atomic::Ordering;
use std::time::Duration;

use deskgate::model::user::{Identity, Role};
use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::browser::Browser;
use crate::support::contract;
use crate::support::fake_desktop::FakeOptions;
use crate::support::fake_rfb::FakeScreen;
use crate::support::gateway::{TEMPLATE, TestGateway, eventually, identity};
use crate::support::postgres::OwnDatabase;
use crate::support::socket::{KEY, Socket, close_code, next, open_look};

const NOTICE: &str = "id = 'd'\nimage = 'i'\nnotice = ['show', '{state}', '{text}']";
const SETTINGS: [(&str, &str); 3] = [
    ("TEACHER_GROUPS", "klasse.*"),
    ("TEACHER_LOOK", "view"),
    (TEMPLATE, NOTICE),
];

fn of(name: &str, role: Role) -> Identity {
    Identity {
        role,
        groups: vec!["klasse.8a".to_owned()],
        ..identity(name)
    }
}

/// A program with this session.
fn program(gateway: &TestGateway, session: &str) -> Browser {
    let bearer = format!("Bearer {session}");
    gateway.browser().with("authorization", &bearer)
}

/// A gateway, a pupil with a desktop that shows something, and a teacher of theirs.
struct Lesson {
    gateway: TestGateway,
    pupil: Browser,
    /// Their session.
    teacher: String,
    container: Value,
}

impl Lesson {
    async fn begin(gateway: TestGateway) -> Self {
        *gateway.engine.fakes.lock().unwrap() = FakeOptions {
            screen: Some(FakeScreen::default()),
            ..FakeOptions::default()
        };
        let (mut pupil, container) = desktop_of(&gateway, "mia").await;
        pupil.get("/api/container/status").await;
        let teacher = gateway.session_of(&of("frau-m", Role::Teacher)).await;
        Self {
            gateway,
            pupil,
            teacher,
            container,
        }
    }

    fn path(&self) -> String {
        path_of(&self.container)
    }

    async fn look(&self, gateway: &TestGateway) -> Socket<TcpStream> {
        open_look(gateway, &self.path(), &self.teacher).await
    }

    /// The commands that were run in desktops.
    fn shown(&self) -> Vec<String> {
        let said = self.gateway.engine.said.lock().unwrap();
        let lines = said.iter().filter(|line| line.starts_with("exec show "));
        let words = lines.map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" "));
        words.collect()
    }

    async fn watched_by(&self) -> Value {
        let mut pupil = self.pupil.clone();
        let status = pupil.get("/api/container/status").await.json();
        status["container"]["watched_by"].clone()
    }

    async fn until_shown(&self, expected: &[&str]) {
        eventually("the desktop shows it", || async {
            self.shown() == expected
        })
        .await;
    }

    async fn until_nobody_looks(&self) {
        let nobody = || async { self.watched_by().await == Value::Null };
        eventually("nobody looks", nobody).await;
    }

    /// Outcome and reason of what the audit log has of looks, newest first.
    async fn log(&self, action: &str) -> Vec<(Value, Value)> {
        let mut admin = self.gateway.program_as("root", Role::Admin).await;
        let path = format!("/api/admin/audit?action={action}");
        let log = admin.get(&path).await.json();
        let entries = log["entries"].as_array().expect("entries").iter();
        entries
            .map(|entry| (entry["outcome"].clone(), entry["reason"].clone()))
            .collect()
    }

    /// Ends it; the desktop must have seen nothing that it does not like, as input is.
    async fn end(self) {
        let desktop = self.gateway.desktop(&self.container);
        assert_eq!(desktop.violations(), Vec::<String>::new());
        self.gateway.stop().await;
    }
}

fn path_of(container: &Value) -> String {
    let id = container["id"].as_str().expect("an id");
    format!("/api/teacher/containers/{id}/look")
}

async fn desktop_of(gateway: &TestGateway, name: &str) -> (Browser, Value) {
    let session = gateway.session_of(&of(name, Role::Student)).await;
    let mut pupil = program(gateway, &session);
    let container = gateway.running_desktop(&mut pupil).await;
    (pupil, container)
}

/// The next word, which has to be of the described form.
async fn word(socket: &mut Socket<TcpStream>) -> Value {
    loop {
        match next(socket).await {
            Some(Message::Text(text)) => {
                let said: Value = serde_json::from_str(&text).expect("JSON");
                contract::fits("LookMessage", &said).expect("as described");
                return said;
            }
            Some(Message::Binary(_) | Message::Ping(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn first_picture(socket: &mut Socket<TcpStream>) {
    assert_eq!(word(socket).await["state"], "begun");
    let picture = next(socket).await.expect("a picture").into_data();
    assert!(picture.starts_with(&[0xff, 0xd8, 0xff]), "a JPEG");
}

async fn story_of_a_look(here: TestGateway) {
    let there = here.another().await;
    let lesson = Lesson::begin(here).await;
    let mut socket = lesson.look(&there).await;
    first_picture(&mut socket).await;
    // It was shown before.
    assert_eq!(lesson.shown(), ["exec show begin"]);
    assert_eq!(lesson.watched_by().await, "frau-m");
    let text = lesson.gateway.engine.said.lock().unwrap().join("\n");
    assert!(
        text.contains("Dein Desktop wird gerade von frau-m angesehen."),
        "{text}"
    );

    // A teacher looks at one desktop, and a desktop is looked at by one teacher, whichever gateway they are at.
    let (_, other) = desktop_of(&lesson.gateway, "ben").await;
    let mut second = open_look(&lesson.gateway, &path_of(&other), &lesson.teacher).await;
    let refused = word(&mut second).await;
    assert_eq!(refused["reason"], "look_elsewhere", "{refused}");
    let colleague = lesson
        .gateway
        .session_of(&of("herr-k", Role::Teacher))
        .await;
    let mut second = open_look(&lesson.gateway, &lesson.path(), &colleague).await;
    assert_eq!(word(&mut second).await["reason"], "look_taken");
    assert_eq!(lesson.shown(), ["exec show begin"]);

    // Whatever a teacher sends, the desktop hears nothing of it; it would complain.
    for message in [
        Message::binary(KEY.to_vec()),
        Message::text("{\"type\":\"key\"}"),
    ] {
        socket.send(message).await.expect("sent");
    }
    assert_eq!(lesson.watched_by().await, "frau-m", "it goes on");
    socket.close(None).await.expect("closed");
    lesson
        .until_shown(&["exec show begin", "exec show end"])
        .await;
    lesson.until_nobody_looks().await;
    assert_eq!(lesson.log("look").await, [(json!("success"), Value::Null)]);
    let ended = lesson.log("look_ended").await;
    assert_eq!(ended, [(json!("success"), json!("left"))]);
    there.stop().await;
    lesson.end().await;
}

#[tokio::test]
async fn the_story_of_a_look_on_sqlite() {
    Box::pin(story_of_a_look(TestGateway::start_with(&SETTINGS).await)).await;
}

#[tokio::test]
async fn the_story_of_a_look_on_postgresql() {
    let Some(own) = OwnDatabase::create().await else {
        return;
    };
    let settings = [&SETTINGS[..], &[("DATABASE_URL", own.url.as_str())]].concat();
    Box::pin(story_of_a_look(TestGateway::start_with(&settings).await)).await;
    own.drop().await;
}

#[tokio::test]
async fn a_look_ends_with_its_session_and_with_its_desktop() {
    let mut lesson = Lesson::begin(TestGateway::start_with(&SETTINGS).await).await;
    let mut socket = lesson.look(&lesson.gateway).await;
    first_picture(&mut socket).await;
    let mut teacher = program(&lesson.gateway, &lesson.teacher);
    assert!(teacher.post("/logout", "").await.status.is_success());
    assert_eq!(word(&mut socket).await["reason"], "revoked");
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Policy));
    assert_eq!(lesson.shown(), ["exec show begin", "exec show end"]);

    lesson.teacher = lesson
        .gateway
        .session_of(&of("frau-m", Role::Teacher))
        .await;
    let mut socket = lesson.look(&lesson.gateway).await;
    first_picture(&mut socket).await;
    lesson.pupil.post("/api/container/stop", "").await;
    assert_eq!(word(&mut socket).await["reason"], "desktop_stopped");
    lesson.until_nobody_looks().await;
    let ended = lesson.log("look_ended").await;
    let reasons: Vec<_> = ended.iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, ["desktop_stopped", "revoked"]);
    lesson.gateway.stop().await;
}

#[tokio::test]
async fn the_look_of_a_gateway_that_was_killed_ends_by_itself() {
    let gateway = TestGateway::start_with(&SETTINGS).await;
    let there = gateway.another().await;
    let lesson = Lesson::begin(gateway).await;
    let mut socket = lesson.look(&there).await;
    first_picture(&mut socket).await;
    there.kill().await;
    assert_eq!(lesson.watched_by().await, "frau-m", "nobody knows yet");
    lesson.gateway.clock.advance(Duration::from_secs(41));
    assert_eq!(lesson.watched_by().await, Value::Null);
    assert_eq!(lesson.shown(), ["exec show begin"]);
    lesson.gateway.desktops.reap().await;
    assert_eq!(lesson.shown(), ["exec show begin", "exec show end"]);
    let ended = lesson.log("look_ended").await;
    assert_eq!(ended, [(json!("success"), json!("gateway_lost"))]);
    // The teacher can look again.
    let mut socket = lesson.look(&lesson.gateway).await;
    first_picture(&mut socket).await;
    drop(socket);
    lesson.until_nobody_looks().await;
    lesson.end().await;
}

#[tokio::test]
async fn nothing_is_seen_of_a_desktop_that_does_not_show_it() {
    let lesson = Lesson::begin(TestGateway::start_with(&SETTINGS).await).await;
    lesson.gateway.engine.exec_code.store(1, Ordering::SeqCst);
    let mut socket = lesson.look(&lesson.gateway).await;
    assert_eq!(word(&mut socket).await["reason"], "not_told");
    let rest: Vec<_> = socket.collect().await;
    let pictures = rest
        .iter()
        .filter(|one| matches!(one, Ok(Message::Binary(_))));
    assert_eq!(pictures.count(), 0);
    lesson.until_nobody_looks().await;
    let log = lesson.log("look").await;
    assert_eq!(log, [(json!("failure"), json!("not_shown"))]);
    let asked = lesson.gateway.desktop(&lesson.container).requests();
    assert!(asked.iter().all(|one| !one.has_header("Upgrade")));
    lesson.end().await;
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_said_before_anything_is_opened() {
    let bare = (TEMPLATE, "id = 'd'\nimage = 'i'");
    let blind = "id = 'd'\nimage = 'i'\nview = 'none'\nnotice = ['show', '{state}', '{text}']";
    for (settings, status, code) in [
        (vec![SETTINGS[0], SETTINGS[2]], 403, "look_off"),
        (
            vec![SETTINGS[0], SETTINGS[2], ("TEACHER_LOOK", "thumbnails")],
            403,
            "look_off",
        ),
        (vec![SETTINGS[0], SETTINGS[1], bare], 409, "no_notice"),
        (SETTINGS.to_vec(), 400, "malformed_request"),
    ] {
        let lesson = Lesson::begin(TestGateway::start_with(&settings).await).await;
        let mut teacher = program(&lesson.gateway, &lesson.teacher);
        let answer = teacher.get(&lesson.path()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (status, code.into())
        );
        lesson.end().await;
    }
    let settings = [SETTINGS[0], SETTINGS[1], (TEMPLATE, blind)];
    let lesson = Lesson::begin(TestGateway::start_with(&settings).await).await;
    let mut teacher = program(&lesson.gateway, &lesson.teacher);
    let page = lesson
        .path()
        .replace("/api/teacher/containers/", "/class/look?id=");
    let page = teacher.get(page.trim_end_matches("/look")).await;
    // The preset's own picture is enough of a way.
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let mut pupil = lesson.pupil.clone();
    assert_eq!(pupil.get(&lesson.path()).await.code(), "wrong_role");
    let stranger = Identity {
        groups: vec!["klasse.8b".to_owned()],
        ..of("frau-n", Role::Teacher)
    };
    let stranger = lesson.gateway.session_of(&stranger).await;
    let mut stranger = program(&lesson.gateway, &stranger);
    assert_eq!(
        stranger.get(&lesson.path()).await.status,
        StatusCode::NOT_FOUND
    );
    lesson.end().await;
}
