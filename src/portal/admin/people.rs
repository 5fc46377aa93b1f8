//! Responsible for the tables of people and of their sessions.

use super::list::{Act, Asked, Cell, Column, Field, Kind, Row, list};
use super::{Section, any};
use crate::model::id::SessionId;
use crate::portal::shell::Shell;
use crate::portal::texts;
use crate::request::lang::Lang;
use crate::store::overview::{KnownSession, KnownUser, Listed};

/// Renders the table of everybody who ever signed in.
#[must_use]
pub fn admin_users(shell: Shell<'_>, asked: &Asked, users: &Listed<KnownUser>) -> String {
    let lang = shell.lang;
    let mut page = list(Section::Users, shell, asked);
    let roles = ["student", "teacher", "admin"];
    let named = roles.map(|role| (role.to_owned(), texts::role(lang, role).to_owned()));
    page.fields = vec![
        Field {
            name: "q",
            label: lang.pick("Suche", "Search"),
            kind: Kind::Search,
        },
        Field {
            name: "role",
            label: lang.pick("Rolle", "Role"),
            kind: Kind::Choice(any(lang).chain(named).collect()),
        },
    ];
    page.columns = vec![
        Column::sorted(lang.pick("Person", "Person"), "name"),
        Column::plain(lang.pick("Rolle", "Role")),
        Column::plain(lang.pick("Gruppen", "Groups")),
        Column::sorted(
            lang.pick("Zuletzt angemeldet", "Last signed in"),
            "last_login",
        ),
        Column::number("Desktops"),
        Column::number(lang.pick("Sitzungen", "Sessions")),
        Column::plain(lang.pick("Daten", "Data")),
    ];
    page.rows = users.rows.iter().map(|known| user(lang, known)).collect();
    page.total = Some(users.total);
    page.empty = lang.pick("Niemand passt dazu.", "Nobody is like that.");
    page.html()
}

fn user(lang: Lang, known: &KnownUser) -> Row {
    let (id, identity) = (known.user.id, &known.user.identity);
    let name = match &identity.name {
        Some(name) => format!("{name} ({})", identity.username),
        None => identity.username.clone(),
    };
    let export = lang.pick("Auskunft", "Export").to_owned();
    Row {
        id: String::new(),
        cells: vec![
            Cell::Text(name.clone()),
            Cell::Text(texts::role(lang, identity.role.as_str()).to_owned()),
            Cell::Text(identity.groups.join(", ")),
            Cell::time(Some(known.last_login)),
            Cell::Link(
                format!("{}?user={id}", Section::Desktops.path()),
                known.live_desktops.to_string(),
            ),
            Cell::Link(
                format!("{}?user={id}", Section::Sessions.path()),
                known.sessions.to_string(),
            ),
            Cell::Link(format!("/api/admin/users/{id}/export"), export),
        ],
        name,
    }
}

/// Renders the table of everybody's sessions; `own` is the one that the page is shown in.
#[must_use]
pub fn admin_sessions(
    shell: Shell<'_>,
    asked: &Asked,
    sessions: &Listed<KnownSession>,
    own: Option<SessionId>,
) -> String {
    let lang = shell.lang;
    let mut page = list(Section::Sessions, shell, asked);
    page.fields = vec![Field {
        name: "user",
        label: lang.pick("Anmeldename", "User name"),
        kind: Kind::Search,
    }];
    page.columns = vec![
        Column::plain(lang.pick("Person", "Person")),
        Column::plain(lang.pick("Gerät", "Device")),
        Column::plain(lang.pick("Adresse", "Address")),
        Column::plain(lang.pick("Angemeldet seit", "Signed in since")),
        Column::plain(lang.pick("Zuletzt benutzt", "Last used")),
    ];
    let rows = sessions.rows.iter();
    page.rows = rows.map(|known| session(lang, known, own)).collect();
    page.acts = acts(lang);
    page.total = Some(sessions.total);
    page.empty = lang.pick("Keine Sitzung passt dazu.", "No session is like that.");
    page.html()
}

/// What can be done to sessions.
pub(super) fn acts(lang: Lang) -> Vec<Act> {
    vec![Act {
        word: "revoke",
        label: lang.pick("Abmelden", "Sign out"),
        question: lang.pick("Ausgewählte Sitzungen beenden ({count})?", "End the chosen sessions ({count})?"),
        about: lang.pick(
            "Diese Geräte sind dann abgemeldet, und offene Verbindungen zu Desktops schließen sich sofort.",
            "These devices are signed out, and open connections to desktops close at once.",
        ),
    }]
}

fn session(lang: Lang, known: &KnownSession, own: Option<SessionId>) -> Row {
    let is_own = own == Some(known.id);
    let device = texts::device(lang, &known.device);
    let device = if is_own {
        format!("{device} ({})", lang.pick("diese hier", "this one"))
    } else {
        device.into_owned()
    };
    Row {
        // Whoever wants to leave signs out.
        id: if is_own {
            String::new()
        } else {
            known.id.to_string()
        },
        name: format!("{}, {device}", known.username),
        cells: vec![
            Cell::Link(format!("?user={}", known.user_id), known.username.clone()),
            Cell::Text(device),
            Cell::Text(known.address.clone().unwrap_or_else(|| "–".to_owned())),
            Cell::time(Some(known.created_at)),
            Cell::time(Some(known.last_seen)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::UserId;
    use crate::model::time::Timestamp;

    #[test]
    fn devices_are_named_in_the_language_of_the_page() {
        let mut known = KnownSession {
            id: SessionId::NIL,
            user_id: UserId::NIL,
            username: "mia".into(),
            device: "Firefox on Windows".into(),
            address: None,
            created_at: Timestamp::default(),
            expires_at: Timestamp::default(),
            last_seen: Timestamp::default(),
        };
        let name = |known: &KnownSession, lang| session(lang, known, None).name;
        assert_eq!(name(&known, Lang::De), "mia, Firefox auf Windows");
        assert_eq!(name(&known, Lang::En), "mia, Firefox on Windows");
        known.device.clear();
        assert_eq!(name(&known, Lang::De), "mia, Unbekanntes Gerät");
    }
}
