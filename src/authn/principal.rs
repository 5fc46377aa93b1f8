//! What a request was let in by, and whose it is. Everything above asks this, and not a session, unless only
//! a person who signed in may do the thing.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::api_tokens::ApiToken;
use super::session::Session;
use crate::model::audit::Actor;
use crate::model::id::SessionId;
use crate::model::scope::Scope;
use crate::model::time::Timestamp;
use crate::model::user::User;

/// Whoever a request comes from.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A person who signed in.
    Session(Arc<Session>),
    /// A program, in somebody's name.
    Token(Arc<ApiToken>),
}

impl Principal {
    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &User {
        match self {
            Self::Session(session) => &session.user,
            Self::Token(token) => &token.user,
        }
    }

    /// How the audit log calls them.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::Session(session) => Actor::user(&session.user, Some(session.id)),
            Self::Token(token) => Actor::token(&token.user, &token.id.to_string()),
        }
    }

    /// The session, for what only a person who signed in may do.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Session(session) => Some(session),
            Self::Token(_) => None,
        }
    }

    /// Whether it was made for this; a person may whatever their role may.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        match self {
            Self::Session(_) => true,
            Self::Token(token) => token.scopes.contains(scope),
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
            Self::Token(token) => &token.ended,
        }
    }

    /// Notes that it is in use.
    pub fn touch(&self, now: Timestamp) {
        match self {
            Self::Session(session) => session.touch(now),
            Self::Token(token) => token.touch(now),
        }
    }
}

impl fmt::Display for Principal {
    /// For the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => write!(f, "session {}", session.id),
            Self::Token(token) => write!(f, "token {}", token.id),
        }
    }
}
