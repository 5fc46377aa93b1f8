//! Responsible for the pages of admins. They are whole without a script; the script asks for the same page again and
//! puts what is new in its place, so that nothing is written down twice.

mod audit;
mod chart;
mod desktops;
mod list;
mod overview;
mod people;
mod stock;

pub use audit::admin_audit;
pub use desktops::admin_desktops;
pub use list::{AdminAsk, Asked, admin_ask, admin_failures};
pub use overview::{AdminOverview, admin_overview};
pub use people::{admin_sessions, admin_users};
pub use stock::{UsedImage, admin_images, admin_templates};

use crate::request::lang::Lang;

/// A page of admins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// How the installation is.
    Overview,
    /// Everybody's desktops.
    Desktops,
    /// Who ever signed in.
    Users,
    /// Who is signed in.
    Sessions,
    /// What the engine has.
    Images,
    /// What desktops are made from.
    Templates,
    /// Who did what.
    Audit,
}

impl Section {
    /// All of them, in the order shown.
    pub const ALL: [Self; 7] = [
        Self::Overview,
        Self::Desktops,
        Self::Users,
        Self::Sessions,
        Self::Images,
        Self::Templates,
        Self::Audit,
    ];

    /// Where it is.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/admin",
            Self::Desktops => "/admin/desktops",
            Self::Users => "/admin/users",
            Self::Sessions => "/admin/sessions",
            Self::Images => "/admin/images",
            Self::Templates => "/admin/templates",
            Self::Audit => "/admin/audit",
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
        matches!(self, Self::Desktops | Self::Sessions | Self::Images)
    }

    pub(super) fn label(self, lang: Lang) -> &'static str {
        match self {
            Self::Overview => lang.pick("Übersicht", "Overview"),
            Self::Desktops => "Desktops",
            Self::Users => lang.pick("Personen", "People"),
            Self::Sessions => lang.pick("Sitzungen", "Sessions"),
            Self::Images => "Images",
            Self::Templates => lang.pick("Vorlagen", "Templates"),
            Self::Audit => lang.pick("Protokoll", "Audit log"),
        }
    }

    /// What can be done to its rows, after a question.
    fn acts(self, lang: Lang) -> Vec<list::Act> {
        match self {
            Self::Desktops => desktops::acts(lang),
            Self::Sessions => people::acts(lang),
            _ => Vec::new(),
        }
    }
}

/// The choice that chooses nothing.
fn any(lang: Lang) -> impl Iterator<Item = (String, String)> {
    std::iter::once((String::new(), lang.pick("Alle", "All").to_owned()))
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
