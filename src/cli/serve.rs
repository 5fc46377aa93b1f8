//! `deskgate serve`: the gateway.

use std::sync::Arc;

use crate::app::App;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::raw::Raw;
use crate::server::signal;

pub(super) async fn run(raw: Raw) -> anyhow::Result<()> {
    let config = Config::resolve(raw)?;
    let app = App::build(config, Arc::new(SystemClock)).await?;
    run_until_signal(app).await;
    Ok(())
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
