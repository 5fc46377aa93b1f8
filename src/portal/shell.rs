//! Responsible for what surrounds the pages of somebody who is signed in: who they are, the ways to the other pages,
//! the way out, and the words that the scripts of several pages say.

use super::texts;
use crate::request::lang::Lang;

/// A page with a place in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `/`
    Home,
    /// `/account`
    Account,
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
        let place = self.place;
        let pages = [
            (
                Place::Home,
                "/",
                self.lang.pick("Desktops", "Desktops"),
                "home",
            ),
            (
                Place::Account,
                "/account",
                self.lang.pick("Konto", "Account"),
                "account",
            ),
        ];
        pages
            .into_iter()
            .map(move |(of, href, label, test_id)| Link {
                href,
                label,
                test_id,
                current: of == place,
            })
    }
}
