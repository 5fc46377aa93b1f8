//! Responsible for the page on which a teacher looks at a pupil's desktop.

use askama::Template;

use super::class::{CLASS_PATH, class_address};
use super::shell::Shell;
use crate::request::lang::Lang;
use crate::respond::page::to_html;

/// The path of the page.
pub const LOOK_PATH: &str = "/class/look";

/// A pupil's desktop, to be looked at.
#[derive(Debug, Template)]
#[template(path = "look.html")]
pub struct LookPage<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// Who sees it.
    pub shell: Shell<'a>,
    /// Public id of the desktop.
    pub desktop_id: &'a str,
    /// What its pupil is called.
    pub pupil: &'a str,
    /// Title of its template.
    pub title: &'a str,
    /// The class that they came from.
    pub class: Option<&'a str>,
    /// Longest look, minutes.
    pub minutes: u64,
}

/// Renders the page.
#[must_use]
pub fn look(page: &LookPage<'_>) -> String {
    to_html(page)
}

/// Where the page for a desktop is, for somebody who comes from a class.
pub(super) fn look_address(desktop: &str, class: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("id", desktop).append_pair("class", class);
    format!("{LOOK_PATH}?{}", query.finish())
}

impl LookPage<'_> {
    fn back(&self) -> String {
        self.class.map_or(CLASS_PATH.to_owned(), class_address)
    }

    fn back_label(&self) -> &str {
        let all = self.lang.pick("Alle Klassen", "All classes");
        self.class.unwrap_or(all)
    }

    fn address(&self) -> String {
        look_address(self.desktop_id, self.class.unwrap_or_default())
    }

    fn about(&self) -> String {
        let (pupil, minutes) = (self.pupil, self.minutes);
        match self.lang {
            Lang::De => format!(
                "Solange du zusiehst, steht auf diesem Desktop groß, dass du es tust: {pupil} weiß also davon. Du kannst nichts darin ändern. Beginn und Ende stehen im Protokoll. Nach {minutes} Minuten endet es von selbst."
            ),
            Lang::En => format!(
                "As long as you look, this desktop says so in large letters, so {pupil} knows. You can change nothing in it. The audit log has beginning and end. It ends by itself after {minutes} minutes."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::Place;

    #[test]
    fn values_are_escaped_and_nothing_is_opened_before_somebody_wants_it() {
        let shell = Shell {
            user_name: "Frau Lehmann",
            role: "teacher",
            lang: Lang::De,
            csrf_token: Some("token"),
            place: Place::Class,
        };
        let html = look(&LookPage {
            lang: Lang::De,
            shell,
            desktop_id: "01234567",
            pupil: "<mia>",
            title: "\"><i>",
            class: Some("klasse.8a & b"),
            minutes: 15,
        });
        assert!(
            !html.contains("<mia>") && !html.contains("\"><i>"),
            "{html}"
        );
        assert!(html.contains("data-desktop=\"01234567\""));
        assert!(html.contains("/class?name=klasse.8a+%26+b"));
        assert!(html.contains("Nach 15 Minuten"));
        assert!(html.contains("id=\"end\"") && !html.contains("<img src=\"/api"));
    }
}
