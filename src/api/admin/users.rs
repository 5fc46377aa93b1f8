//! `/api/admin/users`: who has ever signed in, what is stored about them, and how it is forgotten.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, HeaderValue};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Asked, page, said, unknown_word};
use crate::api::{ApiError, ApiState, answer};
use crate::authz::AuthzError;
use crate::model::id::UserId;
use crate::model::user::Role;
use crate::respond::error::HttpError;
use crate::store::overview::{KnownUser, Sort, UserFilter, UserOrder};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    role: Option<String>,
    q: Option<String>,
    sort: Option<String>,
    limit: Option<u32>,
    offset: Option<u32>,
}

pub(super) async fn list(
    State(state): State<ApiState>,
    _: Admin,
    Asked(query): Asked<Query>,
) -> Result<Response, ApiError> {
    let role = match said(query.role).as_deref() {
        None => None,
        Some(word) => {
            let known = [Role::Student, Role::Teacher, Role::Admin];
            let role = known.into_iter().find(|role| role.as_str() == word);
            Some(role.ok_or_else(|| unknown_word("role", "student, teacher, admin"))?)
        }
    };
    let text = query.sort.as_deref().unwrap_or("name");
    let by = match text.trim_start_matches('-') {
        "name" => UserOrder::Name,
        "last_login" => UserOrder::LastLogin,
        "created" => UserOrder::Created,
        _ => {
            let words = "name, last_login, created, with a - before it for the largest first";
            return Err(unknown_word("sort", words).into());
        }
    };
    let filter = UserFilter {
        role,
        text: said(query.q),
    };
    let descending = text.starts_with('-');
    let page = page(query.limit, query.offset);
    let sort = Sort { by, descending };
    let listed = state.database.list_users(&filter, sort, page).await?;
    let users: Vec<Value> = listed.rows.iter().map(view).collect();
    let value = json!({ "users": users, "total": listed.total });
    Ok(answer(StatusCode::OK, value))
}

fn view(known: &KnownUser) -> Value {
    let identity = &known.user.identity;
    json!({
        "id": known.user.id,
        "username": identity.username,
        "name": identity.name,
        "email": identity.email,
        "role": identity.role,
        "groups": identity.groups,
        "issuer": identity.issuer,
        "created_at": known.created_at,
        "last_login": known.last_login,
        "live_desktops": known.live_desktops,
        "sessions": known.sessions,
    })
}

/// All that is stored about somebody, as a file.
pub(super) async fn export(
    State(state): State<ApiState>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id: UserId = id.parse().map_err(|_| AuthzError::NotFound)?;
    let user = state.people.find(id).await?.ok_or(HttpError::NotFound)?;
    let value = state.people.export(&user, &admin.actor).await?;
    let mut response = answer(StatusCode::OK, value);
    response.headers_mut().insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"user.json\""),
    );
    Ok(response)
}

/// Deletes all that is stored about somebody.
pub(super) async fn forget(
    State(state): State<ApiState>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id: UserId = id.parse().map_err(|_| AuthzError::NotFound)?;
    let user = state.people.find(id).await?.ok_or(HttpError::NotFound)?;
    let forgotten = state.people.forget(&user, &admin.actor).await?;
    Ok(answer(StatusCode::OK, json!({ "forgotten": forgotten })))
}
