//! The proof that somebody may look after an area of the installation, and what it opens.

use super::policy::{self, Action, Area, Relation};
use super::{AuthzError, scopes};
use crate::authn::principal::Principal;
use crate::desktop::Desktops;
use crate::model::desktop::Desktop;
use crate::model::id::DesktopId;
use crate::model::scope::Scope;
use crate::model::user::Role;

/// May look after one area. Only [`authorize_admin`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct AdminGrant {
    role: Role,
    area: Area,
}

/// Decides whether `principal` may look after `area`.
///
/// # Errors
/// [`AuthzError::WrongRole`], or a token without the scope for it, before anything else is looked at.
pub fn authorize_admin(principal: &Principal, area: Area) -> Result<AdminGrant, AuthzError> {
    scopes::authorize_any(principal, &[Scope::Admin])?;
    let role = principal.user().identity.role;
    if policy::allows(role, Relation::Foreign, Action::Administer(area)) {
        Ok(AdminGrant { role, area })
    } else {
        Err(AuthzError::WrongRole)
    }
}

impl AdminGrant {
    /// What may be looked after.
    #[must_use]
    pub fn area(&self) -> Area {
        self.area
    }

    /// Anybody's desktop, to do `action` to it.
    ///
    /// # Errors
    /// The role does not allow it, there is no such desktop, or the look-up failed.
    pub async fn desktop(
        &self,
        desktops: &Desktops,
        id: DesktopId,
        action: Action,
    ) -> Result<Desktop, AuthzError> {
        // The least that an admin can be to a desktop: what is allowed to them then is allowed always.
        if !policy::allows(self.role, Relation::Foreign, action) {
            return Err(AuthzError::WrongRole);
        }
        desktops.get(id).await?.ok_or(AuthzError::NotFound)
    }
}
