//! Keeps what a desktop serves inside `/desktop/<id>/`, although it appears on the portal's origin:
//! the policy that the gateway sets on every answer of a desktop, whatever the desktop says.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::desktop::directory::Entry;
use crate::model::id::DesktopId;
use crate::request::client_addr::forwarded_by;

/// What the page of a desktop may ask the browser for. Browsers remember for a whole origin what a person
/// allowed, so that a desktop would have what was allowed to another; all that no desktop needs is denied.
/// What a desktop's client uses is left as it is: clipboard, fullscreen, gamepads, keyboard, pointer, sound,
/// a screen that stays awake.
const PERMISSIONS: &str = "bluetooth=(), camera=(), display-capture=(), geolocation=(), hid=(), \
    identity-credentials-get=(), idle-detection=(), local-fonts=(), microphone=(), midi=(), \
    otp-credentials=(), payment=(), publickey-credentials-create=(), publickey-credentials-get=(), \
    serial=(), usb=()";

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const X_DNS_PREFETCH_CONTROL: HeaderName = HeaderName::from_static("x-dns-prefetch-control");

/// Knows our origin, which the policy has to spell out: `'self'` would mean all of it.
#[derive(Clone, Debug)]
pub struct Confinement {
    origin: String,
    /// The same for WebSockets: `wss://host`.
    socket_origin: String,
    scheme: &'static str,
    host: String,
    /// Whose pages may hold a desktop in a frame: its own, and perhaps the portal's.
    ancestors: String,
    told: String,
    forwarded_by: String,
}

impl Confinement {
    /// For desktops that browsers see below `origin`, and that pages of another origin may hold in a frame.
    #[must_use]
    pub fn new(origin: &str, framed_by: Option<&str>) -> Self {
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
            ancestors: format!("'self' {}", framed_by.unwrap_or_default())
                .trim_end()
                .to_owned(),
            told: format!("X-Forwarded-Proto: {scheme}\r\nX-Forwarded-Host: {host}\r\n"),
            forwarded_by: forwarded_by(host, scheme),
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

    /// The header lines that tell a desktop under which name it was asked, the same for every request.
    #[must_use]
    pub fn told(&self) -> &str {
        &self.told
    }

    /// What its `Forwarded` says of that.
    #[must_use]
    pub fn forwarded_by(&self) -> &str {
        &self.forwarded_by
    }

    /// Our origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The Content Security Policy (level 3) of desktop `id`. The sandbox keeps scripts and storage, which
    /// the client needs, and takes pop-ups and top navigation; everything loads from the desktop's path. No
    /// directive that browsers know covers WebRTC: Chromium 156 calls `webrtc` unrecognized on every page.
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
             frame-ancestors {}",
            self.ancestors
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
        headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static(PERMISSIONS));
        headers.insert(X_DNS_PREFETCH_CONTROL, HeaderValue::from_static("off"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Secret;
    use crate::desktop::upstream::Upstream;
    use crate::model::id::UserId;
    use crate::model::template::Template;

    #[test]
    fn the_policy_names_only_the_path_of_its_desktop() {
        let id = DesktopId::random();
        let policy = Confinement::new("https://desk.example:8443", None).policy(id);
        assert!(policy.contains(&format!("connect-src https://desk.example:8443/desktop/{id}/ wss://desk.example:8443/desktop/{id}/")));
        let loading = policy.replace("frame-ancestors 'self'", "");
        assert!(
            !loading.contains("'self'") && !loading.contains('*'),
            "{policy}"
        );
        assert!(policy.ends_with("; frame-ancestors 'self'"), "{policy}");
        for taken in ["allow-popups", "allow-top-navigation"] {
            assert!(!policy.contains(taken), "{policy}");
        }
    }

    #[test]
    fn nobody_but_the_portal_may_hold_a_desktop_in_a_frame() {
        let confinement = Confinement::new(
            "https://desktops.desk.example",
            Some("https://desk.example"),
        );
        let policy = confinement.policy(DesktopId::random());
        let (rest, ancestors) = policy.split_once("frame-ancestors ").expect("it says so");
        assert_eq!(ancestors, "'self' https://desk.example");
        assert!(!rest.contains("https://desk.example"), "{rest}");
    }

    fn entry() -> Entry {
        let template = Arc::new(Template::kasm("image".into(), 6901));
        let upstream = Upstream::new(
            &template,
            DesktopId::random(),
            ([127, 0, 0, 1], 7000).into(),
            &Secret::new("secret".into()),
        );
        Entry::new(DesktopId::random(), UserId::random(), template, upstream)
    }

    #[test]
    fn a_desktop_has_no_permission_but_what_its_client_needs() {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_static("permissions-policy");
        headers.insert(&name, HeaderValue::from_static("camera=*"));
        Confinement::new("https://desk.example", None).apply(&entry(), &mut headers);
        let said: Vec<_> = headers.get_all(&name).iter().collect();
        assert_eq!(said, [PERMISSIONS]);
        for denied in ["camera=()", "microphone=()", "geolocation=()", "usb=()"] {
            assert!(PERMISSIONS.contains(denied), "{denied}");
        }
        for needed in ["clipboard", "fullscreen", "gamepad", "keyboard", "autoplay"] {
            assert!(!PERMISSIONS.contains(needed), "{needed}");
        }
    }
}
