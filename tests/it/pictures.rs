//! Pictures of desktops: what teachers get, what a desktop notices of it, and what a hostile one achieves.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deskgate::config::Secret;
use deskgate::desktop::directory::Entry;
use deskgate::desktop::upstream::{Dialer, Upstream};
use deskgate::model::id::{DesktopId, UserId};
use deskgate::model::preset::Preset;
use deskgate::model::template::Template;
use deskgate::model::user::{Identity, Role};
use deskgate::picture::{Bound, PictureError, Pictures};
use hyper::StatusCode;
use serde_json::Value;
use zune_jpeg::JpegDecoder;

use crate::support::browser::{Answer, Browser};
use crate::support::fake_desktop::{FakeDesktop, FakeOptions};
use crate::support::fake_rfb::FakeScreen;
use crate::support::gateway::{PATIENCE, TEMPLATE, TestGateway, identity};

const CLASSES: (&str, &str) = ("TEACHER_GROUPS", "klasse.*");
const LOOK: (&str, &str) = ("TEACHER_LOOK", "thumbnails");
/// Larger than the screen of the fakes.
const LARGE: Bound = Bound {
    width: 1280,
    height: 800,
};

fn showing() -> FakeOptions {
    FakeOptions {
        screen: Some(FakeScreen::default()),
        ..FakeOptions::default()
    }
}

/// Width, height, and the red, green and blue of the middle of a JPEG.
fn decoded(jpeg: &[u8]) -> ((usize, usize), [u8; 3]) {
    let mut decoder = JpegDecoder::new(Cursor::new(jpeg));
    let pixels = decoder.decode().expect("a JPEG");
    let (width, height) = decoder.dimensions().expect("a size");
    let middle = (height / 2 * width + width / 2) * 3;
    let middle = pixels[middle..middle + 3].try_into().expect("a pixel");
    ((width, height), middle)
}

/// Whether it is the colour of the fakes' screens, as far as a JPEG keeps it.
fn is_that_of_the_screen([red, green, blue]: [u8; 3]) -> bool {
    let [b, g, r] = FakeScreen::default().colour;
    [(red, r), (green, g), (blue, b)]
        .iter()
        .all(|(seen, shown)| seen.abs_diff(*shown) < 8)
}

async fn person(gateway: &TestGateway, name: &str, role: Role, groups: &[&str]) -> Browser {
    let somebody = Identity {
        role,
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        ..identity(name)
    };
    gateway.program_of(&somebody).await
}

/// A pupil's running desktop, and their teacher.
struct Lesson {
    gateway: TestGateway,
    pupil: Browser,
    teacher: Browser,
    container: Value,
}

impl Lesson {
    async fn begin(settings: &[(&str, &str)], fake: FakeOptions) -> Self {
        let settings = [&[CLASSES], settings].concat();
        let gateway = TestGateway::start_with(&settings).await;
        *gateway.engine.fakes.lock().unwrap() = fake;
        let mut pupil = person(&gateway, "mia", Role::Student, &["klasse.8a"]).await;
        let teacher = person(&gateway, "frau-m", Role::Teacher, &["klasse.8a"]).await;
        let container = gateway.running_desktop(&mut pupil).await;
        Self {
            gateway,
            pupil,
            teacher,
            container,
        }
    }

    fn path(&self) -> String {
        let id = self.container["id"].as_str().expect("an id");
        format!("/api/teacher/containers/{id}/picture")
    }

    async fn picture(&mut self) -> Answer {
        let path = self.path();
        self.teacher.get(&path).await
    }

    /// Ends it; the desktop must have seen nothing that it does not like.
    async fn end(self) {
        let desktop = self.gateway.desktop(&self.container);
        assert_eq!(desktop.violations(), Vec::<String>::new());
        self.gateway.stop().await;
    }
}

#[tokio::test]
async fn a_teacher_sees_a_small_picture_and_the_pupils_desktop_notices_nothing() {
    let mut lesson = Lesson::begin(&[LOOK], showing()).await;
    let answer = lesson.picture().await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    for (name, value) in [
        ("content-type", "image/jpeg"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'; sandbox",
        ),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let (size, colour) = decoded(&answer.bytes);
    assert_eq!(size, (320, 200));
    assert!(is_that_of_the_screen(colour), "{colour:?}");
    let desktop = lesson.gateway.desktop(&lesson.container);
    let asked = desktop.requests().len();
    assert_eq!(lesson.picture().await.bytes, answer.bytes);
    assert_eq!(desktop.requests().len(), asked, "it is still good");
    assert_eq!(desktop.open_websockets(), 0, "nobody stays");

    lesson.gateway.desktops.flush_activity().await;
    let status = lesson.pupil.get("/api/container/status").await.json();
    assert_eq!(status["container"]["last_accessed"], Value::Null);
    assert_eq!(status["container"]["last_input"], Value::Null);
    let mut admin = person(&lesson.gateway, "root", Role::Admin, &[]).await;
    let log = "/api/admin/audit?action=pictures_seen";
    let entries = admin.get(log).await.json();
    let entries = entries["entries"].as_array().expect("entries").clone();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["actor"]["name"], "frau-m");
    assert_eq!(entries[0]["subject"]["id"], lesson.container["user_id"]);
    assert_eq!(entries[0]["object"]["id"], lesson.container["id"]);
    lesson.gateway.clock.advance(Duration::from_secs(601));
    assert_eq!(lesson.picture().await.status, StatusCode::OK);
    let entries = admin.get(log).await.json();
    assert_eq!(entries["entries"].as_array().map(Vec::len), Some(2));
    lesson.end().await;
}

#[tokio::test]
async fn nobody_else_sees_it() {
    let mut lesson = Lesson::begin(&[LOOK], showing()).await;
    let path = lesson.path();
    assert_eq!(lesson.pupil.get(&path).await.code(), "wrong_role");
    for (role, groups) in [
        (Role::Teacher, &["klasse.8b", "lehrer"][..]),
        (Role::Teacher, &[]),
        (Role::Admin, &["lehrer"]),
    ] {
        let mut other = person(&lesson.gateway, &format!("{role:?}"), role, groups).await;
        let answer = other.get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{role:?}");
    }
    let colleague = &["klasse.8a"];
    let mut colleague = person(&lesson.gateway, "herr-k", Role::Teacher, colleague).await;
    let theirs = lesson.gateway.running_desktop(&mut colleague).await;
    let id = theirs["id"].as_str().unwrap();
    let of_colleague = format!("/api/teacher/containers/{id}/picture");
    let answer = lesson.teacher.get(&of_colleague).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "a colleague");
    for nothing in ["6e390c03-048b-4b93-aded-0068b8d718d1", "x"] {
        let path = format!("/api/teacher/containers/{nothing}/picture");
        let answer = lesson.teacher.get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{nothing}");
    }
    let asked = lesson.gateway.desktop(&lesson.container).requests();
    assert!(asked.iter().all(|one| !one.has_header("Upgrade")));
    lesson.end().await;
}

#[tokio::test]
async fn nothing_is_seen_unless_the_installation_says_so() {
    let mut lesson = Lesson::begin(&[], showing()).await;
    let answer = lesson.picture().await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.code(), "look_off");
    let asked = lesson.gateway.desktop(&lesson.container).requests();
    assert!(asked.iter().all(|one| !one.has_header("Upgrade")));
    lesson.end().await;
}

#[tokio::test]
async fn a_desktop_that_is_paused_or_stopped_stays_so() {
    let pause = ("DESKTOP_IDLE_PAUSE", "10m");
    let mut lesson = Lesson::begin(&[LOOK, pause], showing()).await;
    for _ in 0..15 {
        lesson.gateway.clock.advance(Duration::from_secs(60));
        lesson.gateway.desktops.reap().await;
    }
    let answer = lesson.picture().await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text());
    assert_eq!(answer.code(), "desktop_paused");
    let status = lesson.pupil.get("/api/container/status").await.json();
    assert_eq!(status["container"]["status"], "paused");
    lesson.pupil.post("/api/container/stop", "{}").await;
    assert_eq!(lesson.picture().await.code(), "desktop_not_up");
    lesson.gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_without_a_way_to_its_screen_has_no_picture() {
    let template = "id = 's'\npreset = 'webtop'\nimage = 'i'";
    let plain = FakeOptions {
        tls: false,
        ..FakeOptions::default()
    };
    let mut lesson = Lesson::begin(&[LOOK, (TEMPLATE, template)], plain).await;
    let answer = lesson.picture().await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.code(), "no_picture");
    lesson.end().await;
}

/// A desktop of this template by itself, as the gateway knows it.
async fn entry(template: Template, fake: FakeOptions) -> (FakeDesktop, Arc<Entry>) {
    let password = Secret::new(fake.password.clone());
    let desktop = FakeDesktop::start(fake).await;
    let id = DesktopId::random();
    let upstream = Upstream::new(&template, id, desktop.addr(), &password);
    let entry = Entry::new(id, UserId::random(), Arc::new(template), upstream);
    (desktop, Arc::new(entry))
}

fn pictures() -> Pictures {
    Pictures::new(Dialer::new())
}

#[tokio::test]
async fn the_picture_that_a_desktop_makes_of_itself_is_taken_first() {
    let (other, entry_of_other) = entry(Preset::Kasm.template("i".into()), showing()).await;
    let made = pictures().take(&entry_of_other, LARGE).await;
    let jpeg = made.expect("a picture").bytes;
    other.stop().await;
    let fake = FakeOptions {
        screenshot: Some(jpeg.to_vec()),
        ..FakeOptions::default()
    };
    let (desktop, entry) = entry(Preset::Kasm.template("i".into()), fake).await;
    let picture = pictures().take(&entry, LARGE).await.expect("a picture");
    assert_eq!(
        (&picture.bytes, picture.content_type),
        (&jpeg, "image/jpeg")
    );
    let asked = desktop.requests();
    let targets: Vec<&str> = asked.iter().map(|one| one.target.as_str()).collect();
    assert_eq!(
        targets,
        ["/api/get_screenshot?width=1280&height=800&quality=7"]
    );
    assert_eq!(desktop.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_look_is_that_of_a_user_who_only_sees_where_there_is_one() {
    let kasm = |viewer: Option<&str>| {
        let mut template = Preset::Kasm.template("i".into());
        template.screenshot = None;
        template.viewer_auth = viewer.map(str::to_owned);
        template
    };
    let as_whom = |desktop: &FakeDesktop| {
        let asked = desktop.requests().into_iter();
        let users = asked.map(|one| {
            let encoded = one.after("Authorization: Basic ").unwrap_or_default();
            let pair = STANDARD.decode(encoded.trim()).expect("Base64");
            let pair = String::from_utf8(pair).expect("text");
            pair.split(':').next().unwrap_or_default().to_owned()
        });
        users.collect::<Vec<_>>()
    };
    for (said, seen) in [
        (None, &["kasm_user", "kasm_user"][..]),
        (Some("kasm_viewer"), &["kasm_viewer", "kasm_viewer"]),
        // Asked once and never again: five failures would keep everybody out.
        (Some("nobody"), &["nobody", "kasm_user", "kasm_user"]),
    ] {
        let (desktop, entry) = entry(kasm(said), showing()).await;
        for _ in 0..2 {
            pictures().take(&entry, LARGE).await.expect("a picture");
        }
        assert_eq!(as_whom(&desktop), seen, "{said:?}");
        assert_eq!(desktop.violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_look_goes_on_with_what_changes_and_an_empty_password_opens_the_door() {
    let mut fake = showing();
    let screen = FakeScreen {
        security: 2,
        ..FakeScreen::default()
    };
    fake.screen = Some(screen);
    let (desktop, entry) = entry(Preset::Kasm.template("i".into()), fake).await;
    let mut view = pictures().view(entry.clone());
    let first = view.next(LARGE).await.expect("a picture");
    let (size, colour) = decoded(&first.bytes);
    assert_eq!(size, (640, 400), "not larger than it is");
    assert!(is_that_of_the_screen(colour), "{colour:?}");

    // Nothing changes: whoever waits can give up and lose nothing.
    let waited = tokio::time::timeout(Duration::from_millis(200), view.next(LARGE)).await;
    assert!(waited.is_err());
    let red = FakeScreen {
        colour: [0, 0, 250],
        ..screen
    };
    desktop.push(&red.update());
    let next = tokio::time::timeout(PATIENCE, view.next(LARGE)).await;
    let (_, colour) = decoded(&next.expect("in time").expect("a picture").bytes);
    assert!(colour[0] > 230 && colour[2] < 20, "{colour:?}");

    entry.gone.cancel();
    let end = view.next(LARGE).await;
    assert!(matches!(end, Err(PictureError::Gone)), "{end:?}");
    drop(view);
    assert_eq!(desktop.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_picture_is_not_passed_on() {
    for (path, expected) in [
        ("/index.html", "NoPicture"),
        ("/big", "NoAnswer"),
        ("/redirect-out", "Status(302)"),
        ("/nothing", "Status(404)"),
        ("/die", "NoAnswer"),
        ("/hang", "Timeout"),
    ] {
        let mut template = Preset::Webtop.template("i".into());
        template.scheme = deskgate::model::template::Scheme::Https;
        template.auth = Preset::Kasm.template("i".into()).auth;
        template.screenshot = Some(path.into());
        let (desktop, entry) = entry(template, FakeOptions::default()).await;
        let taken = pictures().take(&entry, LARGE).await;
        let error = taken.expect_err(path);
        assert_eq!(format!("{error:?}"), expected, "{path}");
        assert_eq!(desktop.violations(), Vec::<String>::new());
        assert_eq!(desktop.requests().len(), 1, "no redirect is followed");
    }
}

#[tokio::test]
async fn a_desktop_that_speaks_something_else_is_left() {
    let echoing = FakeOptions::default();
    let wrong = FakeOptions {
        password: "another".into(),
        ..showing()
    };
    let mut template = Preset::Kasm.template("i".into());
    template.screenshot = None;
    // It says its version, and repeats ours as the beginning of 82 security types.
    let (_echo, talks) = entry(template.clone(), echoing).await;
    let error = pictures().take(&talks, LARGE).await.expect_err("no RFB");
    assert!(matches!(error, PictureError::Timeout), "{error:?}");
    let (_desktop, mut locked) = entry(template, wrong).await;
    let entry = Arc::get_mut(&mut locked).expect("nobody else has it");
    entry.upstream.authorization = None;
    let error = pictures().take(&locked, LARGE).await.expect_err("a door");
    assert!(matches!(error, PictureError::Connect(_)), "{error:?}");
}
