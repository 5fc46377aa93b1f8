//! `deskgate engine-filter`: the door in front of the engine, and asking whether it is open.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::raw::Raw;
use crate::config::{EngineConfig, FilterConfig};
use crate::engine::Engine;
use crate::engine::docker::DockerEngine;
use crate::engine_filter::Door;
use crate::server::signal;
use crate::tasks::Tasks;

/// How long answers that are under way may take at a stop.
const DRAIN: Duration = Duration::from_secs(3);

/// Where the filter listens, and where the engine does.
#[derive(Debug, clap::Args)]
pub(super) struct Sockets {
    /// Socket to listen on, for the gateway in place of the engine's
    #[arg(long, value_name = "unix:PATH", value_parser = socket)]
    listen: PathBuf,
    /// The engine's own socket
    #[arg(long, value_name = "unix:PATH", value_parser = socket, default_value = "unix:/var/run/docker.sock")]
    engine: PathBuf,
    /// Only ask whether a filter listens there and the engine behind it answers
    #[arg(long)]
    ask: bool,
}

pub(super) async fn run(raw: Raw, sockets: Sockets) -> anyhow::Result<()> {
    if sockets.ask {
        let docker_host = format!("unix://{}", sockets.listen.display());
        let engine = DockerEngine::new(EngineConfig { docker_host });
        return Ok(engine.ping().await?);
    }
    let config = FilterConfig::resolve(raw)?;
    let path = &sockets.listen;
    let door = Door::open(path)
        .await
        .with_context(|| format!("cannot listen at {}", path.display()))?;
    tracing::info!(listen = %path.display(), engine = %sockets.engine.display(), instance = config.instance, "filtering what the engine is asked");
    let tasks = Tasks::new();
    let serve = door.serve(config, sockets.engine, tasks.clone());
    tokio::select! {
        () = serve => {}
        signal = signal::stop_requested() => {
            tracing::info!(signal = signal.context("signals cannot be heard")?, "asked to stop");
        }
    }
    tasks.stop(DRAIN).await;
    Ok(())
}

/// `unix:/path`, also written `unix:///path`.
fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix:").unwrap_or_default();
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.starts_with('/') {
        return Ok(path.into());
    }
    Err("should be unix:/path/of/a/socket".into())
}
