//! Responsible for what surrounds the pages of somebody who is signed in: who they are, the ways to the other pages,
//! the way out, and the words that the scripts of several pages say.

use std::mem::discriminant;

use super::admin::Section;
use super::texts;
use crate::request::lang::Lang;

/// A page with a place in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `/`
    Home,
    /// `/account`
    Account,
    /// `/class`
    Class,
    /// `/admin` and what is below it.
    Admin(Section),
}

/// What all pages of somebody who is signed in show.
#[derive(Debug, Clone, Copy)]
pub struct Shell<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// Name of the person.
    pub user_name: &'a str,
    /// `student`, `teacher` or `admin`.
    pub role: &'a str,
    /// Token for unsafe API calls; `None` when this response must not carry one.
    pub csrf_token: Option<&'a str>,
    /// Which page it is.
    pub place: Place,
}

/// A way to a page.
pub(super) struct Link {
    pub href: &'static str,
    pub label: &'static str,
    pub test_id: &'static str,
    pub current: bool,
}

impl Shell<'_> {
    pub(super) fn role_label(&self) -> &str {
        texts::role(self.lang, self.role)
    }

    /// The pages that this person may visit, in the order shown.
    pub(super) fn links(&self) -> impl Iterator<Item = Link> {
        let (place, lang) = (self.place, self.lang);
        let admin = self.role == "admin";
        let teacher = admin || self.role == "teacher";
        let administration = lang.pick("Verwaltung", "Administration");
        let pages = [
            (true, Place::Home, "/", "Desktops", "home"),
            (
                teacher,
                Place::Class,
                "/class",
                lang.pick("Klassen", "Classes"),
                "class",
            ),
            (
                admin,
                Place::Admin(Section::Overview),
                "/admin",
                administration,
                "admin",
            ),
            (
                true,
                Place::Account,
                "/account",
                lang.pick("Konto", "Account"),
                "account",
            ),
        ];
        pages.into_iter().filter(|(theirs, ..)| *theirs).map(
            move |(_, of, href, label, test_id)| Link {
                href,
                label,
                test_id,
                current: discriminant(&of) == discriminant(&place),
            },
        )
    }

    /// The sections of the pages of admins, with whether each is the one that is shown.
    pub(super) fn sections(&self) -> impl Iterator<Item = (Section, bool)> {
        let all = Section::ALL.into_iter();
        all.map(|section| (section, self.place == Place::Admin(section)))
    }
}
