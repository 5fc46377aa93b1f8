//! Responsible for the words that stand for a desktop's state, a waiting step or a role.
//!
//! Words that appear in one place only are in the templates, next to the markup they belong to.

use crate::request::lang::Lang;

/// The states for which the scripts need a label too; empty is "no desktop yet".
pub(super) const STATES: [&str; 9] = [
    "", "queued", "creating", "starting", "running", "paused", "stopping", "stopped", "error",
];

/// A desktop's state, for the pill on its card.
pub(super) fn state(lang: Lang, status: &str) -> &'static str {
    match status {
        "" => lang.pick("Nicht gestartet", "Not started"),
        "queued" => lang.pick("In der Warteschlange", "Queued"),
        "creating" => lang.pick("Wird vorbereitet", "Being prepared"),
        "starting" => lang.pick("Startet", "Starting"),
        "running" => lang.pick("Läuft", "Running"),
        "paused" => lang.pick("Pausiert", "Paused"),
        "stopping" => lang.pick("Wird beendet", "Stopping"),
        "stopped" => lang.pick("Beendet", "Stopped"),
        "error" => lang.pick("Fehler", "Error"),
        _ => lang.pick("Unbekannt", "Unknown"),
    }
}

/// The steps of a start, in order.
pub(super) fn steps(lang: Lang) -> [&'static str; 4] {
    [
        lang.pick("Platz reservieren", "Finding a place"),
        lang.pick("Desktop vorbereiten", "Preparing the desktop"),
        lang.pick("Desktop starten", "Starting the desktop"),
        lang.pick("Auf das Bild warten", "Waiting for the picture"),
    ]
}

/// The index into [`steps`] that a state is at; a paused desktop only has to bring back its picture.
pub(super) fn step(status: &str) -> usize {
    match status {
        "queued" => 0,
        "creating" => 1,
        "starting" => 2,
        _ => 3,
    }
}

/// What an API token may do; a scope this page does not know is shown as it is.
pub(super) fn scope(lang: Lang, scope: &str) -> &str {
    match scope {
        "read" => lang.pick("Desktops ansehen", "Look at desktops"),
        "desktops" => lang.pick(
            "Desktops starten, benutzen und beenden",
            "Start, use and stop desktops",
        ),
        "admin" => lang.pick("Verwalten", "Administer"),
        other => other,
    }
}

/// A person's role; a role this page does not know is shown as it is.
pub(super) fn role(lang: Lang, role: &str) -> &str {
    match role {
        "student" => lang.pick("Schülerkonto", "Student"),
        "teacher" => lang.pick("Lehrkraft", "Teacher"),
        "admin" => lang.pick("Administration", "Administrator"),
        other => other,
    }
}
