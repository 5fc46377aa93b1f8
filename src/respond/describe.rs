//! What a call is, in the words of `OpenAPI` 3.1: put together beside the handlers, collected into `/openapi.json`.
//!
//! The shapes of bodies come from the types that are written and read. What is answered is described strictly: no
//! field but those that are named, and every one of them always there unless it says otherwise.

use std::collections::BTreeMap;

use hyper::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::path::ParameterIn;
use utoipa::{IntoParams, ToSchema};

use super::code::CODES;
use crate::model::scope::Scope;

/// Refusals that any request may meet, whatever it asks for.
const ANYWHERE: [u16; 7] = [400, 414, 417, 421, 431, 503, 505];
/// Refusals that come with every call for people who are signed in.
const SIGNED_IN: [u16; 3] = [401, 403, 429];
const SCHEMAS: &str = "#/components/schemas";

/// Named schemas.
pub type Schemas = BTreeMap<String, Value>;

/// One call: a method at an address.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Its path, with names in braces.
    pub path: &'static str,
    operation: Map<String, Value>,
    schemas: Schemas,
}

impl Call {
    /// A call for whoever is signed in, with what it does in a few words.
    #[must_use]
    pub fn new(method: Method, path: &'static str, summary: &str) -> Self {
        let mut operation = Map::new();
        let id = path.replace(['/', '-'], "_").replace(['{', '}', '.'], "");
        let id = format!("{}{id}", method.as_str().to_lowercase());
        operation.insert("operationId".into(), id.trim_end_matches('_').into());
        operation.insert("summary".into(), summary.into());
        operation.insert("tags".into(), json!([tag(path)]));
        let names = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Vec<Value> = names.map(path_parameter).collect();
        let is_found = parameters.is_empty();
        operation.insert("parameters".into(), parameters.into());
        operation.insert("responses".into(), json!({}));
        operation.insert("security".into(), security(&method));
        let call = Self {
            method,
            path,
            operation,
            schemas: Schemas::new(),
        };
        let call = call.refuses(&ANYWHERE).refuses(&SIGNED_IN);
        if is_found { call } else { call.refuses(&[404]) }
    }

    /// The same for reading.
    #[must_use]
    pub fn get(path: &'static str, summary: &str) -> Self {
        Self::new(Method::GET, path, summary)
    }

    /// The same for changing something.
    #[must_use]
    pub fn post(path: &'static str, summary: &str) -> Self {
        Self::new(Method::POST, path, summary)
    }

    /// The same for taking something away.
    #[must_use]
    pub fn delete(path: &'static str, summary: &str) -> Self {
        Self::new(Method::DELETE, path, summary)
    }

    /// A call for everybody.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.operation.insert("security".into(), json!([]));
        if let Some(responses) = self.responses() {
            responses
                .retain(|status, _| !SIGNED_IN.iter().any(|known| known.to_string() == *status));
        }
        self
    }

    /// Open to API tokens with one of these scopes, and to none if there is no scope.
    #[must_use]
    pub fn scopes(mut self, scopes: &[Scope]) -> Self {
        let words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        self.operation.insert("x-token-scopes".into(), json!(words));
        self
    }

    /// What else there is to know.
    #[must_use]
    pub fn about(mut self, text: &str) -> Self {
        self.operation.insert("description".into(), text.into());
        self
    }

    /// With the fields of a query.
    #[must_use]
    pub fn query<T: IntoParams>(mut self) -> Self {
        for parameter in T::into_params(|| Some(ParameterIn::Query)) {
            let mut parameter = value(&parameter);
            without_null(&mut parameter["schema"]);
            whole(&mut parameter["schema"]);
            self.parameter(parameter);
        }
        self
    }

    /// With a field of the query or of the head that is not read into a type.
    #[must_use]
    pub fn takes(mut self, place: &str, name: &str, text: &str) -> Self {
        self.parameter(json!({
            "name": name, "in": place, "required": false, "description": text, "schema": { "type": "string" },
        }));
        self
    }

    /// With a JSON body, which may be left out if all of its fields may.
    #[must_use]
    pub fn body<T: ToSchema>(mut self) -> Self {
        let mut schemas = schemas::<T>();
        let required = schemas
            .iter()
            .any(|(name, schema)| *name == T::name() && schema.get("required").is_some());
        self.schemas.append(&mut schemas);
        let body = json!({
            "required": required,
            "content": { "application/json": { "schema": reference(&T::name()) } },
        });
        self.operation.insert("requestBody".into(), body);
        self.refuses(&[413])
    }

    /// With a form, which these fields are in.
    #[must_use]
    pub fn form(mut self, fields: &[(&str, &str)], required: bool) -> Self {
        let named = fields.iter().map(|(name, text)| {
            (
                (*name).to_owned(),
                json!({ "type": "string", "description": text }),
            )
        });
        let named: Map<String, Value> = named.collect();
        let schema = json!({ "type": "object", "properties": named });
        let body = json!({
            "required": required,
            "content": { "application/x-www-form-urlencoded": { "schema": schema } },
        });
        self.operation.insert("requestBody".into(), body);
        self
    }

    /// Answers with this as JSON.
    #[must_use]
    pub fn answers<T: ToSchema>(mut self, status: u16, text: &str) -> Self {
        self.knows::<T>();
        let content = json!({ "application/json": { "schema": reference(&T::name()) } });
        self.response(status, json!({ "description": text, "content": content }));
        self
    }

    /// Answers without a body.
    #[must_use]
    pub fn says(mut self, status: u16, text: &str) -> Self {
        self.response(status, json!({ "description": text }));
        self
    }

    /// Answers with text of this type, beside others that the status may have.
    #[must_use]
    pub fn shows(mut self, status: u16, content_type: &str, text: &str) -> Self {
        let schema = json!({ "type": "string" });
        let mut known = self
            .responses()
            .and_then(|all| all.remove(&status.to_string()));
        let known = known.get_or_insert_with(|| json!({ "description": text }));
        if known.get("$ref").is_some() {
            *known = json!({ "description": text, "content": problem_content() });
        }
        known["content"][content_type]["schema"] = schema;
        self.response(status, known.take());
        self
    }

    /// The answer with this status has this header.
    #[must_use]
    pub fn heads(mut self, status: u16, name: &str, text: &str) -> Self {
        if let Some(responses) = self.responses() {
            let header = json!({ "description": text, "schema": { "type": "string" } });
            responses[&status.to_string()]["headers"][name] = header;
        }
        self
    }

    /// Refuses with these statuses, and a problem document that says why.
    #[must_use]
    pub fn refuses(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            let problem = json!({ "$ref": format!("#/components/responses/Problem{status}") });
            self.response(*status, problem);
        }
        self
    }

    /// Sends messages like this once it has become a WebSocket.
    #[must_use]
    pub fn messages<T: ToSchema>(mut self) -> Self {
        self.knows::<T>();
        self.operation
            .insert("x-messages".into(), reference(&T::name()));
        self
    }

    /// Whatever else it answers is not ours.
    #[must_use]
    pub fn passes_on(mut self, text: &str) -> Self {
        if let Some(responses) = self.responses() {
            responses.insert("default".into(), json!({ "description": text }));
        }
        self
    }

    fn knows<T: ToSchema>(&mut self) {
        for (name, mut schema) in schemas::<T>() {
            close(&mut schema);
            self.schemas.insert(name, schema);
        }
    }

    fn responses(&mut self) -> Option<&mut Map<String, Value>> {
        self.operation.get_mut("responses")?.as_object_mut()
    }

    fn response(&mut self, status: u16, response: Value) {
        if let Some(responses) = self.responses() {
            responses.insert(status.to_string(), response);
        }
    }

    fn parameter(&mut self, parameter: Value) {
        if let Some(Value::Array(parameters)) = self.operation.get_mut("parameters") {
            parameters.push(parameter);
        }
    }
}

/// The groups, in the order in which they are read.
const TAGS: [(&str, &str); 8] = [
    (
        "Desktops",
        "One's own desktops: what one may start, and their life.",
    ),
    ("Account", "One's own sessions and API tokens."),
    ("Classes", "For teachers: the desktops of their classes."),
    (
        "Admin",
        "For admins: everybody's desktops, sessions and data, and the installation.",
    ),
    (
        "Inside a desktop",
        "What a desktop serves, and the way to the host of `DESKTOP_ORIGIN`.",
    ),
    ("Signing in and out", "OpenID Connect, and who one is."),
    ("Pages", "What people see in a browser."),
    (
        "Health and description",
        "For whoever watches over the gateway, or writes a program for it.",
    ),
];

/// The group that a path belongs to.
fn tag(path: &str) -> &'static str {
    let begins = |start| path.starts_with(start);
    match path {
        _ if begins("/api/admin") => "Admin",
        _ if begins("/api/teacher") => "Classes",
        _ if begins("/api/tokens") || begins("/api/sessions") => "Account",
        _ if begins("/api/") => "Desktops",
        _ if begins("/desktop/") || begins("/ticket") => "Inside a desktop",
        "/healthz" | "/readyz" | "/openapi.json" | "/docs" => "Health and description",
        "/login"
        | "/authorize"
        | "/session"
        | "/logout"
        | "/backchannel-logout"
        | "/frontchannel-logout" => "Signing in and out",
        _ => "Pages",
    }
}

/// A part of a path. Text that is not an id is found nowhere.
fn path_parameter(name: &str) -> Value {
    let schema = match name {
        "id" => json!({ "type": "string", "format": "uuid" }),
        _ => json!({ "type": "string", "minLength": 1 }),
    };
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

/// A session by cookie needs the page's token for changes.
fn security(method: &Method) -> Value {
    let mut cookie = json!({ "session_cookie": [] });
    if !method.is_safe() {
        cookie["csrf_token"] = json!([]);
    }
    json!([{ "bearer": [] }, { "session_header": [] }, cookie])
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}/{name}") })
}

fn value(part: &impl Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

/// The schema of a type and those that it refers to.
fn schemas<T: ToSchema>() -> Schemas {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    let named = all.into_iter().map(|(name, schema)| (name, value(&schema)));
    named.collect()
}

fn is_null(schema: &Value) -> bool {
    *schema == "null" || schema["type"] == "null"
}

/// Whether null is one of the things that it may be.
fn may_be_null(schema: &Value) -> bool {
    let any = |list: &Value| list.as_array().is_some_and(|list| list.iter().any(is_null));
    any(&schema["type"]) || any(&schema["oneOf"])
}

/// Parts of a query are text: they are there or not.
fn without_null(schema: &mut Value) {
    for key in ["type", "oneOf"] {
        if let Some(Value::Array(list)) = schema.get_mut(key) {
            list.retain(|one| !is_null(one));
            if list.len() == 1 {
                let only = list.remove(0);
                match (key, only) {
                    ("type", only) => schema[key] = only,
                    (_, only) => *schema = only,
                }
            }
        }
    }
}

/// `int32` would be half of what a `u32` may be.
fn whole(schema: &mut Value) {
    if schema["format"] == "int32" && schema["minimum"] == 0 {
        schema["format"] = "int64".into();
        schema["maximum"] = u32::MAX.into();
    }
}

/// Nothing but the fields that are named. One that may be null is always there.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(close),
        Value::Object(object) => {
            object.values_mut().for_each(close);
            let Some(Value::Object(fields)) = object.get("properties") else {
                return;
            };
            let always = fields.iter().filter(|(_, schema)| may_be_null(schema));
            let mut required: Vec<Value> = always.map(|(name, _)| json!(name)).collect();
            if let Some(Value::Array(already)) = object.remove("required") {
                required.retain(|name| !already.contains(name));
                required.splice(0..0, already);
            }
            if !required.is_empty() {
                object.insert("required".into(), required.into());
            }
            object.entry("additionalProperties").or_insert(false.into());
        }
        _ => {}
    }
}

fn problem_content() -> Value {
    json!({
        "application/problem+json": { "schema": reference("Problem") },
        "text/html": { "schema": { "type": "string" } },
    })
}

/// What a refusal with this status means, and the headers it may have.
fn problem(status: u16) -> Value {
    let (text, header) = match status {
        400 => ("The request is not one that is understood.", None),
        401 => (
            "There is no session, or it is over.",
            Some("WWW-Authenticate"),
        ),
        403 => ("This may not be done by whoever asks.", None),
        404 => ("Nothing is here, or it is somebody else's.", None),
        409 => ("Not in the state that things are in.", Some("Retry-After")),
        413 => ("The body is too large.", None),
        414 => ("The address is too long.", None),
        417 => ("The expectation is not met.", None),
        421 => ("This is another host's matter.", None),
        429 => ("Too often, or too many at a time.", Some("Retry-After")),
        431 => ("The head is too large.", Some("Clear-Site-Data")),
        502 => ("What is behind the gateway failed.", None),
        503 => ("Not at the moment.", Some("Retry-After")),
        504 => ("What is behind the gateway did not answer in time.", None),
        _ => ("This version of HTTP is not spoken.", None),
    };
    let mut problem = json!({ "description": text, "content": problem_content() });
    if let Some(name) = header {
        let text = match name {
            "Retry-After" => "Seconds, where trying again makes sense.",
            "Clear-Site-Data" => "Where the cookies were too large.",
            _ => "`Bearer`.",
        };
        problem["headers"][name] = json!({ "description": text, "schema": { "type": "string" } });
    }
    problem
}

fn components(mut schemas: Schemas) -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    let fields = json!({
        "type": { "const": "about:blank" },
        "title": text("The status in words."),
        "status": { "type": "integer", "minimum": 400, "maximum": 599 },
        "detail": text("One sentence for people."),
        "code": { "type": "string", "enum": CODES, "description": "A stable word for programs." },
        "instance": { "type": "string", "pattern": "^urn:uuid:", "description": "The id of the request; the log has it too." },
    });
    let names: Vec<&String> = fields.as_object().into_iter().flat_map(Map::keys).collect();
    let problem_schema = json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": names,
        "properties": fields,
        "additionalProperties": false,
    });
    schemas.insert("Problem".into(), problem_schema);
    let statuses = [
        400, 401, 403, 404, 409, 413, 414, 417, 421, 429, 431, 502, 503, 504, 505,
    ];
    let responses = statuses.map(|status| (format!("Problem{status}"), problem(status)));
    let responses: Map<String, Value> = responses.into_iter().collect();
    let key = |place: &str, name: &str, about: &str| json!({ "type": "apiKey", "in": place, "name": name, "description": about });
    json!({
        "schemas": schemas,
        "responses": responses,
        "securitySchemes": {
            "session_cookie": key("cookie", "__Host-Http-session", "A session, in browsers."),
            "csrf_token": key("header", "X-CSRF-Token", "The page's token, with a change that is made by cookie."),
            "session_header": key("header", "X-Session-ID", "A session, or an API token."),
            "bearer": { "type": "http", "scheme": "bearer", "description": "A session, or an API token." },
        },
    })
}

/// The whole description of these calls.
#[must_use]
pub fn document(calls: Vec<Call>, server: &str) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for mut call in calls {
        schemas.append(&mut call.schemas);
        let method = call.method.as_str().to_lowercase();
        let path = paths.entry(call.path).or_default();
        path.insert(method, call.operation.into());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Deskgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A personal Linux desktop in the browser for everybody: signing in, starting and stopping desktops, and the way into them. Metrics are served at an address of their own and are not described here.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": server }],
        "tags": TAGS.map(|(name, text)| json!({ "name": name, "description": text })),
        "paths": paths,
        "components": components(schemas),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_closed_and_what_may_be_null_is_always_there() {
        let mut schema = json!({
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": { "type": "string" },
                "b": { "type": ["string", "null"] },
                "c": { "oneOf": [{ "type": "null" }, { "$ref": "#/x" }] },
                "d": { "type": "object", "properties": {} },
            },
        });
        close(&mut schema);
        assert_eq!(schema["required"], json!(["a", "b", "c"]));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["d"]["additionalProperties"], false);
    }

    #[test]
    fn queries_know_no_null() {
        let mut schema = json!({ "type": ["integer", "null"], "minimum": 0 });
        without_null(&mut schema);
        assert_eq!(schema, json!({ "type": "integer", "minimum": 0 }));
        let mut schema = json!({ "oneOf": [{ "type": "null" }, { "$ref": "#/x" }] });
        without_null(&mut schema);
        assert_eq!(schema, json!({ "$ref": "#/x" }));
    }

    #[test]
    fn a_number_without_a_sign_may_be_what_it_can_hold() {
        let mut schema = json!({ "type": "integer", "format": "int32", "minimum": 0 });
        whole(&mut schema);
        let expected = json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": 4_294_967_295_u32 });
        assert_eq!(schema, expected);
    }
}
