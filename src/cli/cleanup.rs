//! `deskgate cleanup`: one pass of what the gateway does by itself.

use std::sync::Arc;

use super::output::print_line;
use crate::app::Core;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::raw::Raw;
use crate::model::audit::Actor;

pub(super) async fn run(raw: Raw, dry_run: bool) -> anyhow::Result<()> {
    let config = Config::resolve(raw)?;
    let core = Core::build_unchanged(&config, Arc::new(SystemClock)).await?;
    let verb = if dry_run {
        "would be removed"
    } else {
        "removed"
    };
    print_line!("{:<16} {:<40} STATE", "ACT", "WHAT")?;
    let mut refused = 0;
    for act in core.desktops.due().await? {
        let (id, state) = (act.desktop.id.to_string(), act.desktop.status.as_str());
        let mut is_done = true;
        if !dry_run {
            let done = core.desktops.act(&act, &Actor::operator()).await;
            is_done = core.desktops.unless_refused(&id, done).await?.is_some();
        }
        refused += u32::from(!is_done);
        print_line!(
            "{:<16} {id:<40} {state}",
            word(&act.kind.to_string(), is_done)
        )?;
    }
    for orphan in core.desktops.orphans().await? {
        let is_gone = dry_run || core.desktops.remove_orphan(&orphan).await?.is_some();
        refused += u32::from(!is_gone);
        print_line!(
            "{:<16} {:<40} {}",
            word("remove orphan", is_gone),
            orphan.name,
            orphan.state.as_str()
        )?;
    }
    for network in core.desktops.orphaned_networks().await? {
        let is_gone = dry_run || core.desktops.remove_lost_network(&network).await?.is_some();
        refused += u32::from(!is_gone);
        print_line!(
            "{:<16} {network:<40} unused",
            word("remove network", is_gone)
        )?;
    }
    for home in core.desktops.due_homes().await? {
        print_line!("{:<16} {:<40} old", "remove home", home.volume)?;
    }
    if !dry_run {
        core.desktops.remove_due_homes().await;
    }
    let sessions = core.sessions.clean(dry_run).await?;
    print_line!("{sessions} expired sessions {verb}")?;
    let tokens = core.tokens.clean(dry_run).await?;
    print_line!("{tokens} expired API tokens {verb}")?;
    if let Some(retention) = config.audit_retention {
        let entries = core.audit.clean(retention, dry_run).await?;
        print_line!("{entries} old entries of the audit log {verb}")?;
    }
    core.audit.flush().await;
    core.database.close().await;
    anyhow::ensure!(
        refused == 0,
        "the container engine refused {refused} of them, see the warnings above"
    );
    Ok(())
}

/// What is said of an act.
fn word(act: &str, is_done: bool) -> &str {
    if is_done { act } else { "refused" }
}
