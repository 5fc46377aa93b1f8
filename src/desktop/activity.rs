//! `last_accessed` on its way to the database: in batches, so that neither a request nor a frame ever
//! writes to it.

use std::time::Duration;

use super::Desktops;
use crate::telemetry::ErrorChain;

/// How often activity is written.
pub const FLUSH_PERIOD: Duration = Duration::from_secs(5);

impl Desktops {
    /// Writes the activity since the last time.
    pub async fn flush_activity(&self) {
        let seen = self.inner.directory.take_unsaved();
        if seen.is_empty() {
            return;
        }
        if let Err(error) = self.inner.parts.database.touch_desktops(&seen).await {
            tracing::warn!(error = %ErrorChain(&error), "activity could not be written");
        }
    }
}
