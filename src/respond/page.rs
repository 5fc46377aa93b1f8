//! Responsible for an error as a page for people: what happened, what to do next, and the request id for the helpdesk.
//!
//! Which status and code an error has is decided elsewhere; this file only finds the words for them.

use askama::Template;

use crate::request::lang::Lang;

/// An error that a person will read.
#[derive(Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// HTTP status of the response.
    pub status: u16,
    /// The stable code, as in the problem document.
    pub code: &'a str,
    /// The public detail in the language of the page, as in the problem document; may be empty.
    pub detail: &'a str,
    /// The id under which the operator finds this request in the log.
    pub request_id: &'a str,
    /// Origin of the portal, if the page appears under another host; empty otherwise.
    pub home: &'a str,
}

/// Renders the page as HTML.
#[must_use]
pub fn render(page: &ErrorPage<'_>) -> String {
    to_html(page)
}

/// Renders any page template into a string.
pub(crate) fn to_html(page: &impl Template) -> String {
    page.render()
        .expect("our templates contain only values whose formatting cannot fail")
}

/// The link a page offers as the next step.
struct Action {
    href: &'static str,
    label: &'static str,
}

impl ErrorPage<'_> {
    fn heading(&self) -> &'static str {
        self.start_heading().unwrap_or_else(|| self.words().0)
    }

    fn advice(&self) -> &str {
        match self.start_heading() {
            Some(_) if !self.detail.is_empty() => self.detail,
            _ => self.words().1,
        }
    }

    /// The next step, where there is a better one than going back to the start page.
    fn action(&self) -> Option<Action> {
        let (href, label) = match (self.code, self.status) {
            // The address of a failed sign-in is spent: trying again means beginning again.
            ("login_failed" | "login_denied" | "login_expired" | "provider_unavailable", _)
            | (_, 401) => ("/login", self.lang.pick("Neu anmelden", "Sign in again")),
            // An empty reference is the address of this very page (RFC 3986, section 4.4).
            (_, 408 | 409 | 425 | 429 | 431 | 500 | 502..=504) => {
                ("", self.lang.pick("Erneut versuchen", "Try again"))
            }
            _ => return None,
        };
        Some(Action { href, label })
    }

    /// What the advice does not say already.
    fn shows_detail(&self) -> bool {
        !self.detail.is_empty() && self.start_heading().is_none()
    }

    /// Why a start was refused is a sentence for people already: the advice.
    fn start_heading(&self) -> Option<&'static str> {
        let (de, en) = match self.code {
            "quota_exceeded" => ("Du hast schon genug Desktops", "You have enough desktops"),
            "capacity_exhausted" | "memory_exhausted" | "queue_full" => {
                ("Gerade ist kein Platz", "There is no room right now")
            }
            "outside_hours" => ("Gerade geschlossen", "Closed right now"),
            "template_not_allowed" => (
                "Dieser Desktop ist nicht für dich freigegeben",
                "This desktop is not for you",
            ),
            "desktop_stopping" => ("Einen Moment noch", "One more moment"),
            _ => return None,
        };
        Some(self.lang.pick(de, en))
    }

    /// The heading and the advice: by code where a code says more than its status.
    fn words(&self) -> (&'static str, &'static str) {
        let (de, en) = sign_in_words(self.code).unwrap_or_else(|| status_words(self.status));
        (self.lang.pick(de.0, en.0), self.lang.pick(de.1, en.1))
    }
}

/// A heading and an advice.
type Words = (&'static str, &'static str);

/// What became of a sign-in, by the code of the error.
#[must_use]
pub fn sign_in_heading(code: &str, lang: Lang) -> Option<&'static str> {
    let (de, en) = sign_in_words(code)?;
    Some(lang.pick(de.0, en.0))
}

/// German and English words for a sign-in, or something else, that did not succeed and has a code that says why.
fn sign_in_words(code: &str) -> Option<(Words, Words)> {
    Some(match code {
        "ticket_invalid" => (
            (
                "Dieser Weg zum Desktop gilt nicht mehr",
                "Er gilt nur einmal und nur in dem Browser, der ihn bekommen hat. Öffne den Desktop in der Übersicht.",
            ),
            (
                "This way to the desktop is no longer good",
                "It is good once, in the browser that got it. Open the desktop from the overview.",
            ),
        ),
        "rate_limited" => (
            (
                "Das ging gerade zu schnell",
                "Von hier kamen in kurzer Zeit zu viele Versuche. Warte einen Moment und versuch es dann noch einmal.",
            ),
            (
                "That was too fast",
                "Too many attempts came from here in a short time. Wait a moment, then try again.",
            ),
        ),
        "login_failed" => (
            (
                "Die Anmeldung hat nicht geklappt",
                "Versuch es noch einmal. Wenn es wieder nicht klappt, gib dem Helpdesk die Nummer unten.",
            ),
            (
                "Signing in did not work",
                "Please try again. If it fails again, give the helpdesk the number below.",
            ),
        ),
        "login_denied" => (
            (
                "Der Anmeldedienst hat dich nicht hereingelassen",
                "Hast du abgebrochen? Dann melde dich neu an. Sonst frag deinen Administrator, ob du Desktops benutzen darfst.",
            ),
            (
                "The sign-in service did not let you in",
                "Did you cancel? Then sign in again. Otherwise ask your administrator whether you may use desktops.",
            ),
        ),
        "login_expired" => (
            (
                "Die Anmeldung hat zu lange gedauert",
                "Zur Sicherheit gilt ein Anmeldeversuch nur wenige Minuten. Fang einfach neu an.",
            ),
            (
                "Signing in took too long",
                "For your safety an attempt to sign in is valid for a few minutes only. Just start again.",
            ),
        ),
        "provider_unavailable" => (
            (
                "Der Anmeldedienst antwortet nicht",
                "Das liegt nicht an dir. Warte einen Moment und versuch es dann noch einmal.",
            ),
            (
                "The sign-in service does not answer",
                "This is not your fault. Wait a moment, then try again.",
            ),
        ),
        _ => return None,
    })
}

/// German and English words for a status.
fn status_words(status: u16) -> (Words, Words) {
    match status {
        400..500 => client_words(status),
        502 | 504 => (
            (
                "Der Desktop antwortet nicht",
                "Vielleicht startet er gerade. Versuch es gleich noch einmal, oder starte ihn in der Übersicht neu.",
            ),
            (
                "The desktop does not answer",
                "It may just be starting. Try again in a moment, or restart it from the overview.",
            ),
        ),
        503 => (
            (
                "Gerade nicht verfügbar",
                "Der Desktop oder der Dienst antwortet im Moment nicht. Versuch es gleich noch einmal.",
            ),
            (
                "Not available right now",
                "The desktop or the service does not answer at the moment. Try again shortly.",
            ),
        ),
        _ => (
            (
                "Da ist etwas schiefgegangen",
                "Das liegt nicht an dir. Versuch es noch einmal. Wenn es wieder passiert, gib dem Helpdesk die Nummer unten.",
            ),
            (
                "Something went wrong",
                "This is not your fault. Please try again. If it happens again, give the helpdesk the number below.",
            ),
        ),
    }
}

/// German and English words for a status that says: this request cannot be served.
fn client_words(status: u16) -> (Words, Words) {
    match status {
        401 => (
            (
                "Bitte melde dich an",
                "Deine Anmeldung fehlt oder ist abgelaufen. Dein Desktop ist nicht verloren.",
            ),
            (
                "Please sign in",
                "You are not signed in, or no longer. Your desktop is not lost.",
            ),
        ),
        403 => (
            (
                "Das ist für dich nicht freigegeben",
                "Dein Konto darf diese Seite nicht öffnen. Frag den Helpdesk, wenn du den Zugang brauchst.",
            ),
            (
                "You do not have access to this",
                "Your account may not open this page. Ask the helpdesk if you need access.",
            ),
        ),
        404 | 410 => (
            (
                "Diese Seite gibt es nicht",
                "Der Desktop oder die Seite existiert nicht (mehr). In der Übersicht findest du deine Desktops.",
            ),
            (
                "This page does not exist",
                "The desktop or page does not exist (any more). You find your desktops in the overview.",
            ),
        ),
        409 => (
            (
                "Das geht gerade nicht",
                "Der Desktop wechselt gerade seinen Zustand. Versuch es in ein paar Sekunden noch einmal.",
            ),
            (
                "Not possible right now",
                "The desktop is just changing its state. Try again in a few seconds.",
            ),
        ),
        421 => (
            (
                "Unbekannte Adresse",
                "Unter diesem Namen ist hier nichts zu finden. Prüfe die Adresse oben im Browser.",
            ),
            (
                "Unknown address",
                "Nothing is found here under this name. Check the address at the top of your browser.",
            ),
        ),
        429 => (
            (
                "Einen Moment bitte",
                "Das waren zu viele Versuche in kurzer Zeit. Warte eine Minute und versuch es dann noch einmal.",
            ),
            (
                "One moment, please",
                "Those were too many attempts in a short time. Wait a minute, then try again.",
            ),
        ),
        431 => (
            (
                "Dein Browser hat zu viele Cookies geschickt",
                "Wir haben sie für diese Seite gelöscht. Versuch es noch einmal; vielleicht musst du dich neu anmelden.",
            ),
            (
                "Your browser sent too many cookies",
                "We have cleared them for this site. Try again; you may have to sign in anew.",
            ),
        ),
        _ => (
            (
                "Das hat nicht geklappt",
                "Mit dieser Anfrage können wir nichts anfangen. Geh zurück zur Übersicht und versuch es von dort.",
            ),
            (
                "That did not work",
                "We cannot make sense of this request. Go back to the overview and try from there.",
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(lang: Lang, status: u16, code: &str) -> String {
        render(&ErrorPage {
            lang,
            status,
            code,
            detail: "<b>detail</b>",
            request_id: "req-1",
            home: "",
        })
    }

    #[test]
    fn speaks_the_language_and_names_the_request() {
        let german = page(Lang::De, 404, "not_found");
        assert!(german.contains("<html lang=\"de\""));
        assert!(german.contains("Diese Seite gibt es nicht"));
        assert!(german.contains("req-1"));
        assert!(german.contains("href=\"/\""));
        assert!(page(Lang::En, 404, "not_found").contains("This page does not exist"));
    }

    #[test]
    fn under_another_host_it_leads_back_to_the_portal() {
        let page = |status| {
            render(&ErrorPage {
                lang: Lang::En,
                status,
                code: "x",
                detail: "",
                request_id: "req-1",
                home: "https://desk.example",
            })
        };
        let (denied, failed, signed_out) = (page(403), page(502), page(401));
        for page in [&denied, &failed, &signed_out] {
            let links: Vec<&str> = page.split("<a ").skip(1).collect();
            assert_eq!(
                page.matches("href=\"https://desk.example/\"").count(),
                2,
                "{links:?}"
            );
            assert!(
                !page.contains("<a class=\"button quiet\" href=\"/\""),
                "{links:?}"
            );
        }
        assert!(failed.contains("href=\"\""), "the same address again");
        assert!(signed_out.contains("href=\"https://desk.example/login\""));
    }

    #[test]
    fn escapes_what_it_shows() {
        let html = page(Lang::En, 400, "<script>");
        assert!(!html.contains("<b>detail"));
        assert!(!html.contains("<script>"));
    }

    #[test]
    fn a_failed_sign_in_begins_again() {
        for code in ["login_failed", "login_expired", "provider_unavailable"] {
            assert!(
                page(Lang::En, 502, code).contains("href=\"/login\""),
                "{code}"
            );
        }
        assert!(page(Lang::En, 502, "desktop_unreachable").contains("href=\"\""));
        assert!(!page(Lang::En, 404, "not_found").contains("href=\"\""));
    }
}
