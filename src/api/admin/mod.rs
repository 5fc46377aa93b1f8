//! `/api/admin/*`: what admins see and do. Every handler asks for an [`Admin`], and the gateway refuses other
//! roles before it looks at anything else of the request ([`area_of`]).

mod audit;
mod containers;
mod homes;
mod images;
pub mod lists;
mod log;
mod overview;
mod sessions;
mod users;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use hyper::Uri;
use serde::de::DeserializeOwned;

use super::extract::Caller;
use super::routes::Routes;
use super::{Api, ApiError};
use crate::authn::Authenticated;
use crate::authz::AuthzError;
use crate::authz::admin::AdminGrant;
use crate::authz::policy::{Action, Area};
use crate::model::audit::Actor;
use crate::respond::error::HttpError;
use crate::store::overview::Page;

/// Rows of a page when nothing is said.
const DEFAULT_ROWS: u32 = 50;
/// Rows of a page at most.
const MAX_ROWS: u32 = 500;

/// The area of an admin's address; `None` for addresses of everybody.
pub(super) fn area_of(path: &str) -> Option<Area> {
    let rest = path.strip_prefix("/api/admin")?;
    if !(rest.is_empty() || rest.starts_with('/')) {
        return None;
    }
    let word = rest.trim_start_matches('/').split('/').next();
    Some(match word.unwrap_or_default() {
        "users" => Area::Users,
        "sessions" => Area::Sessions,
        "images" => Area::Images,
        "audit" => Area::Audit,
        _ => Area::Desktops,
    })
}

pub(super) fn routes() -> Routes {
    overview::routes()
        .merge(containers::routes())
        .merge(users::routes())
        .merge(sessions::routes())
        .merge(homes::routes())
        .merge(images::routes())
        .merge(audit::routes())
        .merge(log::routes())
}

/// Somebody whom the gateway let in as an admin.
pub(super) struct Admin {
    /// The proof.
    pub grant: AdminGrant,
    /// How the audit log calls them.
    pub actor: Actor,
    /// The request's session or token.
    pub who: Authenticated,
}

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // `Api::call` puts it there, for admins only.
        let grant = head.extensions.get::<AdminGrant>().copied();
        let grant = grant.ok_or(AuthzError::WrongRole)?;
        let Caller { who, actor } = Caller::from_request_parts(head, state).await?;
        Ok(Self { grant, actor, who })
    }
}

/// The query of a request, where an unknown or doubled field is a mistake that is named.
pub(super) struct Asked<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::of(&head.uri)?)
    }
}

impl<T: DeserializeOwned> Asked<T> {
    fn of(uri: &Uri) -> Result<Self, HttpError> {
        let query = Query::try_from_uri(uri);
        let Query(asked) = query.map_err(|error| HttpError::Query(error.body_text()))?;
        Ok(Self(asked))
    }
}

/// What the forms of the admins' pages do. Each of these is in the audit log.
impl Api {
    /// Stops or removes desktops; returns what went wrong.
    pub async fn act_on(
        &self,
        grant: AdminGrant,
        actor: &Actor,
        ids: &[String],
        action: Action,
    ) -> Vec<HttpError> {
        let mut failures = Vec::new();
        for id in ids.iter().take(containers::MAX_MANY) {
            let done = containers::act(&self.state, (grant, actor), id, action).await;
            failures.extend(done.err());
        }
        failures
    }

    /// Ends sessions; returns what went wrong. One that is over already is as it should be.
    pub async fn end_sessions(
        &self,
        _: AdminGrant,
        actor: &Actor,
        ids: &[String],
    ) -> Vec<HttpError> {
        let mut failures = Vec::new();
        for id in ids {
            match sessions::end(&self.state, actor, id).await {
                Ok(()) | Err(HttpError::NotFound) => {}
                Err(error) => failures.push(error),
            }
        }
        failures
    }

    /// Has the engine pull an image.
    ///
    /// # Errors
    /// It is no reference of an image, or too many are being pulled.
    pub fn pull(&self, _: AdminGrant, actor: &Actor, image: &str) -> Result<(), HttpError> {
        images::begin(&self.state, actor, image).map(|_| ())
    }
}

fn page(limit: Option<u32>, offset: Option<u32>) -> Result<Page, HttpError> {
    Ok(Page {
        limit: rows(limit.unwrap_or(DEFAULT_ROWS), MAX_ROWS)?,
        offset: offset.unwrap_or_default(),
    })
}

/// A page of none and one of too many are mistakes: whoever counts on what they asked for would miss rows.
fn rows(limit: u32, most: u32) -> Result<u32, HttpError> {
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(HttpError::Query(format!("limit is 1 to {most}")))
}

/// A field of the query that holds a word which is none of those that count.
fn unknown_word(field: &str, words: &str) -> HttpError {
    HttpError::Query(format!("{field} is one of {words}"))
}

/// The text of a field that says something.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_admins_has_an_area() {
        assert_eq!(area_of("/api/admin/audit"), Some(Area::Audit));
        assert_eq!(area_of("/api/admin/users/x/export"), Some(Area::Users));
        assert_eq!(area_of("/api/admin/sessions/x"), Some(Area::Sessions));
        assert_eq!(area_of("/api/admin/images/pull"), Some(Area::Images));
        for other in [
            "/api/admin",
            "/api/admin/",
            "/api/admin//audit/x",
            "/api/admin/%61udit",
            "/api/admin/none",
        ] {
            assert!(area_of(other).is_some(), "{other}");
        }
        for everybodys in ["/api/container/list", "/api/administrator", "/api/x/admin"] {
            assert_eq!(area_of(everybodys), None);
        }
    }
}
