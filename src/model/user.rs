//! Who a person is: the user, their role and their groups.

use serde::Serialize;

use super::id::UserId;

/// What a person may do here, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Own desktops.
    Student,
    /// Own desktops, and a view of the classes in one's groups.
    Teacher,
    /// Everything.
    Admin,
}

impl Role {
    /// The word in the database, in JSON and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Student => "student",
            Self::Teacher => "teacher",
            Self::Admin => "admin",
        }
    }

    /// From the database's word; anything unknown has the least rights.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "admin" => Self::Admin,
            "teacher" => Self::Teacher,
            _ => Self::Student,
        }
    }
}

/// Who the provider says somebody is: the key of a user is (issuer, subject), never a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `iss` of the ID token.
    pub issuer: String,
    /// `sub` of the ID token.
    pub subject: String,
    /// What to call the person.
    pub username: String,
    /// Full name, where the provider gives one.
    pub name: Option<String>,
    /// Mail address, where the provider gives one.
    pub email: Option<String>,
    /// From the configured group and role names.
    pub role: Role,
    /// Groups and roles as flat names.
    pub groups: Vec<String>,
}

impl Identity {
    /// How to address the person.
    #[must_use]
    pub fn display_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.username)
    }
}

/// A user as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Our id.
    pub id: UserId,
    /// What the provider said at the last login.
    pub identity: Identity,
}

impl User {
    /// Whether the user is in one of `groups`; an empty list means everybody.
    #[must_use]
    pub fn is_in_any(&self, groups: &[String]) -> bool {
        groups.is_empty()
            || groups
                .iter()
                .any(|group| self.identity.groups.contains(group))
    }
}
