//! JSON, strictly: one object, no member twice, not too deep, nothing after it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep objects and arrays may be nested.
const MAX_DEPTH: usize = 64;

/// Reads one object; `None` for anything else. Names that occur twice are refused (RFC 8259 section 4 leaves open which
/// one counts, and two readers that disagree can be played against each other); so is a byte order mark (section 8.1).
pub fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(MAX_DEPTH).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// The value at a path: names of members joined by dots, numbers for places in arrays.
pub(crate) fn at<'a>(root: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut segments = path.split('.');
    let first = root.get(segments.next()?)?;
    segments.try_fold(first, |value, segment| match value {
        Value::Object(map) => map.get(segment),
        Value::Array(list) => list.get(segment.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Reads a value with so many levels left.
#[derive(Clone, Copy)]
struct Strict(usize);

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut out = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            out.push(value);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut out = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if out.contains_key(&name) {
                return Err(A::Error::custom("a member occurs twice"));
            }
            out.insert(name, map.next_value_seed(inner)?);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_through_objects_and_arrays() {
        let root = object(br#"{"a":{"b":[{"c":1}]},"n":null}"#).expect("an object");
        assert_eq!(at(&root, "a.b.0.c"), Some(&Value::from(1)));
        assert_eq!(at(&root, "n"), Some(&Value::Null));
        for missing in ["", "a.b.1.c", "a.b.c", "a.b.0.c.d", "x", "n.x"] {
            assert_eq!(at(&root, missing), None, "{missing}");
        }
    }

    #[test]
    fn depth_is_64_and_not_65() {
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(object(nested(64).as_bytes()).is_some());
        assert!(object(nested(65).as_bytes()).is_none());
        assert!(object(nested(10_000).as_bytes()).is_none());
        assert!(object("[".repeat(10_000).as_bytes()).is_none());
    }

    proptest::proptest! {
        #[test]
        fn what_is_accepted_is_what_serde_json_reads(text in r#"[{}\[\]":,a0-9.e \\u-]{0,40}"#) {
            if let Some(map) = object(text.as_bytes()) {
                let plain: Value = serde_json::from_str(&text).expect("accepted, so valid");
                proptest::prop_assert_eq!(Value::Object(map), plain);
            }
        }
    }
}
