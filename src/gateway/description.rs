//! `/openapi.json`: the calls of the API and those that the gateway answers itself. It is for everybody: it says what
//! the source says, and nothing of this installation but its address.

use serde_json::Value;

use super::auth::LoggedOut;
use super::pages::{Live, Readiness};
use super::provider_logout::{LogoutError, Obeyed};
use super::whoami::WhoAmI;
use crate::api;
use crate::authz::scopes::{self, Need};
use crate::model::scope::Scope;
use crate::portal::{LOOK_PATH, Section};
use crate::respond::describe::{self, Call};

/// The description of everything that a gateway at this origin answers.
#[must_use]
pub fn document(origin: &str) -> Value {
    let calls = api::calls().into_iter();
    let mut calls: Vec<Call> = calls.map(with_scopes).collect();
    calls.extend(signing());
    calls.extend(pages());
    calls.extend(looking_after());
    calls.extend(desktops());
    describe::document(calls, origin)
}

/// With the scopes that the API asks of a token.
fn with_scopes(call: Call) -> Call {
    match scopes::needed(&call.method, call.path) {
        Need::Session => call.scopes(&[]),
        Need::Scope(scopes) => call.scopes(scopes),
    }
}

/// A page for people.
fn page(call: Call, text: &str) -> Call {
    call.shows(200, "text/html", text)
}

fn signing() -> Vec<Call> {
    let login = Call::get("/login", "Leads to the OpenID provider")
        .open()
        .about("Whoever is signed in already goes straight to `return_to`.")
        .takes(
            "query",
            "return_to",
            "A path of this site; anything else becomes `/`.",
        )
        .says(302, "To the provider, or to `return_to`.")
        .heads(302, "Location", "There.")
        .refuses(&[401, 403, 429]);
    let authorize = Call::get("/authorize", "Where the provider sends the browser back to")
        .open()
        .takes("query", "code", "From the provider.")
        .takes("query", "state", "From the login.")
        .says(302, "To `return_to`, with a fresh session in the cookie.")
        .heads(302, "Location", "There.")
        .heads(302, "Set-Cookie", "The session.")
        .refuses(&[403, 429, 502]);
    let session = Call::get("/session", "Who am I")
        .scopes(&Scope::ALL)
        .answers::<WhoAmI<'static>>(200, "Who asks, and by what.");
    let logout = Call::post("/logout", "Ends the session")
        .open()
        .about("Without a session the answer is the same.")
        .form(
            &[("csrf_token", "The page's token, instead of `X-CSRF-Token`.")],
            false,
        )
        .answers::<LoggedOut>(
            200,
            "It is over; `logout_url` ends that of the provider too.",
        )
        .says(303, "For a page (`Accept: text/html`): to that address.")
        .heads(303, "Location", "There.")
        .refuses(&[401, 403, 413, 429]);
    let back = Call::post(
        "/backchannel-logout",
        "The provider tells that somebody signed out there",
    )
    .open()
    .about("OpenID Connect Back-Channel Logout 1.0.")
    .form(&[("logout_token", "The provider's word.")], true)
    .answers::<Obeyed>(200, "None of their sessions is left.")
    .answers::<LogoutError>(400, "The token is not acceptable, or came before.")
    .answers::<LogoutError>(429, "Too many come from this address.")
    .heads(429, "Retry-After", "When one will be taken again, seconds.")
    .answers::<LogoutError>(503, "Provider or database do not answer; try again later.");
    let front = Call::get("/frontchannel-logout", "The same in a frame of the provider's page")
        .open()
        .about("OpenID Connect Front-Channel Logout 1.0. The answer is the same whether or not anybody was signed in.")
        .takes("query", "iss", "The provider.")
        .takes("query", "sid", "Its session.");
    let front = page(front, "An empty page.");
    vec![login, authorize, session, logout, back, front]
}

fn pages() -> Vec<Call> {
    let home = Call::get("/", "The start page, or the way to sign in").open();
    let home = page(home, "The page.").refuses(&[401, 403]);
    let account = Call::get("/account", "Where one is signed in, and one's API tokens")
        .says(302, "For a page without a session: to the login.");
    let open = Call::post(
        "/open",
        "Starts a desktop and goes there, from the start page",
    )
    .about("The page behind it is for browsers; programs use `/api/container/start`.")
    .form(
        &[
            ("csrf_token", "The page's token, instead of `X-CSRF-Token`."),
            ("template", "What shall be started."),
        ],
        false,
    )
    .says(303, "To the desktop.")
    .heads(303, "Location", "There.")
    .shows(
        200,
        "text/html",
        "With `DESKTOP_ORIGIN`: an empty page that leads there.",
    )
    .refuses(&[404, 409, 413]);
    let opened = Call::get("/open", "Leads to the start page")
        .open()
        .says(303, "There.")
        .heads(303, "Location", "There.");
    let language = Call::get("/language", "Keeps the choice of a language, and goes back")
        .open()
        .takes("query", "set", "`de` or `en`.")
        .takes(
            "query",
            "to",
            "A path of this site; anything else becomes `/`.",
        )
        .says(303, "There.")
        .heads(303, "Location", "There.")
        .refuses(&[404]);
    let asset = Call::get("/assets/{name}", "A file of the pages").open();
    let asset = kept(asset.says(200, "The file."));
    let icon = Call::get("/favicon.ico", "The icon").open();
    let icon = kept(icon.says(200, "The file."));
    let live = Call::get("/healthz", "The process lives")
        .open()
        .answers::<Live>(200, "It does.");
    let ready = Call::get("/readyz", "The process can do its work")
        .open()
        .answers::<Readiness>(200, "It can.")
        .answers::<Readiness>(503, "It cannot, or it is about to stop.");
    let description = Call::get("/openapi.json", "This description").open();
    let description = description.answers::<Described>(200, "OpenAPI 3.1.");
    let docs = Call::get("/docs", "This description as a page").open();
    let docs = kept(page(docs, "The page, in German or English."));
    let all = vec![
        home,
        docs,
        page(account, "The page."),
        open,
        opened,
        language,
        asset,
        icon,
        live,
        ready,
    ];
    all.into_iter().chain([kept(description)]).collect()
}

/// The pages of teachers and admins, and what their forms do.
fn looking_after() -> Vec<Call> {
    let seen = |path, summary: &str| {
        let call = Call::get(path, summary);
        let call = call.says(302, "For a page without a session: to the login.");
        page(call, "The page.").refuses(&[400, 404])
    };
    let done = |path, fields: &[(&str, &str)]| {
        let token = ("csrf_token", "The page's token.");
        let act = ("act", "What is to be done.");
        let yes = ("confirmed", "`yes`, if nothing shall be asked any more.");
        let fields = [&[token, act, yes][..], fields].concat();
        let call = Call::post(path, "Does what a form of the page says");
        let call = call.about("It is for browsers; programs use the API.");
        let call = call.form(&fields, false);
        let call = call.says(303, "It is done: back to the page.");
        page(
            call.heads(303, "Location", "There."),
            "A question, or what did not work.",
        )
        .refuses(&[400, 404, 409, 413, 429])
    };
    let rows = [
        ("id", "Which row; as often as there are rows."),
        ("back", "The query of the page."),
    ];
    let image = [("image", "A reference, of `act=pull`.")];
    let one = [
        ("class", "Its name."),
        ("template", "What shall be started."),
        ("id", "One desktop, of `act=stop-one`."),
    ];
    let class = seen("/class", "A teacher's classes, or one of them");
    let look = seen(LOOK_PATH, "A pupil's desktop, to be looked at");
    let look = look.takes("query", "id", "Which desktop.");
    let mut all = vec![
        class.takes("query", "name", "Which class."),
        look.takes("query", "class", "Which class the way back leads to.")
            .refuses(&[409]),
        done("/class", &one),
        done(Section::Desktops.path(), &rows),
        done(Section::Sessions.path(), &rows),
        done(Section::Images.path(), &image),
    ];
    let sections = Section::ALL.into_iter();
    all.extend(sections.map(|section| seen(section.path(), "A page of admins")));
    all
}

/// A file that is asked about before it is sent again.
fn kept(call: Call) -> Call {
    call.takes(
        "header",
        "If-None-Match",
        "The `ETag` of the copy that is there.",
    )
    .heads(
        200,
        "ETag",
        "Changes with the file, and differs between its encodings.",
    )
    .heads(
        200,
        "Content-Encoding",
        "`gzip`, for those who accept it and where it is shorter.",
    )
    .says(304, "The copy is good.")
}

/// A description.
struct Described;

impl utoipa::PartialSchema for Described {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let free = utoipa::openapi::schema::AdditionalProperties::FreeForm(true);
        let object = utoipa::openapi::ObjectBuilder::new();
        object.additional_properties(Some(free)).into()
    }
}

impl utoipa::ToSchema for Described {}

fn desktops() -> Vec<Call> {
    let root = Call::get("/desktop/{id}", "Leads to the desktop's page")
        .open()
        .says(308, "To `/desktop/{id}/`.")
        .heads(308, "Location", "There.");
    let text = "All methods, and WebSockets by RFC 6455 or RFC 8441, go to the desktop, for its owner only. What comes back is the desktop's, under headers of the gateway that confine it.";
    let below = |method| {
        Call::new(
            method,
            "/desktop/{id}/{path}",
            "Something that the desktop serves",
        )
        .about(text)
        .scopes(&[Scope::Desktops])
        .says(101, "The WebSocket is open.")
        .says(
            302,
            "For a page without a session: to the login. With `DESKTOP_ORIGIN`: to the other host.",
        )
        .refuses(&[409, 502, 504])
        .passes_on("What the desktop answers.")
    };
    let to = |call: Call| {
        call.open()
            .takes("query", "to", "The address below `/desktop/`.")
    };
    let ask = to(Call::get(
        "/ticket",
        "The way to the host of `DESKTOP_ORIGIN`",
    ))
    .takes("query", "browser", "The browser's mark.")
    .says(
        302,
        "To the host of desktops with a ticket, or to the portal for one.",
    )
    .heads(302, "Location", "There.")
    .refuses(&[401, 403, 404, 429]);
    let redeem = Call::get(
        "/ticket/{ticket}",
        "Brings a ticket to the host of `DESKTOP_ORIGIN`",
    )
    .open()
    .says(303, "To the desktop, with a session there in a cookie.")
    .heads(303, "Location", "There.")
    .refuses(&[403]);
    vec![
        root,
        below(hyper::Method::GET),
        below(hyper::Method::POST),
        ask,
        redeem,
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hyper::Method;

    use super::*;
    use crate::gateway::route::Route;
    use crate::respond::error::HttpError;

    /// An address that the path of a description stands for.
    fn example(path: &str) -> String {
        let path = path.replace("{id}", "01234567-89ab-4cde-8f01-23456789abcd");
        path.replace(['{', '}'], "")
    }

    #[test]
    fn what_is_described_is_answered_with_these_methods_only() {
        let document = document("https://desk.test");
        let paths = document["paths"].as_object().expect("paths");
        for (path, calls) in paths.iter().filter(|(path, _)| !path.starts_with("/api/")) {
            for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT] {
                let address = example(path);
                let route = Route::parse(&method, &address);
                let known = calls.get(method.as_str().to_lowercase()).is_some();
                let desktops = path.starts_with("/desktop/");
                match route {
                    Ok(_) => assert!(known || desktops, "{method} {path} is not described"),
                    Err(HttpError::Method(_)) => assert!(!known, "{method} {path} is not answered"),
                    Err(error) => panic!("{path}: {error}"),
                }
            }
        }
    }

    /// The addresses are those that the router's source compares paths with.
    #[test]
    fn every_address_of_the_router_is_described() {
        let source = include_str!("route.rs");
        let (_, parse) = source.split_once("pub fn parse(").expect("the router");
        let (parse, _) = parse.split_once("fn desktop(").expect("its end");
        let texts = parse.split('"').skip(1).step_by(2);
        let addresses: BTreeSet<&str> = texts.filter(|text| text.starts_with('/')).collect();
        assert!(addresses.len() > 12, "{addresses:?}");
        let document = document("https://desk.test");
        let paths = document["paths"].as_object().expect("paths");
        for address in addresses.into_iter().filter(|address| *address != "/api") {
            let below = address.len() > 1 && address.ends_with('/');
            let described = paths
                .keys()
                .any(|path| path == address || (below && path.starts_with(address)));
            assert!(described, "{address} is not described");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document("https://desk.test");
        let mut left = vec![&document];
        let mut found = 0;
        while let Some(value) = left.pop() {
            match value {
                Value::Object(object) => {
                    if let Some(Value::String(reference)) = object.get("$ref") {
                        let pointer = reference.trim_start_matches('#');
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                        found += 1;
                    }
                    left.extend(object.values());
                }
                Value::Array(list) => left.extend(list),
                _ => {}
            }
        }
        assert!(found > 100, "{found}");
    }
}
