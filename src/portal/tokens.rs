//! Responsible for the API tokens on the account page.

use super::texts;
use crate::request::lang::Lang;

/// An API token of the person.
#[derive(Debug, Clone)]
pub struct AccountToken {
    /// Public id.
    pub id: String,
    /// What the person calls it.
    pub name: String,
    /// Its scopes, as the API spells them, with spaces between.
    pub scopes: String,
    /// When it ends, RFC 3339 in UTC.
    pub expires_at: Option<String>,
    /// When it was last used, RFC 3339 in UTC.
    pub last_used: Option<String>,
}

impl AccountToken {
    /// What it is good for, in the language of the page.
    pub(super) fn scope_labels(&self, lang: Lang) -> String {
        let labels = self
            .scopes
            .split(' ')
            .map(|scope| texts::scope(lang, scope));
        labels.collect::<Vec<_>>().join(" · ")
    }

    /// When it ends, until the page's script writes it as people do.
    pub(super) fn end(&self, lang: Lang) -> &str {
        self.expires_at.as_deref().unwrap_or_else(|| never(lang))
    }

    /// The same for its last use.
    pub(super) fn use_of_it(&self, lang: Lang) -> &str {
        self.last_used.as_deref().unwrap_or_else(|| never(lang))
    }
}

pub(super) fn never(lang: Lang) -> &'static str {
    lang.pick("nie", "never")
}
