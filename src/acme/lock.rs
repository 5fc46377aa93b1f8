//! Who may order for a directory now. The system gives the lock back when a process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::AcmeError;

const NAME: &str = "acme.lock";

/// Nobody else orders for the directory while this lives.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// `None` if somebody else has it.
    pub fn take(directory: &Path) -> Result<Option<Self>, AcmeError> {
        let path = directory.join(NAME);
        let failed = |source| AcmeError::File {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(&path).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file, path })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Whether an order was begun within this time before `now`: by another gateway, or by one that ended since.
    pub fn was_tried_since(&mut self, now: i64, span: Duration) -> bool {
        let mut text = String::new();
        let tried = self
            .file
            .rewind()
            .and_then(|()| self.file.read_to_string(&mut text));
        let tried = tried.ok().and_then(|_| text.trim().parse::<i64>().ok());
        // What lies in the future is from a clock that was wrong.
        tried.is_some_and(|tried| {
            let ago = u64::try_from(now - tried);
            ago.is_ok_and(|ago| ago < span.as_secs())
        })
    }

    /// Notes that an order is begun.
    pub fn note_try(&mut self, now: i64) -> Result<(), AcmeError> {
        let noted = (|| -> io::Result<()> {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(now.to_string().as_bytes())
        })();
        noted.map_err(|source| AcmeError::File {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_orders_at_a_time_and_the_next_knows_when() {
        let directory = tempfile::tempdir().expect("a directory");
        let home = directory.path().join("new");
        let take = || Lock::take(&home).expect("a usable file");
        let mut first = take().expect("nobody has it");
        let span = Duration::from_secs(120);
        assert!(!first.was_tried_since(1000, span), "nobody has ever tried");
        assert!(take().is_none(), "it is taken");
        first.note_try(1000).expect("noted");
        drop(first);
        let mut second = take().expect("it is free again");
        for (now, tried) in [(1000, true), (1119, true), (1120, false), (999, false)] {
            assert_eq!(second.was_tried_since(now, span), tried, "{now}");
        }
    }
}
