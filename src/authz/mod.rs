//! What may they do: one pure table ([`policy`]) and the proof ([`grant`]) without which no byte
//! reaches a desktop.

pub mod grant;
pub mod policy;

use crate::authn::principal::Principal;
use crate::desktop::{DesktopError, Desktops, Found};
use crate::model::desktop::Desktop;
use crate::model::id::DesktopId;
use crate::model::user::User;
use grant::DesktopGrant;
use policy::{Action, Relation};

/// Why somebody may not.
#[derive(Debug, thiserror::Error)]
pub enum AuthzError {
    /// There is no such desktop, or it is somebody else's: a stranger cannot tell which.
    #[error("there is no such desktop for this user")]
    NotFound,
    /// The look-up failed.
    #[error(transparent)]
    Desktop(#[from] DesktopError),
}

/// What somebody who may use a desktop gets.
#[derive(Debug)]
pub enum Access {
    /// It runs: the proof.
    Granted(DesktopGrant),
    /// It does not run: the row, to say so.
    NotRunning(Box<Desktop>),
}

/// Decides whether `principal` may use desktop `id`.
///
/// # Errors
/// [`AuthzError::NotFound`] both for no such desktop and for somebody else's, or a failed look-up.
pub async fn authorize_desktop(
    desktops: &Desktops,
    principal: &Principal,
    id: DesktopId,
) -> Result<Access, AuthzError> {
    let found = desktops.find(id).await?.ok_or(AuthzError::NotFound)?;
    let owner = match &found {
        Found::Running(entry) => entry.owner,
        Found::NotRunning(desktop) => desktop.user_id,
    };
    let user = principal.user();
    if !policy::allows(
        user.identity.role,
        Relation::between(user.id, owner),
        Action::Use,
    ) {
        return Err(AuthzError::NotFound);
    }
    Ok(match found {
        Found::Running(entry) => Access::Granted(DesktopGrant::new(principal.clone(), entry)),
        Found::NotRunning(desktop) => Access::NotRunning(desktop),
    })
}

/// The desktop `id` if `user` may start, stop and remove it.
pub async fn authorize_control(
    desktops: &Desktops,
    user: &User,
    id: DesktopId,
) -> Result<Desktop, AuthzError> {
    let desktop = desktops.get(id).await?.ok_or(AuthzError::NotFound)?;
    let relation = Relation::between(user.id, desktop.user_id);
    if policy::allows(user.identity.role, relation, Action::Control) {
        Ok(desktop)
    } else {
        Err(AuthzError::NotFound)
    }
}
