//! The two files of a certificate: reading them, making them, and putting others in their place so that a crash at any
//! moment leaves a pair that fits.
//!
//! Two files cannot be replaced at once. So the new pair lies beside them first, the chain under its final name only when
//! both are whole; whoever finds it there finishes what was begun.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use super::CertificateError;
use crate::config::TlsConfig;

/// When each of them was last written.
pub(super) fn modified(files: &TlsConfig) -> [Option<SystemTime>; 2] {
    [&files.cert, &files.key].map(|path| fs::metadata(path).and_then(|data| data.modified()).ok())
}

/// Writes a self-signed P-256 pair for `hosts` and for this machine.
pub(super) fn make(files: &TlsConfig, hosts: &[&str]) -> Result<(), CertificateError> {
    let names: Vec<String> = hosts
        .iter()
        .chain(&["localhost"])
        .map(ToString::to_string)
        .collect();
    let mut params = CertificateParams::new(names).map_err(CertificateError::Make)?;
    for address in [
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "Deskgate self-signed");
    params.distinguished_name = name;
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2050, 1, 1);
    let key = KeyPair::generate().map_err(CertificateError::Make)?;
    let certificate = params.self_signed(&key).map_err(CertificateError::Make)?;
    write(&files.key, &key.serialize_pem(), 0o600)?;
    write(&files.cert, &certificate.pem(), 0o644)
}

/// Lays a key beside the one in use, so that what cannot be written is known before anybody is asked for a certificate.
pub(super) fn lay_key(files: &TlsConfig, key: &str) -> Result<(), CertificateError> {
    let beside = beside(&files.key, ".new");
    remove(&beside)?;
    write(&beside, key, 0o600)
}

/// Puts the key that lies there and this chain in the place of the pair in use.
pub(super) fn replace(files: &TlsConfig, chain: &str) -> Result<(), CertificateError> {
    let (part, whole) = (beside(&files.cert, ".part"), beside(&files.cert, ".new"));
    remove(&part)?;
    write(&part, chain, 0o644)?;
    rename(&part, &whole)?;
    finish(files)
}

/// Finishes a replacement that was interrupted, and forgets one that had not got far enough.
pub(super) fn finish(files: &TlsConfig) -> Result<(), CertificateError> {
    let (chain, key) = (beside(&files.cert, ".new"), beside(&files.key, ".new"));
    if !chain.exists() {
        return remove(&key);
    }
    if key.exists() {
        rename(&key, &files.key)?;
    }
    rename(&chain, &files.cert)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(ending);
    name.into()
}

fn rename(from: &Path, to: &Path) -> Result<(), CertificateError> {
    let renamed = fs::rename(from, to).and_then(|()| {
        // The name itself has to be on the disk before the next one is changed.
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    });
    renamed.map_err(failed(to))
}

fn remove(path: &Path) -> Result<(), CertificateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    {
        fs::create_dir_all(directory).map_err(failed(path))?;
    }
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })
    .map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CertificateError + use<> {
    let path = path.to_owned();
    move |source| CertificateError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path) -> TlsConfig {
        TlsConfig {
            cert: directory.join("tls.crt"),
            key: directory.join("tls.key"),
        }
    }

    fn read(files: &TlsConfig) -> (String, String) {
        let text = |path| fs::read_to_string(path).expect("it is there");
        (text(&files.cert), text(&files.key))
    }

    #[test]
    fn a_pair_is_replaced_as_a_whole_wherever_it_was_interrupted() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = files(directory.path());
        let put = |name: &str, text: &str| fs::write(directory.path().join(name), text);
        let (old, new) = (("old chain", "old key"), ("new chain", "new key"));
        for (what, there, expected) in [
            ("nothing was begun", &[][..], old),
            ("the key lay there", &[("tls.key.new", new.1)], old),
            (
                "the chain was being written",
                &[("tls.key.new", new.1), ("tls.crt.part", "new ch")],
                old,
            ),
            (
                "both lay there",
                &[("tls.key.new", new.1), ("tls.crt.new", new.0)],
                new,
            ),
            (
                "the key was in place",
                &[("tls.key", new.1), ("tls.crt.new", new.0)],
                new,
            ),
        ] {
            put("tls.crt", old.0).expect("written");
            put("tls.key", old.1).expect("written");
            for (name, text) in there {
                put(name, text).expect("written");
            }
            finish(&files).expect("finished");
            let (chain, key) = read(&files);
            assert_eq!((&*chain, &*key), expected, "{what}");
            assert!(!directory.path().join("tls.key.new").exists(), "{what}");
        }
        lay_key(&files, "next key").expect("laid");
        assert_eq!(read(&files).1, new.1, "it is not in use yet");
        replace(&files, "next chain").expect("replaced");
        assert_eq!(read(&files), ("next chain".into(), "next key".into()));
    }
}
