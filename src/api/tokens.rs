//! `/api/tokens`: one's own API tokens.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::extract::{Caller, JsonBody};
use super::{ApiError, ApiState};
use crate::authn::api_tokens::Wish;
use crate::config::parse;
use crate::model::id::TokenId;
use crate::model::scope::{Scope, Scopes};
use crate::model::time::Timestamp;
use crate::respond::error::HttpError;
use crate::store::api_tokens::StoredToken;

/// What a new token shall be.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    #[serde(default)]
    name: String,
    scopes: Option<Vec<String>>,
    expires_in: Option<String>,
}

/// A token in answers; the secret is only in the answer that made it.
#[derive(Debug, Serialize)]
struct TokenView<'a> {
    id: TokenId,
    name: &'a str,
    scopes: &'a Scopes,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> TokenView<'a> {
    fn new(stored: &'a StoredToken, secret: Option<&'a str>) -> Self {
        Self {
            id: stored.id,
            name: &stored.name,
            scopes: &stored.scopes,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            last_used: stored.last_used,
            token: secret,
        }
    }
}

pub(super) async fn list(
    State(state): State<ApiState>,
    Caller { who, .. }: Caller,
) -> Result<Response, ApiError> {
    let user = who.session()?.user.id;
    let tokens = state.tokens.list(Some(user)).await?;
    let tokens: Vec<TokenView<'_>> = tokens
        .iter()
        .map(|token| TokenView::new(token, None))
        .collect();
    let value = json!({ "tokens": tokens });
    Ok((StatusCode::OK, [(CACHE_CONTROL, "no-store")], Json(value)).into_response())
}

pub(super) async fn create(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    JsonBody(body): JsonBody<CreateBody>,
) -> Result<Response, ApiError> {
    let user = &who.session()?.user;
    let (secret, token) = state.tokens.create(user, &body.wish()?, &actor).await?;
    let view = TokenView::new(&token, Some(secret.expose()));
    Ok((
        StatusCode::CREATED,
        [(CACHE_CONTROL, "no-store")],
        Json(view),
    )
        .into_response())
}

pub(super) async fn revoke(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let user = who.session()?.user.id;
    let id = id.parse().map_err(|_| HttpError::NotFound)?;
    if state.tokens.revoke(id, Some(user), &actor).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(HttpError::NotFound.into())
    }
}

impl CreateBody {
    fn wish(self) -> Result<Wish, HttpError> {
        let scopes = self.scopes.unwrap_or_else(|| vec![Scope::Read.to_string()]);
        let scopes: Result<Scopes, _> = scopes.iter().map(|word| word.parse::<Scope>()).collect();
        let lifetime = match self.expires_in.as_deref() {
            None => None,
            Some(text) => Some(parse::duration(text).ok_or(HttpError::Duration("expires_in"))?),
        };
        Ok(Wish {
            name: self.name,
            scopes: scopes?,
            lifetime,
        })
    }
}
