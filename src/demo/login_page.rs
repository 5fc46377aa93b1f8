//! The pages a person sees at the demo provider: the login page, and notices (errors, signed out).
//!
//! Everything interpolated is escaped by the template engine; the pages need no script.

use askama::Template;

use super::accounts::{ACCOUNTS, Account};

/// The style sheet of all pages; the Content-Security-Policy names its hash, so no other style applies.
pub(super) const STYLE: &str = "
:root { color-scheme: light dark; --ground: #eef2f6; --card: #ffffff; --ink: #1d2733; --soft: #5b6775;
  --line: #d5dde6; --accent: #2f6f8f; --accent-ink: #ffffff; --wrong: #a3262a; }
@media (prefers-color-scheme: dark) { :root { --ground: #141a21; --card: #1d252e; --ink: #e6ecf2; --soft: #9aa7b4;
  --line: #323d49; --accent: #6fb3d2; --accent-ink: #10202a; --wrong: #ff9a9a; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem;
  background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 27rem; padding: 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 1rem; box-shadow: 0 0.5rem 2rem rgb(0 0 0 / 8%); }
.label { display: inline-block; margin: 0 0 0.75rem; padding: 0.125rem 0.625rem; border: 1px solid var(--accent);
  border-radius: 1rem; color: var(--accent); font-size: 0.8125rem; font-weight: 600; }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.25; }
.subtitle { margin: 0.25rem 0 1.5rem; color: var(--soft); }
.account { display: flex; align-items: center; gap: 0.875rem; width: 100%; margin: 0 0 0.625rem;
  padding: 0.75rem 0.875rem; border: 1px solid var(--line); border-radius: 0.75rem; background: transparent;
  color: inherit; font: inherit; text-align: left; cursor: pointer; }
.account:hover { border-color: var(--accent); }
.initials { flex: none; display: grid; place-items: center; width: 2.5rem; height: 2.5rem; border-radius: 50%;
  background: var(--accent); color: var(--accent-ink); font-weight: 600; }
.name { display: block; font-weight: 600; }
.role { display: block; color: var(--soft); font-size: 0.875rem; }
h2 { margin: 1.5rem 0 0.75rem; padding-top: 1.25rem; border-top: 1px solid var(--line); font-size: 1rem; }
label { display: block; margin: 0 0 0.75rem; font-size: 0.875rem; }
input { display: block; width: 100%; margin-top: 0.25rem; padding: 0.5rem 0.625rem; border: 1px solid var(--line);
  border-radius: 0.5rem; background: transparent; color: inherit; font: inherit; }
.submit { width: 100%; padding: 0.625rem; border: 0; border-radius: 0.5rem; background: var(--accent);
  color: var(--accent-ink); font: inherit; font-weight: 600; cursor: pointer; }
button:focus-visible, input:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.wrong { margin: 0 0 1rem; color: var(--wrong); font-weight: 600; }
.note { margin: 1.25rem 0 0; color: var(--soft); font-size: 0.875rem; }
";

/// The login page: one card for each account, and a form for those who like to type.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demo login</title>
<style>{{ STYLE|safe }}</style>
</head>
<body>
<main>
<p class="label">Demo</p>
<h1>Demo login</h1>
<p class="subtitle" lang="de">Anmeldung zum Ausprobieren</p>
{%- if wrong_password %}
<p class="wrong" role="alert" data-testid="login-error">Username or password is wrong.</p>
{%- endif %}
{%- for account in accounts %}
<form method="post" action="/authorize">
<input type="hidden" name="handle" value="{{ handle }}">
<input type="hidden" name="username" value="{{ account.username }}">
<input type="hidden" name="password" value="{{ account.username }}">
<button class="account" type="submit" data-testid="account-{{ account.username }}">
<span class="initials" aria-hidden="true">{{ account.initials() }}</span>
<span><span class="name">{{ account.name() }}</span><span class="role">{{ account.username }} · <span lang="de">{{ account.role_name() }}</span></span></span>
</button>
</form>
{%- endfor %}
<h2>Or type a username</h2>
<form method="post" action="/authorize">
<input type="hidden" name="handle" value="{{ handle }}">
<label>Username<input name="username" value="{{ username }}" autocomplete="username" autocapitalize="none" spellcheck="false" required data-testid="username"></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required data-testid="password"></label>
<button class="submit" type="submit" data-testid="login-submit">Log in</button>
</form>
<p class="note">These accounts exist only in this demo. Each password is the same as the username. Do not type a real password here.</p>
</main>
</body>
</html>
"#
)]
pub(super) struct LoginPage<'a> {
    handle: &'a str,
    username: &'a str,
    wrong_password: bool,
    accounts: &'static [Account],
}

impl<'a> LoginPage<'a> {
    /// The page as it first appears; `handle` names the authorization request that waits for the login.
    pub(super) fn new(handle: &'a str) -> Self {
        Self {
            handle,
            username: "",
            wrong_password: false,
            accounts: &ACCOUNTS,
        }
    }

    /// The page after a wrong password, with the username as it was typed.
    pub(super) fn again(handle: &'a str, username: &'a str) -> Self {
        Self {
            username,
            wrong_password: true,
            ..Self::new(handle)
        }
    }
}

/// A page that only tells something.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ STYLE|safe }}</style>
</head>
<body>
<main>
<p class="label">Demo</p>
<h1>{{ title }}</h1>
<p class="subtitle" lang="de">{{ subtitle }}</p>
<p data-testid="notice">{{ text }}</p>
</main>
</body>
</html>
"#
)]
pub(super) struct NoticePage<'a> {
    /// The heading, in English.
    pub(super) title: &'a str,
    /// The heading, in German.
    pub(super) subtitle: &'a str,
    /// What happened and what to do, in English.
    pub(super) text: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_escaped() {
        let page = LoginPage::again("h\"&", "<script>alert('x')</script>\"")
            .render()
            .unwrap();
        assert!(!page.contains("<script"));
        assert!(!page.contains("h\"&"));
        assert!(page.contains("data-testid=\"login-error\""));
    }

    #[test]
    fn every_account_has_its_button() {
        let page = LoginPage::new("handle").render().unwrap();
        for id in ["account-student", "account-teacher", "account-admin"] {
            assert_eq!(page.matches(&format!("data-testid=\"{id}\"")).count(), 1);
        }
        assert_eq!(page.matches("name=\"handle\" value=\"handle\"").count(), 4);
        assert!(!page.contains("data-testid=\"login-error\""));
    }

    #[test]
    fn the_style_element_holds_exactly_the_text_whose_hash_the_policy_names() {
        let page = LoginPage::new("handle").render().unwrap();
        assert!(page.contains(&format!("<style>{STYLE}</style>")));
    }
}
