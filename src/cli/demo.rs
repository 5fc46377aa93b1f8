//! `deskgate demo`: a gateway to look at, with three people who can log in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::output::print_line;
use super::serve::run_until_signal;
use crate::app::App;
use crate::clock::SystemClock;
use crate::config::raw::Raw;
use crate::demo::accounts::ACCOUNTS;
use crate::demo::{self, Demo};
use crate::telemetry::LogFilter;

pub(super) async fn run(
    raw: Raw,
    (listen, data): (SocketAddr, PathBuf),
    log: LogFilter,
) -> anyhow::Result<()> {
    let clock = Arc::new(SystemClock);
    let Demo { config, provider } = demo::prepare(listen, &data, raw, clock.clone()).await?;
    let url = config.server.public_url.to_string();
    let app = App::build(config, clock, log).await?;
    provider.serve(app.tasks());
    print_line!("\nDeskgate demo: {url}\n")?;
    print_line!("  account   password")?;
    for account in &ACCOUNTS {
        print_line!(
            "  {:<9} {:<9} {} ({})",
            account.username,
            account.username,
            account.name(),
            account.role_name()
        )?;
    }
    print_line!("\nYour browser will warn of the self-signed certificate. Stop with Ctrl+C.\n")?;
    run_until_signal(app).await;
    Ok(())
}
