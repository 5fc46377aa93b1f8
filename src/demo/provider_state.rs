//! What the demo provider remembers: requests that wait for a login, codes, access tokens and sign-ins.
//!
//! Everything is in memory, bounded in number and in time.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use time::OffsetDateTime;
use url::Url;

use super::accounts::Account;

/// How long a person may take on the login page.
const LOGIN_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long an authorization code may be exchanged.
const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// How long an access token and an ID token are valid.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long a sign-in spares the person the login page.
pub(super) const SIGN_IN_LIFETIME: Duration = Duration::from_secs(8 * 60 * 60);
/// How many entries each kind may have; the one that expires first makes room.
const CAPACITY: usize = 1024;

/// An authorization request that has been found valid.
#[derive(Clone, Debug)]
pub(super) struct AuthorizationRequest {
    /// The redirect address exactly as it was registered.
    pub(super) redirect_uri: String,
    /// The same address, ready for more query parameters.
    pub(super) redirect: Url,
    /// The client's `state`, given back unchanged.
    pub(super) state: Option<String>,
    /// The client's `nonce`, for the ID token.
    pub(super) nonce: Option<String>,
    /// The S256 code challenge (RFC 7636).
    pub(super) challenge: String,
}

/// One person signed in at the provider with one browser.
#[derive(Clone, Debug)]
pub(super) struct SignIn {
    /// Who it is.
    pub(super) account: &'static Account,
    /// The `sid` claim. It is not the cookie, so an ID token does not let its reader take over the browser's sign-in.
    pub(super) sid: String,
    /// When the password was checked.
    pub(super) auth_time: OffsetDateTime,
}

/// What a code stands for.
#[derive(Debug)]
pub(super) struct Grant {
    /// The request that the code answers.
    pub(super) request: AuthorizationRequest,
    /// Who agreed.
    pub(super) sign_in: SignIn,
}

/// All that the provider remembers, each kind by its secret.
#[derive(Debug)]
pub(super) struct State {
    /// Requests whose login page is open, by the handle in the form.
    pub(super) waiting: ExpiringMap<AuthorizationRequest>,
    /// Codes not yet exchanged.
    pub(super) codes: ExpiringMap<Grant>,
    /// Access tokens.
    pub(super) tokens: ExpiringMap<SignIn>,
    /// Sign-ins, by the value of the cookie.
    pub(super) sign_ins: ExpiringMap<SignIn>,
}

impl State {
    /// Nothing remembered yet.
    pub(super) fn new() -> Self {
        Self {
            waiting: ExpiringMap::new(LOGIN_LIFETIME),
            codes: ExpiringMap::new(CODE_LIFETIME),
            tokens: ExpiringMap::new(TOKEN_LIFETIME),
            sign_ins: ExpiringMap::new(SIGN_IN_LIFETIME),
        }
    }

    /// Ends the sign-in with this `sid`, and all codes and tokens that came from it.
    pub(super) fn end(&mut self, sid: &str) {
        self.sign_ins.retain(|sign_in| sign_in.sid != sid);
        self.tokens.retain(|sign_in| sign_in.sid != sid);
        self.codes.retain(|grant| grant.sign_in.sid != sid);
    }
}

/// A map from fresh secrets to values that forgets values after a fixed lifetime.
#[derive(Debug)]
pub(super) struct ExpiringMap<V> {
    lifetime: Duration,
    entries: HashMap<String, (OffsetDateTime, V)>,
}

impl<V> ExpiringMap<V> {
    fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            entries: HashMap::new(),
        }
    }

    /// Keeps `value` and returns the new secret that finds it.
    pub(super) fn insert(&mut self, now: OffsetDateTime, value: V) -> String {
        self.entries.retain(|_, (expires, _)| *expires > now);
        if self.entries.len() >= CAPACITY {
            let first = self.entries.iter().min_by_key(|(_, (expires, _))| *expires);
            if let Some(key) = first.map(|(key, _)| key.clone()) {
                self.entries.remove(&key);
            }
        }
        let key = secret();
        self.entries
            .insert(key.clone(), (now + self.lifetime, value));
        key
    }

    /// The value of `key`, unless it has expired.
    pub(super) fn get(&self, now: OffsetDateTime, key: &str) -> Option<&V> {
        let (expires, value) = self.entries.get(key)?;
        (*expires > now).then_some(value)
    }

    /// Takes the value of `key` out, so that it can be used once only.
    pub(super) fn take(&mut self, now: OffsetDateTime, key: &str) -> Option<V> {
        let (expires, value) = self.entries.remove(key)?;
        (expires > now).then_some(value)
    }

    fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.entries.retain(|_, (_, value)| keep(value));
    }
}

/// A fresh 256-bit secret in characters that need no escaping anywhere.
pub(super) fn secret() -> String {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes).expect("the system's random source does not fail once it is seeded");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    #[test]
    fn a_value_is_found_until_its_lifetime_has_passed() {
        let mut map = ExpiringMap::new(Duration::from_secs(60));
        let key = map.insert(START, 7);
        assert_eq!(map.get(START + Duration::from_secs(59), &key), Some(&7));
        assert_eq!(map.get(START + Duration::from_secs(60), &key), None);
        assert_eq!(map.take(START + Duration::from_secs(60), &key), None);
    }

    #[test]
    fn a_value_is_taken_once() {
        let mut map = ExpiringMap::new(Duration::from_secs(60));
        let key = map.insert(START, 7);
        assert_eq!(map.take(START, &key), Some(7));
        assert_eq!(map.take(START, &key), None);
    }

    #[test]
    fn a_full_map_forgets_the_oldest() {
        let mut map = ExpiringMap::new(Duration::from_secs(60));
        let oldest = map.insert(START, 0);
        let later = START + Duration::from_secs(1);
        let keys: Vec<_> = (1..=CAPACITY).map(|n| map.insert(later, n)).collect();
        assert_eq!(map.entries.len(), CAPACITY);
        assert_eq!(map.get(later, &oldest), None);
        assert!(keys.iter().all(|key| map.get(later, key).is_some()));
    }
}
