//! What was done, what was broken on purpose, and what went wrong. Whatever goes wrong at a desktop that was not broken
//! on purpose is an error of the gateway.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Errors that are told in full.
const TOLD: u64 = 30;

/// Counts, which everybody shares.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Books>);

/// The counts so far.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What people did.
    pub done: BTreeMap<&'static str, u64>,
    /// What was broken on purpose.
    pub injected: BTreeMap<&'static str, u64>,
    /// What people saw of that.
    pub suffered: BTreeMap<&'static str, u64>,
    /// What nobody did on purpose.
    pub errors: BTreeMap<String, u64>,
    /// Times from a key to its echo.
    pub echoes: Vec<Duration>,
    /// Times from the press of the button to a desktop that runs.
    pub starts: Vec<Duration>,
    /// Desktops that were broken.
    struck: HashSet<String>,
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How things stand.
    pub fn now(&self) -> Books {
        self.books().clone()
    }

    /// Somebody did this.
    pub fn done(&self, what: &'static str) {
        *self.books().done.entry(what).or_default() += 1;
    }

    /// This desktop is broken on purpose, from now on.
    pub fn strike(&self, what: &'static str, desktop: &str) {
        let mut books = self.books();
        *books.injected.entry(what).or_default() += 1;
        books.struck.insert(desktop.to_owned());
    }

    /// Something is broken on purpose that nobody else may notice.
    pub fn inject(&self, what: &'static str) {
        *self.books().injected.entry(what).or_default() += 1;
    }

    /// Whether this desktop was broken on purpose.
    pub fn is_struck(&self, desktop: &str) -> bool {
        self.books().struck.contains(desktop)
    }

    /// Somebody saw what was broken on purpose.
    pub fn suffered(&self, what: &'static str) {
        *self.books().suffered.entry(what).or_default() += 1;
    }

    /// Something went wrong.
    pub fn error(&self, what: &str, detail: &str) {
        let mut books = self.books();
        let count = books.errors.entry(what.to_owned()).or_default();
        *count += 1;
        if *count <= TOLD {
            eprintln!("error: {what}: {detail}");
        }
    }

    /// A key came back after so long.
    pub fn echo(&self, took: Duration) {
        self.books().echoes.push(took);
    }

    /// A desktop ran after so long.
    pub fn start(&self, took: Duration) {
        self.books().starts.push(took);
    }
}
