//! How often one user starts desktops. What counts is a desktop that is made, not a click: fifty starts at once
//! make one desktop, and count once. This is what one gateway knows, which spares the database those who come far too often.
//! What other gateways made counts in [`crate::store::starts`].

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use crate::clock::Clock;
use crate::model::id::UserId;
use crate::model::rate::Rate;
use crate::rate::{Limiter, NEWS, TooOften};

/// Users whose starts are looked at side by side.
const TURNS: usize = 64;

/// The starts of all users.
#[derive(Debug)]
pub(super) struct Pace {
    limiter: Limiter<UserId>,
    told: Limiter<UserId>,
    turns: [Mutex<()>; TURNS],
    hasher: RandomState,
}

/// Whoever holds this is the only one that looks at this user's starts in this process.
#[must_use]
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pace: &'a Pace,
    user: UserId,
    _place: MutexGuard<'a, ()>,
}

impl Pace {
    /// Each user makes desktops at this rate.
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self {
            limiter: Limiter::new(rate, clock.clone()),
            told: Limiter::new(NEWS, clock),
            turns: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// Whether the audit log has not been told of a refusal of this user for a while.
    pub fn is_news(&self, user: UserId) -> bool {
        self.told.check(&user).is_ok()
    }

    /// Waits until no other start of this user is looked at here.
    pub async fn turn(&self, user: UserId) -> Turn<'_> {
        let hash = self.hasher.hash_one(user);
        let place = usize::try_from(hash % 64).unwrap_or_default();
        Turn {
            pace: self,
            user,
            _place: self.turns[place].lock().await,
        }
    }
}

impl Turn<'_> {
    /// Counts a desktop that is about to be made.
    pub fn count(&self) -> Result<(), TooOften> {
        self.pace.limiter.check(&self.user)
    }
}
