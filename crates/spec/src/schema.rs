//! JSON Schemas of configs and inputs: compiled at load, defaults filled in, and errors that name the field and the
//! rule but never the value, which may be a secret.

mod message;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::paths::LocationSegment;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use crate::error::FieldError;
use message::message;

/// A caller learns about so many errors at once.
const MAX_ERRORS: usize = 20;

/// The keywords a spec may use: a misspelt one would silently lift a limit. `x-…` ones are notes for forms, and
/// `x-rule` replaces the message for whatever the schema beside it refuses.
const KEYWORDS: &[&str] = &[
    "$defs",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "else",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "then",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
];

/// A compiled schema of an object.
#[derive(Debug)]
pub(crate) struct Schema {
    json: Value,
    validator: Validator,
}

impl Schema {
    /// Compiles a schema. It is one of an object, and closed unless it says otherwise. The error is the place within
    /// the schema and what is wrong there.
    pub(crate) fn compile(json: Value) -> Result<Self, (String, String)> {
        let here = |message: &str| (String::new(), message.to_owned());
        let Value::Object(mut root) = json else {
            return Err(here("must be an object"));
        };
        root.entry("type").or_insert_with(|| "object".into());
        root.entry("additionalProperties").or_insert(false.into());
        if root["type"] != "object" {
            return Err(here("must have the type object"));
        }
        let json = Value::Object(root);
        check_keywords(&json, "")?;
        let validator = validator(&json)?;
        let schema = Self { json, validator };
        schema.check_defaults()?;
        Ok(schema)
    }

    /// The schema as it is shown to others.
    pub(crate) fn json(&self) -> &Value {
        &self.json
    }

    /// The names of the fields at the top.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.json["properties"]
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
    }

    /// Fills defaults in and checks the whole; errors name fields below `place`.
    pub(crate) fn check(&self, place: &str, value: &Value) -> Result<Value, Vec<FieldError>> {
        let mut value = value.clone();
        fill(&self.json, &mut value);
        if self.validator.is_valid(&value) {
            return Ok(value);
        }
        let errors = self.validator.iter_errors(&value).take(MAX_ERRORS);
        let mut errors: Vec<_> = errors.flat_map(|error| self.explain(place, &error)).collect();
        errors.sort_by(|a, b| a.path.cmp(&b.path));
        Err(errors)
    }

    fn check_defaults(&self) -> Result<(), (String, String)> {
        let mut defaults = Value::Object(Map::new());
        fill(&self.json, &mut defaults);
        let first = self
            .validator
            .iter_errors(&defaults)
            .find(|error| !error.instance_path().is_empty());
        first.map_or(Ok(()), |error| {
            let place = error
                .instance_path()
                .segments()
                .next()
                .map(|s| s.to_string())
                .unwrap_or_default();
            Err((
                format!("properties.{place}.default"),
                "breaks the field's own rules".to_owned(),
            ))
        })
    }

    fn explain(&self, place: &str, error: &ValidationError<'_>) -> Vec<FieldError> {
        let mut path = place.to_owned();
        for segment in error.instance_path().segments() {
            match segment {
                LocationSegment::Property(name) => path = format!("{path}.{}", shorten(&name)),
                LocationSegment::Index(i) => path = format!("{path}[{i}]"),
            }
        }
        match error.kind() {
            Kind::Required { property } => {
                vec![FieldError::new(
                    format!("{path}.{}", property.as_str().unwrap_or_default()),
                    "is required",
                )]
            }
            Kind::AdditionalProperties { unexpected } => unexpected
                .iter()
                .take(MAX_ERRORS)
                .map(|name| FieldError::new(format!("{path}.{}", shorten(name)), "is not a field that exists here"))
                .collect(),
            kind => {
                let schema = error
                    .schema_path()
                    .as_str()
                    .rsplit_once('/')
                    .map_or("", |(parent, _)| parent);
                let rule = self.json.pointer(schema).and_then(|schema| schema["x-rule"].as_str());
                vec![FieldError::new(
                    path,
                    rule.map_or_else(|| message(kind), ToOwned::to_owned),
                )]
            }
        }
    }
}

/// Names come from the caller, too.
fn shorten(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn validator(json: &Value) -> Result<Validator, (String, String)> {
    let options = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .offline();
    options
        .with_pattern_options(PatternOptions::regex())
        .build(json)
        .map_err(|error| {
            let place = error
                .instance_path()
                .segments()
                .map(|s| s.to_string())
                .collect::<Vec<_>>()
                .join(".");
            (place, error.masked().to_string())
        })
}

fn check_keywords(schema: &Value, place: &str) -> Result<(), (String, String)> {
    let Some(keywords) = schema.as_object() else {
        return Ok(());
    };
    for (keyword, value) in keywords {
        let here = format!("{place}{keyword}");
        if !keyword.starts_with("x-") && !KEYWORDS.contains(&keyword.as_str()) {
            return Err((here, "is not a keyword of JSON Schema that specs may use".to_owned()));
        }
        match (keyword.as_str(), value) {
            ("properties" | "$defs", Value::Object(members)) => {
                for (name, schema) in members {
                    check_keywords(schema, &format!("{here}.{name}."))?;
                }
            }
            ("items" | "not" | "additionalProperties" | "if" | "then" | "else" | "propertyNames", schema) => {
                check_keywords(schema, &format!("{here}."))?;
            }
            ("oneOf" | "anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                for (i, schema) in schemas.iter().enumerate() {
                    check_keywords(schema, &format!("{here}[{i}]."))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                match (object.get_mut(name), schema.get("default")) {
                    (Some(value), _) => fill(schema, value),
                    (None, Some(default)) => drop(object.insert(name.clone(), default.clone())),
                    (None, None) => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(&schema["items"], item)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
