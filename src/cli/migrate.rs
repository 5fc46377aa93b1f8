//! `deskgate migrate`: brings the database up to date.

use crate::config::DatabaseConfig;
use crate::config::raw::Raw;
use crate::store::Database;

pub(super) async fn run(raw: Raw) -> anyhow::Result<()> {
    let config = DatabaseConfig::resolve(raw)?;
    let database = Database::connect(&config).await?;
    let applied = database.migrate().await?;
    for name in &applied {
        println!("applied {name}");
    }
    if applied.is_empty() {
        println!("{} is up to date", database.kind());
    }
    database.close().await;
    Ok(())
}
