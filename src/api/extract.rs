//! What handlers take from a request: a small JSON body, and the desktop that it or the query names.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::{IntoParams, ToSchema};

use super::ApiError;
use crate::authn::{Authenticated, AuthnError};
use crate::authz::policy::Action;
use crate::authz::{self, AuthzError};
use crate::desktop::Desktops;
use crate::model::audit::Actor;
use crate::model::desktop::Desktop;
use crate::model::user::User;
use crate::respond::error::HttpError;

/// Largest body that is read, bytes.
const MAX_BODY: usize = 16 * 1024;

/// Who asks, and how the audit log calls them.
pub(super) struct Caller {
    /// The session.
    pub who: Authenticated,
    /// The same as somebody who acts.
    pub actor: Actor,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // `Api::call` puts both there.
        let who = head.extensions.get::<Authenticated>().cloned();
        let who = who.ok_or(AuthnError::NoSession)?;
        let actor = head.extensions.get::<Actor>().cloned();
        let actor = actor.ok_or(AuthnError::NoSession)?;
        Ok(Self { who, actor })
    }
}

/// A JSON body; an empty one is the default value.
pub(super) struct JsonBody<T>(pub T);

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = Limited::new(request.into_body(), MAX_BODY)
            .collect()
            .await
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    HttpError::BodyTooLarge
                } else {
                    HttpError::Malformed("the body broke off")
                }
            })?;
        let bytes = body.to_bytes();
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        // The error names line and column, which is what its author needs.
        let value =
            serde_json::from_slice(&bytes).map_err(|error| HttpError::Json(error.to_string()))?;
        Ok(Self(value))
    }
}

/// Which desktop is meant: by id, by template, or simply the newest.
#[derive(Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: Option<String>,
    template: Option<String>,
}

/// The same from the query of a request.
pub(super) struct WhichQuery(pub Which);

impl<S: Sync> FromRequestParts<S> for WhichQuery {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::try_from_uri(&head.uri);
        // The text behind the colon says which field is wrong.
        let Query(which) = query.map_err(|error| HttpError::Query(error.body_text()))?;
        Ok(Self(which))
    }
}

impl Which {
    /// The template, if that is all that is said.
    pub fn only_template(&self) -> Option<&str> {
        self.template.as_deref().filter(|_| self.id.is_none())
    }

    /// The caller's own desktop that is meant, to do `action` to it.
    pub async fn find(
        &self,
        desktops: &Desktops,
        user: &User,
        action: Action,
    ) -> Result<Desktop, HttpError> {
        if let Some(id) = &self.id {
            let id = id.parse().map_err(|_| AuthzError::NotFound)?;
            return Ok(authz::authorize_own(desktops, user, (id, action)).await?);
        }
        let latest = desktops.latest(user, self.template.as_deref()).await?;
        Ok(latest.ok_or(AuthzError::NotFound)?)
    }
}
