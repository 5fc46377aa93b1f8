//! `deskgate migrate`: brings the database up to date.

use super::output::print_line;
use crate::config::DatabaseConfig;
use crate::config::raw::Raw;
use crate::store::Database;

pub(super) async fn run(raw: Raw) -> anyhow::Result<()> {
    let config = DatabaseConfig::resolve(raw)?;
    let database = Database::connect(&config).await?;
    let applied = database.migrate().await?;
    for name in &applied {
        print_line!("applied {name}")?;
    }
    if applied.is_empty() {
        print_line!("{} is up to date", database.kind())?;
    }
    database.close().await;
    Ok(())
}
