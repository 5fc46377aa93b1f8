//! The password between gateway and desktop: derived from the server secret and the desktop's id, so
//! that there is nothing to store and nothing shared. Nobody ever types it.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Secret;
use crate::model::id::DesktopId;

/// Gives each desktop its password.
#[derive(Clone, Debug)]
pub struct Passwords {
    key: hmac::Key,
    shared: Option<Secret>,
}

impl Passwords {
    /// Derives from `secret_key`, unless `shared` is the password of all desktops.
    #[must_use]
    pub fn new(secret_key: &Secret, shared: Option<Secret>) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret_key.expose().as_bytes()),
            shared,
        }
    }

    /// The password of one desktop.
    #[must_use]
    pub fn of(&self, desktop: DesktopId) -> Secret {
        if let Some(shared) = &self.shared {
            return shared.clone();
        }
        let tag = hmac::sign(&self.key, format!("desktop password {desktop}").as_bytes());
        Secret::new(URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_desktop_has_its_own_and_keeps_it() {
        let passwords = Passwords::new(&Secret::new("k".repeat(32)), None);
        let (a, b) = (DesktopId::random(), DesktopId::random());
        assert_eq!(passwords.of(a), passwords.of(a));
        assert_ne!(passwords.of(a), passwords.of(b));
        let other = Passwords::new(&Secret::new("x".repeat(32)), None);
        assert_ne!(passwords.of(a), other.of(a));
        let shared = Passwords::new(
            &Secret::new("k".repeat(32)),
            Some(Secret::new("all".into())),
        );
        assert_eq!(shared.of(a).expose(), "all");
    }
}
