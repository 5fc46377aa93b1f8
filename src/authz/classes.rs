//! The proof that somebody may look after classes: those of their own groups that [`Classes`] knows. What it opens
//! is asked pupil by pupil of the table in [`policy`].

use super::policy::{self, Action, Classes, Relation};
use super::{AuthzError, scopes};
use crate::authn::principal::Principal;
use crate::desktop::{DesktopError, Desktops};
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
        pupils.retain(|pupil| {
            Relation::between(&self.user, pupil, &self.classes) == Relation::Pupil
                && self.may(pupil, action)
        });
        pupils.sort_by_cached_key(|pupil| pupil.identity.display_name().to_lowercase());
        Ok(pupils)
    }

    /// The desktop of a pupil, and the pupil, to do `action` to it.
    ///
    /// # Errors
    /// [`AuthzError::NotFound`] both for no such desktop and for that of nobody's pupil, or a failed look-up.
    pub async fn desktop(
        &self,
        (desktops, database): (&Desktops, &Database),
        id: DesktopId,
        action: Action,
    ) -> Result<(Desktop, User), AuthzError> {
        let desktop = desktops.get(id).await?.ok_or(AuthzError::NotFound)?;
        let owners = database.find_users(&desktop.user_id.to_string()).await;
        let owner = owners.map_err(DesktopError::from)?.pop();
        let owner = owner.ok_or(AuthzError::NotFound)?;
        let pupil = Relation::between(&self.user, &owner, &self.classes) == Relation::Pupil;
        if pupil && self.may(&owner, action) {
            Ok((desktop, owner))
        } else {
            Err(AuthzError::NotFound)
        }
    }

    fn may(&self, pupil: &User, action: Action) -> bool {
        let relation = Relation::between(&self.user, pupil, &self.classes);
        policy::allows(self.user.identity.role, relation, action)
    }
}
