//! What a schema allows, in words: `array of Container`, `string (uuid) or null`, with the names as links.

use serde_json::Value;

use super::{Prose, list, members};

/// Where named schemas are.
const SCHEMAS: &str = "#/components/schemas/";

/// What a value is: words, and names of other schemas.
#[derive(Debug)]
pub(super) struct Kind<'a>(pub Vec<Word<'a>>);

/// A part of it.
#[derive(Debug)]
pub(super) struct Word<'a> {
    pub text: String,
    /// The schema that it names.
    pub schema: Option<&'a str>,
}

/// A field of an object, of a form, of a query or of a head.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub name: &'a str,
    /// `path`, `query` or `header`; empty in a body.
    pub place: &'a str,
    pub required: bool,
    pub kind: Kind<'a>,
    pub words: Vec<&'a str>,
    pub text: Prose,
}

/// The schema that a reference leads to, or the schema itself.
pub(super) fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix('#'));
    target
        .and_then(|pointer| document.pointer(pointer))
        .unwrap_or(schema)
}

/// What a schema allows.
pub(super) fn of(schema: &Value) -> Kind<'_> {
    let mut words = Vec::new();
    collect(schema, &mut words);
    Kind(words)
}

fn say(words: &mut Vec<Word<'_>>, text: &str) {
    words.push(Word {
        text: text.to_owned(),
        schema: None,
    });
}

fn collect<'a>(schema: &'a Value, words: &mut Vec<Word<'a>>) {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|to| to.strip_prefix(SCHEMAS))
    {
        words.push(Word {
            text: name.to_owned(),
            schema: Some(name),
        });
        return;
    }
    if let Some(Value::Array(choices)) = schema.get("oneOf") {
        // What it may be comes before that it may be missing.
        let (null, others): (Vec<_>, Vec<_>) =
            choices.iter().partition(|one| one["type"] == "null");
        for (at, choice) in others.into_iter().chain(null).enumerate() {
            if at > 0 {
                say(words, " or ");
            }
            collect(choice, words);
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("const").is_some() => vec!["string"],
        _ => vec!["anything"],
    };
    for (at, kind) in types.into_iter().enumerate() {
        if at > 0 {
            say(words, " or ");
        }
        match kind {
            "array" => {
                say(words, "array of ");
                collect(&schema["items"], words);
            }
            "null" => say(words, "null"),
            kind => say(words, &format!("{kind}{}", bounds(schema))),
        }
    }
}

/// Format and bounds, in brackets.
fn bounds(schema: &Value) -> String {
    let mut parts = Vec::new();
    // How many bits a number has at most tells nobody what it means.
    let format = schema["format"]
        .as_str()
        .filter(|format| !format.starts_with("int"));
    parts.extend(
        format
            .filter(|format| *format != "double")
            .map(str::to_owned),
    );
    for (key, text) in [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "characters, at least"),
        ("maxLength", "characters, at most"),
    ] {
        if let Some(bound) = schema.get(key) {
            parts.push(format!("{text} {bound}"));
        }
    }
    for key in ["pattern", "const", "default"] {
        if let Some(value) = schema.get(key) {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            parts.push(format!("{key} {value}"));
        }
    }
    if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", parts.join(", "))
    }
}

/// The words that a text may be.
pub(super) fn words(schema: &Value) -> Vec<&str> {
    list(&schema["enum"]).filter_map(Value::as_str).collect()
}

/// The fields of an object.
pub(super) fn fields(schema: &Value) -> Vec<Field<'_>> {
    let required = |name| list(&schema["required"]).any(|known| known == name);
    let fields = members(&schema["properties"]).map(|(name, field)| Field {
        name,
        place: "",
        required: required(name),
        kind: of(field),
        words: words(field),
        text: Prose::of(about(field)),
    });
    fields.collect()
}

/// What a field is for: said of itself, or of one of the things that it may be.
fn about(field: &Value) -> &Value {
    let own = &field["description"];
    let of_choice = list(&field["oneOf"]).map(|choice| &choice["description"]);
    let mut all = std::iter::once(own).chain(of_choice);
    all.find(|text| text.is_string()).unwrap_or(own)
}

/// A parameter of a call.
pub(super) fn parameter(parameter: &Value) -> Field<'_> {
    let schema = &parameter["schema"];
    Field {
        name: parameter["name"].as_str().unwrap_or_default(),
        place: parameter["in"].as_str().unwrap_or_default(),
        required: parameter["required"] == true,
        kind: of(schema),
        words: words(schema),
        text: Prose::of(&parameter["description"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_are_told_in_words() {
        for (schema, expected) in [
            (
                json!({ "type": "string", "format": "uuid" }),
                "string (uuid)",
            ),
            (json!({ "type": ["string", "null"] }), "string or null"),
            (
                json!({ "type": "integer", "format": "int32", "minimum": 0 }),
                "integer (at least 0)",
            ),
            (
                json!({ "type": "array", "items": { "$ref": "#/components/schemas/Role" } }),
                "array of Role",
            ),
            (
                json!({ "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Queue" }] }),
                "Queue or null",
            ),
            (
                json!({ "const": "about:blank" }),
                "string (const about:blank)",
            ),
            (json!({}), "anything"),
        ] {
            let Kind(words) = of(&schema);
            let text: String = words.iter().map(|word| &*word.text).collect();
            assert_eq!(text, expected, "{schema}");
        }
    }

    #[test]
    fn a_field_says_what_it_is_for() {
        let schema = json!({
            "required": ["a"],
            "properties": {
                "a": { "oneOf": [{ "type": "null" }, { "$ref": "#/x", "description": "Why." }] },
                "b": { "type": "string", "enum": ["x", "y"] },
            },
        });
        let fields = fields(&schema);
        let told: Vec<_> = fields
            .iter()
            .map(|field| {
                (
                    field.name,
                    field.required,
                    field.words.len(),
                    field.text.is_empty(),
                )
            })
            .collect();
        assert_eq!(told, [("a", true, 0, false), ("b", false, 2, true)]);
    }
}
