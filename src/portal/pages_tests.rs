//! Responsible for the tests of the pages: escaping, what is visible in which state, and the absence of inline code.

use super::*;
use crate::portal::Place;

fn card(status: &str) -> Card {
    Card {
        template: "ubuntu".into(),
        title: "Ubuntu <b>".into(),
        description: "For \"class\"".into(),
        icon: String::new(),
        has_home: true,
        desktop: (!status.is_empty()).then(|| CardDesktop {
            id: "d-1".into(),
            status: status.into(),
            status_reason: Some("<i>full</i>".into()),
            url: "/desktop/d-1/".into(),
            uptime: Some(Duration::from_secs(7500)),
            last_use: Some(Duration::from_secs(180)),
            time_left: None,
        }),
    }
}

fn shell(lang: Lang, csrf_token: Option<&str>) -> Shell<'_> {
    Shell {
        lang,
        user_name: "<Mia>",
        role: "student",
        csrf_token,
        place: Place::Home,
    }
}

fn home_page(status: &str) -> String {
    home(&Home {
        lang: Lang::De,
        shell: shell(Lang::De, Some("token\"1")),
        cards: &[card(status)],
        look: TeacherLook::Off,
    })
}

fn waiting_page(status: &str) -> String {
    waiting(&Waiting {
        lang: Lang::En,
        desktop_id: "d-1",
        title: "Ubuntu",
        status,
        reason_code: Some("no_port"),
        reason: Some("<no room>"),
        log: (status == "error").then_some("exit code 3\n<b>no such file</b>"),
        template: "ubuntu",
        look: TeacherLook::View,
        csrf_token: (status == "error").then_some("token\"1"),
    })
}

fn sign_in_page(return_to: &str) -> String {
    sign_in(&SignIn {
        lang: Lang::En,
        return_to,
        provider: "iserv.example",
        signed_out: true,
    })
}

/// The opening tag that carries this test id.
fn tag<'a>(html: &'a str, test_id: &str) -> &'a str {
    let at = html
        .find(&format!("data-testid=\"{test_id}\""))
        .expect("the page has this hook");
    let start = html[..at].rfind('<').expect("an attribute is in a tag");
    let end = html[at..].find('>').expect("a tag ends") + at;
    &html[start..=end]
}

#[test]
fn buttons_follow_the_state() {
    for (status, start, open, stop) in [
        ("", true, false, false),
        ("queued", false, true, true),
        ("starting", false, true, true),
        ("running", false, true, true),
        ("paused", false, true, true),
        ("stopping", false, false, true),
        ("stopped", true, false, false),
        ("error", true, false, false),
    ] {
        let html = home_page(status);
        for (test_id, visible) in [("start-form", start), ("open", open), ("stop", stop)] {
            let tag = tag(&html, test_id);
            assert_eq!(!tag.contains(" hidden"), visible, "{status:?}: {tag}");
        }
    }
}

#[test]
fn only_what_has_files_can_start_afresh() {
    assert!(!tag(&home_page("running"), "fresh").contains(" hidden"));
    assert!(tag(&home_page(""), "fresh").contains(" hidden"));
    let bare = Card {
        has_home: false,
        ..card("running")
    };
    let html = home(&Home {
        lang: Lang::En,
        shell: shell(Lang::En, None),
        cards: &[bare],
        look: TeacherLook::Off,
    });
    assert!(!html.contains("data-testid=\"fresh\""));
}

#[test]
fn pupils_read_what_their_teachers_may_see() {
    let with = |look| {
        home(&Home {
            lang: Lang::De,
            shell: shell(Lang::De, None),
            cards: &[],
            look,
        })
    };
    assert!(!with(TeacherLook::Off).contains("data-testid=\"look\""));
    let small = with(TeacherLook::Thumbnails);
    assert!(small.contains("ein kleines Bild") && !small.contains("groß"));
    assert!(with(TeacherLook::View).contains("groß"));
    assert!(waiting_page("creating").contains("Before they look at it in full, it tells you."));
}

#[test]
fn every_value_is_escaped() {
    let html = home_page("error");
    for raw in ["<b>", "<i>", "<Mia>", "token\"1", "\"class\""] {
        assert!(!html.contains(raw), "{raw}");
    }
    assert!(!waiting_page("error").contains("<no room>"));
}

#[test]
fn no_page_has_inline_code() {
    for html in [
        home_page("running"),
        waiting_page("queued"),
        sign_in_page("/"),
    ] {
        assert!(!html.contains("<style"));
        assert!(!html.contains(" style="));
        assert!(!html.contains(" onclick="));
        assert!(!html.contains("<script>"));
    }
}

#[test]
fn the_token_is_there_only_when_given() {
    assert!(home_page("").contains("name=\"csrf-token\""));
    let without = home(&Home {
        lang: Lang::En,
        shell: shell(Lang::En, None),
        cards: &[],
        look: TeacherLook::Off,
    });
    assert!(!without.contains("csrf"));
}

#[test]
fn sign_in_encodes_where_to_return() {
    let html = sign_in_page("/desktop/d-1/?a=b&c=\"><x");
    assert!(
        tag(&html, "sign-in")
            .contains("/login?return_to=%2Fdesktop%2Fd-1%2F%3Fa%3Db%26c%3D%22%3E%3Cx\"")
    );
    assert!(html.contains("iserv.example"));
}

#[test]
fn waiting_refreshes_without_scripts_until_it_has_ended() {
    assert!(waiting_page("queued").contains("http-equiv=\"refresh\""));
    assert!(tag(&waiting_page("queued"), "error").contains(" hidden"));
    for status in ["error", "stopped"] {
        let html = waiting_page(status);
        assert!(!html.contains("http-equiv=\"refresh\""));
        assert!(!tag(&html, "error").contains(" hidden"));
    }
}

#[test]
fn a_card_tells_how_long_it_has_run_and_when_it_was_used() {
    let html = home_page("running");
    assert!(html.contains(">Läuft seit 2 h 5 min · zuletzt benutzt vor 3 min</p>"));
    assert!(!home_page("").contains("Läuft seit 2"));
}

#[test]
fn a_desktop_that_failed_can_be_started_again_without_a_script() {
    let html = waiting_page("error");
    assert!(tag(&html, "again").contains("type=\"submit\""));
    assert!(
        html.contains("exit code 3\n&#60;b&#62;no such file"),
        "{html}"
    );
    assert!(!waiting_page("stopped").contains("<details"));
    assert!(html.contains("action=\"/open\"") && html.contains("value=\"token&#34;1\""));
    assert!(
        !waiting_page("stopped").contains("name=\"csrf_token\""),
        "no token, no form"
    );
}

#[test]
fn every_page_offers_the_other_language_and_comes_back_to_itself() {
    assert!(
        home_page("").contains("/language?set=en&amp;to=%2F\"")
            || home_page("").contains("/language?set=en&#38;to=%2F\"")
    );
    let waiting = waiting_page("queued");
    assert!(
        waiting.contains("set=de") && waiting.contains("to=%2Fdesktop%2Fd-1%2F"),
        "{waiting}"
    );
}
