//! Who may do what to whose desktop, and with the installation: THE truth table, no I/O.
//!
//! A desktop is a private room. Nobody but its owner uses it, whatever their role. A teacher may look after
//! the pupils of their own classes, and [`Classes`] says which groups are classes: a group that everybody is in
//! must not make every pupil theirs. Whether they see screens as well is the installation's choice (`TEACHER_LOOK`), which
//! the table takes for made. An admin keeps order, which is to see states, stop and remove; what is on somebody's screen
//! is no matter of an admin's.

use crate::model::user::{Role, User};

/// How a user stands to a desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is theirs.
    Own,
    /// It is that of a student with whom they share a class.
    Pupil,
    /// It is somebody else's.
    Foreign,
}

impl Relation {
    /// Between a user and a desktop's owner.
    #[must_use]
    pub fn between(user: &User, owner: &User, classes: &Classes) -> Self {
        if user.id == owner.id {
            Self::Own
        } else if owner.identity.role == Role::Student && classes.are_shared(user, owner) {
            Self::Pupil
        } else {
            Self::Foreign
        }
    }
}

/// What can be done to a desktop, or with the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start one from a template; whether the template is for them is another question.
    Start,
    /// Start one for its owner, who may start that template themselves.
    StartFor,
    /// See it and type into it.
    Use,
    /// See what is on its screen, and no more.
    Look,
    /// Know that it exists, and how it is.
    SeeState,
    /// Stop it.
    Stop,
    /// Remove its container.
    Remove,
    /// Look after an area of the installation; no desktop is meant.
    Administer(Area),
}

/// What an admin looks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Everybody's desktops, and the overview.
    Desktops,
    /// People, and what is stored about them.
    Users,
    /// Their sessions.
    Sessions,
    /// Images on the engine.
    Images,
    /// The audit log.
    Audit,
}

/// The table.
#[must_use]
pub const fn allows(role: Role, relation: Relation, action: Action) -> bool {
    use Relation::{Foreign, Own, Pupil};
    match action {
        Action::Start | Action::Use => matches!(relation, Own),
        Action::StartFor | Action::Look => match relation {
            Own => true,
            Pupil => matches!(role, Role::Teacher | Role::Admin),
            Foreign => false,
        },
        Action::SeeState | Action::Stop => match relation {
            Own => true,
            Pupil => matches!(role, Role::Teacher | Role::Admin),
            Foreign => matches!(role, Role::Admin),
        },
        Action::Remove => match relation {
            Own => true,
            Pupil | Foreign => matches!(role, Role::Admin),
        },
        Action::Administer(_) => matches!(role, Role::Admin),
    }
}

/// Which groups are classes, as `TEACHER_GROUPS` names them: exactly, or by what they begin with (`klasse.*`).
/// Nothing named: no group is one, and teachers have no rights over anybody.
#[derive(Clone, Debug, Default)]
pub struct Classes(Vec<String>);

impl Classes {
    /// The groups that these patterns name.
    #[must_use]
    pub fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Whether a group is a class.
    #[must_use]
    pub fn contains(&self, group: &str) -> bool {
        self.0
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => group.starts_with(beginning),
                None => pattern == group,
            })
    }

    fn are_shared(&self, user: &User, other: &User) -> bool {
        let groups = &other.identity.groups;
        let mut own = user.identity.groups.iter();
        own.any(|group| self.contains(group) && groups.contains(group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::UserId;
    use crate::model::user::Identity;

    const RELATIONS: [Relation; 3] = [Relation::Own, Relation::Pupil, Relation::Foreign];
    const ROLES: [Role; 3] = [Role::Student, Role::Teacher, Role::Admin];
    const ACTIONS: [Action; 12] = [
        Action::Start,
        Action::StartFor,
        Action::Use,
        Action::Look,
        Action::SeeState,
        Action::Stop,
        Action::Remove,
        Action::Administer(Area::Desktops),
        Action::Administer(Area::Users),
        Action::Administer(Area::Sessions),
        Action::Administer(Area::Images),
        Action::Administer(Area::Audit),
    ];

    /// One line for each action and one letter for each relation (own, pupil, foreign) of a student, a teacher
    /// and an admin: `y` is yes.
    #[rustfmt::skip]
    const EXPECTED: [(&str, &str); 12] = [
        //                 student teacher admin
        ("Start",                   "y-- y-- y--"),
        ("StartFor",                "y-- yy- yy-"),
        ("Use",                     "y-- y-- y--"),
        ("Look",                    "y-- yy- yy-"),
        ("SeeState",                "y-- yy- yyy"),
        ("Stop",                    "y-- yy- yyy"),
        ("Remove",                  "y-- y-- yyy"),
        ("Administer(Desktops)",    "--- --- yyy"),
        ("Administer(Users)",       "--- --- yyy"),
        ("Administer(Sessions)",    "--- --- yyy"),
        ("Administer(Images)",      "--- --- yyy"),
        ("Administer(Audit)",       "--- --- yyy"),
    ];

    #[test]
    fn every_role_relation_and_action_has_one_answer() {
        for (action, (name, expected)) in ACTIONS.into_iter().zip(EXPECTED) {
            assert_eq!(format!("{action:?}"), name);
            let answer = |role| {
                RELATIONS.map(|relation| {
                    if allows(role, relation, action) {
                        'y'
                    } else {
                        '-'
                    }
                })
            };
            let answers = ROLES.map(|role| String::from_iter(answer(role)));
            assert_eq!(answers.join(" "), expected, "{name}");
        }
    }

    /// Does not compile when a variant is missing.
    const fn place(action: Action) -> usize {
        match action {
            Action::Start => 0,
            Action::StartFor => 1,
            Action::Use => 2,
            Action::Look => 3,
            Action::SeeState => 4,
            Action::Stop => 5,
            Action::Remove => 6,
            Action::Administer(Area::Desktops) => 7,
            Action::Administer(Area::Users) => 8,
            Action::Administer(Area::Sessions) => 9,
            Action::Administer(Area::Images) => 10,
            Action::Administer(Area::Audit) => 11,
        }
    }

    #[test]
    fn the_expected_answers_are_those_of_all_actions() {
        for (index, action) in ACTIONS.into_iter().enumerate() {
            assert_eq!(place(action), index, "{action:?}");
        }
    }

    fn user(role: Role, groups: &[&str]) -> User {
        User {
            id: UserId::random(),
            identity: Identity {
                issuer: "https://id.test".into(),
                subject: "somebody".into(),
                username: "somebody".into(),
                name: None,
                email: None,
                role,
                groups: groups.iter().map(|&group| group.to_owned()).collect(),
            },
        }
    }

    #[test]
    fn a_pupil_is_a_student_in_a_class_of_ones_own() {
        let classes = Classes::new(vec!["klasse.*".into(), "ag robotik".into()]);
        let teacher = user(
            Role::Teacher,
            &["lehrer", "schule", "klasse.8a", "ag robotik"],
        );
        let relation = |owner: &User| Relation::between(&teacher, owner, &classes);
        assert_eq!(relation(&teacher), Relation::Own);
        for (groups, expected) in [
            (&["schule", "klasse.8a"][..], Relation::Pupil),
            (&["ag robotik"], Relation::Pupil),
            (&["schule", "klasse.8b"], Relation::Foreign),
            (&["schule", "lehrer"], Relation::Foreign),
            (&["klasse.8"], Relation::Foreign),
            (&["klasse.8ab"], Relation::Foreign),
            (&["AG Robotik"], Relation::Foreign),
            (&[], Relation::Foreign),
        ] {
            assert_eq!(
                relation(&user(Role::Student, groups)),
                expected,
                "{groups:?}"
            );
        }
        for role in [Role::Teacher, Role::Admin] {
            let colleague = user(role, &["klasse.8a"]);
            assert_eq!(relation(&colleague), Relation::Foreign, "{role:?}");
        }
    }

    #[test]
    fn a_group_that_everybody_has_gives_nothing_unless_it_is_named() {
        let (teacher, pupil) = (
            user(Role::Teacher, &["schueler", "klasse.8a"]),
            user(Role::Student, &["schueler", "klasse.8a"]),
        );
        let with = |patterns: &[&str]| {
            let patterns = patterns.iter().map(|&pattern| pattern.to_owned());
            Relation::between(&teacher, &pupil, &Classes::new(patterns.collect()))
        };
        assert_eq!(with(&[]), Relation::Foreign);
        assert_eq!(with(&["klasse.9*", "klasse"]), Relation::Foreign);
        assert_eq!(with(&["klasse.*"]), Relation::Pupil);
    }

    #[test]
    fn classmates_gain_nothing_from_their_class() {
        let classes = Classes::new(vec!["klasse.*".into()]);
        let (one, two) = (
            user(Role::Student, &["klasse.8a"]),
            user(Role::Student, &["klasse.8a"]),
        );
        let relation = Relation::between(&one, &two, &classes);
        for action in ACTIONS {
            assert!(!allows(Role::Student, relation, action), "{action:?}");
        }
    }
}
