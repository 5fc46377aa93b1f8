//! `GET /session`: who am I.

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Gateway;
use crate::authn::principal::Principal;
use crate::model::id::{SessionId, TokenId, UserId};
use crate::model::scope::Scopes;
use crate::model::time::Timestamp;
use crate::model::user::{Role, User};
use crate::request::{Request, RequestContext, Response};
use crate::respond::error::HttpError;
use crate::respond::json as json_answer;

/// Who asks, and by what.
#[derive(Serialize, ToSchema)]
pub(super) struct WhoAmI<'a> {
    authenticated: bool,
    user: UserView<'a>,
    /// Null for a program with an API token.
    session: Option<SessionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<TokenView<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
struct UserView<'a> {
    id: UserId,
    username: &'a str,
    name: Option<&'a str>,
    email: Option<&'a str>,
    role: Role,
    /// The provider's names for groups and roles.
    groups: &'a [String],
}

#[derive(Serialize, ToSchema)]
#[schema(as = MySession)]
struct SessionView {
    id: SessionId,
    created_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MyToken)]
struct TokenView<'a> {
    id: TokenId,
    name: &'a str,
    scopes: &'a Scopes,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
}

impl<'a> From<&'a User> for UserView<'a> {
    fn from(user: &'a User) -> Self {
        let identity = &user.identity;
        Self {
            id: user.id,
            username: &identity.username,
            name: identity.name.as_deref(),
            email: identity.email.as_deref(),
            role: identity.role,
            groups: &identity.groups,
        }
    }
}

impl Gateway {
    /// `GET /session`
    pub(super) async fn session(
        &self,
        context: &RequestContext,
        request: &Request,
    ) -> Result<Response, HttpError> {
        let who = self.authenticator.authenticate(request.headers()).await;
        let who = who.map_err(|error| self.limits.refused(context, error.into()))?;
        let (session, token) = match &who.principal {
            Principal::Session(session) => {
                let session = SessionView {
                    id: session.id,
                    created_at: session.created_at,
                    expires_at: session.expires_at,
                };
                (Some(session), None)
            }
            Principal::Token(token) => {
                let token = TokenView {
                    id: token.id,
                    name: &token.name,
                    scopes: &token.scopes,
                    created_at: token.created_at,
                    expires_at: token.expires_at,
                };
                (None, Some(token))
            }
        };
        let answer = WhoAmI {
            authenticated: true,
            user: who.user().into(),
            session,
            token,
        };
        Ok(json_answer(StatusCode::OK, &answer))
    }
}
