//! Why a desktop ended or will end: a stable word for the database and for programs. The sentences that
//! people read are made where answers are written.

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its user asked for it.
    Asked,
    /// An admin asked for it, and not its user.
    Admin,
    /// A teacher of its user asked for it.
    Teacher,
    /// Its user was forgotten.
    UserForgotten,
    /// Its user logged out, and the installation stops desktops then.
    Logout,
    /// Nobody used it for too long.
    Idle,
    /// It reached its longest lifetime.
    Lifetime,
    /// Its opening hours ended.
    Hours,
    /// It was ended from inside.
    EndedInside,
    /// The engine or its machine was restarted, and ended it.
    EngineRestarted,
    /// It needed more memory than it may have.
    OutOfMemory,
    /// Its container ended by itself.
    Ended,
    /// Its container is not there any more.
    Disappeared,
    /// The start was cancelled.
    StartCancelled,
    /// Its template is not configured any more.
    TemplateGone,
    /// No port was free for it.
    NoPort,
    /// Its container ended before the desktop answered.
    EndedStarting,
    /// The desktop does not take the gateway's password.
    Refused,
    /// The desktop did not answer in time.
    Silent,
    /// Its image is not on the engine's machine, and no registry has it or may be asked.
    ImageMissing,
    /// The registry does not give out its image.
    PullDenied,
    /// The registry of its image cannot be reached, or fell silent.
    RegistryAway,
    /// Its image could not be brought to the engine's machine for another reason.
    PullFailed,
    /// The engine's disk is full.
    DiskFull,
    /// The container engine did not answer.
    EngineAway,
    /// The container engine failed.
    Engine,
    /// The database failed.
    Database,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 27] = [
        Self::Asked,
        Self::Admin,
        Self::Teacher,
        Self::UserForgotten,
        Self::Logout,
        Self::Idle,
        Self::Lifetime,
        Self::Hours,
        Self::EndedInside,
        Self::EngineRestarted,
        Self::OutOfMemory,
        Self::Ended,
        Self::Disappeared,
        Self::StartCancelled,
        Self::TemplateGone,
        Self::NoPort,
        Self::EndedStarting,
        Self::Refused,
        Self::Silent,
        Self::ImageMissing,
        Self::PullDenied,
        Self::RegistryAway,
        Self::PullFailed,
        Self::DiskFull,
        Self::EngineAway,
        Self::Engine,
        Self::Database,
    ];

    /// The word in the database and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Admin => "admin",
            Self::Teacher => "teacher",
            Self::UserForgotten => "user_forgotten",
            Self::Logout => "logout",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Hours => "hours",
            Self::EndedInside => "ended_inside",
            Self::EngineRestarted => "engine_restarted",
            Self::OutOfMemory => "out_of_memory",
            Self::Ended => "ended",
            Self::Disappeared => "disappeared",
            Self::StartCancelled => "start_cancelled",
            Self::TemplateGone => "template_gone",
            Self::NoPort => "no_port",
            Self::EndedStarting => "ended_starting",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::ImageMissing => "image_missing",
            Self::PullDenied => "pull_denied",
            Self::RegistryAway => "registry_unavailable",
            Self::PullFailed => "pull_failed",
            Self::DiskFull => "disk_full",
            Self::EngineAway => "engine_unavailable",
            Self::Engine => "engine_failed",
            Self::Database => "database_failed",
        }
    }

    /// Whether the detail beside it is what the desktop itself wrote, which its user may read. Otherwise it is the engine's,
    /// which may name addresses and paths.
    #[must_use]
    pub const fn is_from_inside(self) -> bool {
        matches!(
            self,
            Self::OutOfMemory | Self::Ended | Self::EndedStarting | Self::Refused | Self::Silent
        )
    }

    /// From the database's word. Rows of earlier versions hold a sentence instead.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip_and_are_unlike() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(Reason::from_word(reason.as_str()), Some(reason));
            let before = &Reason::ALL[..index];
            assert!(before.iter().all(|other| other.as_str() != reason.as_str()));
        }
        assert_eq!(Reason::from_word("The desktop ended unexpectedly."), None);
    }
}
