//! Logout tokens: the provider's word that a person, or one session of theirs, is signed out there (OpenID Connect
//! Back-Channel Logout 1.0 section 2.6, after the signature). Pure.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::id_token::{CLOCK_SKEW, ClaimFault, Expected, seconds, text};
use crate::model::time::Timestamp;

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Longest `jti`, `sid` and `sub` that are taken, bytes.
const MAX_TEXT: usize = 1024;
/// How far ahead a logout token may expire; longer ones would have to be remembered for longer.
const MAX_LIFETIME: i64 = 24 * 3600;

/// Why a token does not sign anybody out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogoutFault {
    /// A rule that all tokens have.
    #[error(transparent)]
    Claim(#[from] ClaimFault),
    /// Its header says that it is something else.
    #[error("its typ is not that of a logout token")]
    Type,
    /// It tells of no logout.
    #[error("its events tell of no logout")]
    Event,
    /// It is an ID token, which must not sign anybody out.
    #[error("it has a nonce")]
    Nonce,
    /// It names nobody.
    #[error("it has neither sid nor sub")]
    Nobody,
    /// It would have to be remembered for too long.
    #[error("it is valid for too long")]
    Lifetime,
}

/// Who is signed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedOut {
    /// One session of the provider.
    Session(String),
    /// A person, wherever they are signed in.
    Subject(String),
}

/// A logout that the provider tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// Who tells of it.
    pub issuer: String,
    /// Who is signed out.
    pub who: SignedOut,
    /// By which the token is known if it comes again.
    pub id: String,
    /// When it is too old to come again.
    pub expires_at: Timestamp,
}

impl Logout {
    /// From the claims of a token that the provider signed, and the `typ` of its header.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn read(
        claims: &Map<String, Value>,
        typ: Option<&str>,
        expected: &Expected<'_>,
    ) -> Result<Self, LogoutFault> {
        if !matches!(
            typ,
            None | Some("jwt" | "logout+jwt" | "application/logout+jwt")
        ) {
            return Err(LogoutFault::Type);
        }
        expected.check(claims)?;
        if !claims
            .get("events")
            .is_some_and(|events| events[EVENT].is_object())
        {
            return Err(LogoutFault::Event);
        }
        if claims.contains_key("nonce") {
            return Err(LogoutFault::Nonce);
        }
        let short =
            |name| text(claims, name).filter(|text| !text.is_empty() && text.len() <= MAX_TEXT);
        let jti = short("jti").ok_or(ClaimFault::Missing("jti"))?;
        let who = match (short("sid"), short("sub")) {
            (Some(sid), _) => SignedOut::Session(sid.to_owned()),
            (None, Some(sub)) => SignedOut::Subject(sub.to_owned()),
            (None, None) => return Err(LogoutFault::Nobody),
        };
        let expires = seconds(claims, "exp").unwrap_or_default();
        if expires > expected.now.unix_timestamp() + MAX_LIFETIME {
            return Err(LogoutFault::Lifetime);
        }
        let expires = Timestamp::from_millis(expires.saturating_mul(1000));
        Ok(Self {
            issuer: expected.issuer.to_owned(),
            who,
            id: known_as(expected.issuer, jti),
            expires_at: expires.after(CLOCK_SKEW),
        })
    }
}

/// A short name for a `jti`, which may be long.
fn known_as(issuer: &str, jti: &str) -> String {
    let text = format!("{issuer}\n{jti}");
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use time::OffsetDateTime;

    const NOW: i64 = 1_700_000_000;

    fn read(changes: &Value, typ: Option<&str>) -> Result<Logout, LogoutFault> {
        let mut claims = json!({"iss": "https://id.example", "aud": "desk", "iat": NOW, "exp": NOW + 120,
            "jti": "j", "sid": "s", "sub": "7", "events": {EVENT: {}}});
        let object = claims.as_object_mut().expect("an object");
        for (name, value) in changes.as_object().expect("an object") {
            if value.is_null() {
                object.remove(name);
            } else {
                object.insert(name.clone(), value.clone());
            }
        }
        let expected = Expected {
            issuer: "https://id.example",
            client_id: "desk",
            now: OffsetDateTime::from_unix_timestamp(NOW).expect("a time"),
        };
        Logout::read(object, typ, &expected)
    }

    #[test]
    fn a_logout_names_a_session_or_else_a_person() {
        let of = |changes: Value, typ| read(&changes, typ).expect("a logout");
        let both = of(json!({}), Some("logout+jwt"));
        assert_eq!(both.who, SignedOut::Session("s".into()));
        assert_eq!(both.expires_at.millis(), (NOW + 180) * 1000);
        assert_eq!(
            of(json!({"sid": null}), None).who,
            SignedOut::Subject("7".into())
        );
        assert_eq!(
            of(json!({"sub": null}), Some("jwt")).who,
            SignedOut::Session("s".into())
        );
        assert_eq!(both.id, of(json!({"iat": NOW - 5}), None).id);
        assert_ne!(both.id, of(json!({"jti": "k"}), None).id);
    }

    #[test]
    fn what_is_no_logout_token_is_refused() {
        let missing = |name| LogoutFault::Claim(ClaimFault::Missing(name));
        for (changes, fault) in [
            (json!({"sid": null, "sub": null}), LogoutFault::Nobody),
            (json!({"events": null}), LogoutFault::Event),
            (json!({"events": {}}), LogoutFault::Event),
            (json!({"events": {EVENT: 1}}), LogoutFault::Event),
            (json!({"events": EVENT}), LogoutFault::Event),
            (json!({"nonce": "n"}), LogoutFault::Nonce),
            (json!({"jti": null}), missing("jti")),
            (json!({"jti": "x".repeat(2000)}), missing("jti")),
            (json!({"exp": null}), missing("exp")),
            (json!({"iat": null}), missing("iat")),
            (json!({"exp": NOW + 100_000}), LogoutFault::Lifetime),
            (
                json!({"exp": NOW - 60}),
                LogoutFault::Claim(ClaimFault::Expired),
            ),
            (
                json!({"iat": NOW + 61}),
                LogoutFault::Claim(ClaimFault::Future),
            ),
            (
                json!({"aud": "other"}),
                LogoutFault::Claim(ClaimFault::Audience),
            ),
        ] {
            assert_eq!(read(&changes, None), Err(fault), "{changes}");
        }
        assert_eq!(read(&json!({}), Some("at+jwt")), Err(LogoutFault::Type));
    }
}
