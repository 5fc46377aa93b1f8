//! The key that signs the demo provider's ID tokens: a fresh RSA key for each start, held by aws-lc-rs.
//!
//! Signing stays out of the `rsa` crate, whose private-key operations are not constant-time (RUSTSEC-2023-0071).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey, JsonWebKeyId, PrivateSigningKey, SigningError};

/// The algorithm of all signatures: RS256, which every client must support.
pub(super) const ALGORITHM: CoreJwsSigningAlgorithm = CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256;

const TAG_INTEGER: u8 = 0x02;
const TAG_SEQUENCE: u8 = 0x30;

/// A private RSA key together with its public half as a JSON Web Key.
#[derive(Debug)]
pub(super) struct SigningKey {
    pair: KeyPair,
    public: CoreJsonWebKey,
}

impl SigningKey {
    /// A new 2048-bit key. Takes some tenths of a second.
    pub(super) fn generate() -> Result<Self, Unspecified> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let der = pair.public_key().as_ref();
        let (n, e) = modulus_and_exponent(der).ok_or(Unspecified)?;
        // The id follows from the key, so that a client that kept an older key set notices the change.
        let id = BASE64_URL_SAFE_NO_PAD.encode(&digest(&SHA256, der).as_ref()[..9]);
        let public = CoreJsonWebKey::new_rsa(n.to_vec(), e.to_vec(), Some(JsonWebKeyId::new(id)));
        Ok(Self { pair, public })
    }

    /// Whether `token` is a JWT in compact form with a signature of this key; its expiry is not looked at.
    pub(super) fn signed(&self, token: &str) -> bool {
        let Some((message, signature)) = token.rsplit_once('.') else {
            return false;
        };
        BASE64_URL_SAFE_NO_PAD.decode(signature).is_ok_and(|bytes| {
            self.public
                .verify_signature(&ALGORITHM, message.as_bytes(), &bytes)
                .is_ok()
        })
    }
}

impl PrivateSigningKey for SigningKey {
    type VerificationKey = CoreJsonWebKey;

    fn sign(
        &self,
        algorithm: &CoreJwsSigningAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, SigningError> {
        if *algorithm != ALGORITHM {
            return Err(SigningError::UnsupportedAlg(format!("{algorithm:?}")));
        }
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .map_err(|Unspecified| SigningError::CryptoError)?;
        Ok(signature)
    }

    fn as_verification_key(&self) -> CoreJsonWebKey {
        self.public.clone()
    }
}

/// Reads the two integers of an `RSAPublicKey` (RFC 8017, appendix A.1.1), without leading zeros.
fn modulus_and_exponent(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(TAG_SEQUENCE, der)?;
    let (modulus, rest) = element(TAG_INTEGER, sequence)?;
    let (exponent, _) = element(TAG_INTEGER, rest)?;
    Some((without_sign(modulus), without_sign(exponent)))
}

/// Splits one DER element off `input`: its content, and what follows it.
fn element(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    if first < 0x80 {
        return rest.split_at_checked(usize::from(first));
    }
    let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
    let length = length.iter().try_fold(0_usize, |sum, &byte| {
        Some(sum.checked_mul(256)? + usize::from(byte))
    })?;
    rest.split_at_checked(length)
}

/// A positive DER integer may start with a zero byte that only keeps its sign.
fn without_sign(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_signs_verifies_with_its_public_half() {
        let key = SigningKey::generate().unwrap();
        let signature = key.sign(&ALGORITHM, b"message").unwrap();
        let public = key.as_verification_key();
        assert!(
            public
                .verify_signature(&ALGORITHM, b"message", &signature)
                .is_ok()
        );
        assert!(
            public
                .verify_signature(&ALGORITHM, b"another", &signature)
                .is_err()
        );
        let other = CoreJwsSigningAlgorithm::RsaSsaPssSha256;
        assert!(key.sign(&other, b"message").is_err());
    }

    #[test]
    fn it_knows_its_own_tokens_and_no_others() {
        let key = SigningKey::generate().unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(&ALGORITHM, b"head.body").unwrap());
        assert!(key.signed(&format!("head.body.{signature}")));
        assert!(!key.signed(&format!("head.forged.{signature}")));
        for broken in ["", ".", "a.b.", "a.b.???", "no-dots"] {
            assert!(!key.signed(broken), "{broken:?}");
        }
    }

    #[test]
    fn truncated_der_is_refused() {
        let whole = [0x30, 0x07, 0x02, 0x02, 0x00, 0x91, 0x02, 0x01, 0x03];
        assert_eq!(
            modulus_and_exponent(&whole),
            Some((&[0x91][..], &[0x03][..]))
        );
        for length in 0..whole.len() {
            assert_eq!(modulus_and_exponent(&whole[..length]), None);
        }
    }
}
