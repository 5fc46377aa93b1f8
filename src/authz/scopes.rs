//! What an API token must be good for: one pure table from a call of the API to the scopes that open it. What
//! is not in the table is closed to tokens, so that a new call is not opened by forgetting it here.

use hyper::Method;

use super::AuthzError;
use crate::authn::principal::Principal;
use crate::model::scope::Scope;

/// What somebody must hold for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A session: a person who signed in.
    Session,
    /// A session, or a token with one of these scopes. The first is named to those who lack it.
    Scope(&'static [Scope]),
}

/// What `method` on `path` of the API needs. A token that could make tokens, or look at sessions, would make
/// its own scopes and end meaningless.
#[must_use]
pub fn needed(method: &Method, path: &str) -> Need {
    let below = |area: &str| {
        let rest = path.strip_prefix(area);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let reading = method.is_safe();
    if below("/api/admin") {
        Need::Scope(&[Scope::Admin])
    } else if below("/api/container") || below("/api/templates") {
        Need::Scope(if reading {
            &[Scope::Read, Scope::Desktops]
        } else {
            &[Scope::Desktops]
        })
    } else {
        Need::Session
    }
}

/// Refuses a call of the API that the token was not made for. A session may call everything, here.
pub fn authorize_call(
    principal: &Principal,
    method: &Method,
    path: &str,
) -> Result<(), AuthzError> {
    match needed(method, path) {
        Need::Session if principal.session().is_none() => Err(AuthzError::SessionRequired),
        Need::Session => Ok(()),
        Need::Scope(scopes) => authorize_any(principal, scopes),
    }
}

/// Refuses a token that has none of these scopes.
pub(super) fn authorize_any(principal: &Principal, scopes: &[Scope]) -> Result<(), AuthzError> {
    let may = scopes.iter().any(|scope| principal.may(*scope));
    match scopes.first() {
        Some(first) if !may => Err(AuthzError::ScopeMissing(*first)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let (read, desktops, admin) = (
            Need::Scope(&[Scope::Read, Scope::Desktops]),
            Need::Scope(&[Scope::Desktops]),
            Need::Scope(&[Scope::Admin]),
        );
        for (method, path, expected) in [
            ("GET", "/api/container/list", read),
            ("HEAD", "/api/container/list", read),
            ("GET", "/api/container/status", read),
            ("GET", "/api/container/events", read),
            ("GET", "/api/templates", read),
            ("POST", "/api/container/start", desktops),
            ("POST", "/api/container/stop", desktops),
            ("POST", "/api/container/remove", desktops),
            ("DELETE", "/api/container/anything", desktops),
            ("GET", "/api/admin", admin),
            ("GET", "/api/admin/users", admin),
            ("POST", "/api/admin/containers/x/stop", admin),
            ("GET", "/api/tokens", Need::Session),
            ("POST", "/api/tokens", Need::Session),
            ("DELETE", "/api/tokens/x", Need::Session),
            ("GET", "/api/sessions", Need::Session),
            ("DELETE", "/api/sessions", Need::Session),
            ("GET", "/api", Need::Session),
            ("GET", "/api/new", Need::Session),
            ("GET", "/api/administrate", Need::Session),
            ("GET", "/api/containers", Need::Session),
            ("POST", "//api/container/start", Need::Session),
        ] {
            let method: Method = method.parse().expect("a method");
            assert_eq!(needed(&method, path), expected, "{method} {path}");
        }
    }
}
