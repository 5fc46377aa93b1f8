//! Responsible for the tables of admins: filters, sorting and paging as plain links and forms, and what can be done to
//! the rows that are ticked.

use askama::Template;

use super::Section;
use crate::model::time::Timestamp;
use crate::portal::question::{Question, question};
use crate::portal::shell::Shell;
use crate::portal::texts;
use crate::request::lang::Lang;
use crate::respond::page::to_html;

/// The query of the page that is shown, for the addresses of those next to it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Names and values, as they were sent.
    pub pairs: Vec<(String, String)>,
    /// Rows of a page.
    pub limit: u32,
    /// Rows before it.
    pub offset: u32,
}

impl Asked {
    /// The value of a field; empty if there is none.
    pub(super) fn value(&self, name: &str) -> &str {
        let mut pairs = self.pairs.iter();
        pairs
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// The same query with other values: an empty one is left out.
    pub(super) fn with(&self, changes: &[(&str, &str)]) -> String {
        let is_new = |name: &str| changes.iter().any(|(other, _)| *other == name);
        let kept = self.pairs.iter().filter(|(name, _)| !is_new(name));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let said = kept.chain(changes.iter().copied());
        let mut query = url::form_urlencoded::Serializer::for_suffix(String::from("?"), 1);
        query.extend_pairs(said.filter(|(_, value)| !value.is_empty()));
        query.finish()
    }
}

/// What stands in a cell.
#[derive(Debug)]
pub(super) enum Cell {
    Text(String),
    Number(String),
    Link(String, String),
    /// A state with its label, and a sentence about it.
    State(String, String, String),
    /// A time, for scripts and for people.
    Time(Option<(String, String)>),
    /// How much of it is done, in percent.
    Progress(u8),
}

impl Cell {
    pub fn time(at: Option<Timestamp>) -> Self {
        Self::Time(at.map(|at| (at.to_string(), texts::utc(at))))
    }
}

#[derive(Debug)]
pub(super) struct Column {
    pub label: &'static str,
    /// What the API calls the order by it.
    pub sort: &'static str,
    pub number: bool,
}

impl Column {
    pub fn plain(label: &'static str) -> Self {
        Self::sorted(label, "")
    }

    pub fn sorted(label: &'static str, sort: &'static str) -> Self {
        Self {
            label,
            sort,
            number: false,
        }
    }

    pub fn number(label: &'static str) -> Self {
        Self {
            number: true,
            ..Self::plain(label)
        }
    }
}

#[derive(Debug)]
pub(super) struct Row {
    /// What a form sends for it; empty if nothing can be done to it.
    pub id: String,
    /// What it is called in a question.
    pub name: String,
    pub cells: Vec<Cell>,
}

/// A field that chooses rows.
#[derive(Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub label: &'static str,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Search,
    Day,
    /// Values with their labels; the first stands for any.
    Choice(Vec<(String, String)>),
}

/// Something that can be done to rows.
#[derive(Debug)]
pub(super) struct Act {
    pub word: &'static str,
    pub label: &'static str,
    pub question: &'static str,
    pub about: &'static str,
}

/// A page with a table.
#[derive(Debug, Template)]
#[template(path = "admin_list.html")]
pub(super) struct List<'a> {
    pub lang: Lang,
    pub shell: Shell<'a>,
    pub section: Section,
    pub asked: &'a Asked,
    pub lead: &'static str,
    pub fields: Vec<Field>,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    pub acts: Vec<Act>,
    /// Rows on all pages, if somebody counted them.
    pub total: Option<i64>,
    /// The query of the page after this one, where it is not told by counting.
    pub next: Option<String>,
    pub empty: &'static str,
    /// Whether an image can be asked for.
    pub pulls: bool,
}

/// A page on which the table has no more than what every one has.
pub(super) fn list<'a>(section: Section, shell: Shell<'a>, asked: &'a Asked) -> List<'a> {
    List {
        lang: shell.lang,
        shell,
        section,
        asked,
        lead: "",
        fields: Vec::new(),
        columns: Vec::new(),
        rows: Vec::new(),
        acts: Vec::new(),
        total: None,
        next: None,
        empty: shell
            .lang
            .pick("Hier ist nichts.", "There is nothing here."),
        pulls: false,
    }
}

/// Where a heading leads, and how the rows are sorted by it now: as `aria-sort` says it.
struct Order {
    href: String,
    state: &'static str,
}

impl List<'_> {
    pub fn html(&self) -> String {
        to_html(self)
    }

    fn is_chosen(&self, field: &Field, value: &str) -> bool {
        self.asked.value(field.name) == value
    }

    /// Whether anything can be done to any row.
    fn has_choice(&self) -> bool {
        self.rows.iter().any(|row| !row.id.is_empty())
    }

    fn order(&self, column: &Column) -> Order {
        let now = self.asked.value("sort");
        let down = format!("-{}", column.sort);
        let (next, state) = if now == column.sort {
            (down.as_str(), "ascending")
        } else if now == down {
            (column.sort, "descending")
        } else {
            (column.sort, "none")
        };
        let href = self.asked.with(&[("sort", next), ("offset", "")]);
        Order { href, state }
    }

    fn previous(&self) -> Option<String> {
        let (offset, limit) = (self.asked.offset, self.asked.limit);
        let before = offset.saturating_sub(limit);
        let text = if before == 0 {
            String::new()
        } else {
            before.to_string()
        };
        (offset > 0).then(|| self.asked.with(&[("offset", &text)]))
    }

    fn following(&self) -> Option<String> {
        if let Some(next) = &self.next {
            return Some(next.clone());
        }
        let after = self.asked.offset.saturating_add(self.asked.limit);
        let more = self.total.is_some_and(|total| i64::from(after) < total);
        more.then(|| self.asked.with(&[("offset", &after.to_string())]))
    }

    /// Which rows of how many.
    fn range(&self) -> String {
        let Some(total) = self.total else {
            return String::new();
        };
        let of = self.lang.pick("von", "of");
        let count = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let first = self.asked.offset.saturating_add(1);
        let last = self.asked.offset.saturating_add(count);
        if count == 0 {
            return String::new();
        }
        format!("{first}–{last} {of} {total}")
    }

    fn back(&self) -> String {
        self.asked.with(&[])
    }
}

/// What an admin wants done to rows.
#[derive(Debug)]
pub struct AdminAsk<'a> {
    /// Who sees it.
    pub shell: Shell<'a>,
    /// Where the form goes and where one came from.
    pub section: Section,
    /// The word for what is to be done.
    pub act: &'a str,
    /// What it is to be done to.
    pub ids: &'a [String],
    /// The query of the page one came from.
    pub back: &'a str,
}

/// Asks before something is done to rows, where no script asks. Nothing is asked about nothing.
#[must_use]
pub fn admin_ask(page: &AdminAsk<'_>) -> String {
    let lang = page.shell.lang;
    let mut acts = page.section.acts(lang).into_iter();
    let known = acts.find(|act| act.word == page.act);
    let known = known.filter(|_| !page.ids.is_empty());
    let count = page.ids.len().to_string();
    let nothing = lang.pick("Es ist nichts ausgewählt", "Nothing is chosen");
    let asked = known.as_ref();
    let heading = asked.map_or_else(
        || nothing.to_owned(),
        |act| act.question.replace("{count}", &count),
    );
    let mut fields = vec![("act", page.act), ("back", page.back)];
    fields.extend(page.ids.iter().map(|id| ("id", id.as_str())));
    question(&Question {
        lang,
        shell: page.shell,
        heading,
        about: asked.map_or("", |act| act.about),
        label: asked.map_or("", |act| act.label),
        path: page.section.path(),
        fields,
        back: format!("{}{}", page.section.path(), page.back),
        failures: &[],
    })
}

/// Says what did not work.
#[must_use]
pub fn admin_failures(page: &AdminAsk<'_>, failures: &[String]) -> String {
    let lang = page.shell.lang;
    let (de, en) = ("Das hat nicht ganz geklappt", "Not all of that worked");
    question(&Question {
        lang,
        shell: page.shell,
        heading: lang.pick(de, en).to_owned(),
        about: "",
        label: "",
        path: page.section.path(),
        fields: Vec::new(),
        back: format!("{}{}", page.section.path(), page.back),
        failures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)], offset: u32) -> Asked {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Asked {
            pairs: pairs.iter().map(owned).collect(),
            limit: 50,
            offset,
        }
    }

    fn shell() -> Shell<'static> {
        Shell {
            lang: Lang::En,
            user_name: "Boss",
            role: "admin",
            csrf_token: Some("t"),
            place: crate::portal::Place::Admin(Section::Desktops),
        }
    }

    #[test]
    fn a_query_keeps_what_is_not_changed() {
        let asked = asked(&[("q", "a&b"), ("offset", "50"), ("status", "")], 50);
        assert_eq!(asked.with(&[]), "?q=a%26b&offset=50");
        let changed = asked.with(&[("offset", ""), ("sort", "-user")]);
        assert_eq!(changed, "?q=a%26b&sort=-user");
    }

    #[test]
    fn headings_turn_the_order_round() {
        let asked = asked(&[("sort", "user"), ("offset", "50")], 50);
        let page = list(Section::Desktops, shell(), &asked);
        let order = |sort| page.order(&Column::sorted("x", sort));
        assert_eq!(order("user").href, "?sort=-user");
        assert_eq!(order("user").state, "ascending");
        assert_eq!(order("created").href, "?sort=created");
        assert_eq!(order("created").state, "none");
    }

    #[test]
    fn pages_lead_to_those_next_to_them() {
        let first = asked(&[], 0);
        let mut page = list(Section::Desktops, shell(), &first);
        page.total = Some(50);
        assert_eq!((page.previous(), page.following()), (None, None));
        page.total = Some(51);
        assert_eq!(page.following().as_deref(), Some("?offset=50"));
        let second = asked(&[("offset", "50"), ("q", "x")], 50);
        page.asked = &second;
        assert_eq!(page.previous().as_deref(), Some("?q=x"));
        assert_eq!(page.following(), None);
    }

    #[test]
    fn a_question_names_what_it_is_about_and_nothing_is_asked_about_nothing() {
        let page = |act, ids| AdminAsk {
            shell: shell(),
            section: Section::Desktops,
            act,
            ids,
            back: "?q=%22%3E<b>",
        };
        let two = ["<i>1".to_owned(), "2".to_owned()];
        let html = admin_ask(&page("stop", &two));
        assert!(html.contains("Stop the chosen desktops (2)?") && html.contains("value=\"yes\""));
        assert!(!html.contains("<i>") && !html.contains("<b>"), "{html}");
        for (act, ids) in [("stop", &[][..]), ("burn", &two[..])] {
            assert!(!admin_ask(&page(act, ids)).contains("value=\"yes\""));
        }
        let html = admin_failures(&page("stop", &two), &["<u>gone".to_owned()]);
        assert!(!html.contains("value=\"yes\"") && !html.contains("<u>"));
    }
}
