//! Which of the gateways on one database does what only one should: comparing rows with containers, reaping, filling the
//! pool. On PostgreSQL that is whoever has a lock there; on SQLite, which is for one gateway, it is everybody.
//!
//! One that lives and does not reach the engine is of no use as a leader. It gives the lead up if another gateway says that
//! it reaches the engine, and keeps it otherwise: an engine that is away for all is no reason for a change.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{DesktopError, Desktops, reconcile};
use crate::model::id::RequestId;
use crate::store::seat::{Seat, Seated};
use crate::store::{Database, StoreError};
use crate::telemetry::ErrorChain;

/// How often it is looked who is there.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// How old the last look may be for the lead to count, where nothing says that the connection is lost. The server gives a
/// silent one up after 7 s, so that nobody else leads before this has passed.
const LEASE: Duration = Duration::from_secs(4);
/// How long a gateway has to be away before others take up what it was doing: it may be about to come back, when it is
/// the database that was away.
const GRACE: Duration = Duration::from_secs(5);
/// How long the engine has to be away for a leader to be of no use. By then every gateway has looked whether it reaches
/// the engine itself.
const USELESS: Duration = reconcile::PERIOD.saturating_add(Duration::from_secs(5));
/// How long a gateway that gave up the lead is not fit for it, so that an engine that answers now and then does not have
/// it handed to and fro.
const REST: Duration = Duration::from_secs(120);

/// What one gateway knows of who leads and who lives. Its number is a random one.
#[derive(Debug)]
pub struct Leader {
    /// None where gateways do not see each other.
    number: Option<i32>,
    state: Mutex<State>,
    /// Something may have to be taken up.
    pub(super) bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    leads: bool,
    /// Since when the engine does not answer this gateway.
    in_vain: Option<Instant>,
    /// When the lead was given up.
    resigned: Option<Instant>,
    /// The last look, and the first one since when there was no gap.
    looks: Option<(Instant, Instant)>,
    /// Gateways and when each was last there; those that were long ago are forgotten.
    seen: HashMap<i64, Instant>,
}

impl Leader {
    pub(super) fn new(database: &Database) -> Self {
        Self {
            number: database.has_seats().then(random_number),
            state: Mutex::default(),
            bell: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is whole between any two calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this gateway leads now. It ends by itself when the database does not say so again.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        if self.number.is_none() {
            return true;
        }
        let state = self.state();
        state.leads && state.looks.is_some_and(|(last, _)| last.elapsed() < LEASE)
    }

    /// What rows are marked with that this gateway is busy with.
    pub(super) fn number(&self) -> Option<i64> {
        self.number.map(i64::from)
    }

    /// Whether nobody is busy any more with a row that has this mark, when this process is not.
    pub(super) fn is_free(&self, mark: Option<i64>) -> bool {
        if self.number.is_none() || mark.is_none() || mark == self.number() {
            return true;
        }
        let state = self.state();
        let watched = state
            .looks
            .is_some_and(|(_, first)| first.elapsed() >= GRACE);
        watched && mark.is_some_and(|mark| !state.seen.contains_key(&mark))
    }

    /// Notes whether a comparison of rows with containers reached the engine.
    pub(super) fn note_pass(&self, passed: &Result<(), DesktopError>) {
        let mut state = self.state();
        match passed {
            Ok(()) => state.in_vain = None,
            Err(DesktopError::Engine(error)) if error.is_away() => {
                state.in_vain.get_or_insert_with(Instant::now);
            }
            // Nothing is known of the engine.
            Err(_) => {}
        }
    }

    fn is_fit(&self) -> bool {
        let state = self.state();
        let rests = state.resigned.is_some_and(|at| at.elapsed() < REST);
        state.in_vain.is_none() && !rests
    }

    /// Whether this gateway leads for nothing while another one would not.
    fn has_to_resign(&self, seated: &Seated) -> bool {
        let in_vain = self.state().in_vain;
        seated.leads && seated.has_heir && in_vain.is_some_and(|since| since.elapsed() >= USELESS)
    }

    fn note(&self, seated: &Seated, asked: Instant) {
        let mut state = self.state();
        let first = state.looks.map_or(asked, |(_, first)| first);
        let before = state
            .looks
            .is_some_and(|(last, first)| last.duration_since(first) >= GRACE);
        state.looks = Some((asked, first));
        for number in &seated.alive {
            state.seen.insert(*number, asked);
        }
        let known = state.seen.len();
        state
            .seen
            .retain(|_, seen| asked.duration_since(*seen) < GRACE);
        let all_seen = !before && asked.duration_since(first) >= GRACE;
        let news = seated.leads != state.leads || state.seen.len() < known || all_seen;
        if seated.leads != state.leads {
            tracing::info!(leads = seated.leads, "which gateway leads has changed");
        }
        state.leads = seated.leads;
        drop(state);
        if news {
            self.bell.notify_one();
        }
    }

    fn lose(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.leads) {
            tracing::warn!("this gateway does not lead any more: the database does not answer");
        }
        state.looks = None;
    }
}

fn random_number() -> i32 {
    let text = RequestId::random().to_string().replace('-', "");
    let digits = text.get(..7).unwrap_or_default();
    i32::from_str_radix(digits, 16).unwrap_or_default().max(1)
}

impl Desktops {
    /// Who leads.
    #[must_use]
    pub fn leader(&self) -> &Leader {
        &self.inner.leader
    }

    /// Keeps a seat at the database until the soft stop, which gives it up at once.
    pub fn spawn_leader(&self) {
        let Some(number) = self.inner.leader.number else {
            return;
        };
        let desktops = self.clone();
        self.inner.parts.tasks.until_soft("leader", async move {
            let leader = &desktops.inner.leader;
            let database = &desktops.inner.parts.database;
            loop {
                match database.sit(number).await {
                    Ok(Some(seat)) => leader.keep(seat).await,
                    Ok(None) => {
                        tracing::debug!("the last connection still has this gateway's seat");
                    }
                    Err(error) => {
                        tracing::debug!(error = %ErrorChain(&error), "no seat at the database");
                    }
                }
                leader.lose();
                tokio::time::sleep(LOOK_PERIOD).await;
            }
        });
    }
}

impl Leader {
    async fn keep(&self, mut seat: Seat) {
        loop {
            if let Err(error) = self.look(&mut seat).await {
                tracing::debug!(error = %ErrorChain(&error), "the seat at the database is lost");
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_PERIOD) => {}
                () = seat.lost() => return,
            }
        }
    }

    async fn look(&self, seat: &mut Seat) -> Result<(), StoreError> {
        let asked = Instant::now();
        let mut seated = seat.look(self.is_fit()).await?;
        if self.has_to_resign(&seated) {
            tracing::warn!(
                "this gateway gives up the lead: the engine answers another one and not this one"
            );
            // Before anybody else can have it.
            seated.leads = false;
            self.state().resigned = Some(asked);
            self.note(&seated, asked);
            return seat.resign().await;
        }
        self.note(&seated, asked);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineError;

    fn leader() -> Leader {
        Leader {
            number: Some(1),
            state: Mutex::default(),
            bell: Notify::new(),
        }
    }

    fn seated(leads: bool, alive: &[i64]) -> Seated {
        Seated {
            leads,
            has_heir: false,
            alive: alive.iter().copied().collect(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_lead_ends_by_itself_and_with_the_connection() {
        let leader = leader();
        assert!(!leader.is_leading());
        leader.note(&seated(true, &[1]), Instant::now());
        assert!(leader.is_leading());
        tokio::time::advance(LEASE).await;
        assert!(!leader.is_leading(), "nobody has said so lately");
        leader.note(&seated(true, &[1]), Instant::now());
        leader.lose();
        assert!(!leader.is_leading());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_engine_is_away_makes_room_for_one_whose_engine_is_not() {
        let leader = leader();
        let away = || Err(EngineError::Timeout(Duration::from_secs(1)).into());
        let heir = |has_heir| Seated {
            has_heir,
            ..seated(true, &[1, 2])
        };
        assert!(leader.is_fit(), "nothing is known against it");
        leader.note_pass(&Err(DesktopError::NotFound));
        leader.note_pass(&Err(EngineError::NoSubnet.into()));
        assert!(leader.is_fit(), "the engine answers");
        leader.note_pass(&away());
        assert!(!leader.is_fit());
        tokio::time::advance(USELESS.saturating_sub(LOOK_PERIOD)).await;
        leader.note_pass(&away());
        assert!(!leader.has_to_resign(&heir(true)), "the engine may come");
        tokio::time::advance(LOOK_PERIOD).await;
        assert!(leader.has_to_resign(&heir(true)));
        assert!(!leader.has_to_resign(&heir(false)), "nobody else is better");
        leader.note_pass(&Ok(()));
        assert!(leader.is_fit() && !leader.has_to_resign(&heir(true)));

        leader.state().resigned = Some(Instant::now());
        assert!(!leader.is_fit(), "the next one is not to hand it back");
        tokio::time::advance(REST).await;
        assert!(leader.is_fit());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_gateway_did_is_free_when_it_has_been_away_for_a_while() {
        let leader = leader();
        assert!(leader.is_free(None) && leader.is_free(Some(1)));
        assert!(!leader.is_free(Some(2)), "nothing is known yet");
        for _ in 0..=GRACE.as_secs() {
            leader.note(&seated(true, &[1, 2]), Instant::now());
            tokio::time::advance(LOOK_PERIOD).await;
        }
        assert!(!leader.is_free(Some(2)), "it lives");
        assert!(leader.is_free(Some(3)));
        for _ in 0..=GRACE.as_secs() {
            leader.note(&seated(true, &[1]), Instant::now());
            tokio::time::advance(LOOK_PERIOD).await;
        }
        assert!(leader.is_free(Some(2)));
        assert!(leader.state().seen.len() == 1, "it is forgotten");
        leader.lose();
        assert!(!leader.is_free(Some(3)), "everybody may be coming back");
    }
}
