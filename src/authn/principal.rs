//! What a request was let in by, and whose it is. Everything above asks this, and not a session, unless only
//! a person who signed in may do the thing.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::session::Session;
use crate::model::audit::Actor;
use crate::model::id::SessionId;
use crate::model::time::Timestamp;
use crate::model::user::User;

/// Whoever a request comes from.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A person who signed in.
    Session(Arc<Session>),
}

impl Principal {
    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &User {
        match self {
            Self::Session(session) => &session.user,
        }
    }

    /// How the audit log calls them.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::Session(session) => Actor::user(&session.user, Some(session.id)),
        }
    }

    /// The session, for what only a person who signed in may do.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Session(session) => Some(session),
        }
    }

    /// The session's public handle.
    #[must_use]
    pub fn session_id(&self) -> Option<SessionId> {
        self.session().map(|session| session.id)
    }

    /// Cancelled when it ends; every stream that was opened under it ends with it.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        match self {
            Self::Session(session) => &session.ended,
        }
    }

    /// Notes that it is in use.
    pub fn touch(&self, now: Timestamp) {
        match self {
            Self::Session(session) => session.touch(now),
        }
    }
}

impl fmt::Display for Principal {
    /// For the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => write!(f, "session {}", session.id),
        }
    }
}
