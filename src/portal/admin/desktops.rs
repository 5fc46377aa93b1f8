//! Responsible for the table of everybody's desktops.

use super::list::{Act, Asked, Cell, Column, Field, Kind, Row, list};
use super::{Section, any};
use crate::desktop::Usage;
use crate::model::desktop::{Desktop, State};
use crate::model::id::DesktopId;
use crate::model::user::User;
use crate::portal::shell::Shell;
use crate::portal::texts;
use crate::request::lang::Lang;
use crate::respond::reason;
use crate::store::overview::Listed;

/// Renders the table of desktops with their owners, and with what they take of their host.
#[must_use]
pub fn admin_desktops(
    shell: Shell<'_>,
    asked: &Asked,
    desktops: &Listed<(Desktop, User)>,
    usage: impl Fn(DesktopId) -> Option<Usage>,
) -> String {
    let lang = shell.lang;
    let mut page = list(Section::Desktops, shell, asked);
    page.fields = fields(lang);
    page.columns = vec![
        Column::sorted(lang.pick("Person", "Person"), "user"),
        Column::sorted(lang.pick("Vorlage", "Template"), "template"),
        Column::sorted(lang.pick("Zustand", "State"), "status"),
        Column::number("CPU"),
        Column::number(lang.pick("Speicher", "Memory")),
        Column::sorted(lang.pick("Gestartet", "Started"), "created"),
        Column::sorted(lang.pick("Zuletzt benutzt", "Last used"), "last_accessed"),
    ];
    let rows = desktops.rows.iter();
    page.rows = rows
        .map(|owned| row(lang, owned, usage(owned.0.id)))
        .collect();
    page.acts = acts(lang);
    page.total = Some(desktops.total);
    page.empty = lang.pick("Kein Desktop passt dazu.", "No desktop is like that.");
    page.html()
}

/// What can be done to desktops.
pub(super) fn acts(lang: Lang) -> Vec<Act> {
    vec![
        Act {
            word: "stop",
            label: lang.pick("Beenden", "Stop"),
            question: lang.pick("Ausgewählte Desktops beenden ({count})?", "Stop the chosen desktops ({count})?"),
            about: lang.pick(
                "Programme darin werden geschlossen. Was nicht gespeichert ist, geht verloren; die Dateien bleiben.",
                "Programs in them are closed. What is not saved is lost; the files stay.",
            ),
        },
        Act {
            word: "remove",
            label: lang.pick("Entfernen", "Remove"),
            question: lang.pick("Ausgewählte Desktops entfernen ({count})?", "Remove the chosen desktops ({count})?"),
            about: lang.pick(
                "Sie werden beendet und verschwinden aus der Liste. Die Dateien der Personen bleiben.",
                "They are stopped and vanish from the list. People's files stay.",
            ),
        },
    ]
}

fn fields(lang: Lang) -> Vec<Field> {
    let states = texts::STATES.into_iter();
    let states = states.filter(|status| !matches!(*status, "" | "starting"));
    let live = (
        "live".to_owned(),
        lang.pick("Alle, die leben", "All that live").to_owned(),
    );
    let named = states.map(|status| (status.to_owned(), texts::state(lang, status).to_owned()));
    vec![
        Field {
            name: "q",
            label: lang.pick("Suche", "Search"),
            kind: Kind::Search,
        },
        Field {
            name: "status",
            label: lang.pick("Zustand", "State"),
            kind: Kind::Choice(any(lang).chain([live]).chain(named).collect()),
        },
    ]
}

fn row(lang: Lang, (desktop, owner): &(Desktop, User), usage: Option<Usage>) -> Row {
    let cpu = usage.and_then(|usage| usage.cpu_percent);
    let dash = || "–".to_owned();
    let name = owner.identity.display_name();
    // `starting` is one of the words of the portal, and not of the API's states.
    let status = desktop.status.as_str();
    let why = desktop.status_reason.as_deref();
    let why = why.filter(|_| desktop.status != State::Running);
    Row {
        id: desktop.id.to_string(),
        name: format!("{name} ({})", desktop.template),
        cells: vec![
            Cell::Link(format!("?user={}", owner.id), name.to_owned()),
            Cell::Text(desktop.template.clone()),
            Cell::State(
                status.to_owned(),
                texts::state(lang, status).to_owned(),
                why.map_or_else(String::new, |why| reason::sentence(why, lang).into_owned()),
            ),
            Cell::Number(cpu.map_or_else(dash, |cpu| texts::percent(lang, cpu))),
            Cell::Number(usage.map_or_else(dash, |usage| texts::memory(lang, usage.memory))),
            Cell::time(Some(desktop.created_at)),
            Cell::time(desktop.last_accessed),
        ],
    }
}
