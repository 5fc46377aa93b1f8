//! Responsible for the tables of what desktops are made of: images on the engine, and templates.

use std::sync::Arc;

use super::Section;
use super::list::{Asked, Cell, Column, Row, list};
use crate::desktop::pulls::{Progress, Pull};
use crate::engine::Image;
use crate::model::template::{Home, Template};
use crate::portal::shell::Shell;
use crate::portal::texts;
use crate::request::lang::Lang;

/// An image with the templates that use it.
#[derive(Debug)]
pub struct UsedImage<'a> {
    /// The image.
    pub image: Image,
    /// Ids of templates.
    pub templates: Vec<&'a str>,
}

/// Renders the table of pulls and images.
#[must_use]
pub fn admin_images(
    shell: Shell<'_>,
    asked: &Asked,
    images: &[UsedImage<'_>],
    pulls: &[Pull],
) -> String {
    let lang = shell.lang;
    let mut page = list(Section::Images, shell, asked);
    page.lead = lang.pick(
        "Was die Engine schon hat. Ein Image wird auch beim ersten Start eines Desktops geholt; hier geschieht es vorher.",
        "What the engine has already. An image is also pulled at the first start of a desktop; here it is done before.",
    );
    page.columns = vec![
        Column::plain("Image"),
        Column::plain(lang.pick("Zustand", "State")),
        Column::number(lang.pick("Größe", "Size")),
        Column::plain(lang.pick("Vorlagen", "Templates")),
        Column::plain(lang.pick("Gebaut", "Built")),
    ];
    let done = |pull: &&Pull| pull.progress != Progress::Done;
    let pulls = pulls.iter().filter(done).map(|pull| self::pull(lang, pull));
    let images = images.iter().map(|used| image(lang, used));
    page.rows = pulls.chain(images).collect();
    page.pulls = true;
    page.html()
}

fn pull(lang: Lang, pull: &Pull) -> Row {
    let state = match pull.progress {
        Progress::Running(percent) => Cell::Progress(percent),
        Progress::Done => Cell::Text(String::new()),
        Progress::Failed(..) => Cell::State(
            "error".to_owned(),
            lang.pick("Fehlgeschlagen", "Failed").to_owned(),
            lang.pick(
                "Warum, steht im Log des Gateways.",
                "The gateway's log says why.",
            )
            .to_owned(),
        ),
    };
    Row {
        id: String::new(),
        name: pull.image.clone(),
        cells: vec![
            Cell::Text(pull.image.clone()),
            state,
            Cell::Number("–".to_owned()),
            Cell::Text(String::new()),
            Cell::time(None),
        ],
    }
}

fn image(lang: Lang, UsedImage { image, templates }: &UsedImage<'_>) -> Row {
    // An image that lost its name to a newer one is listed under this one.
    let named = image
        .names
        .iter()
        .filter(|name| !name.starts_with("<none>"));
    let named = named.map(String::as_str).collect::<Vec<_>>().join(", ");
    let name = if named.is_empty() {
        image.id.chars().take(19).collect()
    } else {
        named
    };
    let size = u64::try_from(image.size).unwrap_or_default();
    Row {
        id: String::new(),
        cells: vec![
            Cell::Text(name.clone()),
            Cell::State(
                "running".to_owned(),
                lang.pick("Da", "There").to_owned(),
                String::new(),
            ),
            Cell::Number(texts::bytes(lang, size)),
            Cell::Text(templates.join(", ")),
            Cell::time(Some(image.created_at)),
        ],
        name,
    }
}

/// Renders the table of templates.
#[must_use]
pub fn admin_templates(shell: Shell<'_>, asked: &Asked, templates: &[Arc<Template>]) -> String {
    let lang = shell.lang;
    let mut page = list(Section::Templates, shell, asked);
    page.lead = lang.pick(
        "So stehen sie in der Konfiguration. Geändert werden sie dort.",
        "As they are in the configuration. They are changed there.",
    );
    page.columns = vec![
        Column::plain(lang.pick("Vorlage", "Template")),
        Column::plain("Image"),
        Column::plain(lang.pick("Für", "For")),
        Column::number("CPU"),
        Column::number(lang.pick("Speicher", "Memory")),
        Column::plain(lang.pick("Dateien", "Files")),
        Column::number(lang.pick("Vorrat", "Kept ready")),
    ];
    page.rows = templates.iter().map(|one| template(lang, one)).collect();
    page.html()
}

fn template(lang: Lang, template: &Template) -> Row {
    let title = lang.pick(&template.title.de, &template.title.en);
    let everybody = template.groups.is_empty() && template.users.is_empty();
    let people = if everybody {
        lang.pick("alle", "everybody").to_owned()
    } else {
        let named = template.groups.iter().chain(&template.users);
        named.cloned().collect::<Vec<_>>().join(", ")
    };
    let cores = format!(
        "{}.{}",
        template.cpu_millis / 1000,
        template.cpu_millis % 1000 / 100
    );
    let kept = template.home != Home::None;
    Row {
        id: String::new(),
        name: template.id.clone(),
        cells: vec![
            Cell::Text(format!("{title} ({})", template.id)),
            Cell::Text(template.image.clone()),
            Cell::Text(people),
            Cell::Number(cores.replace('.', lang.pick(",", "."))),
            Cell::Number(texts::memory(lang, template.memory)),
            Cell::Text(
                if kept {
                    lang.pick("bleiben", "are kept")
                } else {
                    lang.pick("bleiben nicht", "are not kept")
                }
                .to_owned(),
            ),
            Cell::Number(template.warm.to_string()),
        ],
    }
}
