//! Responsible for `/docs`: the description of the API as a page, made of nothing but `/openapi.json`, so that the two
//! cannot differ. The frame is German or English; what the description says is English, as it is there.

mod example;
mod kind;

use askama::Template;
use serde_json::Value;

use crate::request::lang::Lang;
use crate::respond::page::to_html;
use kind::{Field, Kind};

/// What calls a form of a browser, whose answer leads on: nothing for a program.
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Text in which some words are code: those between backticks.
#[derive(Debug, Default)]
struct Prose(Vec<Span>);

#[derive(Debug)]
struct Span {
    code: bool,
    text: String,
}

impl Prose {
    fn of(value: &Value) -> Self {
        let text = value.as_str().unwrap_or_default();
        let spans = text.split('`').enumerate().map(|(at, text)| Span {
            code: at % 2 == 1,
            text: text.to_owned(),
        });
        Self(spans.filter(|span| !span.text.is_empty()).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "docs.html")]
struct Docs<'a> {
    lang: Lang,
    server: &'a str,
    version: &'a str,
    about: Prose,
    groups: Vec<Group<'a>>,
    problems: Vec<Answer<'a>>,
    schemas: Vec<NamedSchema<'a>>,
}

/// Calls that belong together.
#[derive(Debug)]
struct Group<'a> {
    anchor: String,
    title: &'a str,
    about: Prose,
    calls: Vec<CallView<'a>>,
}

#[derive(Debug)]
struct CallView<'a> {
    anchor: &'a str,
    method: String,
    path: &'a str,
    summary: Prose,
    about: Prose,
    access: Access,
    parameters: Vec<Field<'a>>,
    body: Option<Body<'a>>,
    answers: Vec<Answer<'a>>,
    /// Statuses of errors, which look alike everywhere.
    refusals: Vec<&'a str>,
    messages: Option<Kind<'a>>,
    curl: Option<String>,
}

/// Who may call.
#[derive(Debug)]
enum Access {
    Everybody,
    Session,
    /// A session, or a token with one of these scopes.
    Scopes(Vec<String>),
}

#[derive(Debug)]
struct Body<'a> {
    content_type: &'a str,
    required: bool,
    kind: Option<Kind<'a>>,
    fields: Vec<Field<'a>>,
}

#[derive(Debug)]
struct Answer<'a> {
    status: &'a str,
    text: Prose,
    contents: Vec<(&'a str, Kind<'a>)>,
    headers: Vec<(&'a str, Prose)>,
    example: Option<String>,
}

#[derive(Debug)]
struct NamedSchema<'a> {
    name: &'a str,
    text: Prose,
    kind: Kind<'a>,
    words: Vec<&'a str>,
    fields: Vec<Field<'a>>,
}

/// Renders the page for this description.
#[must_use]
pub fn docs(document: &Value, lang: Lang) -> String {
    let text = |pointer| document.pointer(pointer).and_then(Value::as_str);
    let page = Docs {
        lang,
        server: text("/servers/0/url").unwrap_or_default(),
        version: text("/info/version").unwrap_or_default(),
        about: Prose::of(&document["info"]["description"]),
        groups: groups(document, lang),
        problems: members(&document["components"]["responses"])
            .map(|(name, value)| answer(document, name.trim_start_matches("Problem"), value))
            .collect(),
        schemas: members(&document["components"]["schemas"])
            .map(|(name, schema)| named_schema(name, schema))
            .collect(),
    };
    to_html(&page)
}

/// The members of an object, in their order.
fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let object = value.as_object().into_iter().flatten();
    object.map(|(name, value)| (name.as_str(), value))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn groups(document: &Value, lang: Lang) -> Vec<Group<'_>> {
    let tags = list(&document["tags"]).filter_map(|tag| Some((tag["name"].as_str()?, tag)));
    let groups = tags.map(|(name, tag)| {
        let all = members(&document["paths"]).flat_map(|(path, calls)| {
            members(calls).map(move |(method, call)| (path, method, call))
        });
        let of_tag = all.filter(|(_, _, call)| call["tags"][0] == name);
        Group {
            anchor: name.to_lowercase().replace(' ', "-"),
            title: title(name, lang),
            about: Prose::of(&tag["description"]),
            calls: of_tag.map(|call| call_view(document, call)).collect(),
        }
    });
    groups.collect()
}

fn title(tag: &str, lang: Lang) -> &str {
    let german = match tag {
        "Account" => "Konto",
        "Classes" => "Klassen",
        "Admin" => "Verwaltung",
        "Inside a desktop" => "In einem Desktop",
        "Signing in and out" => "An- und Abmelden",
        "Pages" => "Seiten",
        "Health and description" => "Zustand und Beschreibung",
        other => other,
    };
    lang.pick(german, tag)
}

fn call_view<'a>(
    document: &'a Value,
    (path, method, call): (&'a str, &str, &'a Value),
) -> CallView<'a> {
    let (problems, answers): (Vec<_>, Vec<_>) =
        members(&call["responses"]).partition(|(_, response)| response.get("$ref").is_some());
    let answers: Vec<Answer> = answers
        .into_iter()
        .map(|(status, response)| answer(document, status, response))
        .collect();
    let access = if list(&call["security"]).next().is_none() {
        Access::Everybody
    } else {
        let scopes = list(&call["x-token-scopes"]).filter_map(Value::as_str);
        let scopes: Vec<String> = scopes.map(str::to_owned).collect();
        if scopes.is_empty() {
            Access::Session
        } else {
            Access::Scopes(scopes)
        }
    };
    CallView {
        anchor: call["operationId"].as_str().unwrap_or_default(),
        method: method.to_uppercase(),
        path,
        summary: Prose::of(&call["summary"]),
        about: Prose::of(&call["description"]),
        access,
        parameters: list(&call["parameters"]).map(kind::parameter).collect(),
        body: members(&call["requestBody"]["content"])
            .next()
            .map(|(content_type, content)| Body {
                content_type,
                required: call["requestBody"]["required"] == true,
                kind: content["schema"]
                    .get("$ref")
                    .map(|_| kind::of(&content["schema"])),
                fields: kind::fields(kind::resolve(document, &content["schema"])),
            }),
        answers,
        refusals: problems.into_iter().map(|(status, _)| status).collect(),
        messages: call.get("x-messages").map(kind::of),
        curl: example::curl(document, (path, method, call)),
    }
}

fn answer<'a>(document: &'a Value, status: &'a str, response: &'a Value) -> Answer<'a> {
    let json = response["content"].get(JSON).map(|json| &json["schema"]);
    let example = json.map(|schema| example::pretty(document, schema));
    Answer {
        status,
        text: Prose::of(&response["description"]),
        contents: members(&response["content"])
            .map(|(content_type, content)| (content_type, kind::of(&content["schema"])))
            .collect(),
        headers: members(&response["headers"])
            .map(|(name, header)| (name, Prose::of(&header["description"])))
            .collect(),
        example,
    }
}

fn named_schema<'a>(name: &'a str, schema: &'a Value) -> NamedSchema<'a> {
    NamedSchema {
        name,
        text: Prose::of(&schema["description"]),
        kind: kind::of(schema),
        words: kind::words(schema),
        fields: kind::fields(schema),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "openapi": "3.1.0",
            "info": { "version": "1.2.3", "description": "With <b> and `code`." },
            "servers": [{ "url": "https://desk.test" }],
            "tags": [{ "name": "Account", "description": "One's own." }],
            "paths": { "/api/tokens/{id}": { "delete": {
                "operationId": "delete_api_tokens_id",
                "summary": "Revokes <it>",
                "tags": ["Account"],
                "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } }],
                "security": [{ "bearer": [] }],
                "x-token-scopes": ["read"],
                "responses": { "204": { "description": "It is gone." }, "404": { "$ref": "#/components/responses/Problem404" } },
            } } },
            "components": { "schemas": { "Role": { "type": "string", "enum": ["student"] } }, "responses": { "Problem404": { "description": "Nothing." } } },
        })
    }

    #[test]
    fn a_call_is_told_whole_and_escaped() {
        let html = docs(&document(), Lang::De);
        for part in [
            "<html lang=\"de\">",
            "id=\"delete_api_tokens_id\"",
            "/api/tokens/{id}",
            "<code>code</code>",
            "Konto",
            "href=\"#problem-404\"",
            "id=\"problem-404\"",
            "id=\"schema-Role\"",
            "string (uuid)",
            "$URL/api/tokens/$ID",
            "1.2.3",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        for raw in ["<b>", "<it>", " style=", "<script"] {
            assert!(!html.contains(raw), "{raw}");
        }
        assert!(docs(&document(), Lang::En).contains("lang=\"en\""));
    }

    #[test]
    fn text_between_backticks_is_code() {
        let Prose(spans) = Prose::of(&json!("`a` is b, and `c`"));
        let spans: Vec<_> = spans.iter().map(|span| (span.code, &*span.text)).collect();
        assert_eq!(spans, [(true, "a"), (false, " is b, and "), (true, "c")]);
        assert!(Prose::of(&Value::Null).is_empty());
    }
}
