//! Keys of the tests' OpenID provider: each signs with one algorithm and shows its public half as a JWK.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL;
use serde_json::{Map, Value, json};

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A key pair.
pub struct Key {
    pair: Pair,
    pub alg: &'static str,
    pub kid: Option<String>,
    /// Whether the JWK says which algorithm it is for.
    pub says_alg: bool,
}

impl Key {
    /// A fresh one for `alg`, with a random name.
    pub fn generate(alg: &'static str) -> Self {
        let pair = match alg {
            "ES256" => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            "ES384" => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            _ => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        };
        Self {
            pair,
            alg,
            kid: Some(uuid::Uuid::new_v4().to_string()),
            says_alg: true,
        }
    }

    pub fn nameless(mut self) -> Self {
        (self.kid, self.says_alg) = (None, false);
        self
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding: &dyn aws_lc_rs::signature::RsaEncoding = match self.alg {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    other => panic!("no key signs with {other}"),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                // The DER of a 2048-bit key with the usual exponent has its modulus at a fixed place.
                let der = pair.public_key().as_ref();
                json!({"kty": "RSA", "n": text(&der[9..265]), "e": "AQAB"})
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..]
                    .split_at((pair.public_key().as_ref().len() - 1) / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": crv, "x": text(x), "y": text(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
        };
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        if self.says_alg {
            jwk["alg"] = json!(self.alg);
            jwk["use"] = json!("sig");
        }
        jwk
    }

    /// The left half of the hash of `text` (`at_hash`).
    pub fn half_hash(&self, text: &str) -> String {
        let algorithm = match &self.alg[2..] {
            "256" => &digest::SHA256,
            "384" => &digest::SHA384,
            _ => &digest::SHA512,
        };
        let hash = digest::digest(algorithm, text.as_bytes());
        URL.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
    }
}

/// What a token's signature is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signature {
    #[default]
    Right,
    /// Another text's.
    Wrong,
    /// None at all, and the header says so.
    None,
    /// An HMAC whose key is the public key, as an attacker knows it.
    PublicKeyAsSecret,
    /// That of a key which the key set does not hold.
    Stranger,
}

/// A token in compact form; `header` overrides what the header would be.
pub fn token(key: &Key, header: &Value, claims: &Map<String, Value>, how: Signature) -> String {
    let mut head = json!({"alg": key.alg, "typ": "JWT"});
    if let Some(kid) = &key.kid {
        head["kid"] = json!(kid);
    }
    match how {
        Signature::None => head["alg"] = json!("none"),
        Signature::PublicKeyAsSecret => head["alg"] = json!("HS256"),
        _ => {}
    }
    merge(head.as_object_mut().unwrap(), header);
    let part = |value: &Value| URL.encode(value.to_string());
    let message = format!("{}.{}", part(&head), part(&json!(claims)));
    let signature = match how {
        Signature::Right => key.sign(message.as_bytes()),
        Signature::Wrong => key.sign(b"another text"),
        Signature::None => Vec::new(),
        Signature::PublicKeyAsSecret => {
            let secret = key.jwk().to_string();
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            hmac::sign(&secret, message.as_bytes()).as_ref().to_vec()
        }
        Signature::Stranger => Key::generate("ES256").sign(message.as_bytes()),
    };
    format!("{message}.{}", URL.encode(signature))
}

/// Sets the members of `changes`; null removes one.
pub fn merge(object: &mut Map<String, Value>, changes: &Value) {
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
}
