//! Our accounts at authorities, with their keys, in a file that nobody else reads. One for each directory, so that trying
//! an authority's staging area does not cost the account at the real one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AcmeError;

/// All of them, by the address of their directory.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Accounts(BTreeMap<String, Entry>);

#[derive(Default, Serialize, Deserialize)]
struct Entry {
    /// As the ACME library writes it, with the private key.
    account: Option<Value>,
    /// What the authority was told of us.
    contact: Option<String>,
    /// Fingerprint of the last certificate from there.
    issued: Option<String>,
}

impl Accounts {
    /// None where there is no file yet.
    pub fn read(path: &Path) -> Result<Self, AcmeError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(failed(path)(source)),
        };
        serde_json::from_slice(&text).map_err(|source| AcmeError::Accounts {
            path: path.to_owned(),
            source,
        })
    }

    /// Puts them in the place of what is there, as a whole.
    pub fn write(&self, path: &Path) -> Result<(), AcmeError> {
        let part = path.with_extension("json.part");
        let text = serde_json::to_vec_pretty(self).map_err(|source| AcmeError::Accounts {
            path: path.to_owned(),
            source,
        })?;
        let written = (|| {
            // One that was left by a crash may have other rights.
            match fs::remove_file(&part) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create_new(true).mode(0o600);
            let mut file = options.open(&part)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&part, path)
        })();
        written.map_err(failed(path))
    }

    /// The account at a directory, and what it was told of us.
    pub fn of(&self, directory: &str) -> Option<(AccountCredentials, Option<String>)> {
        let entry = self.0.get(directory)?;
        let credentials = serde_json::from_value(entry.account.clone()?).ok()?;
        Some((credentials, entry.contact.clone()))
    }

    pub fn has(&self, directory: &str) -> bool {
        self.of(directory).is_some()
    }

    pub fn put(&mut self, directory: &str, account: AccountCredentials, contact: Option<String>) {
        let entry = self.0.entry(directory.to_owned()).or_default();
        // It consists of texts.
        entry.account = serde_json::to_value(account).ok();
        entry.contact = contact;
    }

    pub fn note_contact(&mut self, directory: &str, contact: Option<String>) {
        self.0.entry(directory.to_owned()).or_default().contact = contact;
    }

    pub fn note_issued(&mut self, directory: &str, fingerprint: String) {
        self.0.entry(directory.to_owned()).or_default().issued = Some(fingerprint);
    }

    /// The authority does not know the account any more.
    pub fn forget(&mut self, directory: &str) {
        if let Some(entry) = self.0.get_mut(directory) {
            entry.account = None;
        }
    }

    /// What was last issued by others than `directory`.
    pub fn issued_elsewhere(&self, directory: &str) -> Vec<String> {
        let others = self.0.iter().filter(|(at, _)| *at != directory);
        others
            .filter_map(|(_, entry)| entry.issued.clone())
            .collect()
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> AcmeError + use<> {
    let path = path.to_owned();
    move |source| AcmeError::File { path, source }
}
