//! `last_accessed`, `last_input` and `last_used` on their way to the database: in batches, so that neither a
//! request nor a frame ever writes to it. Decisions about idle desktops are made from what is written, by
//! whichever gateway comes to it; so a person who comes back is written at once.

use std::time::Duration;

use super::Desktops;
use crate::telemetry::ErrorChain;

/// How often activity is written, at most: more often where desktops may be idle for less than four times that.
pub const FLUSH_PERIOD: Duration = Duration::from_secs(5);
/// Shortest pause between two writes.
const FLUSH_PAUSE: Duration = Duration::from_millis(100);

impl Desktops {
    /// Writes the activity since the last time.
    pub async fn flush_activity(&self) {
        let seen = self.inner.directory.take_unsaved();
        if seen.is_empty() {
            return;
        }
        match self.inner.parts.database.touch_desktops(&seen).await {
            // Another gateway has paused what a person uses here.
            Ok(paused) => self.call_for(&paused),
            Err(error) => {
                self.inner.directory.keep_unsaved(&seen);
                tracing::warn!(error = %ErrorChain(&error), "activity could not be written");
            }
        }
    }

    /// Writes activity every few seconds, and at once when a person comes back, until the soft stop.
    pub fn spawn_flusher(&self) {
        let desktops = self.clone();
        let period = self.inner.parts.config.share_of_limits(FLUSH_PERIOD);
        self.inner.parts.tasks.spawn("activity flush", async move {
            let soft = desktops.inner.parts.tasks.soft().clone();
            let flushing = async {
                loop {
                    let urgent = desktops.inner.directory.urgent();
                    // Either way it is time.
                    let _ = tokio::time::timeout(period, urgent).await;
                    desktops.flush_activity().await;
                    tokio::time::sleep(FLUSH_PAUSE).await;
                }
            };
            tokio::select! {
                () = soft.cancelled() => {}
                () = flushing => {}
            }
        });
    }
}
