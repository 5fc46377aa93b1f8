//! The three people of the demo, and the claims the demo provider states about them.
//!
//! The claims have the shape that `IServ` gives them, so that the demo exercises the same parsing as a school's server.

use std::collections::BTreeMap;

use openidconnect::core::CoreGenderClaim;
use openidconnect::{
    AdditionalClaims, EndUserEmail, EndUserFamilyName, EndUserGivenName, EndUserName,
    EndUserUsername, StandardClaims, SubjectIdentifier,
};
use serde::{Deserialize, Serialize};

/// One person who can sign in at the demo provider; the password is the username.
#[derive(Debug)]
pub struct Account {
    /// Name typed at sign-in, and the password.
    pub username: &'static str,
    /// The `sub` claim; never changes between starts, so that desktops find their owner again.
    pub subject: &'static str,
    /// First name.
    pub given_name: &'static str,
    /// Last name.
    pub family_name: &'static str,
    /// Mail address, in a domain reserved for examples (RFC 2606).
    pub email: &'static str,
    /// Role that settings refer to, and as people read it.
    pub role: (&'static str, &'static str),
    /// Number, account name and name of each group.
    pub groups: &'static [(u32, &'static str, &'static str)],
}

/// Everyone the demo provider knows, in the order of the login page.
pub static ACCOUNTS: [Account; 3] = [
    Account {
        username: "student",
        subject: "demo-student",
        given_name: "Mia",
        family_name: "Schneider",
        email: "mia.schneider@school.example",
        role: ("ROLE_STUDENT", "Schüler"),
        groups: &[(1, "klasse.8a", "Klasse 8a"), (2, "schueler", "Schüler")],
    },
    Account {
        username: "teacher",
        subject: "demo-teacher",
        given_name: "Jonas",
        family_name: "Weber",
        email: "jonas.weber@school.example",
        role: ("ROLE_TEACHER", "Lehrer"),
        groups: &[(1, "klasse.8a", "Klasse 8a"), (3, "lehrer", "Lehrer")],
    },
    Account {
        username: "admin",
        subject: "demo-admin",
        given_name: "Alex",
        family_name: "Admin",
        email: "alex.admin@school.example",
        role: ("ROLE_ADMIN", "Administrator"),
        groups: &[(4, "admins", "Administratoren")],
    },
];

/// Claims beyond the standard ones, in the shape of `IServ`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct DemoClaims {
    /// Groups by their number.
    pub groups: BTreeMap<String, GroupClaim>,
    /// Roles, each with the name people read.
    pub roles: Vec<RoleClaim>,
    /// The sign-in at the provider (`OpenID` Connect Front-Channel Logout 1.0, section 3); only in ID tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

impl AdditionalClaims for DemoClaims {}

/// One group in the `groups` claim.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct GroupClaim {
    /// Number of the group.
    pub id: u32,
    /// Account name of the group, which settings refer to.
    pub act: String,
    /// Name people read.
    pub name: String,
}

/// One role in the `roles` claim.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct RoleClaim {
    /// Name that settings refer to.
    pub id: String,
    /// Name people read.
    #[serde(rename = "displayName")]
    pub display_name: String,
}

impl Account {
    /// The one of `accounts` with this username, if the password is right.
    #[must_use]
    pub fn authenticate(
        accounts: &'static [Account],
        username: &str,
        password: &str,
    ) -> Option<&'static Account> {
        accounts
            .iter()
            .find(|account| account.username == username && account.username == password)
    }

    /// First and last name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.given_name, self.family_name)
    }

    /// The first letters of both names, for the card on the login page.
    #[must_use]
    pub fn initials(&self) -> String {
        let first = |name: &str| name.chars().next();
        first(self.given_name)
            .into_iter()
            .chain(first(self.family_name))
            .collect()
    }

    /// The role as people read it.
    #[must_use]
    pub fn role_name(&self) -> &'static str {
        self.role.1
    }

    /// `sub`, `name`, `given_name`, `family_name`, `preferred_username` and `email`.
    ///
    /// All are stated whatever the scope, so that the demo shows every role with the default scopes.
    #[must_use]
    pub fn standard_claims(&self) -> StandardClaims<CoreGenderClaim> {
        StandardClaims::new(SubjectIdentifier::new(self.subject.to_owned()))
            .set_name(Some(EndUserName::new(self.name()).into()))
            .set_given_name(Some(
                EndUserGivenName::new(self.given_name.to_owned()).into(),
            ))
            .set_family_name(Some(
                EndUserFamilyName::new(self.family_name.to_owned()).into(),
            ))
            .set_preferred_username(Some(EndUserUsername::new(self.username.to_owned())))
            .set_email(Some(EndUserEmail::new(self.email.to_owned())))
            .set_email_verified(Some(true))
    }

    /// `groups` and `roles`, with `sid` if the claims are for an ID token.
    #[must_use]
    pub fn demo_claims(&self, sid: Option<String>) -> DemoClaims {
        let groups = self.groups.iter().map(|&(id, act, name)| {
            let group = GroupClaim {
                id,
                act: act.to_owned(),
                name: name.to_owned(),
            };
            (id.to_string(), group)
        });
        DemoClaims {
            groups: groups.collect(),
            roles: vec![RoleClaim {
                id: self.role.0.to_owned(),
                display_name: self.role.1.to_owned(),
            }],
            sid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_username_and_nothing_else() {
        for account in &ACCOUNTS {
            let known = |password| Account::authenticate(&ACCOUNTS, account.username, password);
            let found = known(account.username).unwrap();
            assert_eq!(found.subject, account.subject);
            assert!(known("wrong").is_none());
            assert!(known("").is_none());
        }
        assert!(Account::authenticate(&ACCOUNTS, "", "").is_none());
        assert!(Account::authenticate(&ACCOUNTS, "student", "teacher").is_none());
        assert!(Account::authenticate(&[], "student", "student").is_none());
    }

    #[test]
    fn groups_and_roles_have_the_shape_of_iserv() {
        let claims = serde_json::to_value(ACCOUNTS[0].demo_claims(None)).unwrap();
        let expected = serde_json::json!({
            "groups": {
                "1": {"id": 1, "act": "klasse.8a", "name": "Klasse 8a"},
                "2": {"id": 2, "act": "schueler", "name": "Schüler"},
            },
            "roles": [{"id": "ROLE_STUDENT", "displayName": "Schüler"}],
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn the_card_shows_both_initials() {
        assert_eq!(ACCOUNTS[0].initials(), "MS");
    }
}
