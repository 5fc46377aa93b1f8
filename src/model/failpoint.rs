//! Named places in the life of a desktop at which the chaos suite (`tests/chaos`) kills a gateway. Each stands between two
//! steps that somebody else sees: a row that is written, a call to the engine that is answered.

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failpoint {
    /// The row of a start is written, without a container of the pool.
    StartRecorded,
    /// It has its turn at the engine, and nothing is there yet.
    StartCreating,
    /// Its row says that its image is being pulled, by this gateway.
    PullAwaited,
    /// Its network is there.
    StartNetwork,
    /// Its container is made.
    StartCreated,
    /// The container runs, and the row does not say so.
    StartStarted,
    /// The row has the container, and the desktop has not answered.
    StartNoted,
    /// The desktop has answered, and the row does not say so.
    StartAnswered,
    /// The row says that it runs.
    StartRunning,
    /// The row of a start has the id of a container of the pool.
    WarmRecorded,
    /// That container has its ordinary name.
    WarmRenamed,
    /// The row says that it runs; the last desktop of the same person is still there.
    WarmRunning,
    /// The network of a container for the pool is there.
    PoolNetwork,
    /// That container is made.
    PoolCreated,
    /// It runs and nobody has asked it anything.
    PoolStarted,
    /// The row says that the desktop is on its way down.
    StopRecorded,
    /// The container has ended, and the row does not say so.
    StopEnded,
    /// A desktop that is to be removed has stopped.
    RemoveStopped,
    /// Its container is gone and its row is not.
    RemoveRow,
    /// Its row is gone, too; nobody was told.
    RemoveDone,
    /// The home is set aside; the desktop that uses it is still there.
    ResetAside,
    /// The row says that the desktop failed; its container is still there.
    FailRecorded,
    /// The row says paused, the container runs.
    PauseRecorded,
    /// The row says running, the container is frozen.
    WakeRecorded,
}

impl Failpoint {
    /// Every place.
    pub const ALL: [Self; 24] = [
        Self::StartRecorded,
        Self::StartCreating,
        Self::PullAwaited,
        Self::StartNetwork,
        Self::StartCreated,
        Self::StartStarted,
        Self::StartNoted,
        Self::StartAnswered,
        Self::StartRunning,
        Self::WarmRecorded,
        Self::WarmRenamed,
        Self::WarmRunning,
        Self::PoolNetwork,
        Self::PoolCreated,
        Self::PoolStarted,
        Self::StopRecorded,
        Self::StopEnded,
        Self::RemoveStopped,
        Self::RemoveRow,
        Self::RemoveDone,
        Self::ResetAside,
        Self::FailRecorded,
        Self::PauseRecorded,
        Self::WakeRecorded,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StartRecorded => "start.recorded",
            Self::StartCreating => "start.creating",
            Self::PullAwaited => "pull.awaited",
            Self::StartNetwork => "start.network",
            Self::StartCreated => "start.created",
            Self::StartStarted => "start.started",
            Self::StartNoted => "start.noted",
            Self::StartAnswered => "start.answered",
            Self::StartRunning => "start.running",
            Self::WarmRecorded => "warm.recorded",
            Self::WarmRenamed => "warm.renamed",
            Self::WarmRunning => "warm.running",
            Self::PoolNetwork => "pool.network",
            Self::PoolCreated => "pool.created",
            Self::PoolStarted => "pool.started",
            Self::StopRecorded => "stop.recorded",
            Self::StopEnded => "stop.ended",
            Self::RemoveStopped => "remove.stopped",
            Self::RemoveRow => "remove.row",
            Self::RemoveDone => "remove.done",
            Self::ResetAside => "reset.aside",
            Self::FailRecorded => "fail.recorded",
            Self::PauseRecorded => "pause.recorded",
            Self::WakeRecorded => "wake.recorded",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_name_of_its_own() {
        for point in Failpoint::ALL {
            assert_eq!(Failpoint::from_word(point.as_str()), Some(point));
        }
        assert_eq!(Failpoint::from_word("start"), None);
    }
}
