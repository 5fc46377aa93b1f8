//! The sessions in this gateway's memory: those that were used lately, and those under which streams are open.
//! Whoever ends one here ends its streams at once.
//!
//! A look-up in the database and a check of all sessions may run at the same time. The *epoch* tells them apart: a
//! session that was read before a check began and is put in after it may have been missed, and is doubtful.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::session::Session;
use crate::model::id::{SessionHash, SessionId};
use crate::model::time::Timestamp;
use crate::model::user::User;

/// How long an unused session stays.
const LIFETIME: Duration = Duration::from_secs(60);
/// How many sessions stay, about a kilobyte each; beyond that only those that are being used.
const MAX_RESTING: usize = 20_000;

/// A use of a session that the database has not heard of.
pub(super) type Use = (SessionId, Timestamp, Option<IpAddr>);

#[derive(Debug, Default)]
pub(super) struct Live(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionHash, Arc<Session>>,
    epoch: u64,
    doubtful: bool,
}

impl Live {
    fn state(&self) -> MutexGuard<'_, State> {
        // The map is whole between any two calls, whatever happened to another holder of the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        self.state().sessions.get(hash).cloned()
    }

    pub fn is_empty(&self) -> bool {
        self.state().sessions.is_empty()
    }

    pub fn epoch(&self) -> u64 {
        self.state().epoch
    }

    /// Takes in what the database said, if it was asked in `epoch`; returns what counts from now on.
    pub fn put(&self, fresh: Session, epoch: u64) -> Arc<Session> {
        let mut state = self.state();
        state.doubtful |= state.epoch != epoch;
        let Some(old) = state.sessions.get(&fresh.hash) else {
            if state.sessions.len() >= MAX_RESTING {
                // A last use that is lost with one of them is that of a few seconds.
                state.sessions.retain(|_, session| is_held(session));
            }
            let hash = fresh.hash.clone();
            let session = Arc::new(fresh);
            state.sessions.insert(hash, session.clone());
            return session;
        };
        old.usage.merge(&fresh.usage);
        if fresh.user_version <= old.user_version {
            return old.clone();
        }
        let session = Arc::new(Session {
            usage: old.usage.clone(),
            ended: if has_same_rights(&old.user, &fresh.user) {
                old.ended.clone()
            } else {
                // Streams come back and are looked at again.
                old.ended.cancel();
                CancellationToken::new()
            },
            ..fresh
        });
        let hash = session.hash.clone();
        state.sessions.insert(hash, session.clone());
        session
    }

    /// Ends a session here.
    pub fn end(&self, hash: &SessionHash) {
        if let Some(session) = self.state().sessions.remove(hash) {
            session.ended.cancel();
        }
    }

    /// Lets go of what nobody uses, and ends what is past its absolute end. Returns what seems to be idle: it may
    /// be in use at another gateway.
    pub fn sweep(&self, now: Timestamp, idle: Duration) -> Vec<SessionHash> {
        let mut seem_idle = Vec::new();
        self.state().sessions.retain(|hash, session| {
            if now >= session.expires_at {
                session.ended.cancel();
                return false;
            }
            let seen = session.usage.last_seen();
            if now >= seen.after(idle) {
                seem_idle.push(hash.clone());
            }
            is_held(session) || session.usage.is_unsaved() || now < seen.after(LIFETIME)
        });
        seem_idle
    }

    /// Begins a check of all sessions: their keys, and the version of the user of each.
    pub fn begin_check(&self) -> Vec<(SessionHash, i64)> {
        let mut state = self.state();
        state.epoch += 1;
        state.doubtful = false;
        let sessions = state.sessions.values();
        let known = sessions.map(|session| (session.hash.clone(), session.user_version));
        known.collect()
    }

    /// Whether a session may have escaped the last check.
    pub fn is_doubtful(&self) -> bool {
        self.state().doubtful
    }

    /// Notes that the last check failed.
    pub fn doubt(&self) {
        self.state().doubtful = true;
    }

    /// Uses that the database has not heard of.
    pub fn take_unsaved(&self) -> Vec<Use> {
        let state = self.state();
        let sessions = state.sessions.values();
        let unsaved =
            sessions.filter(|session| session.usage.unsaved.swap(false, Ordering::Acquire));
        let uses = unsaved.map(|session| {
            let usage = &session.usage;
            (session.id, usage.last_seen(), usage.address())
        });
        uses.collect()
    }
}

/// Whether a request or a stream has it, perhaps as it was before the user changed.
fn is_held(session: &Arc<Session>) -> bool {
    Arc::strong_count(session) > 1 || Arc::strong_count(&session.usage) > 1
}

/// Whether two states of a user allow the same. Providers give groups in any order.
fn has_same_rights(old: &User, new: &User) -> bool {
    let sorted = |user: &User| {
        let mut groups = user.identity.groups.clone();
        groups.sort_unstable();
        groups
    };
    old.identity.role == new.identity.role && sorted(old) == sorted(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::session::Usage;
    use crate::authn::token::SessionSecret;
    use crate::model::id::UserId;
    use crate::model::user::{Identity, Role};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn session(hash: &SessionHash, role: Role, groups: &[&str], version: i64) -> Session {
        let identity = Identity {
            issuer: "https://id.test".into(),
            subject: "pupil".into(),
            username: format!("pupil {version}"),
            name: None,
            email: None,
            role,
            groups: groups.iter().map(ToString::to_string).collect(),
        };
        Session {
            id: SessionId::random(),
            hash: hash.clone(),
            user: User {
                id: UserId::random(),
                identity,
            },
            created_at: at(0),
            expires_at: at(1000),
            ended: CancellationToken::new(),
            user_version: version,
            usage: Arc::new(Usage::new(at(0), at(0))),
        }
    }

    fn hash() -> SessionHash {
        SessionSecret::random().hash()
    }

    #[test]
    fn a_change_of_rights_ends_streams_and_any_other_does_not() {
        let (live, hash) = (Live::default(), hash());
        let first = live.put(session(&hash, Role::Teacher, &["a", "b"], 1), 0);
        let renamed = live.put(session(&hash, Role::Teacher, &["b", "a"], 2), 0);
        assert_eq!(renamed.user.identity.username, "pupil 2");
        assert!(!first.ended.is_cancelled());
        let stale = live.put(session(&hash, Role::Admin, &[], 1), 0);
        assert_eq!(stale.user.identity.role, Role::Teacher, "an old word");
        let demoted = live.put(session(&hash, Role::Student, &["a", "b"], 3), 0);
        assert!(first.ended.is_cancelled() && renamed.ended.is_cancelled());
        assert!(!demoted.ended.is_cancelled());
        let moved = live.put(session(&hash, Role::Student, &["a"], 4), 0);
        assert!(demoted.ended.is_cancelled());
        live.end(&hash);
        assert!(moved.ended.is_cancelled() && live.is_empty());
    }

    #[test]
    fn a_session_under_an_old_name_is_still_held() {
        let (live, hash) = (Live::default(), hash());
        let stream = live.put(session(&hash, Role::Student, &[], 1), 0);
        drop(live.put(session(&hash, Role::Student, &[], 2), 0));
        assert_eq!(live.sweep(at(500), Duration::from_secs(900)), []);
        live.end(&hash);
        assert!(stream.ended.is_cancelled(), "it was not let go of");
    }

    #[test]
    fn what_is_put_in_behind_a_check_is_doubtful() {
        let live = Live::default();
        let epoch = live.epoch();
        assert!(live.begin_check().is_empty());
        let escaped = hash();
        live.put(session(&escaped, Role::Student, &[], 1), epoch);
        assert!(live.is_doubtful());
        assert_eq!(live.begin_check(), [(escaped, 1)]);
        live.put(session(&hash(), Role::Student, &[], 1), live.epoch());
        assert!(!live.is_doubtful());
    }

    #[test]
    fn what_nobody_uses_goes_and_what_is_past_its_end_is_ended() {
        let idle = Duration::from_secs(100);
        let (live, hash) = (Live::default(), hash());
        let held = live.put(session(&hash, Role::Student, &[], 1), 0);
        assert_eq!(live.sweep(at(99), idle), []);
        assert_eq!(live.sweep(at(100), idle), std::slice::from_ref(&hash));
        held.touch(at(950));
        assert_eq!(live.sweep(at(951), idle), []);
        assert_eq!(live.take_unsaved(), [(held.id, at(950), None)]);
        assert_eq!(live.sweep(at(1000), idle), []);
        assert!(held.ended.is_cancelled() && live.is_empty());
        drop(live.put(session(&hash, Role::Student, &[], 1), 0));
        assert!(live.sweep(at(59), idle).is_empty() && !live.is_empty());
        live.sweep(at(60), idle);
        assert!(live.is_empty());
    }

    #[test]
    fn memory_is_bounded_by_what_is_in_use() {
        let live = Live::default();
        let held = live.put(session(&hash(), Role::Student, &[], 1), 0);
        for _ in 0..MAX_RESTING {
            live.put(session(&hash(), Role::Student, &[], 1), 0);
        }
        assert_eq!(live.begin_check().len(), 2);
        assert!(live.get(&held.hash).is_some());
    }
}
