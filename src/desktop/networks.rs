//! Networks that are one desktop's alone: they go with its container, and this finds those that stayed behind.

use std::collections::HashSet;
use std::time::Duration;

use super::{DesktopError, Desktops};
use crate::engine::spec::LABEL_DESKTOP;
use crate::engine::{Container, OwnNetwork};
use crate::model::desktop::Desktop;
use crate::model::id::DesktopId;

/// How old a network is before it counts as lost: it is made before its container, and that one of the pool has no row.
const GRACE: Duration = Duration::from_secs(120);

impl Desktops {
    /// Networks of this installation whose desktops have neither row nor container.
    pub(super) async fn lost_networks(
        &self,
        containers: &[Container],
        rows: &[Desktop],
    ) -> Result<Vec<OwnNetwork>, DesktopError> {
        let parts = &self.inner.parts;
        let networks = parts.engine.networks(&parts.instance).await?;
        let labels = containers
            .iter()
            .filter_map(|container| container.labels.get(LABEL_DESKTOP)?.parse().ok());
        let known: HashSet<DesktopId> = rows.iter().map(|row| row.id).chain(labels).collect();
        let now = parts.clock.timestamp();
        let is_lost = |network: &OwnNetwork| {
            let made_at = network.made_at.unwrap_or_default();
            !known.contains(&network.desktop) && now.since(made_at) > GRACE
        };
        Ok(networks.into_iter().filter(is_lost).collect())
    }
}
