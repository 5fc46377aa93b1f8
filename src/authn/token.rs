//! The secret of a session: 256 random bits that only their holder keeps. We keep the hash.

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::id::SessionHash;

const SECRET_BYTES: usize = 32;

/// What a browser holds in its cookie, or a program sends as Bearer.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret(String);

impl std::fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<session secret>")
    }
}

impl SessionSecret {
    /// A fresh one from the operating system.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, which leaves nothing safe to do.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; SECRET_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the operating system gives random bytes");
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// From what somebody sent; `None` when it cannot be one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // What has no room here is too long to be one of ours.
        let mut bytes = [0; SECRET_BYTES + 2];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == SECRET_BYTES).then(|| Self(text.to_owned()))
    }

    /// The text for the cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The SHA-256 that is stored.
    #[must_use]
    pub fn hash(&self) -> SessionHash {
        SessionHash::from_hex(sha256_hex(&self.0))
    }
}

/// The SHA-256 of a text, as hex digits.
pub(super) fn sha256_hex(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
    let mut hex = [0; 64];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest.as_ref()) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(*byte)]);
    }
    String::from_utf8_lossy(&hex).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_be_ours_is_parsed() {
        let secret = SessionSecret::random();
        assert_eq!(SessionSecret::parse(secret.expose()), Some(secret.clone()));
        assert_ne!(secret, SessionSecret::random());
        assert_eq!(secret.hash().as_str().len(), 64);
        for wrong in [
            "",
            "abc",
            &secret.expose()[1..],
            &format!("{}=", secret.expose()),
            "../../etc",
        ] {
            assert_eq!(SessionSecret::parse(wrong), None, "{wrong}");
        }
    }
}
