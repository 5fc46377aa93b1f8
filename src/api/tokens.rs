//! `/api/tokens`: one's own API tokens.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Caller, JsonBody};
use super::routes::Routes;
use super::{ApiError, ApiState, answer};
use crate::authn::api_tokens::Wish;
use crate::config::parse;
use crate::model::id::TokenId;
use crate::model::scope::{Scope, Scopes};
use crate::model::time::Timestamp;
use crate::respond::describe::Call;
use crate::respond::error::HttpError;
use crate::store::api_tokens::StoredToken;

/// What a new token shall be.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    /// What its owner calls it: 1 to 100 printable characters.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100)]
    name: String,
    /// `read` if nothing is said.
    #[schema(value_type = Option<Vec<Scope>>, min_items = 1)]
    scopes: Option<Vec<String>>,
    /// A duration such as `90s`, `15m`, `6h` or `30d`; for ever if nothing is said.
    expires_in: Option<String>,
}

/// A token in answers; the secret is only in the answer that made it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenView<'a> {
    id: TokenId,
    name: &'a str,
    scopes: &'a Scopes,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used: Option<Timestamp>,
    /// The secret, in the answer that made it and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<&'a str>,
}

/// API tokens, the newest first.
#[derive(Serialize, ToSchema)]
struct Tokens<'a> {
    tokens: Vec<TokenView<'a>>,
}

pub(super) fn routes() -> Routes {
    let list = Call::get("/api/tokens", "One's own API tokens")
        .about("With a session only.")
        .answers::<Tokens<'static>>(200, "The tokens, without their secrets.");
    let create = Call::post("/api/tokens", "Makes an API token")
        .about("With a session only.")
        .body::<CreateBody>()
        .answers::<TokenView<'static>>(201, "The token, with its secret.")
        .refuses(&[409]);
    let revoke = Call::delete("/api/tokens/{id}", "Revokes an API token")
        .about("With a session only.")
        .says(204, "It is revoked.");
    Routes::default()
        .on(list, self::list)
        .on(create, self::create)
        .on(revoke, self::revoke)
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
    Ok(answer(StatusCode::OK, Tokens { tokens }))
}

pub(super) async fn create(
    State(state): State<ApiState>,
    Caller { who, actor }: Caller,
    JsonBody(body): JsonBody<CreateBody>,
) -> Result<Response, ApiError> {
    let user = &who.session()?.user;
    let (secret, token) = state.tokens.create(user, &body.wish()?, &actor).await?;
    let view = TokenView::new(&token, Some(secret.expose()));
    Ok(answer(StatusCode::CREATED, view))
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
