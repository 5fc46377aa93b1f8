//! Why a desktop failed: the word for its row, and what is behind it, the last lines of its log or the engine's own
//! words. Who may read the latter is decided where answers are written.

use super::log_tail::{LINES, tidy};
use super::upstream::Upstream;
use super::{DesktopError, Desktops};
use crate::engine::{Container, EngineError, PullFailure};
use crate::model::desktop::Desktop;
use crate::model::reason::Reason;
use crate::telemetry::ErrorChain;

/// Why a desktop failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The word for it.
    pub(super) reason: Reason,
    /// What is behind it, if anything is known: a few lines of plain text.
    pub(super) detail: Option<String>,
}

impl Failure {
    /// One of which no more is known.
    pub(super) fn bare(reason: Reason) -> Self {
        let detail = None;
        Self { reason, detail }
    }

    /// Something that the engine answered, or did not.
    pub(super) fn of_engine(error: &EngineError) -> Self {
        Self {
            reason: reason_of(error),
            detail: Some(tidy(&ErrorChain(error).to_string(), &[])),
        }
    }

    /// Something that could not be done.
    pub(super) fn of_desktop(error: &DesktopError) -> Self {
        match error {
            DesktopError::Engine(error) => Self::of_engine(error),
            DesktopError::Pull(error) => Self::of_engine(error),
            DesktopError::Store(_) => Self::bare(Reason::Database),
            _ => Self::bare(Reason::Engine),
        }
    }
}

/// The word for what the engine says.
fn reason_of(error: &EngineError) -> Reason {
    match error {
        EngineError::Unreachable(_) | EngineError::Timeout(_) => Reason::EngineAway,
        EngineError::ImageMissing | EngineError::Pull(PullFailure::Unknown, _) => {
            Reason::ImageMissing
        }
        EngineError::Pull(PullFailure::Denied | PullFailure::Filtered, _) => Reason::PullDenied,
        EngineError::Pull(PullFailure::Registry | PullFailure::Stalled, _) => Reason::RegistryAway,
        EngineError::Pull(PullFailure::Other, _) => Reason::PullFailed,
        EngineError::DiskFull(_) => Reason::DiskFull,
        EngineError::PortTaken
        | EngineError::NameTaken
        | EngineError::NotFound
        | EngineError::NoSubnet
        | EngineError::Refused(_) => Reason::Engine,
    }
}

impl Desktops {
    /// How a container ended that should run. `otherwise` is the word if memory was not what it lacked.
    pub(super) async fn ending(
        &self,
        row: &Desktop,
        container: &Container,
        otherwise: Reason,
    ) -> Failure {
        let code = container.exit_code.map(|code| format!("exit code {code}"));
        let lines = self.last_lines(row, &container.id).await;
        let detail: Vec<String> = code.into_iter().chain(lines).collect();
        Failure {
            reason: if container.oom_killed {
                Reason::OutOfMemory
            } else {
                otherwise
            },
            detail: (!detail.is_empty()).then(|| detail.join("\n")),
        }
    }

    /// The last lines that a desktop's container wrote. What cannot be had is not missed: this is for the reason of a
    /// failure, which must not fail itself.
    pub(super) async fn last_lines(&self, row: &Desktop, container: &str) -> Option<String> {
        let parts = &self.inner.parts;
        let raw = match parts.engine.log_tail(container, LINES).await {
            Ok(raw) => raw,
            Err(error) => {
                tracing::debug!(desktop = %row.id, error = %ErrorChain(&error), "the log of a container cannot be read");
                return None;
            }
        };
        let password = parts.passwords.of(row.id);
        // Servers that log requests log the header with it, too.
        let nowhere = ([127, 0, 0, 1], 0).into();
        let template = self.template(&row.template);
        let way = template.map(|known| Upstream::new(known, row.id, nowhere, &password));
        let headers = way.map(|way| [way.authorization, way.viewer]);
        let [user, viewer] = headers.unwrap_or_default().map(|value| {
            let text = value.as_ref().and_then(|value| value.to_str().ok());
            text.and_then(|text| text.strip_prefix("Basic "))
                .unwrap_or_default()
                .to_owned()
        });
        let secrets = [password.expose(), &user, &viewer];
        let lines = tidy(&raw, &secrets);
        (!lines.is_empty()).then_some(lines)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bollard::errors::Error;

    use super::*;

    fn said(error: &str) -> Error {
        let error = error.to_owned();
        Error::DockerStreamError { error }
    }

    #[test]
    fn each_trouble_has_its_word() {
        for (error, reason) in [
            (
                EngineError::Timeout(Duration::from_secs(60)),
                Reason::EngineAway,
            ),
            (EngineError::ImageMissing, Reason::ImageMissing),
            (
                EngineError::Pull(PullFailure::Unknown, said("x")),
                Reason::ImageMissing,
            ),
            (
                EngineError::Pull(PullFailure::Denied, said("x")),
                Reason::PullDenied,
            ),
            (
                EngineError::Pull(PullFailure::Stalled, said("x")),
                Reason::RegistryAway,
            ),
            (
                EngineError::Pull(PullFailure::Other, said("x")),
                Reason::PullFailed,
            ),
            (EngineError::DiskFull(said("x")), Reason::DiskFull),
            (EngineError::Refused(said("x")), Reason::Engine),
        ] {
            assert_eq!(Failure::of_engine(&error).reason, reason, "{error:?}");
        }
        let failure = Failure::of_engine(&EngineError::DiskFull(said("no\u{7} space")));
        let detail = failure.detail.unwrap_or_default();
        assert!(
            detail.ends_with("Docker stream error: no space"),
            "{detail}"
        );
        let failure = Failure::of_desktop(&DesktopError::Engine(EngineError::NoSubnet));
        assert_eq!(failure.reason, Reason::Engine);
    }
}
