//! Containers as the engine shows them.

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary};

use crate::engine::{Container, ContainerState};
use crate::model::time::Timestamp;

/// A container as the engine shows it alone.
pub(super) fn inspected(found: ContainerInspectResponse) -> Container {
    let state = found.state.unwrap_or_default();
    let ended = state.status == Some(ContainerStateStatusEnum::EXITED);
    let networks = found
        .network_settings
        .and_then(|settings| settings.networks)
        .unwrap_or_default();
    Container {
        id: found.id.unwrap_or_default(),
        name: found
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        state: state_from(
            &state
                .status
                .map(|status| status.to_string())
                .unwrap_or_default(),
        ),
        labels: found
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default(),
        exit_code: state.exit_code.filter(|_| ended),
        oom_killed: state.oom_killed.unwrap_or(false),
        address: networks
            .values()
            .find_map(|network| network.ip_address.as_ref()?.parse().ok()),
        made_at: found.created.and_then(|text| text.parse().ok()),
    }
}

/// A container as the engine shows it among others.
pub(super) fn listed(found: ContainerSummary) -> Container {
    let name = found
        .names
        .unwrap_or_default()
        .into_iter()
        .next()
        .unwrap_or_default();
    Container {
        id: found.id.unwrap_or_default(),
        name: name.trim_start_matches('/').to_owned(),
        state: state_from(
            &found
                .state
                .map(|state| state.to_string())
                .unwrap_or_default(),
        ),
        labels: found.labels.unwrap_or_default(),
        exit_code: None,
        oom_killed: false,
        address: None,
        made_at: found
            .created
            .map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000))),
    }
}

fn state_from(word: &str) -> ContainerState {
    match word {
        "created" => ContainerState::Created,
        "running" | "restarting" => ContainerState::Running,
        "paused" => ContainerState::Paused,
        "exited" => ContainerState::Exited,
        _ => ContainerState::Dead,
    }
}
