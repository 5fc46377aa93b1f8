//! `deskgate token`: the operator makes, lists and revokes API tokens. Needs nothing but the database.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::output::{print_line, tell};
use crate::audit::Audit;
use crate::authn::api_tokens::{ApiTokens, Wish};
use crate::clock::SystemClock;
use crate::config::raw::Raw;
use crate::config::{DatabaseConfig, parse};
use crate::model::audit::Actor;
use crate::model::id::{TokenId, UserId};
use crate::model::scope::Scope;
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::store::Database;
use crate::telemetry::metrics::Metrics;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print its secret, alone, on standard output
    Create {
        /// Whose it is: the username, or the id where several people share one
        #[arg(long, value_name = "NAME")]
        user: String,
        /// What it is called in lists
        #[arg(long, default_value = "command line", value_name = "TEXT")]
        name: String,
        /// What it is good for: read, desktops or admin; may be given several times
        #[arg(long = "scope", default_value = "read", value_name = "SCOPE")]
        scopes: Vec<Scope>,
        /// How long it is good, such as 12h or 30d; for ever if not said
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        ttl: Option<Duration>,
    },
    /// List tokens, newest first; never their secrets
    List {
        /// Only this person's
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// End a token at once
    Revoke {
        /// The id that the list shows
        id: TokenId,
    },
}

fn lifetime(text: &str) -> Result<Duration, String> {
    parse::duration(text)
        .ok_or_else(|| "expected a duration such as 90s, 15m, 6h or 30d".to_owned())
}

pub(super) async fn run(raw: Raw, command: TokenCommand) -> anyhow::Result<()> {
    let database = Database::open_unchanged(&DatabaseConfig::resolve(raw)?).await?;
    let clock = Arc::new(SystemClock);
    let audit = Audit::new(database.clone(), clock.clone(), Metrics::default());
    let tokens = ApiTokens::new(database.clone(), clock, audit.clone());
    let done = act(&database, &tokens, command).await;
    audit.flush().await;
    database.close().await;
    done
}

async fn act(database: &Database, tokens: &ApiTokens, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create {
            user,
            name,
            scopes,
            ttl,
        } => {
            let user = find_user(database, &user).await?;
            let wish = Wish {
                name,
                scopes: scopes.into_iter().collect(),
                lifetime: ttl,
            };
            let made = tokens.create(&user, &wish, &Actor::operator()).await;
            let (secret, token) = made.context("the token was not made")?;
            let end = token
                .expires_at
                .map_or("never".to_owned(), |end| end.to_string());
            tell(format_args!(
                "token {} of {} for {}, expires: {end}\n",
                token.id,
                user.identity.username,
                token.scopes.to_words()
            ));
            print_line!("{}", secret.expose())?;
        }
        TokenCommand::List { user } => {
            let user = match user {
                Some(name) => Some(find_user(database, &name).await?.id),
                None => None,
            };
            list(tokens, user).await?;
        }
        TokenCommand::Revoke { id } => {
            if !tokens.revoke(id, None, &Actor::operator()).await? {
                bail!("there is no token {id}");
            }
            print_line!("revoked {id}")?;
        }
    }
    Ok(())
}

async fn list(tokens: &ApiTokens, user: Option<UserId>) -> anyhow::Result<()> {
    let time = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| at.to_string());
    print_line!(
        "{:<36}  {:<20}  {:<20}  {:<24}  {:<24}  NAME",
        "ID",
        "USER",
        "SCOPES",
        "EXPIRES",
        "LAST USE"
    )?;
    for token in tokens.list(user).await? {
        print_line!(
            "{:<36}  {:<20}  {:<20}  {:<24}  {:<24}  {}",
            token.id.to_string(),
            token.user.identity.username,
            token.scopes.to_words(),
            time(token.expires_at),
            time(token.last_used),
            token.name
        )?;
    }
    Ok(())
}

/// The user of this name or id. Names come from providers and are not unique.
async fn find_user(database: &Database, name: &str) -> anyhow::Result<User> {
    let found = database.find_users(name).await?;
    match &found[..] {
        [] => bail!("nobody called {name:?} has signed in yet"),
        [user] => Ok(user.clone()),
        several => {
            let lines = several
                .iter()
                .map(|user| format!("\n  {} from {}", user.id, user.identity.issuer));
            let ids: String = lines.collect();
            bail!("several people are called {name:?}; use one of these ids:{ids}")
        }
    }
}
