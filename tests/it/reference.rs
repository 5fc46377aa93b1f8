//! The files that people read about settings are what the program says of itself, byte by byte. After a change of
//! `src/config/settings.rs`, `DESKGATE_WRITE_REFERENCE=1 cargo test --test it reference` writes them anew.

use std::path::Path;

use deskgate::config::raw::Raw;
use deskgate::config::reference;

use crate::command::{deskgate, text};

const WRITE: &str = "DESKGATE_WRITE_REFERENCE";
/// Where the part of USAGE.md begins and ends.
const BEGIN: &str = "<!-- settings: made of src/config/settings.rs -->\n";
const END: &str = "<!-- settings: end -->\n";
/// Where the hand-written part of the example begins.
const TEMPLATES: &str = "\n# ---- Templates ----\n";

/// Compares a file with what it should be, which may keep parts of it.
fn compare(file: &str, wanted: impl Fn(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let found = std::fs::read_to_string(&path).unwrap();
    let wanted = wanted(&found);
    if std::env::var_os(WRITE).is_some() {
        return std::fs::write(path, wanted).unwrap();
    }
    let differs = found.lines().zip(wanted.lines()).find(|(a, b)| a != b);
    assert!(
        found == wanted,
        "{file} is not what src/config/settings.rs says; {WRITE}=1 writes it. First: {differs:?}"
    );
}

#[test]
fn the_example_of_the_environment_is_the_reference() {
    compare(".env.example", |_| reference::env());
}

#[test]
fn the_example_of_a_file_begins_with_the_reference() {
    compare("deskgate.example.toml", |found| {
        let (_, templates) = found.split_once(TEMPLATES).expect("the mark");
        format!("{}{TEMPLATES}{templates}", reference::toml())
    });
}

#[test]
fn the_settings_in_usage_are_the_reference() {
    compare("USAGE.md", |found| {
        let (before, rest) = found.split_once(BEGIN).expect("the first mark");
        let (_, after) = rest.split_once(END).expect("the second mark");
        format!("{before}{BEGIN}{}\n{END}{after}", reference::markdown())
    });
}

#[test]
fn the_example_of_a_file_is_read_without_a_mistake() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deskgate.example.toml");
    let raw = Raw::load(Some(&path), &|_| None);
    assert!(raw.mistakes.is_empty(), "{:?}", raw.mistakes);
    assert_eq!(raw.said("MAX_DESKTOPS"), Some("40"));
    assert!(!raw.templates.is_empty());
}

#[test]
fn the_command_prints_the_reference() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, wanted) in [
        (&["settings"][..], reference::env()),
        (&["settings", "--format", "env"], reference::env()),
        (&["settings", "--format", "toml"], reference::toml()),
        (&["settings", "--format", "markdown"], reference::markdown()),
    ] {
        let output = deskgate(directory.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout) == wanted, "{arguments:?}");
    }
    let secret = [("SECRET_KEY", "a-secret-that-nobody-may-print-anywhere")];
    let output = deskgate(directory.path(), &["settings"], &secret);
    assert!(!text(&output.stdout).contains(secret[0].1));
}
