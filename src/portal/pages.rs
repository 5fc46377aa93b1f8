//! Responsible for what each page shows: the values a caller gives, and what the templates derive from them.

use std::time::Duration;

use askama::Template;

use super::shell::Shell;
use super::{assets, texts};
use crate::config::TeacherLook;
use crate::request::lang::Lang;
use crate::respond::page::to_html;

/// The page for a person who is not signed in.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignIn<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// Local path to come back to after signing in.
    pub return_to: &'a str,
    /// Host name of the sign-in provider, so that people know where they will type their password.
    pub provider: &'a str,
    /// Whether the person has just signed out.
    pub signed_out: bool,
}

/// The start page: a card for every template the person may start.
#[derive(Debug, Template)]
#[template(path = "home.html")]
pub struct Home<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// Who sees it.
    pub shell: Shell<'a>,
    /// The cards, in the order shown.
    pub cards: &'a [Card],
    /// What teachers may see of the person's screen.
    pub look: TeacherLook,
}

/// A template the person may start, and the desktop they have of it.
#[derive(Debug, Clone)]
pub struct Card {
    /// Name of the template, as the API takes it.
    pub template: String,
    /// Title shown.
    pub title: String,
    /// One or two sentences; may be empty.
    pub description: String,
    /// A local path, a `data:image/` address, or `desktop`, `browser`, `code`, `office`, `terminal`.
    pub icon: String,
    /// Whether files outlive its desktops, so that one can wish for a fresh start.
    pub has_home: bool,
    /// The person's desktop of this template.
    pub desktop: Option<CardDesktop>,
}

/// The desktop on a card.
#[derive(Debug, Clone)]
pub struct CardDesktop {
    /// Public id.
    pub id: String,
    /// State, as the API spells it.
    pub status: String,
    /// Why it is in this state, in public words.
    pub status_reason: Option<String>,
    /// Address that opens the desktop.
    pub url: String,
    /// How long it has been up.
    pub uptime: Option<Duration>,
    /// How long ago a person last used it.
    pub last_use: Option<Duration>,
    /// When it will be stopped if nothing happens.
    pub time_left: Option<Duration>,
}

/// The page shown in a desktop's place until the desktop can be shown.
#[derive(Debug, Template)]
#[template(path = "waiting.html")]
pub struct Waiting<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// Public id of the desktop.
    pub desktop_id: &'a str,
    /// Title of its template.
    pub title: &'a str,
    /// State, as the API spells it.
    pub status: &'a str,
    /// The word for why it is in this state.
    pub reason_code: Option<&'a str>,
    /// The same as a sentence.
    pub reason: Option<&'a str>,
    /// What it wrote last, if it failed.
    pub log: Option<&'a str>,
    /// Its template, as the API takes it.
    pub template: &'a str,
    /// What teachers may see of it.
    pub look: TeacherLook,
    /// Token for unsafe calls; `None` when this response must not carry one.
    pub csrf_token: Option<&'a str>,
}

/// Renders the sign-in page.
#[must_use]
pub fn sign_in(page: &SignIn<'_>) -> String {
    to_html(page)
}

/// Renders the start page.
#[must_use]
pub fn home(page: &Home<'_>) -> String {
    to_html(page)
}

/// Renders the waiting page.
#[must_use]
pub fn waiting(page: &Waiting<'_>) -> String {
    to_html(page)
}

impl Home<'_> {
    fn look(&self) -> Option<&'static str> {
        texts::look(self.lang, self.look)
    }

    fn watched(&self) -> &'static str {
        texts::watched(self.lang)
    }

    fn uptime(&self) -> &'static str {
        texts::uptime(self.lang)
    }

    fn last_use(&self) -> &'static str {
        texts::last_use(self.lang)
    }

    fn time_left(&self) -> &'static str {
        texts::time_left(self.lang)
    }

    fn state_label(&self, status: &str) -> &'static str {
        texts::state(self.lang, status)
    }
}

impl Card {
    fn icon_address(&self) -> String {
        assets::icon_address(&self.icon)
    }

    fn status(&self) -> &str {
        self.desktop.as_ref().map_or("", |desktop| &desktop.status)
    }

    fn id(&self) -> &str {
        self.desktop.as_ref().map_or("", |desktop| &desktop.id)
    }

    fn url(&self) -> &str {
        self.desktop.as_ref().map_or("", |desktop| &desktop.url)
    }

    fn reason(&self) -> &str {
        let reason = self
            .desktop
            .as_ref()
            .and_then(|d| d.status_reason.as_deref());
        reason.unwrap_or_default()
    }

    /// How long it has run, when it was used and when it ends, as far as there is something to tell.
    fn times(&self, lang: Lang) -> String {
        let Some(desktop) = &self.desktop else {
            return String::new();
        };
        let told = [
            (desktop.uptime, texts::uptime(lang)),
            (desktop.last_use, texts::last_use(lang)),
            (desktop.time_left, texts::time_left(lang)),
        ];
        let told = told
            .into_iter()
            .filter_map(|(time, text)| Some(text.replace("{span}", &texts::span(lang, time?))));
        told.collect::<Vec<_>>().join(" · ")
    }

    // The three rules below are repeated in `home.js`, which applies them when a state changes.

    fn can_start(&self) -> bool {
        matches!(self.status(), "" | "stopped" | "error")
    }

    fn can_open(&self) -> bool {
        matches!(
            self.status(),
            "queued" | "creating" | "starting" | "running" | "paused"
        )
    }

    fn can_stop(&self) -> bool {
        self.can_open() || self.is_stopping()
    }

    fn can_be_fresh(&self) -> bool {
        self.has_home && self.desktop.is_some()
    }

    fn is_stopping(&self) -> bool {
        self.status() == "stopping"
    }
}

impl Waiting<'_> {
    fn look(&self) -> Option<&'static str> {
        texts::look(self.lang, self.look)
    }

    /// Whether waiting is pointless.
    fn has_ended(&self) -> bool {
        matches!(self.status, "stopped" | "error")
    }

    fn advice(&self) -> &'static str {
        texts::advice(self.lang, self.reason_code, self.status == "error")
    }

    fn end_title(&self) -> &'static str {
        match self.status {
            "error" if self.reason_code == Some("template_gone") => self.lang.pick(
                "Diesen Desktop kannst du nicht mehr öffnen",
                "This desktop cannot be opened any more",
            ),
            "error" => self.error_title(),
            _ => self.stopped_title(),
        }
    }

    fn error_title(&self) -> &'static str {
        self.lang.pick(
            "Dein Desktop konnte nicht starten",
            "Your desktop could not start",
        )
    }

    fn stopped_title(&self) -> &'static str {
        self.lang
            .pick("Dein Desktop ist beendet", "Your desktop has stopped")
    }

    fn steps(&self) -> impl Iterator<Item = Step> {
        let current = texts::step(self.status);
        let texts = texts::steps(self.lang).into_iter();
        texts.enumerate().map(move |(index, text)| Step {
            text,
            done: index < current,
            current: index == current,
        })
    }
}

/// One step of a start, as the waiting page shows it.
struct Step {
    text: &'static str,
    done: bool,
    current: bool,
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
