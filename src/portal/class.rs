//! Responsible for the pages of teachers: their classes, and who in a class has which desktop.

use std::sync::Arc;

use super::look::look_address;
use super::question::{Question, question};
use super::shell::Shell;
use super::texts;
use crate::config::TeacherLook;
use crate::model::desktop::{Desktop, State};
use crate::model::template::Template;
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::request::lang::Lang;
use crate::respond::page::to_html;

/// The path of both pages.
pub const CLASS_PATH: &str = "/class";

/// One's classes.
#[derive(Debug, askama::Template)]
#[template(path = "classes.html")]
pub struct Classes<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// Who sees it.
    pub shell: Shell<'a>,
    /// The classes.
    pub classes: &'a [ClassFigures],
}

/// A class in the list.
#[derive(Debug)]
pub struct ClassFigures {
    /// Its name.
    pub name: String,
    /// How many pupils are known.
    pub pupils: usize,
    /// How many of their desktops live.
    pub live: usize,
}

/// A class, and everybody in it.
#[derive(Debug, askama::Template)]
#[template(path = "class.html")]
pub struct Class<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// Who sees it.
    pub shell: Shell<'a>,
    /// Its name.
    pub name: &'a str,
    /// The pupils with their desktops, in the order shown.
    pub pupils: &'a [(User, Vec<Desktop>)],
    /// Every template there is.
    pub templates: &'a [Arc<Template>],
    /// When it is shown.
    pub now: Timestamp,
    /// What teachers see of screens.
    pub look: TeacherLook,
}

/// Renders the classes.
#[must_use]
pub fn classes(page: &Classes<'_>) -> String {
    to_html(page)
}

/// Renders a class.
#[must_use]
pub fn class(page: &Class<'_>) -> String {
    to_html(page)
}

/// Where the page of a class is.
#[must_use]
pub fn class_address(name: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("name", name);
    format!("{CLASS_PATH}?{}", query.finish())
}

/// What a card says of a pupil's desktop.
struct OnCard {
    id: String,
    title: String,
    status: &'static str,
    label: &'static str,
    last_use: String,
    live: bool,
    /// Whether it can be stopped now.
    stoppable: bool,
    /// Whether there may be a picture of it.
    seen: bool,
    /// Where one can look at it.
    look: Option<String>,
}

impl ClassFigures {
    fn address(&self) -> String {
        class_address(&self.name)
    }
}

impl Class<'_> {
    /// Those that live; if none does, the newest.
    fn desktops(&self, all: &[Desktop]) -> Vec<OnCard> {
        let live = all.iter().filter(|one| one.status.is_live());
        let mut shown: Vec<&Desktop> = live.collect();
        if shown.is_empty() {
            shown.extend(all.iter().max_by_key(|one| one.created_at));
        }
        shown.into_iter().map(|one| self.on_card(one)).collect()
    }

    fn on_card(&self, desktop: &Desktop) -> OnCard {
        let template = self
            .templates
            .iter()
            .find(|known| known.id == desktop.template);
        let title = template.map_or(desktop.template.as_str(), |template| {
            self.lang.pick(&template.title.de, &template.title.en)
        });
        let used = desktop.last_input.or(desktop.last_accessed);
        let used = used.filter(|_| desktop.status.is_up());
        let words = used.map(|then| {
            let span = texts::span(self.lang, self.now.since(then));
            texts::last_use(self.lang).replace("{span}", &span)
        });
        let status = desktop.status.as_str();
        let runs = desktop.status == State::Running;
        let pictures = template.is_some_and(|template| template.has_pictures());
        let may_look = self.look >= TeacherLook::View && runs && pictures;
        let id = desktop.id.to_string();
        OnCard {
            look: may_look.then(|| look_address(&id, self.name)),
            id,
            title: title.to_owned(),
            status,
            label: texts::state(self.lang, status),
            last_use: words.unwrap_or_default(),
            live: desktop.status.is_live(),
            stoppable: desktop.status.is_live() && status != "stopping",
            seen: self.has_pictures() && runs,
        }
    }

    fn has_pictures(&self) -> bool {
        self.look >= TeacherLook::Thumbnails
    }

    /// The templates that somebody in the class may start, with their titles.
    fn choices(&self) -> Vec<(&str, &str)> {
        let all = self.templates.iter();
        let theirs = all.filter(|template| {
            let mut pupils = self.pupils.iter();
            pupils.any(|(pupil, _)| pupil.may_start(template))
        });
        let titled = theirs.map(|template| {
            let title = self.lang.pick(&template.title.de, &template.title.en);
            (template.id.as_str(), title)
        });
        titled.collect()
    }

    fn live(&self) -> usize {
        let desktops = self.pupils.iter().flat_map(|(_, desktops)| desktops);
        desktops.filter(|one| one.status.is_live()).count()
    }

    fn summary(&self) -> String {
        let (live, pupils) = (self.live(), self.pupils.len());
        match self.lang {
            Lang::De => format!("Schülerinnen und Schüler: {pupils} · Desktops: {live}"),
            Lang::En => format!("Pupils: {pupils} · desktops: {live}"),
        }
    }

    fn stop_words(&self) -> (String, &'static str, &'static str) {
        stop_words(self.lang, self.name)
    }

    fn address(&self) -> String {
        class_address(self.name)
    }
}

/// The question before a class is stopped, what that means, and the word for yes.
fn stop_words(lang: Lang, class: &str) -> (String, &'static str, &'static str) {
    let question = match lang {
        Lang::De => format!("Alle Desktops von {class} beenden?"),
        Lang::En => format!("Stop all desktops of {class}?"),
    };
    (
        question,
        lang.pick(
            "Programme darin werden geschlossen. Was nicht gespeichert ist, geht verloren; die Dateien bleiben.",
            "Programs in them are closed. What is not saved is lost; the files stay.",
        ),
        lang.pick("Alle beenden", "Stop all"),
    )
}

/// Asks before desktops are stopped, where no script asks: those of the whole class, or one pupil's.
#[must_use]
pub fn class_ask(shell: Shell<'_>, class: &str, one: Option<&str>) -> String {
    let (heading, about, label) = stop_words(shell.lang, class);
    let (heading, label) = match one {
        None => (heading, label),
        Some(_) => (
            shell
                .lang
                .pick("Diesen Desktop beenden?", "Stop this desktop?")
                .to_owned(),
            shell.lang.pick("Beenden", "Stop"),
        ),
    };
    let mut fields = vec![("class", class)];
    match one {
        Some(id) => fields.extend([("act", "stop-one"), ("id", id)]),
        None => fields.push(("act", "stop")),
    }
    question(&Question {
        lang: shell.lang,
        shell,
        heading,
        about,
        label,
        path: CLASS_PATH,
        fields,
        back: class_address(class),
        failures: &[],
    })
}

/// Says for whom something did not work.
#[must_use]
pub fn class_failures(shell: Shell<'_>, class: &str, failures: &[String]) -> String {
    let lang = shell.lang;
    question(&Question {
        lang,
        shell,
        heading: lang
            .pick(
                "Das hat nicht bei allen geklappt",
                "That did not work for everybody",
            )
            .to_owned(),
        about: "",
        label: "",
        path: CLASS_PATH,
        fields: Vec::new(),
        back: class_address(class),
        failures,
    })
}

#[cfg(test)]
#[path = "class_tests.rs"]
mod tests;
