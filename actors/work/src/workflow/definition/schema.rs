//! The JSON Schema of definitions, for editors and for other programs.

use super::document::{DefinitionDoc, ShortDoc};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The published JSON Schema of a workflow definition: the long form or the short one.
///
/// It is made from what the reader reads with, so the two cannot differ in names and types. What it does not say is
/// checked behind: references, expressions, and what tools take.
#[must_use]
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let long = generator.subschema_for::<DefinitionDoc>();
    let short = generator.subschema_for::<ShortDoc>();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "meshwork workflow",
        "description": "A workflow of meshwork: steps with what each needs, or the short form, tasks that run in order.",
        "anyOf": [long, short],
        "$defs": generator.take_definitions(true),
    });
    without_nulls(&mut schema);
    schema
}

/// Takes away that members may be null: the reader takes null for a member that is not there, but nobody has to know.
fn without_nulls(schema: &mut Value) {
    let null = json!({"type": "null"});
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        Value::Object(members) => {
            if members.get("default") == Some(&Value::Null) {
                members.remove("default");
            }
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = members.get_mut("anyOf")
                && choices.contains(&null)
            {
                choices.retain(|choice| *choice != null);
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    members.remove("anyOf");
                    members.extend(only);
                }
            }
            members.values_mut().for_each(without_nulls);
        }
        _ => {}
    }
}
