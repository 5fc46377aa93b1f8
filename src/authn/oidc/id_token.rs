//! What the claims of a token must say before anybody is believed to be who it names: OpenID Connect Core 1.0
//! sections 3.1.3.7 and 12.2, after the signature. Pure.

use std::time::Duration;

use serde_json::{Map, Value};
use time::OffsetDateTime;

/// How far the provider's clock may be off.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// How long a subject may be, characters (Core 1.0 section 2 says 255 ASCII characters; some send more).
const MAX_SUBJECT: usize = 1024;

/// What is wrong with the claims of a token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClaimFault {
    /// A claim that must be there is not, or is of another type.
    #[error("its {0} is missing or malformed")]
    Missing(&'static str),
    /// It comes from elsewhere.
    #[error("its iss is {0}")]
    Issuer(String),
    /// It is for somebody else.
    #[error("its aud is not us")]
    Audience,
    /// It was given to somebody else.
    #[error("its azp is not us")]
    AuthorizedParty,
    /// It is too old.
    #[error("it has expired")]
    Expired,
    /// It is from the future: one of the two clocks is wrong.
    #[error("it is not valid yet by our clock")]
    Future,
    /// It belongs to another login.
    #[error("its nonce is not that of this login")]
    Nonce,
    /// It names somebody else than before.
    #[error("its sub is another person")]
    Subject,
}

/// What is expected of a token.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The provider's name.
    pub issuer: &'a str,
    /// Our name there.
    pub client_id: &'a str,
    /// Our clock.
    pub now: OffsetDateTime,
}

impl Expected<'_> {
    /// Checks who made a token, for whom, and its times.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, claims: &Map<String, Value>) -> Result<(), ClaimFault> {
        self.check_parties(claims)?;
        let now = self.now.unix_timestamp();
        let skew = i64::try_from(CLOCK_SKEW.as_secs()).unwrap_or_default();
        if now - skew >= seconds(claims, "exp").ok_or(ClaimFault::Missing("exp"))? {
            return Err(ClaimFault::Expired);
        }
        let issued = seconds(claims, "iat").ok_or(ClaimFault::Missing("iat"))?;
        let from = seconds(claims, "nbf").unwrap_or(issued).max(issued);
        if from > now + skew {
            return Err(ClaimFault::Future);
        }
        Ok(())
    }

    /// Checks issuer and audience. Of several audiences we must be the one that the token was given to.
    pub fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), ClaimFault> {
        let issuer = text(claims, "iss").ok_or(ClaimFault::Missing("iss"))?;
        if issuer != self.issuer {
            return Err(ClaimFault::Issuer(issuer.chars().take(200).collect()));
        }
        let is_us = |value: &Value| value.as_str() == Some(self.client_id);
        let (ours, alone) = match claims.get("aud") {
            Some(Value::Array(all)) => (all.iter().any(is_us), all.iter().all(is_us)),
            Some(one) => (is_us(one), is_us(one)),
            None => return Err(ClaimFault::Missing("aud")),
        };
        if !ours {
            return Err(ClaimFault::Audience);
        }
        match claims.get("azp") {
            Some(Value::Null) | None if alone => Ok(()),
            Some(party) if is_us(party) => Ok(()),
            _ => Err(ClaimFault::AuthorizedParty),
        }
    }
}

/// Checks that a token belongs to the login that began with this nonce.
pub fn check_nonce(claims: &Map<String, Value>, nonce: &str) -> Result<(), ClaimFault> {
    if text(claims, "nonce") == Some(nonce) {
        Ok(())
    } else {
        Err(ClaimFault::Nonce)
    }
}

/// Whom the token names.
pub fn subject(claims: &Map<String, Value>) -> Result<&str, ClaimFault> {
    let subject = text(claims, "sub");
    let usable = |text: &&str| !text.is_empty() && text.len() <= MAX_SUBJECT;
    subject.filter(usable).ok_or(ClaimFault::Missing("sub"))
}

/// A claim that is text.
pub fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// A `NumericDate` (RFC 7519 section 2), which may have a fraction.
pub fn seconds(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a time outside of the range becomes the nearest in it"
    )]
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|value| value as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_700_000_000;

    fn check(changes: &Value) -> Result<(), ClaimFault> {
        let mut claims = json!({"iss": "https://id.example", "aud": "desk", "sub": "7",
            "iat": NOW, "exp": NOW + 300});
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let expected = Expected {
            issuer: "https://id.example",
            client_id: "desk",
            now: OffsetDateTime::from_unix_timestamp(NOW).expect("a time"),
        };
        expected.check(claims.as_object().expect("an object"))
    }

    #[test]
    fn who_made_it_and_for_whom() {
        for (changes, outcome) in [
            (json!({}), Ok(())),
            (
                json!({"iss": "https://id.example/"}),
                Err(ClaimFault::Issuer("https://id.example/".into())),
            ),
            (json!({"iss": null}), Err(ClaimFault::Missing("iss"))),
            (json!({"aud": null}), Err(ClaimFault::Audience)),
            (json!({"aud": "other"}), Err(ClaimFault::Audience)),
            (json!({"aud": ["desk"]}), Ok(())),
            (json!({"aud": []}), Err(ClaimFault::Audience)),
            (
                json!({"aud": ["desk", "other"]}),
                Err(ClaimFault::AuthorizedParty),
            ),
            (json!({"aud": ["desk", "other"], "azp": "desk"}), Ok(())),
            (
                json!({"aud": ["desk", "other"], "azp": "other"}),
                Err(ClaimFault::AuthorizedParty),
            ),
            (
                json!({"aud": "desk", "azp": "other"}),
                Err(ClaimFault::AuthorizedParty),
            ),
            (json!({"aud": "desk", "azp": null}), Ok(())),
            (
                json!({"aud": ["other"], "azp": "desk"}),
                Err(ClaimFault::Audience),
            ),
        ] {
            assert_eq!(check(&changes), outcome, "{changes}");
        }
    }

    #[test]
    fn when_it_is_valid() {
        for (changes, outcome) in [
            (json!({"exp": NOW - 59}), Ok(())),
            (json!({"exp": NOW - 60}), Err(ClaimFault::Expired)),
            (json!({"exp": "soon"}), Err(ClaimFault::Missing("exp"))),
            (json!({"exp": 1.0e300}), Ok(())),
            (json!({"exp": -1.0e300}), Err(ClaimFault::Expired)),
            (json!({"iat": NOW + 60}), Ok(())),
            (json!({"iat": NOW + 61}), Err(ClaimFault::Future)),
            (json!({"iat": null}), Err(ClaimFault::Missing("iat"))),
            (json!({"nbf": NOW + 61}), Err(ClaimFault::Future)),
            (json!({"nbf": NOW - 5, "iat": 1_699_999_999.5}), Ok(())),
        ] {
            assert_eq!(check(&changes), outcome, "{changes}");
        }
    }

    #[test]
    fn which_login_and_whom() {
        let claims = |value: Value| value.as_object().expect("an object").clone();
        assert_eq!(check_nonce(&claims(json!({"nonce": "n"})), "n"), Ok(()));
        for wrong in [json!({}), json!({"nonce": "m"}), json!({"nonce": null})] {
            assert_eq!(check_nonce(&claims(wrong), "n"), Err(ClaimFault::Nonce));
        }
        assert_eq!(subject(&claims(json!({"sub": "7"}))), Ok("7"));
        for wrong in [
            json!({}),
            json!({"sub": ""}),
            json!({"sub": 7}),
            json!({"sub": "x".repeat(1025)}),
        ] {
            assert_eq!(subject(&claims(wrong)), Err(ClaimFault::Missing("sub")));
        }
    }
}
