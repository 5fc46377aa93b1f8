//! Responsible for the tests of the pages: escaping, what is visible in which state, and the absence of inline code.

use super::*;

fn card(status: &str) -> Card {
    Card {
        template: "ubuntu".into(),
        title: "Ubuntu <b>".into(),
        description: "For \"class\"".into(),
        icon: String::new(),
        desktop: (!status.is_empty()).then(|| CardDesktop {
            id: "d-1".into(),
            status: status.into(),
            status_reason: Some("<i>full</i>".into()),
            url: "/desktop/d-1/".into(),
        }),
    }
}

fn home_page(status: &str) -> String {
    home(&Home {
        lang: Lang::De,
        user_name: "<Mia>",
        role: "student",
        csrf_token: Some("token\"1"),
        cards: &[card(status)],
    })
}

fn waiting_page(status: &str) -> String {
    waiting(&Waiting {
        lang: Lang::En,
        desktop_id: "d-1",
        title: "Ubuntu",
        status,
        reason: Some("<no room>"),
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
        for (test_id, visible) in [("start", start), ("open", open), ("stop", stop)] {
            let tag = tag(&html, test_id);
            assert_eq!(!tag.contains(" hidden"), visible, "{status:?}: {tag}");
        }
    }
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
        user_name: "Mia",
        role: "admin",
        csrf_token: None,
        cards: &[],
    });
    assert!(!without.contains("csrf-token"));
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
