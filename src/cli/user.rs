//! `deskgate user`: who is known, what is stored about somebody, and how it is forgotten.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;

use super::output::{print, print_line};
use crate::app::Core;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::raw::Raw;
use crate::model::audit::Actor;
use crate::model::user::User;
use crate::people::People;
use crate::store::overview::{Page, Sort, UserFilter, UserOrder};

/// Users that are read at once.
const BATCH: u32 = 500;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print everybody who ever signed in
    List,
    /// Print everything that is stored about a person, as JSON
    Export {
        /// User name or id
        user: String,
    },
    /// Delete everything that is stored about a person: sessions, desktops, files, and their name in the audit log
    Forget {
        /// User name or id
        user: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(raw: Raw, command: Command) -> anyhow::Result<()> {
    let config = Config::resolve(raw)?;
    let core = Core::build_unchanged(&config, Arc::new(SystemClock)).await?;
    let done = match command {
        Command::List => list(&core).await,
        Command::Export { user } => export(&core.people, &user).await,
        Command::Forget { user, yes } => forget(&core.people, &user, yes).await,
    };
    core.audit.flush().await;
    core.database.close().await;
    done
}

async fn list(core: &Core) -> anyhow::Result<()> {
    print_line!(
        "{:<36} {:<8} {:<24} {:>8} NAME",
        "ID",
        "ROLE",
        "LAST LOGIN",
        "DESKTOPS"
    )?;
    let sort = Sort {
        by: UserOrder::Name,
        descending: false,
    };
    for offset in (0..).step_by(BATCH as usize) {
        let page = Page {
            limit: BATCH,
            offset,
        };
        let everybody = UserFilter::default();
        let listed = core.database.list_users(&everybody, sort, page).await?;
        for known in &listed.rows {
            print_line!(
                "{:<36} {:<8} {:<24} {:>8} {}",
                known.user.id.to_string(),
                known.user.identity.role.as_str(),
                known.last_login.to_string(),
                known.live_desktops,
                printable(&known.user.identity.username),
            )?;
        }
        if listed.rows.is_empty() {
            break;
        }
    }
    Ok(())
}

async fn export(people: &People, named: &str) -> anyhow::Result<()> {
    let user = find(people, named).await?;
    let value = people.export(&user, &Actor::operator()).await?;
    print_line!("{value:#}")?;
    Ok(())
}

async fn forget(people: &People, named: &str, yes: bool) -> anyhow::Result<()> {
    let user = find(people, named).await?;
    if !yes {
        ensure!(
            std::io::stdin().is_terminal(),
            "this deletes for good; say --yes where nobody can be asked"
        );
        let name = printable(user.identity.display_name());
        print(format_args!(
            "Delete everything of {name} ({}), their files too? [y/N] ",
            user.id
        ))?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        ensure!(answer.trim().eq_ignore_ascii_case("y"), "nothing was done");
    }
    let forgotten = people
        .forget(&user, &Actor::operator())
        .await
        .context("not everything could be deleted; try again")?;
    print_line!("sessions ended       {}", forgotten.sessions)?;
    print_line!("tokens deleted       {}", forgotten.tokens)?;
    print_line!("desktops removed     {}", forgotten.desktops)?;
    print_line!("volumes removed      {}", forgotten.volumes)?;
    print_line!(
        "audit entries        {}, now of {}",
        forgotten.audit_entries,
        forgotten.pseudonym
    )?;
    Ok(())
}

/// The one person who is meant. Names are the provider's, and two providers may use one twice.
async fn find(people: &People, named: &str) -> anyhow::Result<User> {
    let mut found = people.named(named).await?;
    if found.len() > 1 {
        let ids = found
            .iter()
            .map(|user| format!("  {} at {}", user.id, printable(&user.identity.issuer)));
        let ids: Vec<String> = ids.collect();
        bail!(
            "several users have this name; say which by id:\n{}",
            ids.join("\n")
        );
    }
    found.pop().context("there is no such user")
}

/// A name from the provider, without what would move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}
