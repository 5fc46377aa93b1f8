//! Signed texts of the provider: JSON Web Tokens in compact form (RFC 7515, RFC 7519). Whose signature it is, and
//! nothing else: what the claims must say is for those who read them.
//!
//! Only public keys count. `alg: none` and the HMAC algorithms, which would take a published key for a shared
//! secret, are refused before any key is looked at (RFC 8725 sections 2.1 and 3.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreJsonWebKey, CoreJsonWebKeyUse, CoreJwsSigningAlgorithm as Algorithm,
};
use openidconnect::{
    AccessToken, AccessTokenHash, JsonWebKey, JsonWebKeyUse as _, JwsSigningAlgorithm as _,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest text that is read, bytes.
const MAX_LENGTH: usize = 256 * 1024;
/// How many keys are tried on one text that does not name its key.
const MAX_TRIES: usize = 16;

/// Why a text is not signed by the provider.
#[derive(Debug, thiserror::Error)]
pub enum JwsError {
    /// It is no signed JSON Web Token.
    #[error("it is no signed JSON Web Token")]
    Malformed,
    /// Its algorithm cannot be trusted, or is not known.
    #[error("its signature algorithm {0:?} is not accepted")]
    Algorithm(String),
    /// It asks for something that is not understood (RFC 7515 section 4.1.11).
    #[error("its header demands an extension")]
    Critical,
    /// None of the provider's keys could have signed it.
    #[error("the provider has no key {0:?} for its signature")]
    UnknownKey(Option<String>),
    /// The signature is not that of the key.
    #[error("its signature is wrong")]
    Signature,
    /// The access token is not the one it vouches for.
    #[error("its at_hash is not that of the access token")]
    AccessToken,
}

impl JwsError {
    /// Whether a key that is not known yet would explain it.
    #[must_use]
    pub fn may_be_a_new_key(&self) -> bool {
        matches!(self, Self::UnknownKey(_) | Self::Signature)
    }
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// A text that is not checked yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    header: Header,
    algorithm: Algorithm,
    message: &'a str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

/// A text that the provider signed.
#[derive(Debug)]
pub struct Signed {
    /// What it says.
    pub claims: Map<String, Value>,
    /// `typ` of its header, in lower case.
    pub typ: Option<String>,
    algorithm: Algorithm,
    key: CoreJsonWebKey,
}

impl<'a> Unverified<'a> {
    /// What a text of ours says, which was checked when it came.
    #[must_use]
    pub fn into_claims(self) -> Map<String, Value> {
        self.claims
    }

    /// Takes a text apart.
    ///
    /// # Errors
    /// It is no signed JSON Web Token, or one that nobody should trust.
    pub fn parse(text: &'a str) -> Result<Self, JwsError> {
        let bytes = |part: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| JwsError::Malformed)
        };
        if text.len() > MAX_LENGTH {
            return Err(JwsError::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(JwsError::Malformed)?;
        let header: Header =
            serde_json::from_slice(&bytes(header)?).map_err(|_| JwsError::Malformed)?;
        let algorithm = algorithm(&header.alg)?;
        if header.crit.is_some() {
            return Err(JwsError::Critical);
        }
        Ok(Self {
            algorithm,
            message,
            signature: bytes(signature)?,
            claims: serde_json::from_slice(&bytes(claims)?).map_err(|_| JwsError::Malformed)?,
            header,
        })
    }

    /// Checks the signature. A key without a name may have signed any text, and a text that names no key may be
    /// signed with any.
    ///
    /// # Errors
    /// None of `keys` is the one that signed it.
    pub fn verify(&self, keys: &[CoreJsonWebKey]) -> Result<Signed, JwsError> {
        let kid = self.header.kid.as_deref();
        let named = |key: &&CoreJsonWebKey| match (kid, key.key_id()) {
            (Some(wanted), Some(id)) => wanted == id.as_str(),
            _ => true,
        };
        let signs = |key: &&CoreJsonWebKey| {
            key.key_use()
                .is_none_or(CoreJsonWebKeyUse::allows_signature)
        };
        let fits =
            |key: &&CoreJsonWebKey| self.algorithm.key_type().as_ref() == Some(key.key_type());
        let mut candidates = keys.iter().filter(named).filter(signs).filter(fits);
        let mut any = false;
        let key = candidates.by_ref().take(MAX_TRIES).find(|key| {
            any = true;
            let message = self.message.as_bytes();
            key.verify_signature(&self.algorithm, message, &self.signature)
                .is_ok()
        });
        match key {
            Some(key) => Ok(Signed {
                claims: self.claims.clone(),
                typ: self.header.typ.as_deref().map(str::to_lowercase),
                algorithm: self.algorithm.clone(),
                key: key.clone(),
            }),
            None if any => Err(JwsError::Signature),
            None => Err(JwsError::UnknownKey(self.header.kid.clone())),
        }
    }
}

/// The algorithm of this name, if public keys check it.
fn algorithm(name: &str) -> Result<Algorithm, JwsError> {
    Ok(match name {
        "RS256" => Algorithm::RsaSsaPkcs1V15Sha256,
        "RS384" => Algorithm::RsaSsaPkcs1V15Sha384,
        "RS512" => Algorithm::RsaSsaPkcs1V15Sha512,
        "PS256" => Algorithm::RsaSsaPssSha256,
        "PS384" => Algorithm::RsaSsaPssSha384,
        "PS512" => Algorithm::RsaSsaPssSha512,
        "ES256" => Algorithm::EcdsaP256Sha256,
        "ES384" => Algorithm::EcdsaP384Sha384,
        // RFC 9864 gives EdDSA with this curve a name of its own.
        "EdDSA" | "Ed25519" => Algorithm::EdDsa,
        other => return Err(JwsError::Algorithm(other.chars().take(32).collect())),
    })
}

impl Signed {
    /// Checks `at_hash`, if there is one, against the access token that came along (OpenID Connect Core 1.0
    /// section 3.1.3.8).
    ///
    /// # Errors
    /// It is the hash of another one.
    pub fn check_access_token(&self, token: &str) -> Result<(), JwsError> {
        let Some(expected) = self.claims.get("at_hash") else {
            return Ok(());
        };
        let token = AccessToken::new(token.to_owned());
        let actual = AccessTokenHash::from_token(&token, &self.algorithm, &self.key);
        let same = actual.is_ok_and(|actual| expected.as_str() == Some(actual.as_str()));
        if same {
            Ok(())
        } else {
            Err(JwsError::AccessToken)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(header: &str, rest: &str) -> String {
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
    }

    #[test]
    fn what_is_no_signed_token_or_has_an_algorithm_without_public_key_is_refused() {
        for wrong in [
            "",
            ".",
            "..",
            "a.b.c",
            "e30.e30.",
            "e30.e30.!!",
            &"x".repeat(MAX_LENGTH + 1),
        ] {
            assert!(
                matches!(Unverified::parse(wrong), Err(JwsError::Malformed)),
                "{wrong:.20}"
            );
        }
        for alg in ["none", "None", "HS256", "HS512", "RS1", "ES256K", ""] {
            let text = text(&format!(r#"{{"alg":"{alg}"}}"#), "e30.");
            assert!(
                matches!(Unverified::parse(&text), Err(JwsError::Algorithm(_))),
                "{alg}"
            );
        }
        let extended = text(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "e30.");
        assert!(matches!(
            Unverified::parse(&extended),
            Err(JwsError::Critical)
        ));
        let payload = text(r#"{"alg":"ES256"}"#, "W10.");
        assert!(matches!(
            Unverified::parse(&payload),
            Err(JwsError::Malformed)
        ));
    }

    #[test]
    fn a_key_of_another_name_kind_or_use_is_not_tried() {
        let key = |changes: serde_json::Value| {
            let mut key =
                serde_json::json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": "AA", "y": "AA"});
            for (name, value) in changes.as_object().expect("an object") {
                key[name] = value.clone();
            }
            serde_json::from_value::<CoreJsonWebKey>(key).expect("a key")
        };
        let signed = text(r#"{"alg":"ES256","kid":"k"}"#, "e30.AAAA");
        let unverified = Unverified::parse(&signed).expect("a token");
        for other in [
            serde_json::json!({"kid": "l"}),
            serde_json::json!({"kty": "RSA", "n": "AA", "e": "AQAB"}),
            serde_json::json!({"use": "enc"}),
        ] {
            let refused = unverified.verify(&[key(other)]).expect_err("refused");
            assert!(matches!(refused, JwsError::UnknownKey(_)), "{refused}");
        }
        for tried in [serde_json::json!({}), serde_json::json!({"kid": null})] {
            let refused = unverified.verify(&[key(tried)]).expect_err("refused");
            assert!(matches!(refused, JwsError::Signature), "{refused}");
        }
    }
}
