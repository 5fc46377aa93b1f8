//! Who may do what to whose desktop: one truth table, no I/O.

use crate::model::id::UserId;
use crate::model::user::Role;

/// How a user stands to a desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is theirs.
    Own,
    /// It is somebody else's.
    Foreign,
}

impl Relation {
    /// Between a user and a desktop's owner.
    #[must_use]
    pub fn between(user: UserId, owner: UserId) -> Self {
        if user == owner {
            Self::Own
        } else {
            Self::Foreign
        }
    }
}

/// What can be done to a desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See it and type into it.
    Use,
    /// Look at its state, stop it, remove it.
    Control,
}

/// The table. A desktop is a private room: no role opens somebody else's.
#[must_use]
pub const fn allows(role: Role, relation: Relation, action: Action) -> bool {
    match (role, relation, action) {
        (_, Relation::Own, Action::Use | Action::Control) => true,
        (
            Role::Student | Role::Teacher | Role::Admin,
            Relation::Foreign,
            Action::Use | Action::Control,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        for role in [Role::Student, Role::Teacher, Role::Admin] {
            for action in [Action::Use, Action::Control] {
                assert!(allows(role, Relation::Own, action), "{role:?} {action:?}");
                assert!(
                    !allows(role, Relation::Foreign, action),
                    "{role:?} {action:?}"
                );
            }
        }
    }
}
