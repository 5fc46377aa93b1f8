//! `deskgate cleanup`: one pass of what the gateway does by itself.

use std::sync::Arc;

use super::output::print_line;
use crate::app::Core;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::raw::Raw;
use crate::desktop::repair::Repair;
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
    for repair in core.desktops.repairs().await? {
        refused += u32::from(!mend(&core, &repair, dry_run).await?);
    }
    for act in core.desktops.due().await? {
        let (id, state) = (act.desktop.id.to_string(), act.desktop.status.as_str());
        let mut is_done = true;
        if !dry_run {
            let done = core.desktops.act(&act, &Actor::operator()).await;
            is_done = core.desktops.unless_refused(&id, done).await?.is_some();
        }
        refused += u32::from(!is_done);
        let name = act.kind.to_string();
        print_line!("{:<16} {id:<40} {state}", word(&name, is_done))?;
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

/// Does one of what rows and containers do not agree on, and says so. `false` if the engine refused it.
async fn mend(core: &Core, repair: &Repair, dry_run: bool) -> anyhow::Result<bool> {
    let is_left = repair.is_for_gateway();
    let mut is_done = true;
    if !dry_run && !is_left {
        let done = core.desktops.repair(repair).await;
        let done = core.desktops.unless_refused(repair.what(), done).await?;
        is_done = done.is_some();
    }
    let act = repair.as_str().replace('_', " ");
    let who = if is_left { ", by the gateway" } else { "" };
    print_line!(
        "{:<16} {:<40} {}{who}",
        word(&act, is_done),
        repair.what(),
        repair.state()
    )?;
    Ok(is_done)
}

/// What is said of an act.
fn word(act: &str, is_done: bool) -> &str {
    if is_done { act } else { "refused" }
}
