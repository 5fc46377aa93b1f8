//! Values that we hand out and take back: encrypted and authenticated with a key that all gateways of an
//! installation derive from the same secret, so that only they can make, read or change one.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Secret;

/// What the key is for, so that it is no other key that comes from the same secret.
const LABEL: &[u8] = b"deskgate sealed values 1";

/// Seals and opens values: AES-256-GCM under a random nonce, written in the alphabet of URLs.
#[derive(Debug)]
pub struct Seal {
    key: RandomizedNonceKey,
}

impl Seal {
    /// With a key derived from `secret_key`.
    ///
    /// # Panics
    /// Never: an HMAC-SHA-256 is as long as the cipher's key.
    #[must_use]
    pub fn new(secret_key: &Secret) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret_key.expose().as_bytes());
        let key = hmac::sign(&root, LABEL);
        Self {
            key: RandomizedNonceKey::new(&AES_256_GCM, key.as_ref())
                .expect("the key has the cipher's 32 bytes"),
        }
    }

    /// Seals `value` for `purpose`; it opens for no other.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, which leaves nothing safe to do.
    #[must_use]
    pub fn seal(&self, purpose: &str, value: &impl Serialize) -> String {
        let mut sealed = serde_json::to_vec(value).expect("our sealed values are JSON");
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(purpose), &mut sealed)
            .expect("a short text can be encrypted");
        sealed.extend_from_slice(nonce.as_ref());
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The value, if [`Self::seal`] made the text for this purpose.
    #[must_use]
    pub fn open<T: DeserializeOwned>(&self, purpose: &str, text: &str) -> Option<T> {
        let mut sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let at = sealed.len().checked_sub(NONCE_LEN)?;
        let (encrypted, nonce) = sealed.split_at_mut(at);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(purpose), encrypted)
            .ok()?;
        serde_json::from_slice(plain).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_only_unchanged_for_its_purpose_and_with_the_same_key() {
        let seal = Seal::new(&Secret::new("k".repeat(32)));
        let text = seal.seal("a", &"secret words");
        assert_ne!(text, seal.seal("a", &"secret words"));
        let open = |purpose: &str, text: &str| seal.open::<String>(purpose, text);
        assert_eq!(open("a", &text).as_deref(), Some("secret words"));
        assert_eq!(open("b", &text), None);
        let other = Seal::new(&Secret::new("x".repeat(32)));
        assert_eq!(other.open::<String>("a", &text), None);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(open("a", &changed), None, "byte {at}");
        }
        for wrong in ["", "AAAA", "?", &text[1..]] {
            assert_eq!(open("a", wrong), None, "{wrong}");
        }
    }
}
