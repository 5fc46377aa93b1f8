//! Responsible for the tests of the pages of teachers: who is shown how, what can be started, what is escaped.

use super::*;
use crate::model::desktop::State;
use crate::model::id::{DesktopId, UserId};
use crate::model::preset::Preset;
use crate::model::template::Texts;
use crate::model::user::{Identity, Role};
use crate::portal::Place;

fn shell(lang: Lang) -> Shell<'static> {
    Shell {
        lang,
        user_name: "Frau <Weber>",
        role: "teacher",
        csrf_token: Some("t"),
        place: Place::Class,
    }
}

fn pupil(name: &str) -> User {
    User {
        id: UserId::random(),
        identity: Identity {
            issuer: "https://id.test".into(),
            subject: name.into(),
            username: name.into(),
            name: None,
            email: None,
            role: Role::Student,
            groups: vec!["klasse.8a".into()],
        },
    }
}

fn template(id: &str, groups: &[&str]) -> Arc<Template> {
    let mut template = Preset::Kasm.template("image:1".into());
    template.id = id.to_owned();
    template.title = Texts::same(&format!("Title of {id}"));
    template.groups = groups.iter().map(|&group| group.to_owned()).collect();
    Arc::new(template)
}

fn desktop(owner: &User, of: &Template, status: State, minute: i64) -> Desktop {
    let at = Timestamp::from_millis(minute * 60_000);
    let mut desktop = Desktop::queued(of, DesktopId::random(), owner.id, "name".into(), at);
    desktop.status = status;
    desktop.last_input = Some(at);
    desktop
}

/// Everybody with their desktops.
type Pupils = [(User, Vec<Desktop>)];

fn page(lang: Lang, pupils: &Pupils, templates: &[Arc<Template>]) -> String {
    page_with(lang, (pupils, templates), TeacherLook::Off)
}

fn page_with(
    lang: Lang,
    (pupils, templates): (&Pupils, &[Arc<Template>]),
    look: TeacherLook,
) -> String {
    class(&Class {
        lang,
        shell: shell(lang),
        name: "8a <x>",
        pupils,
        templates,
        now: Timestamp::from_millis(10 * 60_000),
        look,
    })
}

#[test]
fn those_that_live_are_shown_or_else_the_newest() {
    let all = [template("ubuntu", &[]), template("office", &[])];
    let (mia, ben, ida) = (pupil("mia"), pupil("<ben>"), pupil("ida"));
    let of_mia = vec![
        desktop(&mia, &all[0], State::Running, 5),
        desktop(&mia, &all[1], State::Stopped, 6),
    ];
    let of_ben = vec![
        desktop(&ben, &all[0], State::Error, 7),
        desktop(&ben, &all[0], State::Stopped, 2),
    ];
    let running = of_mia[0].id.to_string();
    let html = page(
        Lang::En,
        &[(mia, of_mia), (ben, of_ben), (ida, Vec::new())],
        &all,
    );
    assert!(html.contains("Pupils: 3 · desktops: 1") && html.contains("last used 5 min ago"));
    assert_eq!(html.matches("data-testid=\"state\"").count(), 2);
    assert!(html.contains(">Error<") && html.contains(">No desktop<"));
    assert_eq!(html.matches("data-testid=\"stop-one\"").count(), 1);
    assert!(html.contains(&format!("value=\"{running}\"")));
    for raw in ["<ben>", "8a <x>", "<Weber>", " style=", "<script>"] {
        assert!(!html.contains(raw), "{raw}");
    }
}

#[test]
fn only_what_somebody_may_start_can_be_started() {
    let all = [
        template("ubuntu", &["klasse.8a"]),
        template("exam", &["klasse.9b"]),
    ];
    let html = page(Lang::De, &[(pupil("mia"), Vec::new())], &all);
    assert!(html.contains("value=\"ubuntu\"") && !html.contains("value=\"exam\""));
    let nobody = page(Lang::De, &[], &all);
    assert!(!nobody.contains("data-testid=\"start\"") && nobody.contains("noch niemand"));
}

#[test]
fn a_stop_is_asked_for_with_what_it_is_about() {
    let html = class_ask(shell(Lang::En), "8a <x>", None);
    assert!(
        html.contains("Stop all desktops of 8a &#60;x&#62;?"),
        "{html}"
    );
    assert!(html.contains("name=\"act\" value=\"stop\""));
    let html = class_ask(shell(Lang::En), "8a", Some("<d>"));
    assert!(html.contains("value=\"stop-one\"") && !html.contains("<d>"));
    let html = class_failures(shell(Lang::En), "8a", &["<mia>".to_owned()]);
    assert!(!html.contains("<mia>") && !html.contains("value=\"yes\""));
}

#[test]
fn there_is_a_place_for_a_picture_of_what_runs_where_pictures_are_allowed() {
    let all = [template("ubuntu", &[])];
    let (mia, ben) = (pupil("mia"), pupil("ben"));
    let running = desktop(&mia, &all[0], State::Running, 5);
    let paused = desktop(&ben, &all[0], State::Paused, 5);
    let place = format!("data-picture=\"{}\" data-name=\"mia\"", running.id);
    let pupils = [(mia, vec![running]), (ben, vec![paused])];
    for look in [TeacherLook::Thumbnails, TeacherLook::View] {
        let html = page_with(Lang::De, (&pupils, &all), look);
        assert!(html.contains(&place), "{html}");
        assert_eq!(html.matches("data-picture=").count(), 1);
        assert!(html.contains(">Bilder zeigen</button>") && html.contains("/assets/pictures.js"));
    }
    let without = page(Lang::De, &pupils, &all);
    assert!(!without.contains("data-picture=") && !without.contains("pictures"));
}
