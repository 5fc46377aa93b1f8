//! A desktop: its states, the one function that knows the legal moves, and the row that records it.

use serde::Serialize;

use super::id::{DesktopId, SessionId, UserId};
use super::template::Template;
use super::time::Timestamp;

/// Where a desktop is in its life.
///
/// `queued -> creating -> starting -> running <-> paused -> stopping -> stopped`, and `error` from
/// anywhere on the way. The first six are live: they hold a port and the user's place for a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Recorded; waits for its turn at the engine.
    Queued,
    /// The engine is making the container.
    Creating,
    /// The container runs; the desktop in it has not answered yet.
    Starting,
    /// The desktop gave an authenticated answer.
    Running,
    /// Frozen: no CPU, memory kept.
    Paused,
    /// On its way down.
    Stopping,
    /// Ended as asked.
    Stopped,
    /// Ended otherwise; the row says why.
    Error,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Creating,
        Self::Starting,
        Self::Running,
        Self::Paused,
        Self::Stopping,
        Self::Stopped,
        Self::Error,
    ];

    /// The word in the database and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Creating => "creating",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Error => "error",
        }
    }

    /// From the database's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Holds a port, a container and the user's place for its template.
    #[must_use]
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Stopped | Self::Error)
    }

    /// The desktop has answered and its container is there: requests may be meant for it.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// A start is under way.
    #[must_use]
    pub const fn is_launching(self) -> bool {
        matches!(self, Self::Queued | Self::Creating | Self::Starting)
    }

    /// Whether a desktop may go from this state to `next`. All changes of state ask here.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use State::{Creating, Error, Paused, Queued, Running, Starting, Stopped, Stopping};
        match self {
            Queued => matches!(next, Creating | Stopping | Error),
            Creating => matches!(next, Starting | Stopping | Error),
            Starting => matches!(next, Running | Stopping | Error),
            Running => matches!(next, Paused | Stopping | Error),
            Paused => matches!(next, Running | Stopping | Error),
            Stopping => matches!(next, Stopped | Error),
            Stopped | Error => false,
        }
    }
}

/// A desktop as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desktop {
    /// The id in `/desktop/<id>/`.
    pub id: DesktopId,
    /// Whose it is.
    pub user_id: UserId,
    /// The session that started it, if it still exists.
    pub session_id: Option<SessionId>,
    /// The engine's id of the container, once made.
    pub container_id: Option<String>,
    /// The container's name, known before it is made.
    pub container_name: String,
    /// Image reference.
    pub image_name: String,
    /// Template id.
    pub template: String,
    /// Where it is in its life.
    pub status: State,
    /// Why it is there: the word of a [`Reason`](super::reason::Reason), a sentence in rows of earlier versions.
    pub status_reason: Option<String>,
    /// What is behind it, a few lines: what the desktop wrote last, or the engine's own words.
    pub status_detail: Option<String>,
    /// How much of its image is there, while it waits for that.
    pub pull_percent: Option<u8>,
    /// The port on the host that leads to it; none where nothing is published.
    pub host_port: Option<u16>,
    /// The port inside the container.
    pub container_port: u16,
    /// When the start was asked for.
    pub created_at: Timestamp,
    /// When it first answered.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub stopped_at: Option<Timestamp>,
    /// Last traffic from a browser.
    pub last_accessed: Option<Timestamp>,
    /// Last key, pointer or clipboard input of a person.
    pub last_input: Option<Timestamp>,
    /// Last sign of a person, which idleness is counted from: input, a page that they opened, a wish to stay;
    /// for a stream that cannot be followed, its traffic.
    pub last_used: Option<Timestamp>,
    /// How often its lifetime was extended.
    pub extensions: u32,
    /// Number of the gateway that brings it up or down, or did so last; none where there is only one.
    pub gateway: Option<i64>,
    /// Who looks at it, or did until their gateway was lost.
    pub watched: Option<Watched>,
}

/// A look at a desktop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Whose; nobody's when it has ended, and only its notice is left.
    pub by: Option<UserId>,
    /// What they are called.
    pub name: String,
    /// It is over then, unless it goes on.
    pub until: Timestamp,
}

impl Desktop {
    /// Who looks at it at this moment.
    #[must_use]
    pub fn watcher(&self, now: Timestamp) -> Option<&str> {
        let watched = self.watched.as_ref();
        let watched =
            watched.filter(|one| one.by.is_some() && one.until > now && self.status.is_up());
        watched.map(|watched| watched.name.as_str())
    }

    /// One of `template` that somebody asked for at `now`, and that nobody has begun to start.
    #[must_use]
    pub fn queued(
        template: &Template,
        id: DesktopId,
        user_id: UserId,
        container_name: String,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            user_id,
            session_id: None,
            container_id: None,
            container_name,
            image_name: template.image.clone(),
            template: template.id.clone(),
            status: State::Queued,
            status_reason: None,
            status_detail: None,
            pull_percent: None,
            host_port: None,
            container_port: template.port,
            created_at: now,
            started_at: None,
            stopped_at: None,
            last_accessed: None,
            last_input: None,
            last_used: None,
            extensions: 0,
            gateway: None,
            watched: None,
        }
    }
}

/// What happened at a desktop since the database last heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Where.
    pub desktop: DesktopId,
    /// Last traffic from a browser.
    pub accessed: Timestamp,
    /// Last input of a person, if there ever was one.
    pub input: Option<Timestamp>,
    /// Last sign of a person, if there was a new one.
    pub used: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legal_moves_are_these_and_no_others() {
        // From the state of the row to that of the column, both in the order of `ALL`.
        let table = [
            ("queued", ".x...x.x"),
            ("creating", "..x..x.x"),
            ("starting", "...x.x.x"),
            ("running", "....xx.x"),
            ("paused", "...x.x.x"),
            ("stopping", "......xx"),
            ("stopped", "........"),
            ("error", "........"),
        ];
        for (from, (word, moves)) in State::ALL.into_iter().zip(table) {
            assert_eq!((from.as_str(), moves.len()), (word, State::ALL.len()));
            for (to, legal) in State::ALL.into_iter().zip(moves.chars()) {
                assert_eq!(from.may_become(to), legal == 'x', "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn ended_desktops_never_come_back() {
        for next in State::ALL {
            assert!(!State::Stopped.may_become(next));
            assert!(!State::Error.may_become(next));
        }
    }

    #[test]
    fn every_live_desktop_can_be_stopped_or_fail() {
        for state in State::ALL.into_iter().filter(|state| state.is_live()) {
            assert!(state.may_become(State::Error), "{state:?}");
            let stoppable = state == State::Stopping || state.may_become(State::Stopping);
            assert!(stoppable, "{state:?}");
            assert!(!state.may_become(state), "{state:?}");
        }
    }

    #[test]
    fn words_round_trip() {
        for state in State::ALL {
            assert_eq!(State::from_word(state.as_str()), Some(state));
        }
        assert_eq!(State::from_word("exited"), None);
    }
}
