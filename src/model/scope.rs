//! What an API token may be used for. Values only; which request needs what is the matter of `authz`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// One thing that a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Looking at what is one's own.
    Read,
    /// Starting, stopping, removing and using one's own desktops, and looking at them.
    Desktops,
    /// The admin API, for as long as the person is an admin.
    Admin,
}

/// Text that names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope; there are read, desktops and admin")]
pub struct UnknownScope(pub String);

impl Scope {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Desktops, Self::Admin];

    /// The word in the database, in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Desktops => "desktops",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        known.ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// What a token may be used for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From the database's words. One that this version does not know gives no right.
    #[must_use]
    pub fn from_words(words: &str) -> Self {
        let known = words.split(' ').filter_map(|word| word.parse().ok());
        known.collect()
    }

    /// As the database keeps them: the words, with spaces between.
    #[must_use]
    pub fn to_words(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(|scope| scope.as_str()).collect();
        words.join(" ")
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|scope| scope.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_and_go() {
        let scopes: Scopes = [Scope::Desktops, Scope::Read, Scope::Read]
            .into_iter()
            .collect();
        assert_eq!(scopes.to_words(), "read desktops");
        assert_eq!(Scopes::from_words("read desktops"), scopes);
        assert_eq!(Scopes::from_words("desktops future read"), scopes);
        assert!(Scopes::from_words("").is_empty());
        assert!(!scopes.contains(Scope::Admin));
        for wrong in ["", "READ", "read ", "all"] {
            assert_eq!(wrong.parse::<Scope>(), Err(UnknownScope(wrong.into())));
        }
    }
}
