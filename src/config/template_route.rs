//! The fields of a template that say how the gateway reaches the desktop, and what crosses.

use hyper::header::{HeaderName, HeaderValue};

use super::table::Table;
use super::template::{is_path, is_variable, required, set};
use crate::model::template::{
    Auth, HeaderRules, HostHeader, Origin, PLACEHOLDERS, Prefix, Ready, SIZE_PLACEHOLDERS, Scheme,
    Template, TlsVerify, View,
};

/// Headers of a desktop's answers that a template may set or take away. None of them is part of the confinement, of
/// the framing of the answer, or read by the gateway.
const CHANGEABLE: [&str; 16] = [
    "age",
    "cache-control",
    "content-disposition",
    "content-language",
    "content-type",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "etag",
    "expires",
    "last-modified",
    "pragma",
    "retry-after",
    "vary",
    "x-robots-tag",
];

/// How a user name of Basic authentication should be.
const USER: &str = "a user name without a colon";

pub(super) fn read(table: &mut Table<'_>, template: &mut Template) {
    set(&mut template.port, table.number("port", (1, u16::MAX)));
    let schemes = [("http", Scheme::Http), ("https", Scheme::Https)];
    set(&mut template.scheme, table.word("scheme", &schemes));
    let verify = [("none", TlsVerify::None), ("pin", TlsVerify::Pin)];
    set(&mut template.tls_verify, table.word("tls_verify", &verify));
    if template.tls_verify == TlsVerify::Pin && template.scheme == Scheme::Http {
        let expected = "none, or pin together with scheme = \"https\"";
        table.wrong("tls_verify", Some("pin".into()), expected);
    }
    let default = template.auth.clone();
    set(
        &mut template.auth,
        table.table("auth", |table| auth(table, default)),
    );
    let viewer = table.table("viewer_auth", |table| {
        required(table, "user", USER, is_user)
    });
    template.viewer_auth = viewer;
    let prefixes = [("strip", Prefix::Strip), ("keep", Prefix::Keep)];
    set(&mut template.prefix, table.word("prefix", &prefixes));
    let expected = "variables, with no other placeholder than {id}, {prefix} and {prefix_bare}";
    let told = table.pairs("prefix_env", expected, |name, value| {
        is_variable(name) && has_known_placeholders(value)
    });
    set(&mut template.prefix_env, told);
    let expected = "a path that begins with /, with no other placeholder than {id}, {prefix} and {prefix_bare}";
    let entry = table.parsed("entry", expected, |text| {
        let fits = text.starts_with('/') && !text.starts_with("//") && is_target(text);
        (fits && has_known_placeholders(text)).then(|| text.to_owned())
    });
    set(&mut template.entry, entry);
    let expected = "paths that begin with / and do not end with it";
    let socket = |text: &str| text == "/" || is_path(text);
    set(
        &mut template.ws_paths,
        table.texts("ws_paths", "paths that begin with /", socket),
    );
    set(
        &mut template.deny_paths,
        table.texts("deny_paths", expected, is_path),
    );
    let hosts = [
        ("preserve", HostHeader::Preserve),
        ("upstream", HostHeader::Upstream),
    ];
    set(&mut template.host_header, table.word("host_header", &hosts));
    let origins = [("pass", Origin::Pass), ("rewrite", Origin::Rewrite)];
    set(&mut template.origin, table.word("origin", &origins));
    set(&mut template.headers, table.table("headers", headers));
    let longest = table.read(
        "max_message",
        "a number of bytes from 125, or \"none\"",
        |value| match value.as_integer() {
            Some(bytes) => u64::try_from(bytes).ok().filter(|b| *b >= 125).map(Some),
            None => (value.as_str() == Some("none")).then_some(None),
        },
    );
    set(&mut template.max_message, longest);
    pictures(table, template);
    table.table("ready", |table| ready(table, &mut template.ready));
}

/// How the gateway sees what the desktop shows.
fn pictures(table: &mut Table<'_>, template: &mut Template) {
    let expected = "a path that begins with /, with no other placeholder than {width} and {height}, or \"none\"";
    let screenshot = table.parsed("screenshot", expected, |text| {
        let fits = text.starts_with('/') && is_target(text) && has_only(text, &SIZE_PLACEHOLDERS);
        match text {
            "none" => Some(None),
            text => fits.then(|| Some(text.to_owned())),
        }
    });
    set(&mut template.screenshot, screenshot);
    let views = [("none", View::None), ("rfb", View::Rfb)];
    set(&mut template.view, table.word("view", &views));
    let can_look = template.view == View::Rfb && template.auth != Auth::None;
    if template.viewer_auth.is_some() && !can_look {
        let expected = "set only together with auth and with view = \"rfb\"";
        table.wrong("viewer_auth", template.viewer_auth.clone(), expected);
    }
}

/// `{ none = true }`, or Basic authentication with the fields that differ from the preset's.
fn auth(table: &mut Table<'_>, default: Auth) -> Auth {
    let (mut user, mut password_env, mut user_env) = match default {
        Auth::Basic {
            user,
            password_env,
            user_env,
        } => (user, password_env, user_env),
        Auth::None => ("kasm_user".into(), "VNC_PW".into(), None),
    };
    let none = table.flag("none").unwrap_or(false);
    let said = table.parsed("user", USER, |text| is_user(text).then(|| text.to_owned()));
    set(&mut user, said);
    let variable = |text: &str| is_variable(text).then(|| text.to_owned());
    let expected = "the name of an environment variable";
    set(
        &mut password_env,
        table.parsed("password_env", expected, variable),
    );
    if let Some(name) = table.parsed("user_env", expected, variable) {
        user_env = Some(name);
    }
    if none {
        return Auth::None;
    }
    Auth::Basic {
        user,
        password_env,
        user_env,
    }
}

fn is_user(text: &str) -> bool {
    !text.is_empty() && text.is_ascii() && !text.contains(':')
}

fn headers(table: &mut Table<'_>) -> HeaderRules {
    let known = |name: &str| CHANGEABLE.contains(&name.to_ascii_lowercase().as_str());
    let expected = format!("headers out of {}", CHANGEABLE.join(", "));
    let said = table.pairs("set", &expected, |name, value| {
        known(name) && HeaderValue::try_from(value).is_ok()
    });
    let remove = table.texts("remove", &expected, known);
    let name = |text: &str| HeaderName::try_from(text).ok();
    HeaderRules {
        set: said
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(text, value)| Some((name(&text)?, HeaderValue::try_from(value).ok()?)))
            .collect(),
        remove: remove
            .unwrap_or_default()
            .iter()
            .filter_map(|text| name(text))
            .collect(),
    }
}

fn ready(table: &mut Table<'_>, ready: &mut Ready) {
    let path = table.parsed("path", "a path that begins with /", |text| {
        (text.starts_with('/') && is_target(text)).then(|| text.to_owned())
    });
    set(&mut ready.path, path);
    set(&mut ready.auth, table.flag("auth"));
    if let Some(status) = table.number("expect", (200, 599)) {
        ready.expect = Some(status);
    }
    set(&mut ready.timeout, table.duration("timeout"));
}

/// Whether a text may stand in a request line or a `Location`.
fn is_target(text: &str) -> bool {
    text.len() <= 512 && text.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

fn has_known_placeholders(text: &str) -> bool {
    has_only(text, &PLACEHOLDERS)
}

fn has_only(text: &str, placeholders: &[&str]) -> bool {
    let rest = placeholders
        .iter()
        .fold(text.to_owned(), |text, known| text.replace(known, ""));
    !rest.contains(['{', '}'])
}
