//! Ids as types: none of them can be mistaken for another, and each parses in one way only.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::time::Timestamp;

/// Text that is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

/// Sixteen random bytes from the operating system.
#[must_use]
pub fn nonce() -> [u8; 16] {
    // Version and variant bits are fixed, which leaves 122 random ones.
    *Uuid::new_v4().as_bytes()
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The id that nobody has.
            pub const NIL: Self = Self(Uuid::nil());

            /// A fresh random id (122 bits from the operating system).
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Only the hyphenated lower-case form: one id has one spelling, in paths, logs and SQL alike.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let id = Uuid::try_parse(text).map_err(|_| InvalidId)?;
                let mut buffer = Uuid::encode_buffer();
                if id.hyphenated().encode_lower(&mut buffer) == text {
                    Ok(Self(id))
                } else {
                    Err(InvalidId)
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

uuid_id!(
    /// A desktop: what the user has, and what `/desktop/<id>/` names.
    DesktopId
);
uuid_id!(
    /// A user of this gateway, whichever provider vouches for them.
    UserId
);
uuid_id!(
    /// The public handle of a session; it opens nothing.
    SessionId
);
uuid_id!(
    /// One request, in logs, answers and upstream calls.
    RequestId
);

uuid_id!(
    /// An entry of the audit log. Sorted as text, entries are in the order of their time.
    AuditId
);

uuid_id!(
    /// The public handle of an API token; it opens nothing.
    TokenId
);

/// The SHA-256 of a session secret: all that is ever stored of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionHash(String);

impl SessionHash {
    /// From a hex digest.
    #[must_use]
    pub fn from_hex(hex: String) -> Self {
        Self(hex)
    }

    /// The hex digest.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AuditId {
    /// For the entry number `count` of this millisecond (RFC 9562, version 7: time, count, randomness).
    #[must_use]
    pub fn at(time: Timestamp, count: u16) -> Self {
        let millis = u64::try_from(time.millis()).unwrap_or_default();
        let mut rest = [0; 10];
        rest.copy_from_slice(&nonce()[..10]);
        rest[..2].copy_from_slice(&count.to_be_bytes());
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid())
    }
}

/// The SHA-256 of an API token: all that is ever stored of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(String);

impl TokenHash {
    /// From a hex digest.
    #[must_use]
    pub fn from_hex(hex: String) -> Self {
        Self(hex)
    }

    /// The hex digest.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RequestId {
    /// The id `count` places further on, in its last 32 bits.
    #[must_use]
    pub fn plus(self, count: u32) -> Self {
        let bits = self.0.as_u128();
        let low = u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default();
        let high = bits & !u128::from(u32::MAX);
        Self(Uuid::from_u128(high | u128::from(low.wrapping_add(count))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_audit_log_sort_by_time_and_count() {
        let at = |millis, count| AuditId::at(Timestamp::from_millis(millis), count).to_string();
        let (first, second, later) = (
            at(1_700_000_000_000, 0),
            at(1_700_000_000_000, 1),
            at(1_700_000_000_001, 0),
        );
        assert!(first < second && second < later, "{first} {second} {later}");
        assert!(at(1_700_000_000_000, 0xffe) < at(1_700_000_000_000, 0xfff));
        assert!(first.parse::<AuditId>().is_ok());
    }

    #[test]
    fn one_id_has_one_spelling() {
        let id = DesktopId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        for other in [
            id.to_string().to_uppercase(),
            id.to_string().replace('-', ""),
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
            String::new(),
            "..".into(),
        ] {
            // An id made of digits only has no upper case to tell apart.
            if other != id.to_string() {
                assert_eq!(other.parse::<DesktopId>(), Err(InvalidId), "{other}");
            }
        }
    }
}
