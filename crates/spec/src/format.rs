//! JSON Schema of the spec format, for editors and for the documentation.

use serde_json::{Map, Value, json};
use valetkey_oauth::Profile;

use crate::file::SpecFile;

/// JSON Schema of a `spec.yaml`. It says what a spec may look like; whether it works, [`crate::check_spec`] says.
pub fn spec_schema() -> Value {
    let mut schema = schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<SpecFile>();
    let mut schema = std::mem::take(schema.ensure_object());
    schema.insert("$id".to_owned(), "https://valetkey.dev/schema/spec.schema.json".into());
    let mut schema = Value::Object(schema);
    let profile = serde_json::to_value(Profile::default()).unwrap_or_default();
    let mut oauth = schema_of(&profile);
    // besides its names there is `{leeway_s: 600}`
    oauth["properties"]["rotation"] = json!({});
    oauth["description"] = schema["properties"]["oauth"]["description"].clone();
    schema["properties"]["oauth"] = oauth;
    schema
}

/// The schema that a default gives away: its members, and of which type they are where it has one.
fn schema_of(default: &Value) -> Value {
    match default {
        Value::Object(members) if !members.is_empty() => {
            let properties: Map<_, _> = members
                .iter()
                .map(|(name, value)| (name.clone(), schema_of(value)))
                .collect();
            json!({"type": "object", "properties": properties, "additionalProperties": false})
        }
        Value::Object(_) => json!({"type": "object"}),
        Value::Array(_) => json!({"type": "array"}),
        Value::String(_) => json!({"type": "string"}),
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Number(_) => json!({"type": "number"}),
        Value::Null => json!({}),
    }
}

#[cfg(test)]
mod tests;
