//! `deskgate serve`: the gateway.

use std::sync::Arc;

use anyhow::Context as _;

use crate::app::App;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::raw::Raw;
use crate::model::failpoint::Failpoint;
use crate::server::signal;
use crate::telemetry::LogFilter;

pub(super) async fn run(raw: Raw, log: LogFilter) -> anyhow::Result<()> {
    let mut config = Config::resolve(raw)?;
    if cfg!(debug_assertions) {
        config.desktops.failpoint = armed()?;
    }
    let app = App::build(config, Arc::new(SystemClock), log).await?;
    run_until_signal(app).await;
    Ok(())
}

/// The failpoint that `DESKGATE_FAILPOINT` names, for the chaos suite, which takes the list of them from the error.
fn armed() -> anyhow::Result<Option<Failpoint>> {
    let Ok(word) = std::env::var("DESKGATE_FAILPOINT") else {
        return Ok(None);
    };
    let point = Failpoint::from_word(&word).with_context(|| {
        let words = Failpoint::ALL.map(Failpoint::as_str).join(", ");
        format!("DESKGATE_FAILPOINT is none of {words}")
    })?;
    Ok(Some(point))
}

/// Runs until the operating system asks for a stop.
pub(super) async fn run_until_signal(app: App) {
    app.run(async {
        match signal::stop_requested().await {
            Ok(signal) => tracing::info!(signal, "asked to stop"),
            Err(error) => tracing::error!(%error, "signals cannot be heard"),
        }
    })
    .await;
}
