//! Compares answers with `/openapi.json`, strictly: an undescribed status, type or field, and a field that is
//! missing, fail the test that met it.

use std::io::Read;
use std::sync::LazyLock;

use deskgate::gateway::description::document;
use flate2::read::GzDecoder;
use hyper::{Method, StatusCode};
use serde_json::Value;

use super::browser::{Answer, ORIGIN};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(ORIGIN));

/// Fails unless a JSON answer of a described call is as described.
pub fn check(method: &Method, target: &str, answer: &Answer) {
    if let Err(fault) = compare(method, target, answer) {
        let text = answer.text();
        panic!(
            "{method} {target} is not as described: {fault}\n{}\n{text}",
            answer.status
        );
    }
}

/// The same, as a value.
pub fn compare(method: &Method, target: &str, answer: &Answer) -> Result<(), String> {
    let kind = answer.header("content-type").unwrap_or_default();
    let json = ["application/json", "application/problem+json"].contains(&kind);
    let bodiless = *method == Method::HEAD || answer.status == StatusCode::NOT_MODIFIED;
    if bodiless || !json {
        return Ok(());
    }
    let path = target.split('?').next().unwrap_or_default();
    let Some(call) = call(method, path) else {
        return Ok(());
    };
    let responses = &call["responses"];
    let Some(response) = responses.get(answer.status.as_str()) else {
        return match responses.get("default") {
            Some(_) => Ok(()),
            None => Err("the status is not described".into()),
        };
    };
    let response = match response["$ref"].as_str() {
        Some(reference) => DOCUMENT
            .pointer(&reference[1..])
            .expect("it leads somewhere"),
        None => response,
    };
    let Some(schema) = response["content"]
        .get(kind)
        .map(|content| &content["schema"])
    else {
        // What a desktop answers is its own matter.
        return match responses.get("default") {
            Some(_) => Ok(()),
            None => Err(format!("{kind} is not described")),
        };
    };
    let plain = inflated(answer);
    let value = serde_json::from_slice(&plain).map_err(|error| format!("no JSON: {error}"))?;
    validate(schema.clone(), &value)
}

/// An answer's body as it was before it was compressed.
pub fn inflated(answer: &Answer) -> Vec<u8> {
    let mut plain = Vec::new();
    match answer.header("content-encoding") {
        None => plain.extend(&answer.bytes),
        Some("gzip") => {
            let mut decoder = GzDecoder::new(&*answer.bytes);
            decoder.read_to_end(&mut plain).expect("gzip");
        }
        Some(other) => panic!("{other} was not asked for"),
    }
    plain
}

/// Whether a value is what is described under this name.
pub fn fits(name: &str, value: &Value) -> Result<(), String> {
    let reference = format!("#/components/schemas/{name}");
    validate(serde_json::json!({ "$ref": reference }), value)
}

fn validate(mut schema: Value, value: &Value) -> Result<(), String> {
    schema["components"] = DOCUMENT["components"].clone();
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("a schema");
    let faults = validator.iter_errors(value);
    let faults: Vec<String> = faults
        .map(|fault| format!("{} at {}", fault, fault.instance_path))
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

/// The call that this is; an address that is spelled out counts before one with names in it.
fn call(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let exact = paths.get(path);
    let calls = exact.or_else(|| {
        let mut matching = paths.iter().filter(|(template, _)| matches(template, path));
        matching.next().map(|(_, calls)| calls)
    })?;
    calls.get(method.as_str().to_lowercase())
}

fn matches(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) | (Some("{path}"), Some(_)) => return true,
            (Some(name), Some(part)) if name.starts_with('{') && !part.is_empty() => {}
            (Some(name), Some(part)) if name == part => {}
            _ => return false,
        }
    }
}
