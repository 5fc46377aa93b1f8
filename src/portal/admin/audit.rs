//! Responsible for the table of the audit log.

use super::list::{Asked, Cell, Column, Field, Kind, Row, list};
use super::{Section, any};
use crate::model::audit::Action;
use crate::portal::shell::Shell;
use crate::request::lang::Lang;
use crate::store::audit::Entry;

/// Renders the table; `next` is where the page after it begins.
#[must_use]
pub fn admin_audit(
    shell: Shell<'_>,
    asked: &Asked,
    entries: &[Entry],
    next: Option<&str>,
) -> String {
    let lang = shell.lang;
    let mut page = list(Section::Audit, shell, asked);
    let actions = Action::ALL.iter().map(|action| action.as_str());
    let named = actions.map(|word| (word.to_owned(), label(lang, word).to_owned()));
    page.fields = vec![
        Field {
            name: "user",
            label: lang.pick("Anmeldename", "User name"),
            kind: Kind::Search,
        },
        Field {
            name: "action",
            label: lang.pick("Was", "What"),
            kind: Kind::Choice(any(lang).chain(named).collect()),
        },
        Field {
            name: "since",
            label: lang.pick("Von", "From"),
            kind: Kind::Day,
        },
        Field {
            name: "until",
            label: lang.pick("Bis vor", "Until before"),
            kind: Kind::Day,
        },
    ];
    page.columns = vec![
        Column::plain(lang.pick("Wann", "When")),
        Column::plain(lang.pick("Was", "What")),
        Column::plain(lang.pick("Ausgang", "Outcome")),
        Column::plain(lang.pick("Wer", "Who")),
        Column::plain(lang.pick("An wem", "To whom")),
        Column::plain(lang.pick("Woran", "To what")),
        Column::plain(lang.pick("Adresse", "Address")),
    ];
    page.rows = entries.iter().map(|entry| row(lang, entry)).collect();
    page.next = next.map(|next| asked.with(&[("before", next)]));
    page.empty = lang.pick("Kein Eintrag passt dazu.", "No entry is like that.");
    page.html()
}

fn row(lang: Lang, entry: &Entry) -> Row {
    let (tone, outcome) = match entry.outcome.as_str() {
        "success" => ("running", lang.pick("gelungen", "done")),
        "refused" => ("paused", lang.pick("abgelehnt", "refused")),
        _ => ("error", lang.pick("misslungen", "failed")),
    };
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let kind = entry.actor_kind.as_str();
    let actor = match &entry.actor_name {
        Some(name) if kind == "user" => name.clone(),
        Some(name) => format!("{name} ({})", actor_label(lang, kind)),
        None => actor_label(lang, kind).to_owned(),
    };
    let kind = entry.object_kind.as_deref().unwrap_or_default();
    let object = match &entry.object_id {
        Some(id) => format!("{kind} {id}"),
        None => kind.to_owned(),
    };
    Row {
        id: String::new(),
        name: String::new(),
        cells: vec![
            Cell::time(Some(entry.at)),
            Cell::Text(label(lang, &entry.action).to_owned()),
            Cell::State(tone.to_owned(), outcome.to_owned(), said(&entry.reason)),
            Cell::Text(actor),
            Cell::Text(said(&entry.subject_name)),
            Cell::Text(object),
            Cell::Text(said(&entry.address)),
        ],
    }
}

fn actor_label(lang: Lang, kind: &str) -> &str {
    match kind {
        "token" => lang.pick("API-Token", "API token"),
        "system" => lang.pick("Gateway", "gateway"),
        "provider" => lang.pick("Anmeldedienst", "sign-in service"),
        "operator" => lang.pick("am Server", "on the server"),
        "anonymous" => lang.pick("unbekannt", "unknown"),
        other => other,
    }
}

/// What happened; a word this page does not know is shown as it is.
fn label(lang: Lang, action: &str) -> &str {
    match action {
        "login" => lang.pick("Angemeldet", "Signed in"),
        "login_failed" => lang.pick("Anmeldung gescheitert", "Sign-in failed"),
        "logout" => lang.pick("Abgemeldet", "Signed out"),
        "session_ended" => lang.pick("Sitzung beendet", "Session ended"),
        "role_changed" => lang.pick("Rolle geändert", "Role changed"),
        "start" => lang.pick("Desktop gestartet", "Desktop started"),
        "stop" => lang.pick("Desktop beendet", "Desktop stopped"),
        "remove" => lang.pick("Desktop entfernt", "Desktop removed"),
        "extend" => lang.pick("Desktop verlängert", "Desktop extended"),
        "home_reset" => lang.pick("Ganz neu angefangen", "Started afresh"),
        "home_removed" => lang.pick("Altes Home gelöscht", "Old home removed"),
        "desktop_failed" => lang.pick("Desktop ausgefallen", "Desktop failed"),
        "token_created" => lang.pick("Token erstellt", "Token created"),
        "token_revoked" => lang.pick("Token widerrufen", "Token revoked"),
        "token_refused" => lang.pick("Token abgewiesen", "Token refused"),
        "rate_limited" => lang.pick("Zu oft versucht", "Tried too often"),
        "admin_image_pulled" => lang.pick("Image geholt", "Image pulled"),
        "admin_audit_exported" => lang.pick("Protokoll ausgegeben", "Audit log exported"),
        "admin_log_changed" => lang.pick("Log umgestellt", "Log changed"),
        "certificate_ordered" => lang.pick("Zertifikat bestellt", "Certificate ordered"),
        "user_exported" => lang.pick("Daten ausgegeben", "Person's data exported"),
        "user_forgotten" => lang.pick("Person vergessen", "Person forgotten"),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::ActorKind;

    #[test]
    fn every_word_of_the_log_has_a_label() {
        for action in Action::ALL {
            assert_ne!(label(Lang::De, action.as_str()), action.as_str());
        }
        for kind in ActorKind::ALL
            .iter()
            .filter(|kind| **kind != ActorKind::User)
        {
            let word = kind.as_str();
            assert_ne!(actor_label(Lang::De, word), word);
        }
        assert_eq!(label(Lang::En, "of_the_future"), "of_the_future");
    }
}
