//! The sentences that people read for a [`Reason`], in both languages.

use std::borrow::Cow;

use crate::model::reason::Reason;
use crate::request::lang::Lang;

/// The sentence for the word in a desktop's row. A row of an earlier version holds its sentence itself.
#[must_use]
pub fn sentence(word: &str, lang: Lang) -> Cow<'_, str> {
    Reason::from_word(word).map_or(Cow::Borrowed(word), |reason| text(reason, lang).into())
}

fn text(reason: Reason, lang: Lang) -> &'static str {
    let (de, en) = match reason {
        Reason::Asked => (
            "Der Desktop wurde auf Wunsch beendet.",
            "The desktop was stopped on request.",
        ),
        Reason::Admin => (
            "Der Desktop wurde von der Administration beendet.",
            "An administrator stopped the desktop.",
        ),
        Reason::Teacher => (
            "Eine Lehrkraft hat den Desktop beendet.",
            "A teacher stopped the desktop.",
        ),
        Reason::UserForgotten => (
            "Der Desktop wurde beendet, weil sein Konto gelöscht wurde.",
            "The desktop was stopped because its account was deleted.",
        ),
        Reason::Logout => (
            "Der Desktop wurde beim Abmelden beendet.",
            "The desktop was stopped when you signed out.",
        ),
        Reason::Idle => (
            "Der Desktop wurde beendet, weil ihn eine Weile niemand benutzt hat.",
            "The desktop was stopped because nobody used it for a while.",
        ),
        Reason::Lifetime => (
            "Der Desktop wurde beendet, weil er seine längste Laufzeit erreicht hat.",
            "The desktop was stopped because it had reached its longest lifetime.",
        ),
        Reason::Hours => (
            "Der Desktop wurde beendet, weil seine Öffnungszeit vorbei ist.",
            "The desktop was stopped because its opening hours are over.",
        ),
        Reason::EndedInside => (
            "Der Desktop wurde von innen beendet.",
            "The desktop was ended from inside.",
        ),
        Reason::EngineRestarted => (
            "Der Desktop wurde beendet, weil der Server neu gestartet wurde, auf dem er lief.",
            "The desktop was ended because the server that it ran on was restarted.",
        ),
        Reason::OutOfMemory => (
            "Dem Desktop ging der Arbeitsspeicher aus.",
            "The desktop ran out of memory.",
        ),
        Reason::Ended => (
            "Der Desktop hat sich unerwartet beendet.",
            "The desktop ended unexpectedly.",
        ),
        Reason::Disappeared => (
            "Der Container des Desktops ist verschwunden.",
            "The desktop's container disappeared.",
        ),
        Reason::StartCancelled => ("Der Start wurde abgebrochen.", "The start was cancelled."),
        Reason::TemplateGone => (
            "Diese Art von Desktop wird nicht mehr angeboten.",
            "This kind of desktop is no longer offered.",
        ),
        Reason::NoPort => (
            "Es war kein Netzwerk-Port frei.",
            "No network port was free.",
        ),
        Reason::EndedStarting => (
            "Der Desktop hat sich beim Starten beendet.",
            "The desktop ended while it was starting.",
        ),
        Reason::Refused => (
            "Der Desktop hat das Gateway nicht angenommen.",
            "The desktop did not accept the gateway.",
        ),
        Reason::Silent => (
            "Der Desktop hat nicht rechtzeitig geantwortet.",
            "The desktop did not answer in time.",
        ),
        Reason::ImageMissing
        | Reason::PullDenied
        | Reason::RegistryAway
        | Reason::PullFailed
        | Reason::DiskFull
        | Reason::EngineAway
        | Reason::Engine
        | Reason::Database => around(reason),
    };
    lang.pick(de, en)
}

/// What went wrong around a desktop, in German and English.
fn around(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::ImageMissing => (
            "Das Image dieses Desktops ist nicht verfügbar.",
            "The image of this desktop is not available.",
        ),
        Reason::PullDenied => (
            "Das Image dieses Desktops wird vom Server nicht herausgegeben, bei dem es liegt.",
            "The image of this desktop is not given out by the server that has it.",
        ),
        Reason::RegistryAway => (
            "Das Image dieses Desktops konnte nicht geladen werden, weil der Server nicht antwortet, bei dem es liegt.",
            "The image of this desktop could not be loaded because the server that has it does not answer.",
        ),
        Reason::PullFailed => (
            "Das Image dieses Desktops konnte nicht geladen werden.",
            "The image of this desktop could not be loaded.",
        ),
        Reason::DiskFull => (
            "Auf dem Server der Desktops ist kein Speicherplatz mehr.",
            "There is no space left on the desktops' server.",
        ),
        Reason::EngineAway => (
            "Die Container-Engine hat nicht geantwortet.",
            "The container engine did not answer.",
        ),
        Reason::Engine => (
            "Die Container-Engine hat versagt.",
            "The container engine failed.",
        ),
        _ => ("Die Datenbank hat versagt.", "The database failed."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_sentence_in_both_languages() {
        let mut seen = std::collections::HashSet::new();
        for reason in Reason::ALL {
            for lang in [Lang::De, Lang::En] {
                let sentence = sentence(reason.as_str(), lang).into_owned();
                assert!(
                    sentence.ends_with('.') && seen.insert(sentence),
                    "{reason:?}"
                );
            }
        }
        assert_eq!(sentence("An old sentence.", Lang::De), "An old sentence.");
    }
}
