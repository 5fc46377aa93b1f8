//! Keeps what a desktop serves inside `/desktop/<id>/`, although it appears on the portal's origin:
//! the policy that the gateway sets on every answer of a desktop, whatever the desktop says.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::desktop::directory::Entry;
use crate::model::id::DesktopId;

/// Knows our origin, which the policy has to spell out: `'self'` would mean all of it.
#[derive(Clone, Debug)]
pub struct Confinement {
    origin: String,
    /// The same for WebSockets: `wss://host`.
    socket_origin: String,
    scheme: &'static str,
    host: String,
}

impl Confinement {
    /// For desktops that browsers see below `origin`.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        let host = origin.split_once("//").map_or(origin, |(_, host)| host);
        let (scheme, sockets) = if origin.starts_with("https:") {
            ("https", "wss")
        } else {
            ("http", "ws")
        };
        Self {
            origin: origin.to_owned(),
            socket_origin: format!("{sockets}://{host}"),
            scheme,
            host: host.to_owned(),
        }
    }

    /// Our host and port, as browsers write them.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How browsers reach us: `https`, or `http` on this machine.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Our origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The Content Security Policy (level 3) of desktop `id`. The sandbox keeps scripts and storage, which
    /// the client needs, and takes pop-ups and top navigation; everything loads from the desktop's path.
    #[must_use]
    pub fn policy(&self, id: DesktopId) -> String {
        let (origin, sockets) = (&self.origin, &self.socket_origin);
        let here = format!("{origin}/desktop/{id}/");
        format!(
            "sandbox allow-scripts allow-same-origin allow-forms allow-pointer-lock allow-downloads allow-modals; \
             default-src 'none'; \
             script-src {here} 'unsafe-inline' 'wasm-unsafe-eval'; \
             style-src {here} 'unsafe-inline'; \
             img-src {here} data: blob:; \
             font-src {here} data:; \
             media-src {here} data: blob:; \
             connect-src {here} {sockets}/desktop/{id}/ data: blob:; \
             worker-src {here} blob:; \
             frame-src {here}; \
             manifest-src {here}; \
             form-action {here}; \
             base-uri 'none'; \
             frame-ancestors 'self'"
        )
    }

    /// Adds the confining headers to a desktop's answer.
    ///
    /// # Panics
    /// Never: origin and id are made of characters that a header may hold.
    pub fn apply(&self, desktop: &Entry, headers: &mut HeaderMap) {
        let policy = desktop.policy.get_or_init(|| {
            HeaderValue::try_from(self.policy(desktop.id))
                .expect("origin and id are made of characters that a header may hold")
        });
        headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        let name = HeaderName::from_static("x-dns-prefetch-control");
        headers.insert(name, HeaderValue::from_static("off"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_only_the_path_of_its_desktop() {
        let id = DesktopId::random();
        let policy = Confinement::new("https://desk.example:8443").policy(id);
        assert!(policy.contains(&format!("connect-src https://desk.example:8443/desktop/{id}/ wss://desk.example:8443/desktop/{id}/")));
        let loading = policy.replace("frame-ancestors 'self'", "");
        assert!(
            !loading.contains("'self'") && !loading.contains('*'),
            "{policy}"
        );
        for taken in ["allow-popups", "allow-top-navigation"] {
            assert!(!policy.contains(taken), "{policy}");
        }
    }
}
