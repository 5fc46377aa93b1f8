//! Responsible for the table of the audit log.

use std::borrow::Cow;

use super::list::{Asked, Cell, Column, Field, Kind, Row, list};
use super::{Section, any};
use crate::model::audit::Action;
use crate::portal::shell::Shell;
use crate::request::lang::Lang;
use crate::respond::page::sign_in_heading;
use crate::respond::reason;
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
        Some(id) => format!("{} {id}", object_label(lang, kind)),
        None => object_label(lang, kind).to_owned(),
    };
    let reason = entry.reason.as_deref().unwrap_or_default();
    let reason = reason_label(lang, &entry.action, reason);
    Row {
        id: String::new(),
        name: String::new(),
        cells: vec![
            Cell::time(Some(entry.at)),
            Cell::Text(label(lang, &entry.action).to_owned()),
            Cell::State(tone.to_owned(), outcome.to_owned(), reason.into_owned()),
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

/// What it happened to; a word this page does not know is shown as it is.
fn object_label(lang: Lang, kind: &str) -> &str {
    match kind {
        "desktop" => "Desktop",
        "session" => lang.pick("Sitzung", "Session"),
        "token" => "Token",
        "template" => lang.pick("Vorlage", "Template"),
        "image" => "Image",
        "certificate" => lang.pick("Zertifikat", "Certificate"),
        other => other,
    }
}

/// Why; a word this page does not know is shown as it is.
fn reason_label<'a>(lang: Lang, action: &str, word: &'a str) -> Cow<'a, str> {
    let label = match (action, word) {
        ("rate_limited", "start") => lang.pick("Starts von Desktops", "Starts of desktops"),
        ("rate_limited", "login") => lang.pick("Anmeldungen", "Sign-ins"),
        ("rate_limited", "logout") => lang.pick(
            "Abmeldungen durch den Anmeldedienst",
            "Sign-outs by the sign-in service",
        ),
        ("rate_limited", "secret") => lang.pick("Falsche Geheimnisse", "Wrong secrets"),
        ("certificate_ordered", _) => return order_label(lang, word).into(),
        ("extend", "asked") => lang.pick("Auf Wunsch.", "On request."),
        (_, "retention") => lang.pick(
            "Die Zeit, für die es aufgehoben wird, ist um.",
            "The time for which it is kept is over.",
        ),
        (_, "backchannel_logout" | "frontchannel_logout") => lang.pick(
            "Beim Anmeldedienst abgemeldet.",
            "Signed out at the sign-in service.",
        ),
        (_, "provider_refused") => lang.pick(
            "Der Anmeldedienst lässt die Person nicht mehr herein.",
            "The sign-in service no longer lets the person in.",
        ),
        (_, "token_in_browser") => lang.pick("Aus einem Browser geschickt.", "Sent by a browser."),
        (_, "token_invalid") => lang.pick("Es gilt nicht (mehr).", "It is not good (any more)."),
        _ => match sign_in_heading(word, lang) {
            Some(heading) => heading,
            None => return reason::sentence(word, lang),
        },
    };
    label.into()
}

/// Why a certificate was ordered, or could not be.
fn order_label(lang: Lang, word: &str) -> &str {
    match word {
        "first" => lang.pick("Es ist das erste.", "It is the first one."),
        "renewal" => lang.pick("Das alte endet bald.", "The old one ends soon."),
        "rate_limited" => lang.pick(
            "Die Zertifizierungsstelle bittet um Geduld.",
            "The authority asks for patience.",
        ),
        "refused" => lang.pick(
            "Die Zertifizierungsstelle hat abgelehnt.",
            "The authority refused.",
        ),
        "unreachable" => lang.pick(
            "Die Zertifizierungsstelle ist nicht zu erreichen.",
            "The authority cannot be reached.",
        ),
        "unproven" => lang.pick(
            "Die Namen wurden nicht bestätigt.",
            "The names were not proven.",
        ),
        "timeout" => lang.pick("Es dauerte zu lange.", "It took too long."),
        "unusable" => lang.pick(
            "Was dafür gebraucht wird, ist unbrauchbar.",
            "What is needed for it cannot be used.",
        ),
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
        "pictures_seen" => lang.pick("Bilder gesehen", "Pictures seen"),
        "look" => lang.pick("Desktop angesehen", "Desktop looked at"),
        "look_ended" => lang.pick("Ansehen beendet", "Look ended"),
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
    use crate::model::reason::Reason;

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

    #[test]
    fn reasons_and_objects_are_told_in_the_language_of_the_page() {
        let why = |action, word| {
            let [german, english] =
                [Lang::De, Lang::En].map(|lang| reason_label(lang, action, word));
            assert!(
                german != word && english != word && german != english,
                "{action} {word}"
            );
        };
        for reason in Reason::ALL {
            why("stop", reason.as_str());
        }
        for word in ["start", "login", "logout", "secret"] {
            why("rate_limited", word);
        }
        for word in [
            "login_failed",
            "login_denied",
            "login_expired",
            "provider_unavailable",
        ] {
            why("login_failed", word);
        }
        for word in [
            "backchannel_logout",
            "frontchannel_logout",
            "provider_refused",
        ] {
            why("session_ended", word);
        }
        for word in ["token_in_browser", "token_invalid"] {
            why("token_refused", word);
        }
        why("remove", "retention");
        for word in [
            "first",
            "renewal",
            "rate_limited",
            "refused",
            "unreachable",
            "unproven",
            "timeout",
            "unusable",
        ] {
            why("certificate_ordered", word);
        }
        assert_eq!(
            reason_label(Lang::De, "stop", "of_the_future"),
            "of_the_future"
        );
        assert_eq!(reason_label(Lang::De, "start", ""), "");
        assert_eq!(object_label(Lang::De, "session"), "Sitzung");
        for kind in [
            "desktop",
            "session",
            "token",
            "template",
            "image",
            "certificate",
        ] {
            assert_ne!(object_label(Lang::De, kind), kind);
        }
    }
}
