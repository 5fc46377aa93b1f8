//! `/api/admin/users`: who has ever signed in, what is stored about them, and how it is forgotten.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, HeaderValue};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::{Admin, Asked, page, said, unknown_word};
use crate::api::routes::Routes;
use crate::api::{ApiError, ApiState, answer};
use crate::authz::AuthzError;
use crate::model::id::UserId;
use crate::model::schema;
use crate::model::time::Timestamp;
use crate::model::user::Role;
use crate::people::Forgotten;
use crate::respond::describe::Call;
use crate::respond::error::HttpError;
use crate::store::overview::{KnownUser, Page, Sort, UserFilter, UserOrder};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    #[param(schema_with = Role::schema)]
    role: Option<String>,
    /// A part of a name.
    q: Option<String>,
    #[param(schema_with = sort_words)]
    sort: Option<String>,
    /// Rows of a page: 50 if nothing is said, 500 at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Rows before the page.
    offset: Option<u32>,
}

/// Somebody who has signed in.
#[derive(Serialize, ToSchema)]
#[schema(as = KnownUser)]
struct UserView<'a> {
    id: UserId,
    username: &'a str,
    name: Option<&'a str>,
    email: Option<&'a str>,
    role: Role,
    groups: &'a [String],
    issuer: &'a str,
    created_at: Timestamp,
    last_login: Timestamp,
    live_desktops: i64,
    sessions: i64,
}

/// A page of people.
#[derive(Serialize, ToSchema)]
struct Users<'a> {
    users: Vec<UserView<'a>>,
    /// On all pages.
    total: i64,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct ForgottenAnswer {
    forgotten: Forgotten,
}

/// All that is stored about somebody.
struct Export;

impl PartialSchema for Export {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .description(Some("The rows of each table, without secrets."))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .into()
    }
}

impl ToSchema for Export {}

fn sort_words() -> RefOr<Schema> {
    let words = "name last_login created -name -last_login -created";
    schema::words(
        words.split(' '),
        "With a `-` before it for the largest first.",
    )
}

pub(super) fn routes() -> Routes {
    let list = Call::get("/api/admin/users", "Who has ever signed in")
        .query::<Query>()
        .answers::<Users<'static>>(200, "A page of them.");
    let export = Call::get(
        "/api/admin/users/{id}/export",
        "All that is stored about somebody",
    )
    .answers::<Export>(200, "As a file.")
    .heads(200, "Content-Disposition", "Its name.");
    let forget = Call::delete(
        "/api/admin/users/{id}",
        "Deletes all that is stored about somebody",
    )
    .answers::<ForgottenAnswer>(200, "It is deleted.");
    Routes::default()
        .on(list, self::list)
        .on(export, self::export)
        .on(forget, self::forget)
}

pub(super) async fn list(
    State(state): State<ApiState>,
    _: Admin,
    Asked(query): Asked<Query>,
) -> Result<Response, ApiError> {
    let (filter, sort, page) = query.wanted()?;
    let listed = state.database.list_users(&filter, sort, page).await?;
    let (users, total) = (listed.rows.iter().map(view).collect(), listed.total);
    Ok(answer(StatusCode::OK, Users { users, total }))
}

impl Query {
    pub(super) fn wanted(self) -> Result<(UserFilter, Sort<UserOrder>, Page), HttpError> {
        let role = match said(self.role).as_deref() {
            None => None,
            Some(word) => {
                let known = [Role::Student, Role::Teacher, Role::Admin];
                let role = known.into_iter().find(|role| role.as_str() == word);
                Some(role.ok_or_else(|| unknown_word("role", "student, teacher, admin"))?)
            }
        };
        let text = self.sort.as_deref().unwrap_or("name");
        let by = match text.trim_start_matches('-') {
            "name" => UserOrder::Name,
            "last_login" => UserOrder::LastLogin,
            "created" => UserOrder::Created,
            _ => {
                let words = "name, last_login, created, with a - before it for the largest first";
                return Err(unknown_word("sort", words));
            }
        };
        let filter = UserFilter {
            role,
            text: said(self.q),
        };
        let descending = text.starts_with('-');
        let page = page(self.limit, self.offset)?;
        let sort = Sort { by, descending };
        Ok((filter, sort, page))
    }
}

fn view(known: &KnownUser) -> UserView<'_> {
    let identity = &known.user.identity;
    UserView {
        id: known.user.id,
        username: &identity.username,
        name: identity.name.as_deref(),
        email: identity.email.as_deref(),
        role: identity.role,
        groups: &identity.groups,
        issuer: &identity.issuer,
        created_at: known.created_at,
        last_login: known.last_login,
        live_desktops: known.live_desktops,
        sessions: known.sessions,
    }
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
    Ok(answer(StatusCode::OK, ForgottenAnswer { forgotten }))
}
