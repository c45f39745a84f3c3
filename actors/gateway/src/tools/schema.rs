//! JSON Schemas of what tools take and give: closed objects, without references, as strict clients want them.

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The schema of arguments.
pub(crate) fn input<T: JsonSchema>() -> JsonObject {
    closed(generate::<T>(SchemaSettings::draft2020_12()))
}

/// The schema of a result. Clients check the structured content of errors against it too, so it allows for the member
/// `error` in place of what a success has.
pub(crate) fn output<T: JsonSchema>() -> JsonObject {
    let mut schema = closed(generate::<T>(SchemaSettings::draft2020_12().for_serialize()));
    let required = schema.remove("required").unwrap_or_else(|| json!([]));
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.entry("error").or_insert_with(error);
    }
    schema.insert("anyOf".into(), json!([{ "required": required }, { "required": ["error"] }]));
    schema
}

/// Names of the members of an object.
pub(crate) fn properties(schema: &JsonObject) -> Vec<String> {
    match schema.get("properties") {
        Some(Value::Object(properties)) => properties.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

fn error() -> Value {
    json!({
        "description": "What went wrong, when the call failed.",
        "type": "object",
        "properties": { "code": { "type": "string" }, "message": { "type": "string" } },
        "required": ["code", "message"]
    })
}

fn generate<T: JsonSchema>(settings: SchemaSettings) -> JsonObject {
    let mut settings = settings;
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    match settings.into_generator().into_root_schema_for::<T>().to_value() {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn closed(mut schema: JsonObject) -> JsonObject {
    schema.remove("title");
    schema.remove("description");
    schema.insert("type".into(), "object".into());
    schema.insert("additionalProperties".into(), false.into());
    schema.entry("properties").or_insert_with(|| json!({}));
    for value in schema.values_mut() {
        without_formats(value);
    }
    schema
}

/// Rust's number formats mean nothing to other languages, and some validators complain about them.
fn without_formats(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let rust = members.get("format").and_then(Value::as_str).is_some_and(|format| {
                ["int", "uint", "double", "float"].iter().any(|kind| format.starts_with(kind))
            });
            if rust {
                members.remove("format");
            }
            members.values_mut().for_each(without_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(without_formats),
        _ => {}
    }
}
