//! Responsible for the files the pages refer to, embedded in the program and served under `/assets/<name>`.

/// An embedded file.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Its name below `/assets/`.
    pub name: &'static str,
    /// Value of the `Content-Type` header.
    pub content_type: &'static str,
    /// The file's content.
    pub bytes: &'static [u8],
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal: $content_type:expr;)*) => {
        /// All of them.
        pub const ASSETS: &[Asset] = &[$(Asset {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!("assets/", $name)),
        }),*];
    };
}

assets! {
    "deskgate.css": CSS;
    "account.js": SCRIPT;
    "frame.js": SCRIPT;
    "gateway.js": SCRIPT;
    "live.js": SCRIPT;
    "ask.js": SCRIPT;
    "class.js": SCRIPT;
    "home.js": SCRIPT;
    "lists.js": SCRIPT;
    "look.js": SCRIPT;
    "pictures.js": SCRIPT;
    "refresh.js": SCRIPT;
    "tokens.js": SCRIPT;
    "waiting.js": SCRIPT;
    "favicon.svg": SVG;
    "icon-desktop.svg": SVG;
    "icon-browser.svg": SVG;
    "icon-code.svg": SVG;
    "icon-office.svg": SVG;
    "icon-terminal.svg": SVG;
}

/// The address of a template's icon: a local path, an image as a `data:` address, or the name of an embedded icon.
///
/// Anything else would be refused by the pages' `img-src` and becomes the default icon.
pub(super) fn icon_address(icon: &str) -> String {
    let local = icon.starts_with('/') && !icon.starts_with("//");
    if local || icon.starts_with("data:image/") {
        return icon.to_owned();
    }
    let name = format!("icon-{icon}.svg");
    if ASSETS.iter().any(|asset| asset.name == name) {
        format!("/assets/{name}")
    } else {
        "/assets/icon-desktop.svg".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icons_stay_on_this_origin() {
        for (icon, expected) in [
            ("", "/assets/icon-desktop.svg"),
            ("code", "/assets/icon-code.svg"),
            ("no-such-icon", "/assets/icon-desktop.svg"),
            (
                "https://elsewhere.example/i.png",
                "/assets/icon-desktop.svg",
            ),
            ("//elsewhere.example/i.png", "/assets/icon-desktop.svg"),
            ("/assets/own.svg", "/assets/own.svg"),
            ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
        ] {
            assert_eq!(icon_address(icon), expected, "{icon:?}");
        }
    }

    #[test]
    fn each_file_is_there_once_and_none_is_forgotten() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/portal/assets");
        let files = std::fs::read_dir(directory).expect("the directory");
        let mut files: Vec<_> = files
            .map(|file| {
                file.expect("a file")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        let mut names: Vec<_> = ASSETS.iter().map(|asset| asset.name).collect();
        files.sort();
        names.sort_unstable();
        assert_eq!(names, files);
    }
}
