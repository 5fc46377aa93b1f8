//! Who a person is: the user, their role and their groups.

use serde::Serialize;

use super::id::UserId;
use super::template::Template;

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
    /// Whether the user may start desktops of `template`: they are named there or in one of its groups, or it is
    /// for everybody.
    #[must_use]
    pub fn may_start(&self, template: &Template) -> bool {
        let Template { groups, users, .. } = template;
        let everybody = groups.is_empty() && users.is_empty();
        let in_group = groups
            .iter()
            .any(|group| self.identity.groups.contains(group));
        everybody || in_group || users.contains(&self.identity.username)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_for_everybody_or_for_those_it_names() {
        let user = User {
            id: UserId::random(),
            identity: Identity {
                issuer: "https://id.example".into(),
                subject: "1".into(),
                username: "mia".into(),
                name: None,
                email: None,
                role: Role::Student,
                groups: vec!["klasse.8a".into()],
            },
        };
        let may = |groups: &[&str], users: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let mut template = Template::kasm("image".into(), 6901);
            (template.groups, template.users) = (owned(groups), owned(users));
            user.may_start(&template)
        };
        assert!(may(&[], &[]));
        assert!(may(&["klasse.8b", "klasse.8a"], &[]));
        assert!(may(&["klasse.8b"], &["mia"]) && may(&[], &["mia"]));
        assert!(!may(&["klasse.8b"], &[]) && !may(&[], &["ben"]));
    }
}
