//! `deskgate cleanup`: one pass of what the gateway does by itself.

use std::sync::Arc;

use crate::app::Core;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::raw::Raw;
use crate::model::audit::Actor;

pub(super) async fn run(raw: Raw, dry_run: bool) -> anyhow::Result<()> {
    let config = Config::resolve(raw)?;
    let clock = Arc::new(SystemClock);
    let core = if dry_run {
        Core::build_unchanged(&config, clock).await?
    } else {
        Core::build(&config, clock).await?
    };
    let verb = if dry_run {
        "would be removed"
    } else {
        "removed"
    };
    println!("{:<16} {:<40} STATE", "ACT", "WHAT");
    for act in core.desktops.due().await? {
        let desktop = &act.desktop;
        println!(
            "{:<16} {:<40} {}",
            act.kind,
            desktop.id.to_string(),
            desktop.status.as_str()
        );
        if !dry_run {
            core.desktops.act(&act, &Actor::operator()).await?;
        }
    }
    for orphan in core.desktops.orphans(!dry_run).await? {
        println!(
            "{:<16} {:<40} {}",
            "remove orphan",
            orphan.name,
            orphan.state.as_str()
        );
    }
    for network in core.desktops.orphaned_networks(!dry_run).await? {
        println!("{:<16} {network:<40} unused", "remove network");
    }
    for home in core.desktops.due_homes().await? {
        println!("{:<16} {:<40} old", "remove home", home.volume);
    }
    if !dry_run {
        core.desktops.remove_due_homes().await;
    }
    let sessions = core.sessions.clean(dry_run).await?;
    println!("{sessions} expired sessions {verb}");
    let tokens = core.tokens.clean(dry_run).await?;
    println!("{tokens} expired API tokens {verb}");
    if let Some(retention) = config.audit_retention {
        let entries = core.audit.clean(retention, dry_run).await?;
        println!("{entries} old entries of the audit log {verb}");
    }
    core.audit.flush().await;
    core.database.close().await;
    Ok(())
}
