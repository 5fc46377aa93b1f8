//! The proof that somebody may look after classes: those of their own groups that [`Classes`] knows. What it opens
//! is asked pupil by pupil of the table in [`policy`].

use super::policy::{self, Action, Classes, Relation};
use super::{AuthzError, scopes};
use crate::authn::principal::Principal;
use crate::desktop::DesktopError;
use crate::model::desktop::Desktop;
use crate::model::id::DesktopId;
use crate::model::scope::Scope;
use crate::model::user::{Role, User};
use crate::store::Database;

/// May look after the classes that they are in.
#[derive(Clone, Debug)]
pub struct TeacherGrant {
    user: User,
    classes: Classes,
}

/// Decides whether `principal` looks after classes at all.
///
/// # Errors
/// [`AuthzError::WrongRole`] for students, and a token without any scope for desktops.
pub fn authorize_teacher(
    principal: &Principal,
    classes: &Classes,
) -> Result<TeacherGrant, AuthzError> {
    scopes::authorize_any(principal, &[Scope::Desktops])?;
    let user = principal.user();
    if user.identity.role < Role::Teacher {
        return Err(AuthzError::WrongRole);
    }
    Ok(TeacherGrant {
        user: user.clone(),
        classes: classes.clone(),
    })
}

impl TeacherGrant {
    /// The classes that they are in, in the order of their names.
    #[must_use]
    pub fn classes(&self) -> Vec<&str> {
        let groups = self.user.identity.groups.iter().map(String::as_str);
        let mut own: Vec<&str> = groups
            .filter(|group| self.classes.contains(group))
            .collect();
        own.sort_unstable();
        own.dedup();
        own
    }

    /// The pupils of one of these classes whom `action` is allowed to, in the order of their names.
    ///
    /// # Errors
    /// [`AuthzError::NotFound`] both for no such class and for one of somebody else's, or a failed look-up.
    pub async fn pupils(
        &self,
        database: &Database,
        class: &str,
        action: Action,
    ) -> Result<Vec<User>, AuthzError> {
        if !self.classes().contains(&class) {
            return Err(AuthzError::NotFound);
        }
        let members = database.users_in_group(class).await;
        let mut pupils = members.map_err(DesktopError::from)?;
        pupils.retain(|pupil| self.may(pupil, action));
        pupils.sort_by_cached_key(|pupil| pupil.identity.display_name().to_lowercase());
        Ok(pupils)
    }

    /// Finds that the desktop `id` is one of a pupil's, and that `action` may be done to it.
    ///
    /// # Errors
    /// [`AuthzError::NotFound`] both for no such desktop and for that of nobody's pupil, or a failed look-up.
    pub async fn desktop(
        &self,
        database: &Database,
        id: DesktopId,
        action: Action,
    ) -> Result<Desktop, AuthzError> {
        let found = database.find_owned_desktop(id).await;
        let found = found.map_err(DesktopError::from)?;
        let theirs = found.filter(|(_, owner)| self.may(owner, action));
        theirs
            .map(|(desktop, _)| desktop)
            .ok_or(AuthzError::NotFound)
    }

    /// Whether somebody is a pupil of theirs, to whose desktop `action` may be done.
    fn may(&self, somebody: &User, action: Action) -> bool {
        let relation = Relation::between(&self.user, somebody, &self.classes);
        relation == Relation::Pupil && policy::allows(self.user.identity.role, relation, action)
    }
}
