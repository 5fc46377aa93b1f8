//! Responsible for the account page: where the person is signed in and which API tokens they have, and the way
//! to end that.

use std::borrow::Cow;

use askama::Template;

use super::shell::Shell;
use super::texts;
use super::tokens::{self, AccountToken};
use crate::request::lang::Lang;
use crate::respond::page::to_html;

/// The account page.
#[derive(Debug, Template)]
#[template(path = "account.html")]
pub struct Account<'a> {
    /// Language of the page.
    pub lang: Lang,
    /// Who sees it.
    pub shell: Shell<'a>,
    /// Where they are signed in, this device first.
    pub devices: &'a [Device],
    /// Their API tokens, newest first.
    pub tokens: &'a [AccountToken],
}

/// A device on which the person is signed in.
#[derive(Debug, Clone)]
pub struct Device {
    /// Public id of the session.
    pub id: String,
    /// Whether the page is shown on it.
    pub current: bool,
    /// Such as `Firefox on Windows`; empty if unknown.
    pub name: String,
    /// Where it was last seen.
    pub address: Option<String>,
    /// When they signed in, RFC 3339 in UTC.
    pub since: String,
    /// When it was last used, RFC 3339 in UTC.
    pub last_seen: String,
}

/// Renders the account page.
#[must_use]
pub fn account(page: &Account<'_>) -> String {
    to_html(page)
}

impl Account<'_> {
    /// The device's name in the language of the page.
    fn name_of<'a>(&self, device: &'a Device) -> Cow<'a, str> {
        texts::device(self.lang, &device.name)
    }

    fn is_admin(&self) -> bool {
        self.shell.role == "admin"
    }

    fn scope_label(&self, scope: &'static str) -> &'static str {
        texts::scope(self.lang, scope)
    }

    fn never(&self) -> &'static str {
        tokens::never(self.lang)
    }

    fn has_others(&self) -> bool {
        self.devices.iter().any(|device| !device.current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::Place;

    fn device(name: &str, current: bool) -> Device {
        Device {
            id: format!("id of {name}"),
            current,
            name: name.into(),
            address: Some("192.0.2.7".into()),
            since: "2026-11-24T06:10:56.959Z".into(),
            last_seen: "2026-11-24T08:10:56.959Z".into(),
        }
    }

    fn shell<'a>(lang: Lang, role: &'a str, csrf_token: Option<&'a str>) -> Shell<'a> {
        Shell {
            lang,
            user_name: "<Mia>",
            role,
            csrf_token,
            place: Place::Account,
        }
    }

    fn page(lang: Lang, devices: &[Device]) -> String {
        account(&Account {
            lang,
            shell: shell(lang, "student", Some("token\"1")),
            devices,
            tokens: &[],
        })
    }

    #[test]
    fn devices_are_named_in_the_language_of_the_page() {
        let devices = [device("Firefox on Windows", true), device("", false)];
        let german = page(Lang::De, &devices);
        assert!(german.contains("Firefox auf Windows") && german.contains("Unbekanntes Gerät"));
        let english = page(Lang::En, &devices);
        assert!(english.contains("Firefox on Windows") && english.contains("Unknown device"));
    }

    #[test]
    fn values_are_escaped_and_there_is_no_inline_code() {
        let html = page(Lang::En, &[device("<i>", true), device("\"><b>", false)]);
        for raw in [
            "<i>",
            "<b>",
            "<Mia>",
            "token\"1",
            "<style",
            " style=",
            " onclick=",
            "<script>",
        ] {
            assert!(!html.contains(raw), "{raw}");
        }
    }

    #[test]
    fn tokens_are_listed_and_the_admin_scope_is_offered_to_admins() {
        let token = AccountToken {
            id: "t-1".into(),
            name: "<b>backup".into(),
            scopes: "read desktops".into(),
            expires_at: Some("2026-12-24T06:10:57.096Z".into()),
            last_used: None,
        };
        let page = |role, tokens: &[AccountToken]| {
            account(&Account {
                lang: Lang::De,
                shell: shell(Lang::De, role, None),
                devices: &[],
                tokens,
            })
        };
        let html = page("student", &[token]);
        assert!(
            html.contains("data-token=\"t-1\"") && !html.contains("<b>"),
            "{html}"
        );
        assert!(
            html.contains("datetime=\"2026-12-24T06:10:57.096Z\"") && html.contains(">nie</time>")
        );
        assert!(!html.contains("value=\"admin\""));
        assert!(page("admin", &[]).contains("value=\"admin\""));
    }

    #[test]
    fn one_leaves_this_device_by_signing_out_and_others_one_by_one() {
        let alone = page(Lang::En, &[device("Firefox", true)]);
        assert_eq!(alone.matches("data-testid=\"end\"").count(), 0);
        let html = page(
            Lang::En,
            &[device("Firefox", true), device("Chrome", false)],
        );
        assert_eq!(html.matches("data-testid=\"end\"").count(), 1);
        assert!(html.contains("data-session=\"id of Chrome\""));
    }
}
