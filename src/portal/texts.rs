//! Responsible for the words that stand for a desktop's state, a waiting step or a role.
//!
//! Words that appear in one place only are in the templates, next to the markup they belong to.

use std::borrow::Cow;
use std::time::Duration;

use crate::config::TeacherLook;
use crate::model::time::Timestamp;
use crate::overview::Alert;
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

/// What pupils are told of their teachers, as far as there is anything to tell.
pub(super) fn look(lang: Lang, look: TeacherLook) -> Option<&'static str> {
    match look {
        TeacherLook::Off => None,
        TeacherLook::Thumbnails => Some(lang.pick(
            "Lehrkräfte deiner Klassen können ein kleines Bild deines Desktops sehen.",
            "Teachers of your classes can see a small picture of your desktop.",
        )),
        TeacherLook::View => Some(lang.pick(
            "Lehrkräfte deiner Klassen können ein kleines Bild deines Desktops sehen. Bevor sie ihn sich groß ansehen, sagt er es dir.",
            "Teachers of your classes can see a small picture of your desktop. Before they look at it in full, it tells you.",
        )),
    }
}

/// That somebody looks at one's desktop.
pub(super) fn watched(lang: Lang) -> &'static str {
    lang.pick(
        "Dein Desktop wird gerade von {name} angesehen.",
        "Your desktop is being looked at by {name}.",
    )
}

/// The steps of a start, in order.
pub(super) fn steps(lang: Lang) -> [&'static str; 3] {
    [
        lang.pick("Platz finden", "Finding a place"),
        lang.pick("Desktop vorbereiten", "Preparing the desktop"),
        lang.pick("Auf das Bild warten", "Waiting for the picture"),
    ]
}

/// The index into [`steps`] that a state is at; a paused desktop only has to bring back its picture.
pub(super) fn step(status: &str) -> usize {
    match status {
        "queued" => 0,
        "creating" => 1,
        _ => 2,
    }
}

/// What to do about a desktop that ended like this, by the word for its reason.
pub(super) fn advice(lang: Lang, reason: Option<&str>, failed: bool) -> &'static str {
    match reason {
        Some("out_of_memory") => lang.pick(
            "Deine Dateien sind noch da. Starte ihn neu und öffne weniger Programme auf einmal.",
            "Your files are still there. Start it again, and open fewer programs at a time.",
        ),
        Some("image_missing" | "template_gone" | "pull_denied" | "pull_failed") => lang.pick(
            "Das kann nur der Helpdesk deiner Schule lösen.",
            "Only your helpdesk can solve this.",
        ),
        Some("disk_full") => lang.pick(
            "Sag dem Helpdesk deiner Schule Bescheid: Dort muss Platz geschaffen werden.",
            "Tell your helpdesk: they have to make room.",
        ),
        Some("registry_unavailable" | "engine_unavailable") => lang.pick(
            "Versuch es in ein paar Minuten noch einmal. Wenn es dann auch nicht klappt, sag dem Helpdesk deiner Schule Bescheid.",
            "Please try again in a few minutes. If it fails then too, tell your helpdesk.",
        ),
        Some("ended_starting" | "silent" | "refused") => lang.pick(
            "Versuch es noch einmal. Wenn es wieder nicht klappt, zeig dem Helpdesk deiner Schule diese Seite.",
            "Please try again. If it fails again, show this page to your helpdesk.",
        ),
        Some("hours") => lang.pick(
            "Deine Dateien sind noch da. Du kannst ihn starten, wenn wieder geöffnet ist.",
            "Your files are still there. You can start it when it opens again.",
        ),
        _ if failed => lang.pick(
            "Versuch es noch einmal. Wenn es wieder nicht klappt, sag dem Helpdesk deiner Schule Bescheid.",
            "Please try again. If it fails again, tell your helpdesk.",
        ),
        _ => lang.pick(
            "Deine Dateien sind noch da. Du kannst ihn jederzeit wieder starten.",
            "Your files are still there. You can start it again at any time.",
        ),
    }
}

/// The sentences about time on a card, with `{span}` for what [`span`] says.
pub(super) fn uptime(lang: Lang) -> &'static str {
    lang.pick("Läuft seit {span}", "Running for {span}")
}

/// The same for its last use.
pub(super) fn last_use(lang: Lang) -> &'static str {
    lang.pick("zuletzt benutzt vor {span}", "last used {span} ago")
}

/// The same for its end.
pub(super) fn time_left(lang: Lang) -> &'static str {
    lang.pick("endet in {span}", "ends in {span}")
}

/// A span of time in minutes, hours or days, as short as a card wants it. `live.js` has the same rules.
pub(super) fn span(lang: Lang, span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{} min", minutes.max(1)),
        (hours @ 48.., _) => format!("{} {}", hours / 24, lang.pick("Tagen", "days")),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// An amount of data, in the units of networks and disks.
pub(super) fn bytes(lang: Lang, bytes: u64) -> String {
    amount(lang, bytes, (1000, ["kB", "MB", "GB", "TB", "PB"]))
}

/// An amount of memory, in the units in which templates limit it.
pub(super) fn memory(lang: Lang, bytes: u64) -> String {
    amount(lang, bytes, (1024, ["KiB", "MiB", "GiB", "TiB", "PiB"]))
}

/// An amount in the largest of `units` that it has one of; each is `step` times the one before.
fn amount(lang: Lang, bytes: u64, (step, units): (u128, [&str; 5])) -> String {
    let bytes = u128::from(bytes);
    if bytes < step {
        return format!("{bytes} B");
    }
    // Tenths of a unit, rounded; a step of one unit is one of the next.
    let tenths = |size: u128| (bytes * 10 + size / 2) / size;
    let mut size = step;
    let mut units = units.into_iter();
    let mut unit = units.next().unwrap_or_default();
    while tenths(size) >= step * 10 {
        let Some(next) = units.next() else { break };
        (size, unit) = (size * step, next);
    }
    let tenths = tenths(size);
    if tenths >= 100 {
        return format!("{} {unit}", (tenths + 5) / 10);
    }
    let point = lang.pick(",", ".");
    format!("{}{point}{} {unit}", tenths / 10, tenths % 10)
}

/// A device such as `Firefox on Windows`.
pub(super) fn device(lang: Lang, name: &str) -> Cow<'_, str> {
    if name.is_empty() {
        return lang.pick("Unbekanntes Gerät", "Unknown device").into();
    }
    match (lang, name.split_once(" on ")) {
        (Lang::De, Some((browser, system))) => format!("{browser} auf {system}").into(),
        _ => Cow::Borrowed(name),
    }
}

/// A time that somebody waited for.
pub(super) fn millis(lang: Lang, millis: u64) -> String {
    if millis < 1000 {
        return format!("{millis} ms");
    }
    let tenths = (millis + 50) / 100;
    let point = lang.pick(",", ".");
    format!("{}{point}{} s", tenths / 10, tenths % 10)
}

/// A time that is shorter than anybody waits for.
pub(super) fn short_millis(lang: Lang, millis: f64) -> String {
    format!("{millis:.1} ms").replace('.', lang.pick(",", "."))
}

/// A part of a hundred.
pub(super) fn percent(lang: Lang, percent: f64) -> String {
    format!("{percent:.1} %").replace('.', lang.pick(",", "."))
}

/// A time as a page has it that no script has written anew.
pub(super) fn utc(at: Timestamp) -> String {
    let text = at.to_string();
    let minute: String = text.chars().take(16).collect();
    format!("{} UTC", minute.replace('T', " "))
}

/// What is wrong, and what to do about it.
pub(super) fn alert(lang: Lang, alert: Alert) -> (&'static str, &'static str) {
    let (de, en) = match alert {
        Alert::EngineDown => (
            (
                "Die Engine antwortet nicht.",
                "Niemand kann einen Desktop starten. Sieh auf ihrem Server nach, ob Docker läuft (systemctl status docker), und in das Log des Gateways.",
            ),
            (
                "The engine does not answer.",
                "Nobody can start a desktop. See on its server whether Docker runs (systemctl status docker), and look into the gateway's log.",
            ),
        ),
        Alert::CertificateExpired => (
            (
                "Das Zertifikat ist abgelaufen.",
                "Browser lassen niemanden mehr herein. Lege ein neues an seine Stelle; das Gateway nimmt es ohne Neustart.",
            ),
            (
                "The certificate is over.",
                "Browsers let nobody in any more. Put a new one in its place; the gateway takes it without a restart.",
            ),
        ),
        Alert::StartsFailing => (
            (
                "Starts schlagen fehl.",
                "In den letzten zehn Minuten war das kein Einzelfall. Die Tabelle der Desktops mit Fehler nennt den Grund, das Log des Gateways Näheres.",
            ),
            (
                "Starts fail.",
                "In the last ten minutes that was no accident. The table of desktops with an error has the reason, the gateway's log more.",
            ),
        ),
        Alert::DatabaseSlow => (
            (
                "Die Datenbank antwortet langsam.",
                "Jede Seite wartet mehrmals auf sie. Sieh nach Platte, Last und Netz ihres Servers.",
            ),
            (
                "The database answers slowly.",
                "Each page waits for it several times. Look at the disk, load and network of its server.",
            ),
        ),
        Alert::PortsNearlyUsed => (
            (
                "Die Ports sind fast aufgebraucht.",
                "Ohne freien Port startet kein Desktop. Vergrößere PORT_RANGE, oder beende Desktops, die niemand braucht.",
            ),
            (
                "The ports are nearly used up.",
                "Without a free port no desktop starts. Enlarge PORT_RANGE, or stop desktops that nobody needs.",
            ),
        ),
        Alert::DesktopsNearlyFull => (
            (
                "Es sind fast so viele Desktops, wie es sein dürfen.",
                "Erhöhe MAX_DESKTOPS, wenn der Server es trägt, oder beende Desktops, die niemand braucht.",
            ),
            (
                "There are nearly as many desktops as may be.",
                "Raise MAX_DESKTOPS if the server can bear it, or stop desktops that nobody needs.",
            ),
        ),
        Alert::CertificateExpiring => (
            (
                "Das Zertifikat läuft in weniger als zwei Wochen ab.",
                "Erneuere es; das Gateway nimmt das neue ohne Neustart.",
            ),
            (
                "The certificate is over in less than two weeks.",
                "Renew it; the gateway takes the new one without a restart.",
            ),
        ),
    };
    (lang.pick(de.0, en.0), lang.pick(de.1, en.1))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reason::Reason;

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [
            (0, "1 min"),
            (61, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (7500, "2 h 5 min"),
            (172_799, "47 h 59 min"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(Lang::En, Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn figures_are_short() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1,0 kB"),
            (9_949, "9,9 kB"),
            (9_951, "10 kB"),
            (999_949, "1000 kB"),
            (1_200_000, "1,2 MB"),
            (4_294_967_296, "4,3 GB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(bytes(Lang::De, number), text);
        }
        for (number, text) in [
            (1023, "1023 B"),
            (1 << 30, "1,0 GiB"),
            (3 << 29, "1,5 GiB"),
            (100 << 20, "100 MiB"),
            (1023 << 20, "1023 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(memory(Lang::De, number), text);
        }
        assert_eq!(millis(Lang::En, 740), "740 ms");
        assert_eq!(millis(Lang::En, 1760), "1.8 s");
        assert_eq!(percent(Lang::De, 12.34), "12,3 %");
        assert_eq!(short_millis(Lang::De, 0.26), "0,3 ms");
    }

    #[test]
    fn advice_knows_the_words_for_reasons() {
        let plain = advice(Lang::En, None, true);
        for word in [
            "out_of_memory",
            "image_missing",
            "template_gone",
            "hours",
            "pull_denied",
            "pull_failed",
            "disk_full",
            "registry_unavailable",
            "engine_unavailable",
            "ended_starting",
            "silent",
            "refused",
        ] {
            assert!(Reason::from_word(word).is_some(), "{word}");
            assert_ne!(advice(Lang::En, Some(word), true), plain, "{word}");
        }
    }
}
