//! Responsible for the question before something is done, where no script asks it, and for what did not work then.

use askama::Template;

use super::shell::Shell;
use crate::request::lang::Lang;
use crate::respond::page::to_html;

/// A question that is answered by a form, or a list of what did not work.
#[derive(Debug, Template)]
#[template(path = "question.html")]
pub(super) struct Question<'a> {
    pub lang: Lang,
    pub shell: Shell<'a>,
    pub heading: String,
    /// What a yes means.
    pub about: &'a str,
    /// The word for yes; empty if nothing is asked.
    pub label: &'a str,
    /// Where the form goes.
    pub path: &'a str,
    /// What it sends besides the yes.
    pub fields: Vec<(&'a str, &'a str)>,
    /// Where a no leads.
    pub back: String,
    pub failures: &'a [String],
}

pub(super) fn question(page: &Question<'_>) -> String {
    to_html(page)
}
