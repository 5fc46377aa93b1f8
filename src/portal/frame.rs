//! Responsible for the page around a desktop that has an origin of its own: the desktop fills the window, and a small bar
//! of ours lies over it.

use askama::Template;

use super::texts;
use crate::request::lang::Lang;
use crate::respond::page::to_html;

/// The page around a desktop.
#[derive(Debug, Template)]
#[template(path = "frame.html")]
pub struct Frame<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// Public id of the desktop.
    pub desktop_id: &'a str,
    /// Title of its template.
    pub title: &'a str,
    /// Where it is, on the desktops' host.
    pub address: &'a str,
    /// Token for unsafe calls; `None` when this response must not carry one.
    pub csrf_token: Option<&'a str>,
}

/// Renders the page around a desktop.
#[must_use]
pub fn frame(page: &Frame<'_>) -> String {
    to_html(page)
}

impl Frame<'_> {
    fn watched(&self) -> &'static str {
        texts::watched(self.lang)
    }

    fn time_left(&self) -> &'static str {
        texts::time_left(self.lang)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_the_frame_may_no_more_than_the_desktop() {
        let html = frame(&Frame {
            lang: Lang::De,
            desktop_id: "01234567",
            title: "<b>\"",
            address: "https://desktops.desk.test/desktop/01234567/?a=\"b",
            csrf_token: Some("token\"1"),
        });
        for raw in [
            "<b>",
            "?a=\"b",
            "token\"1",
            " style=",
            " onclick=",
            "<script>",
        ] {
            assert!(!html.contains(raw), "{raw} in {html}");
        }
        for taken in [
            "allow-popups",
            "allow-top-navigation",
            "camera",
            "microphone",
        ] {
            assert!(!html.contains(taken), "{taken}");
        }
        assert!(html.contains("fullscreen; clipboard-read"));
        let bare = frame(&Frame {
            lang: Lang::En,
            desktop_id: "1",
            title: "t",
            address: "a",
            csrf_token: None,
        });
        assert!(!bare.contains("csrf-token"));
    }
}
