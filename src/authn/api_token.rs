//! The form of an API token: `dgt_`, 256 random bits, and a checksum, so that scanners for leaked secrets
//! find it and a mistyped one is known without the database. We keep its hash only.
//!
//! `dgt_` + 43 characters of base64url + the first 6 characters of base64url(SHA-256 of all before them).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::token::{SessionSecret, sha256_hex};
use crate::model::id::TokenHash;

const PREFIX: &str = "dgt_";
/// Characters of the checksum: 36 bits.
const CHECKSUM: usize = 6;

/// What a program holds, and shows with each request.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiTokenSecret(String);

impl std::fmt::Debug for ApiTokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<API token>")
    }
}

impl ApiTokenSecret {
    /// A fresh one from the operating system.
    #[must_use]
    pub fn random() -> Self {
        let text = format!("{PREFIX}{}", SessionSecret::random().expose());
        let checksum = checksum(&text);
        Self(text + &checksum)
    }

    /// Whether `text` means to be a token: a session's secret, which could begin alike, is shorter.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(PREFIX) && SessionSecret::parse(text).is_none()
    }

    /// From what somebody sent; `None` when it cannot be one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM)?)?;
        SessionSecret::parse(body.strip_prefix(PREFIX)?)?;
        (checksum(body) == sum).then(|| Self(text.to_owned()))
    }

    /// The text for its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The SHA-256 that is stored.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::from_hex(sha256_hex(&self.0))
    }
}

fn checksum(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut sum = URL_SAFE_NO_PAD.encode(digest);
    sum.truncate(CHECKSUM);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_be_ours_is_parsed() {
        let token = ApiTokenSecret::random();
        let text = token.expose();
        assert_eq!(text.len(), 53);
        assert_eq!(ApiTokenSecret::parse(text), Some(token.clone()));
        assert_ne!(token, ApiTokenSecret::random());
        assert_eq!(token.hash().as_str().len(), 64);
        assert!(!format!("{token:?}").contains(text));
        let mut mistyped = text.to_owned();
        let first = mistyped.remove(PREFIX.len());
        mistyped.insert(PREFIX.len(), if first == 'A' { 'B' } else { 'A' });
        for wrong in [
            "",
            PREFIX,
            &mistyped,
            &text[..52],
            &text[1..],
            &format!("{text}A"),
            &text.replace(PREFIX, "DGT_"),
            SessionSecret::random().expose(),
            "dgt_ü",
        ] {
            assert_eq!(ApiTokenSecret::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_session_that_happens_to_begin_like_a_token_is_none() {
        let session = format!("{PREFIX}{}", "A".repeat(39));
        assert!(SessionSecret::parse(&session).is_some());
        assert!(!ApiTokenSecret::is_meant_by(&session));
        assert!(ApiTokenSecret::is_meant_by("dgt_mistyped"));
        assert!(ApiTokenSecret::is_meant_by(
            ApiTokenSecret::random().expose()
        ));
    }

    #[test]
    fn the_form_is_the_documented_one() {
        let body = format!("{PREFIX}{}", "A".repeat(43));
        assert_eq!(checksum(&body), KNOWN);
        assert!(ApiTokenSecret::parse(&format!("{body}{KNOWN}")).is_some());
    }

    /// From `printf dgt_AAA... | openssl dgst -sha256 -binary | basenc --base64url`.
    const KNOWN: &str = "c1Ga1q";
}
