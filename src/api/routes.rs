//! The router and the description of it, as one list: a call cannot be in one of them only.

use std::collections::BTreeMap;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter};
use hyper::Method;

use super::{ApiError, ApiState};
use crate::respond::describe::Call;
use crate::respond::error::HttpError;

/// Calls with their handlers.
#[derive(Default)]
pub(super) struct Routes {
    handlers: BTreeMap<&'static str, MethodRouter<ApiState>>,
    calls: Vec<Call>,
}

impl Routes {
    /// With one call more.
    pub fn on<H, T>(mut self, call: Call, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        let filter = match call.method {
            Method::POST => MethodFilter::POST,
            Method::DELETE => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        };
        let known = self.handlers.remove(call.path).unwrap_or_default();
        self.handlers.insert(call.path, known.on(filter, handler));
        self.calls.push(call);
        self
    }

    /// With those of another list.
    pub fn merge(mut self, other: Self) -> Self {
        self.handlers.extend(other.handlers);
        self.calls.extend(other.calls);
        self
    }

    /// What all of them are.
    pub fn calls(self) -> Vec<Call> {
        self.calls
    }

    /// The router, in which an address refuses the methods that it does not have.
    pub fn router(self) -> Router<ApiState> {
        let mut router = Router::new();
        for (path, handlers) in self.handlers {
            let at = self.calls.iter().filter(|call| call.path == path);
            let methods: Vec<&Method> = at.map(|call| &call.method).collect();
            let handlers = handlers.fallback(only(allowed(&methods)));
            router = router.route(path, handlers);
        }
        router.fallback(|| async { ApiError(HttpError::NotFound) })
    }
}

/// `Allow` for these methods.
fn allowed(methods: &[&Method]) -> &'static str {
    let has = |method| methods.contains(&&method);
    match (has(Method::GET), has(Method::POST), has(Method::DELETE)) {
        (true, false, false) => "GET, HEAD",
        (true, true, false) => "GET, HEAD, POST",
        (true, false, true) => "GET, HEAD, DELETE",
        (false, true, false) => "POST",
        (false, false, true) => "DELETE",
        (false, true, true) => "POST, DELETE",
        (true, true, true) | (false, false, false) => "GET, HEAD, POST, DELETE",
    }
}

fn only(allowed: &'static str) -> impl Fn() -> std::future::Ready<ApiError> + Clone {
    move || std::future::ready(ApiError(HttpError::Method(allowed)))
}
