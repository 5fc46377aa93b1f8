//! `deskgate export` and `deskgate import`: everything that is in the database, into a file and out of it.

use std::fs::OpenOptions;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::output::{print, tell};
use crate::clock::{Clock as _, SystemClock};
use crate::config::DatabaseConfig;
use crate::config::raw::Raw;
use crate::store::Database;
use crate::store::transfer::Counts;

/// The name that stands for standard output or input.
const STANDARD: &str = "-";

/// Writes to `file`, which is not to be there yet. What has been written goes again if it is not the whole.
pub(super) async fn export(raw: Raw, file: &Path) -> anyhow::Result<()> {
    let config = DatabaseConfig::resolve(raw)?;
    let database = Database::open_unchanged(&config).await?;
    let counts = if file == Path::new(STANDARD) {
        write(&database, io::stdout()).await?
    } else {
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(file);
        let made = made.with_context(|| format!("{} cannot be made", file.display()))?;
        let written = write(&database, &made).await;
        let whole = written.and_then(|counts| {
            made.sync_all().context("the file cannot be written")?;
            Ok(counts)
        });
        if whole.is_err() {
            // It has no end and would be refused; the error that matters is the other one.
            let _ = std::fs::remove_file(file);
        }
        whole?
    };
    database.close().await;
    tell(table(&counts, "exported"));
    Ok(())
}

async fn write(database: &Database, into: impl Write) -> anyhow::Result<Counts> {
    let mut into = BufWriter::new(into);
    Ok(database.export(&mut into, SystemClock.timestamp()).await?)
}

/// Reads from `file` into a database that is migrated and empty.
pub(super) async fn import(raw: Raw, file: &Path) -> anyhow::Result<()> {
    let config = DatabaseConfig::resolve(raw)?;
    let database = Database::open_unchanged(&config).await?;
    let counts = if file == Path::new(STANDARD) {
        database.import(&mut io::stdin().lock()).await?
    } else {
        let open = std::fs::File::open(file);
        let open = open.with_context(|| format!("{} cannot be opened", file.display()))?;
        database.import(&mut BufReader::new(open)).await?
    };
    let kind = database.kind();
    database.close().await;
    print(table(&counts, &format!("imported into {kind}")))
}

fn table(counts: &Counts, what: &str) -> String {
    let lines = counts
        .iter()
        .map(|(table, count)| format!("{table:<24} {count}\n"));
    let rows: u64 = counts.values().sum();
    lines.chain([format!("{rows} rows {what}\n")]).collect()
}
