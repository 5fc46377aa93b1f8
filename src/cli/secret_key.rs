//! `deskgate secret-key`: makes the file with the key that everything secret is derived from, once.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::output::print_line;
use crate::authn::token::SessionSecret;

/// The key lets its reader forge what the gateway trusts.
const OWNER_ONLY: u32 = 0o400;

pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    // Written beside it first: a key that is there is a whole one, and is never replaced.
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY)
        .open(&beside)
        .with_context(|| format!("cannot write beside {shown}"))?;
    let key = SessionSecret::random();
    let written = writeln!(file, "{}", key.expose()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&beside, path));
    fs::remove_file(&beside).with_context(|| format!("cannot remove {}", beside.display()))?;
    match linked {
        Ok(()) => print_line!("made a key in {shown}")?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            print_line!("{shown} is there already")?;
        }
        Err(error) => return Err(error).with_context(|| format!("cannot make {shown}")),
    }
    Ok(())
}
