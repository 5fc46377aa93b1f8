//! What the audit log tells: who did what to whom, from where, and how it ended. Plain values; nothing here
//! can hold a secret by mistake, since ids and words are all there is room for.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::{Map, Value};

use super::id::{DesktopId, RequestId, SessionId, UserId};
use super::user::User;

/// Why a desktop is stopped.
pub use super::reason::Reason as StopReason;

/// Longest text that a stranger may have a say in, characters.
const MAX_TEXT: usize = 200;

/// An enum whose variants are words in the database, in logs and in answers.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word, which never changes its meaning.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// What happened.
    Action {
        /// A person signed in.
        Login = "login",
        /// A login ended without a session.
        LoginFailed = "login_failed",
        /// A person signed out.
        Logout = "logout",
        /// A session ended otherwise.
        SessionEnded = "session_ended",
        /// A login found another role than the last one.
        RoleChanged = "role_changed",
        /// A new desktop was asked for.
        Start = "start",
        /// A desktop was stopped.
        Stop = "stop",
        /// A desktop's container was removed.
        Remove = "remove",
        /// A teacher sees small pictures of its screen, now and perhaps for the next minutes.
        PicturesSeen = "pictures_seen",
        /// A teacher looks at it, which it shows; or they wanted to, and it did not.
        Look = "look",
        /// They do not any more.
        LookEnded = "look_ended",
        /// Its user wishes to stay.
        Extend = "extend",
        /// A home was set aside for a fresh start.
        Reset = "home_reset",
        /// A home that was set aside was removed.
        HomeRemoved = "home_removed",
        /// A desktop ended by itself, or never came up.
        DesktopFailed = "desktop_failed",
        /// An API token was made.
        TokenCreated = "token_created",
        /// An API token was revoked.
        TokenRevoked = "token_revoked",
        /// A token was shown that is not good.
        TokenRefused = "token_refused",
        /// Somebody asked too often.
        RateLimited = "rate_limited",
        /// An admin had an image pulled.
        ImagePulled = "admin_image_pulled",
        /// An admin took a copy of this log.
        AuditExported = "admin_audit_exported",
        /// An admin changed what is logged.
        LogChanged = "admin_log_changed",
        /// A certificate was ordered from an authority.
        CertificateOrdered = "certificate_ordered",
        /// All that is known of a person was handed out.
        UserExported = "user_exported",
        /// All that is known of a person was deleted.
        UserForgotten = "user_forgotten",
    }
}

words! {
    /// How it ended.
    Outcome {
        /// As asked.
        Success = "success",
        /// It was not allowed.
        Refused = "refused",
        /// It was allowed and did not work.
        Failure = "failure",
    }
}

words! {
    /// What kind of somebody acts.
    ActorKind {
        /// A person with a session.
        User = "user",
        /// A program with a person's API token.
        Token = "token",
        /// The gateway itself.
        System = "system",
        /// The OpenID provider.
        Provider = "provider",
        /// Whoever runs commands on the server.
        Operator = "operator",
        /// A stranger.
        Anonymous = "anonymous",
    }
}

/// Who acts, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// What kind of somebody.
    pub kind: ActorKind,
    /// Which user, if it is one, or one's program.
    pub user: Option<UserId>,
    /// What they are called; of the system, which part of it.
    pub name: Option<String>,
    /// The session they act in.
    pub session: Option<SessionId>,
    /// Public id of the token they act with.
    pub token: Option<String>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// Which request.
    pub request: Option<RequestId>,
}

impl Actor {
    fn new(kind: ActorKind, name: Option<String>) -> Self {
        Self {
            kind,
            user: None,
            name,
            session: None,
            token: None,
            address: None,
            request: None,
        }
    }

    /// A person, in a session of theirs if there is one.
    #[must_use]
    pub fn user(user: &User, session: Option<SessionId>) -> Self {
        Self {
            user: Some(user.id),
            session,
            ..Self::new(ActorKind::User, Some(user.identity.username.clone()))
        }
    }

    /// A program with a token of this user; `token` is the token's public id.
    #[must_use]
    pub fn token(user: &User, token: &str) -> Self {
        Self {
            kind: ActorKind::Token,
            token: Some(token.to_owned()),
            ..Self::user(user, None)
        }
    }

    /// A part of the gateway.
    #[must_use]
    pub fn system(part: &'static str) -> Self {
        Self::new(ActorKind::System, Some(part.to_owned()))
    }

    /// The OpenID provider.
    #[must_use]
    pub fn provider() -> Self {
        Self::new(ActorKind::Provider, None)
    }

    /// Whoever runs commands on the server.
    #[must_use]
    pub fn operator() -> Self {
        Self::new(ActorKind::Operator, None)
    }

    /// A stranger.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(ActorKind::Anonymous, None)
    }

    /// The same, in a request from somewhere.
    #[must_use]
    pub fn at(mut self, address: IpAddr, request: RequestId) -> Self {
        self.address = Some(address);
        self.request = Some(request);
        self
    }
}

/// What is acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A desktop.
    Desktop(DesktopId),
    /// A session, by its public handle.
    Session(SessionId),
    /// An API token, by its public id.
    Token(String),
    /// A template, by its id.
    Template(String),
    /// An image, by its reference.
    Image(String),
    /// The gateway's certificate, by the host of the portal.
    Certificate(String),
}

impl Object {
    /// The word for what it is.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Desktop(_) => "desktop",
            Self::Session(_) => "session",
            Self::Token(_) => "token",
            Self::Template(_) => "template",
            Self::Image(_) => "image",
            Self::Certificate(_) => "certificate",
        }
    }

    /// Which one.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Desktop(id) => id.to_string(),
            Self::Session(id) => id.to_string(),
            Self::Token(id) | Self::Template(id) | Self::Image(id) | Self::Certificate(id) => {
                id.clone()
            }
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, as a word for programs.
    pub reason: Option<Cow<'static, str>>,
    /// Who did it.
    pub actor: Actor,
    /// To whom.
    pub subject: Option<UserId>,
    /// To what.
    pub object: Option<Object>,
    /// What else there is to know; never a secret.
    pub details: Map<String, Value>,
}

impl Event {
    /// Something that ended as it was meant to.
    #[must_use]
    pub fn new(action: Action, actor: &Actor) -> Self {
        let mut event = Self {
            action,
            outcome: Outcome::Success,
            reason: None,
            actor: actor.clone(),
            subject: None,
            object: None,
            details: Map::new(),
        };
        if let Some(token) = &actor.token {
            event = event.detail("token", token);
        }
        event
    }

    /// With another outcome, and its reason.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome, reason: impl Into<Cow<'static, str>>) -> Self {
        self.outcome = outcome;
        self.reason(reason)
    }

    /// With the reason.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// With whom it happened to.
    #[must_use]
    pub fn subject(mut self, user: UserId) -> Self {
        self.subject = Some(user);
        self
    }

    /// With what it happened to.
    #[must_use]
    pub fn object(mut self, object: Object) -> Self {
        self.object = Some(object);
        self
    }

    /// With one thing more. A long text is cut, since strangers may have written it.
    #[must_use]
    pub fn detail(mut self, name: &str, text: &str) -> Self {
        let text: String = text.chars().take(MAX_TEXT).collect();
        self.details.insert(name.to_owned(), Value::String(text));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_stands_for_one_thing() {
        let mut words: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Action::ALL.len());
    }

    #[test]
    fn a_strangers_text_is_cut() {
        let event = Event::new(Action::LoginFailed, &Actor::anonymous());
        let event = event.detail("error", &"ü".repeat(10_000));
        let text = event.details["error"]
            .as_str()
            .map(|text| text.chars().count());
        assert_eq!(text, Some(MAX_TEXT));
    }
}
