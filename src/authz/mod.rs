//! What may they do: one pure table for people ([`policy`]), one for their API tokens ([`scopes`]), the proof
//! ([`grant`]) without which no byte reaches a desktop, and the one without which nobody administers anything
//! ([`admin`]), or looks after a class ([`classes`]).

pub mod admin;
pub mod classes;
pub mod grant;
pub mod policy;
pub mod scopes;

use crate::authn::principal::Principal;
use crate::desktop::{DesktopError, Desktops, Found};
use crate::model::desktop::Desktop;
use crate::model::id::{DesktopId, UserId};
use crate::model::scope::Scope;
use crate::model::user::User;
use grant::DesktopGrant;
use policy::{Action, Relation};

/// Why somebody may not.
#[derive(Debug, thiserror::Error)]
pub enum AuthzError {
    /// There is no such desktop, or it is somebody else's: a stranger cannot tell which.
    #[error("there is no such desktop for this user")]
    NotFound,
    /// It takes another role. Nothing about the thing itself was looked at.
    #[error("the user's role does not allow it")]
    WrongRole,
    /// The API token was not made for this.
    #[error("the API token lacks the scope {0}")]
    ScopeMissing(Scope),
    /// No API token is made for this.
    #[error("no API token may do this")]
    SessionRequired,
    /// The installation lets no teacher see that much of a screen.
    #[error("teachers may not see that much of a screen here")]
    LookOff,
    /// The look-up failed.
    #[error(transparent)]
    Desktop(#[from] DesktopError),
}

/// What somebody who may use a desktop gets.
#[derive(Debug)]
pub enum Access {
    /// It is up: the proof.
    Granted(DesktopGrant),
    /// It is not up: the row, to say so.
    NotRunning(Box<Desktop>),
}

/// Decides whether `principal` may use desktop `id`.
///
/// # Errors
/// [`AuthzError::NotFound`] both for no such desktop and for somebody else's, a token that was not made for it,
/// or a failed look-up.
pub async fn authorize_desktop(
    desktops: &Desktops,
    principal: &Principal,
    id: DesktopId,
) -> Result<Access, AuthzError> {
    scopes::authorize_any(principal, &[Scope::Desktops])?;
    let found = desktops.find(id).await?.ok_or(AuthzError::NotFound)?;
    let owner = match &found {
        Found::Up(entry) => entry.owner,
        Found::NotRunning(desktop) => desktop.user_id,
    };
    let user = principal.user();
    if !policy::allows(user.identity.role, by_id(user, owner), Action::Use) {
        if matches!(found, Found::Up(_)) {
            // One that does not exist is looked for in the database too. This takes as long as that.
            desktops.get(id).await?;
        }
        return Err(AuthzError::NotFound);
    }
    Ok(match found {
        Found::Up(entry) => Access::Granted(DesktopGrant::new(principal.clone(), entry)),
        Found::NotRunning(desktop) => Access::NotRunning(desktop),
    })
}

/// The desktop `id` if it is the user's own, and they may do `action` to it. What an admin may do to other
/// people's desktops they ask for as an admin ([`admin`]), and not by the way.
pub async fn authorize_own(
    desktops: &Desktops,
    user: &User,
    (id, action): (DesktopId, Action),
) -> Result<Desktop, AuthzError> {
    let desktop = desktops.get(id).await?.ok_or(AuthzError::NotFound)?;
    let relation = by_id(user, desktop.user_id);
    if relation == Relation::Own && policy::allows(user.identity.role, relation, action) {
        Ok(desktop)
    } else {
        Err(AuthzError::NotFound)
    }
}

/// The relation where classes make no difference: nothing is read for it.
fn by_id(user: &User, owner: UserId) -> Relation {
    if user.id == owner {
        Relation::Own
    } else {
        Relation::Foreign
    }
}
