//! The HTTP API, from `docs/openapi.json`, which another test compares with what is served.

use std::fmt::Write as _;

use serde_json::Value;

use super::{ROOT, bullet, page as whole, sentence, wrapped};

const ABOUT: &str = "\
HTTPS with JSON bodies, on the port of `[api]` in the controller's file (7470 by default).
Everybody shows a client certificate, which says who they are.
What you may not see is answered as what is not there (404).
Every error is a problem (RFC 9457).
`GET /v1/openapi.json` returns this as an OpenAPI document; [a copy is here](../openapi.json).
";

pub fn page() -> String {
    let text = std::fs::read_to_string(format!("{ROOT}/docs/openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut body = ABOUT.lines().map(|line| wrapped(line, "") + "\n").collect::<String>();
    body.push_str("\n## Requests\n\n");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let summary = sentence(operation["summary"].as_str().unwrap_or_default());
            let mut text = format!("`{} {path}`: {summary}", method.to_uppercase());
            let query = names(&operation["parameters"], "query");
            if !query.is_empty() {
                let _ = write!(text, " Query: {query}.");
            }
            let headers = names(&operation["parameters"], "header");
            if !headers.is_empty() {
                let _ = write!(text, " Headers: {headers}.");
            }
            body.push_str(&bullet(&text));
        }
    }
    body.push_str("\n## Objects\n\nThe `spec` of each kind, and the values in it.\n");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        if schema["properties"]["spec"].is_object() {
            // The envelope of a kind: the same for all.
            continue;
        }
        add_schema(&mut body, name, schema);
    }
    whole("HTTP API", "`docs/openapi.json`", &body)
}

fn names(parameters: &Value, place: &str) -> String {
    let all = parameters.as_array().into_iter().flatten();
    let names = all.filter(|parameter| parameter["in"] == place);
    names
        .map(|it| format!("`{}`", it["name"].as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(", ")
}

fn add_schema(body: &mut String, name: &str, schema: &Value) {
    let about = sentence(schema["description"].as_str().unwrap_or_default());
    let _ = write!(body, "\n### {name}\n\n");
    if !about.is_empty() {
        let _ = write!(body, "{}\n\n", wrapped(&about, ""));
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match schema["properties"].as_object() {
        Some(properties) => {
            for (field, schema) in properties {
                let needed = if required.contains(&field.as_str()) { ", required" } else { "" };
                let about = sentence(about_field(schema));
                let text = format!("`{field}` ({}{needed}): {about}", kind(schema));
                body.push_str(&bullet(text.trim_end_matches(": ")));
            }
        }
        None => body.push_str(&bullet(&kind(schema))),
    }
}

fn about_field(schema: &Value) -> &str {
    let inner = schema["oneOf"].as_array().into_iter().flatten();
    std::iter::once(schema)
        .chain(inner)
        .find_map(|schema| schema["description"].as_str())
        .unwrap_or_default()
}

/// The type, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(all) = schema[several].as_array() {
            return all.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("list of {}", kind(&schema["items"])),
        Value::String(name) if name == "object" && schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(&schema["additionalProperties"]))
        }
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        _ => "any value".to_owned(),
    }
}
