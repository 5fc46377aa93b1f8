//! Responsible for the files the pages refer to, embedded in the program and served under `/assets/<name>`.

/// An embedded file.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Value of the `Content-Type` header.
    pub content_type: &'static str,
    /// The file's content.
    pub bytes: &'static [u8],
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Finds the file with this name; `None` if there is none.
#[must_use]
pub fn asset(name: &str) -> Option<Asset> {
    let (content_type, bytes): (_, &'static [u8]) = match name {
        "deskgate.css" => (CSS, include_bytes!("assets/deskgate.css")),
        "account.js" => (SCRIPT, include_bytes!("assets/account.js")),
        "gateway.js" => (SCRIPT, include_bytes!("assets/gateway.js")),
        "live.js" => (SCRIPT, include_bytes!("assets/live.js")),
        "home.js" => (SCRIPT, include_bytes!("assets/home.js")),
        "tokens.js" => (SCRIPT, include_bytes!("assets/tokens.js")),
        "waiting.js" => (SCRIPT, include_bytes!("assets/waiting.js")),
        "favicon.svg" => (SVG, include_bytes!("assets/favicon.svg")),
        "icon-desktop.svg" => (SVG, include_bytes!("assets/icon-desktop.svg")),
        "icon-browser.svg" => (SVG, include_bytes!("assets/icon-browser.svg")),
        "icon-code.svg" => (SVG, include_bytes!("assets/icon-code.svg")),
        "icon-office.svg" => (SVG, include_bytes!("assets/icon-office.svg")),
        "icon-terminal.svg" => (SVG, include_bytes!("assets/icon-terminal.svg")),
        _ => return None,
    };
    Some(Asset {
        content_type,
        bytes,
    })
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
    if asset(&name).is_some() {
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
    fn only_known_names_are_found() {
        assert!(asset("home.js").is_some_and(|file| file.content_type == SCRIPT));
        for name in ["", "../Cargo.toml", "home.html", "HOME.JS"] {
            assert!(asset(name).is_none(), "{name:?}");
        }
    }
}
