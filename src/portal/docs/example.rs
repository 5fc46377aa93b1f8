//! Examples: what a schema allows as a value, and a call as a line for a shell.

use serde_json::{Map, Value, json};

use super::kind::resolve;
use super::{FORM, JSON, list, members};

/// Deeper than any answer is; ends a schema that contains itself.
const MAX_DEPTH: usize = 8;

/// The call with curl; `None` for what only browsers do.
pub(super) fn curl(document: &Value, (path, method, call): (&str, &str, &Value)) -> Option<String> {
    let is_json = |response: &Value| response["content"].get(JSON).is_some();
    let for_programs = members(&call["responses"]).any(|(status, response)| {
        status == "204" || (status.starts_with('2') && is_json(response))
    });
    let body = &call["requestBody"]["content"];
    if !for_programs || body.get(FORM).is_some() {
        return None;
    }
    let mut address = String::new();
    for part in path.split('/').skip(1) {
        let name = part
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'));
        let part = name.map_or_else(
            || part.to_owned(),
            |name| format!("${}", name.to_uppercase()),
        );
        address.push('/');
        address.push_str(&part);
    }
    let verb = if method == "get" {
        String::new()
    } else {
        format!("-X {} ", method.to_uppercase())
    };
    let mut parts = vec![format!("curl -s {verb}\"$URL{address}\"")];
    if list(&call["security"]).next().is_some() {
        parts.push("-H \"Authorization: Bearer $TOKEN\"".into());
    }
    if let Some(json) = body.get(JSON) {
        let value = sample(document, &json["schema"], Need::Least);
        parts.push("-H 'Content-Type: application/json'".into());
        parts.push(format!("-d '{value}'"));
    }
    Some(parts.join(" \\\n  "))
}

/// A whole value, on several lines.
pub(super) fn pretty(document: &Value, schema: &Value) -> String {
    format!("{:#}", sample(document, schema, Need::All))
}

/// Which fields of an object an example has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Need {
    All,
    /// Those that must be there, or else one of them.
    Least,
}

fn sample(document: &Value, schema: &Value, need: Need) -> Value {
    let from = Samples { document, need };
    from.value(schema, "", 0)
}

struct Samples<'a> {
    document: &'a Value,
    need: Need,
}

impl Samples<'_> {
    /// Something that the schema allows, for a field of this name.
    fn value(&self, schema: &Value, name: &str, depth: usize) -> Value {
        let schema = resolve(self.document, schema);
        if depth > MAX_DEPTH {
            return Value::Null;
        }
        if let Some(Value::Array(choices)) = schema.get("oneOf") {
            let choice = choices.iter().find(|one| one["type"] != "null");
            return choice.map_or(Value::Null, |choice| self.value(choice, name, depth + 1));
        }
        let fixed = schema.get("const").or_else(|| schema["enum"].get(0));
        if let Some(fixed) = fixed {
            return fixed.clone();
        }
        let kind = schema["type"].as_str();
        let kind = kind.or_else(|| list(&schema["type"]).find_map(Value::as_str));
        match kind {
            Some("object") => self.object(schema, depth),
            Some("array") => json!([self.value(&schema["items"], name, depth + 1)]),
            Some("integer") => schema
                .get("minimum")
                .filter(|least| **least != 0)
                .cloned()
                .unwrap_or(json!(7)),
            Some("number") => json!(1.5),
            Some("boolean") => json!(true),
            Some("string") => text(schema, name).into(),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let required = |name: &str| list(&schema["required"]).any(|known| known == name);
        let some_required = list(&schema["required"]).next().is_some();
        let last = members(&schema["properties"]).last().map(|(name, _)| name);
        let wanted = members(&schema["properties"]).filter(|(name, _)| match self.need {
            Need::All => true,
            Need::Least => required(name) || (!some_required && Some(*name) == last),
        });
        let fields =
            wanted.map(|(name, field)| (name.to_owned(), self.value(field, name, depth + 1)));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

/// A text of the schema's format, that fits the field's name.
fn text(schema: &Value, name: &str) -> &'static str {
    match schema["format"].as_str() {
        Some("uuid") => return "01234567-89ab-4cde-8f01-23456789abcd",
        Some("date-time") => return "2026-01-31T08:00:00.000Z",
        _ => {}
    }
    match name {
        "id" | "ids" => "01234567-89ab-4cde-8f01-23456789abcd",
        "template" | "templates" => "desktop",
        "image" | "image_name" => "registry.example/desktop:1",
        "expires_in" => "30d",
        "username" => "mia",
        "instance" => "urn:uuid:01234567-89ab-4cde-8f01-23456789abcd",
        "url" => "/desktop/01234567-89ab-4cde-8f01-23456789abcd/",
        "address" | "login_address" => "192.0.2.7",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({ "components": { "schemas": {
            "Which": { "type": "object", "properties": {
                "id": { "type": ["string", "null"] }, "template": { "type": ["string", "null"] },
            } },
            "Tree": { "type": "object", "properties": { "next": { "$ref": "#/components/schemas/Tree" } } },
        } } })
    }

    #[test]
    fn a_call_becomes_a_line_for_a_shell() {
        let body = json!({ "$ref": "#/components/schemas/Which" });
        let call = json!({
            "security": [{ "bearer": [] }],
            "requestBody": { "content": { JSON: { "schema": body } } },
            "responses": { "204": {} },
        });
        let line = curl(&document(), ("/api/x/{class}/stop", "post", &call)).expect("a line");
        assert_eq!(
            line,
            "curl -s -X POST \"$URL/api/x/$CLASS/stop\" \\\n  -H \"Authorization: Bearer $TOKEN\" \\\n  \
             -H 'Content-Type: application/json' \\\n  -d '{\"template\":\"desktop\"}'"
        );
        let page = json!({ "responses": { "200": { "content": { "text/html": {} } } } });
        assert_eq!(curl(&document(), ("/", "get", &page)), None);
    }

    #[test]
    fn a_schema_that_contains_itself_has_an_end() {
        let tree = json!({ "$ref": "#/components/schemas/Tree" });
        assert!(pretty(&document(), &tree).len() < 1000);
    }
}
