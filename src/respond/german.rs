//! The German sentences for errors that a page of ours can run into. The table in [`super::error`] has the English
//! ones; what only programs can cause stays English, as the answers of an interface are.

use std::borrow::Cow;

use super::error::{HttpError, Row};
use crate::desktop::DesktopError;
use crate::request::lang::Lang;

/// The sentence for a person, in their language.
#[must_use]
pub fn detail(error: &HttpError, row: &Row, lang: Lang) -> Cow<'static, str> {
    match lang {
        Lang::De => german(error, row).unwrap_or_else(|| row.detail.clone()),
        Lang::En => row.detail.clone(),
    }
}

/// The German sentence, if there is one.
pub(super) fn german(error: &HttpError, row: &Row) -> Option<Cow<'static, str>> {
    let with_number = match error {
        HttpError::Desktop(DesktopError::UserQuota(count)) => format!(
            "Du darfst {count} Desktop(s) gleichzeitig haben und hast sie schon. Beende zuerst einen davon."
        ),
        HttpError::Desktop(DesktopError::QueueFull(place)) => format!(
            "{} Desktops warten schon auf ihren Start. Versuch es gleich noch einmal.",
            place.position - 1
        ),
        HttpError::Desktop(DesktopError::Closed(Some(opens))) => {
            format!("Dieser Desktop ist gerade geschlossen. Er öffnet wieder: {opens}.")
        }
        HttpError::TooOften(_) | HttpError::Desktop(DesktopError::StartRate(_)) => format!(
            "Das war zu oft. Versuch es in {} Sekunden noch einmal.",
            row.retry_after.unwrap_or(1)
        ),
        _ => return by_code(row.code).map(Cow::Borrowed),
    };
    Some(with_number.into())
}

fn by_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "not_signed_in" => "Bitte melde dich an.",
        "session_invalid" => "Deine Anmeldung ist abgelaufen. Bitte melde dich neu an.",
        "csrf_token_missing" => "Die Seite ist zu alt dafür. Bitte lade sie neu.",
        "session_required" => "Das darf nur eine angemeldete Person.",
        "wrong_role" => "Deine Rolle erlaubt das nicht.",
        "not_found" => "Hier ist nichts (mehr).",
        "rate_limited" => "Das war zu oft. Versuch es gleich noch einmal.",
        "too_many_requests" => {
            "Gerade sind zu viele Anfragen unterwegs. Versuch es gleich noch einmal."
        }
        "database_unavailable" => {
            "Die Datenbank antwortet gerade nicht. Versuch es gleich noch einmal."
        }
        "engine_unavailable" => {
            "Der Server, auf dem die Desktops laufen, antwortet gerade nicht. Versuch es gleich noch einmal."
        }
        "unknown_template" => "Diesen Desktop gibt es nicht (mehr).",
        "template_not_allowed" => "Dieser Desktop ist für dich nicht freigegeben.",
        "desktop_stopping" => {
            "Der Desktop wird gerade noch beendet. Versuch es gleich noch einmal."
        }
        "desktop_not_up" => "Der Desktop läuft nicht.",
        "desktop_not_running" => "Der Desktop läuft noch nicht.",
        "desktop_ended" => "Der Desktop oder deine Anmeldung ist beendet.",
        "desktop_asleep" => "Der Desktop ist pausiert. Öffne ihn, um ihn zu wecken.",
        "desktop_paused" => "Der Desktop ist pausiert.",
        "look_elsewhere" => "Du siehst dir gerade einen anderen Desktop an. Beende das zuerst.",
        "look_taken" => "Diesen Desktop sieht sich gerade schon jemand an.",
        "no_notice" => {
            "Solche Desktops können nicht zeigen, dass jemand zusieht. Deshalb kann es niemand. Frag den Helpdesk deiner Schule."
        }
        "not_told" => {
            "Der Desktop hat nicht gezeigt, dass du zusiehst. Deshalb kannst du es nicht."
        }
        "look_off" => "Lehrkräfte sehen hier keine Bildschirme.",
        "no_picture" => "Von solchen Desktops gibt es keine Bilder.",
        "too_many_pictures" => {
            "Gerade werden zu viele Bilder geholt. Versuch es gleich noch einmal."
        }
        "desktop_failed" => "Der Desktop hat nicht richtig geantwortet.",
        "desktop_timeout" => "Der Desktop hat nicht rechtzeitig geantwortet.",
        "capacity_exhausted" => {
            "Im Moment ist kein Platz für einen weiteren Desktop. Versuch es etwas später."
        }
        "memory_exhausted" => {
            "Im Moment reicht der Speicher nicht für einen weiteren Desktop. Versuch es etwas später."
        }
        "not_extendable" => "Der Desktop kann nicht mehr verlängert werden.",
        "outside_hours" => "Dieser Desktop ist gerade geschlossen.",
        "too_many_streams" => "Der Desktop ist zu oft geöffnet. Schließ einen Tab, der ihn zeigt.",
        "too_many_tokens" => "Du hast schon zu viele Tokens. Widerrufe zuerst eines.",
        "invalid_name" => {
            "Ein Token braucht einen Namen aus druckbaren Zeichen, der nicht zu lang ist."
        }
        "invalid_scope" => "Ein Token muss mindestens eines davon dürfen.",
        "scope_not_allowed" => "Das dürfen nur Tokens der Administration.",
        "invalid_duration" => "Die Gültigkeit ist zu kurz oder zu lang.",
        "ticket_invalid" => {
            "Dieser Weg zum Desktop gilt nicht mehr. Öffne den Desktop in der Übersicht."
        }
        "login_denied" => "Der Anmeldedienst hat dich nicht hereingelassen.",
        "login_expired" => "Diese Anmeldung hat zu lange gedauert. Bitte melde dich neu an.",
        "login_failed" => "Die Anmeldung hat nicht geklappt.",
        "provider_unavailable" => {
            "Der Anmeldedienst antwortet nicht. Versuch es gleich noch einmal."
        }
        "unknown_host" => "Dieser Server hat einen anderen Namen.",
        "cookies_too_large" => {
            "Die Cookies dieser Seite waren zu groß und sind gelöscht. Bitte melde dich neu an."
        }
        "internal" => "Da ist etwas schiefgegangen.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::authn::AuthnError;
    use crate::authn::api_tokens::ApiTokenError;
    use crate::authz::AuthzError;
    use crate::desktop::{LookError, QueuePlace};
    use crate::engine::EngineError;
    use crate::model::reason::Reason;
    use crate::picture::PictureError;
    use crate::proxy::ProxyError;

    /// What the buttons of our pages, and the way to a desktop, can be answered with.
    fn of_pages() -> Vec<HttpError> {
        let place = QueuePlace {
            position: 8,
            estimate: Duration::from_secs(9),
        };
        let desktop = [
            DesktopError::UnknownTemplate,
            DesktopError::TemplateNotAllowed,
            DesktopError::StillStopping,
            DesktopError::UserQuota(2),
            DesktopError::TotalQuota(9),
            DesktopError::NoPort,
            DesktopError::QueueFull(place),
            DesktopError::NoMemory,
            DesktopError::NotUp,
            DesktopError::Fixed(Reason::Hours),
            DesktopError::Fixed(Reason::Lifetime),
            DesktopError::Closed(None),
            DesktopError::Closed(Some("08:00".into())),
            DesktopError::Asleep,
            LookError::NoNotice.into(),
            LookError::NotShown(Some(1)).into(),
            LookError::Watched.into(),
            LookError::Elsewhere.into(),
            DesktopError::NotFound,
            DesktopError::Engine(EngineError::Timeout(Duration::ZERO)),
        ];
        let tokens = [
            ApiTokenError::Name,
            ApiTokenError::NoScope,
            ApiTokenError::Lifetime,
            ApiTokenError::NotAdmin,
            ApiTokenError::TooMany,
        ];
        let others: [HttpError; 18] = [
            AuthnError::NoSession.into(),
            AuthnError::InvalidSession.into(),
            AuthnError::NoCsrfToken.into(),
            AuthnError::SessionRequired.into(),
            AuthnError::BadTicket.into(),
            AuthzError::NotFound.into(),
            AuthzError::WrongRole.into(),
            AuthzError::LookOff.into(),
            PictureError::NoWay.into(),
            PictureError::Asleep.into(),
            PictureError::Busy.into(),
            PictureError::Ended.into(),
            ProxyError::Timeout.into(),
            ProxyError::TooManyStreams.into(),
            ProxyError::Revoked.into(),
            ProxyError::Unauthorized.into(),
            HttpError::NotRunning("creating"),
            HttpError::Crowded,
        ];
        let desktop = desktop.into_iter().map(HttpError::from);
        let tokens = tokens.into_iter().map(HttpError::from);
        desktop.chain(tokens).chain(others).collect()
    }

    #[test]
    fn what_a_page_can_run_into_has_a_german_sentence() {
        for error in of_pages() {
            let row = error.row();
            let said = german(&error, &row);
            assert!(said.is_some_and(|text| text.ends_with('.')), "{error:?}");
            assert_eq!(detail(&error, &row, Lang::En), row.detail);
        }
    }

    #[test]
    fn numbers_and_times_are_told() {
        for (error, told) in [
            (DesktopError::UserQuota(2), "2 Desktop(s)"),
            (DesktopError::Closed(Some("Mo 08:00".into())), "Mo 08:00"),
        ] {
            let error = HttpError::from(error);
            assert!(detail(&error, &error.row(), Lang::De).contains(told));
        }
    }

    #[test]
    fn what_only_programs_cause_stays_english() {
        let error = HttpError::Json("x".into());
        assert_eq!(detail(&error, &error.row(), Lang::De), error.row().detail);
    }
}
