use serde_json::json;

use super::*;

fn refusals(schema: Value, value: &Value) -> Vec<String> {
    let schema = Schema::compile(schema).expect("a schema");
    schema
        .check("input", value)
        .expect_err("must be refused")
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn defaults_are_filled_in() {
    let schema = Schema::compile(json!({"properties": {
        "limit": {"type": "integer", "default": 100},
        "sort": {"type": "object", "properties": {"by": {"default": "ts"}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"style": {"default": "plain"}}}},
    }}))
    .expect("a schema");
    assert_eq!(schema.check("input", &json!({})).expect("fine"), json!({"limit": 100}));
    let filled = schema
        .check("input", &json!({"limit": 5, "sort": {}, "list": [{}]}))
        .expect("fine");
    assert_eq!(
        filled,
        json!({"limit": 5, "sort": {"by": "ts"}, "list": [{"style": "plain"}]})
    );
}

#[test]
fn errors_name_field_and_rule_but_not_the_value() {
    let schema = json!({
        "required": ["channel"],
        "properties": {
            "channel": {"type": "string", "minLength": 1, "maxLength": 4},
            "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": 9},
            "sort": {"enum": ["score", "timestamp"]},
            "day": {"type": "string", "format": "date"},
            "tenant": {"type": "string", "pattern": "^[a-z]+$", "x-rule": "must be a directory id"},
            "items": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        },
    });
    for (value, expected) in [
        (json!({}), "input.channel: is required"),
        (json!({"channel": ""}), "input.channel: must not be empty"),
        (
            json!({"channel": "hunter2"}),
            "input.channel: must have at most 4 characters",
        ),
        (json!({"channel": 7}), "input.channel: must be of type string"),
        (json!({"channel": "C", "limit": 0}), "input.limit: must be at least 1"),
        (json!({"channel": "C", "limit": 99}), "input.limit: must be at most 9"),
        (
            json!({"channel": "C", "limit": "9"}),
            "input.limit: must be of type null or integer",
        ),
        (
            json!({"channel": "C", "sort": "hunter2"}),
            "input.sort: must be one of score, timestamp",
        ),
        (
            json!({"channel": "C", "day": "hunter2"}),
            "input.day: must have the format date",
        ),
        (
            json!({"channel": "C", "tenant": "hunter2"}),
            "input.tenant: must be a directory id",
        ),
        (
            json!({"channel": "C", "items": [1, "x"]}),
            "input.items[0]: must be of type string",
        ),
        (
            json!({"channel": "C", "items": ["x"]}),
            "input.items: must have at least 2 items",
        ),
        (
            json!({"channel": "C", "other": "hunter2"}),
            "input.other: is not a field that exists here",
        ),
        (json!("hunter2"), "input: must be of type object"),
    ] {
        assert_eq!(refusals(schema.clone(), &value), [expected]);
    }
}

#[test]
fn a_union_says_its_rule() {
    let schema = json!({
        "properties": {"siteId": {"type": "string"}, "url": {"type": "string"}},
        "oneOf": [{"required": ["siteId"]}, {"required": ["url"]}],
        "x-rule": "give either siteId or url",
    });
    assert_eq!(
        refusals(schema.clone(), &json!({})),
        ["input: give either siteId or url"]
    );
    assert_eq!(
        refusals(schema, &json!({"siteId": "a", "url": "b"})),
        ["input: give either siteId or url"]
    );
}

#[test]
fn broken_schemas_are_refused() {
    for (schema, place) in [
        (json!("x"), ""),
        (json!({"type": "string"}), ""),
        (json!({"properties": {"a": {"type": "strnig"}}}), "properties.a.type"),
        (json!({"properties": {"a": {"maxLenght": 1}}}), "properties.a.maxLenght"),
        (
            json!({"properties": {"a": {"type": "string", "pattern": "("}}}),
            "properties.a.pattern",
        ),
        (
            json!({"properties": {"a": {"type": "integer", "default": "x"}}}),
            "properties.a.default",
        ),
        (json!({"properties": {"a": {"$ref": "https://example.com/x.json"}}}), ""),
        (
            json!({"properties": {"a": {"items": {"oneOf": [{"typ": 1}]}}}}),
            "properties.a.items.oneOf[0].typ",
        ),
    ] {
        let (at, message) = Schema::compile(schema.clone()).expect_err("must be refused");
        assert_eq!(at, place, "{schema}: {message}");
    }
}
