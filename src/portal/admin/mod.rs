//! Responsible for the pages of admins. They are whole without a script; the script asks for the same page again and
//! puts what is new in its place, so that nothing is written down twice.

mod chart;
mod overview;

pub use overview::{AdminOverview, admin_overview};

use crate::request::lang::Lang;

/// A page of admins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// How the installation is.
    Overview,
}

impl Section {
    /// All of them, in the order shown.
    pub const ALL: [Self; 1] = [Self::Overview];

    /// Where it is.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/admin",
        }
    }

    /// The section at this path.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.path() == path)
    }

    /// Whether its page changes something.
    #[must_use]
    pub const fn has_forms(self) -> bool {
        match self {
            Self::Overview => false,
        }
    }

    pub(super) fn label(self, lang: Lang) -> &'static str {
        match self {
            Self::Overview => lang.pick("Übersicht", "Overview"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_found_by_its_path() {
        for section in Section::ALL {
            assert_eq!(Section::at(section.path()), Some(section));
        }
        assert_eq!(Section::at("/admin/"), None);
    }
}
