//! JSON in and out of jq.

use jaq_json::{Num, Val};
use serde_json::{Map, Value};

/// The largest value an expression may give, roughly as bytes in memory: mapping must not multiply an answer.
const MAX_SIZE: usize = 32 << 20;
/// As deep as JSON that is read from outside.
const MAX_DEPTH: usize = 128;
/// 2^53: up to here every whole number has a floating-point one of its own.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

pub(super) fn to_jq(value: &Value) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(b) => Val::Bool(*b),
        Value::Number(n) => Val::Num(match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Num::from_integral(n),
            (None, Some(n)) => Num::from_integral(n),
            (None, None) => Num::Float(n.as_f64().unwrap_or(f64::NAN)),
        }),
        Value::String(s) => Val::from(s.clone()),
        Value::Array(items) => items.iter().map(to_jq).collect(),
        Value::Object(members) => object_to_jq(members),
    }
}

pub(super) fn object_to_jq(members: &Map<String, Value>) -> Val {
    Val::obj(
        members
            .iter()
            .map(|(key, value)| (Val::from(key.clone()), to_jq(value)))
            .collect(),
    )
}

pub(super) fn from_jq(value: &Val) -> Result<Value, &'static str> {
    let mut left = MAX_SIZE;
    read(value, MAX_DEPTH, &mut left)
}

fn read(value: &Val, depth: usize, left: &mut usize) -> Result<Value, &'static str> {
    let mut spend = |size: usize| {
        *left = left.checked_sub(size).ok_or("gives a value that is too large")?;
        Ok::<(), &'static str>(())
    };
    spend(size_of::<Value>())?;
    let depth = depth.checked_sub(1).ok_or("gives a value that is too deep")?;
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(b) => Value::Bool(*b),
        Val::Num(number) => read_number(number)?,
        Val::TStr(text) => {
            spend(text.len())?;
            Value::String(String::from_utf8_lossy(text).into_owned())
        }
        Val::BStr(_) => return Err("gives bytes"),
        Val::Arr(items) => Value::Array(
            items
                .iter()
                .map(|item| read(item, depth, left))
                .collect::<Result<_, _>>()?,
        ),
        Val::Obj(members) => {
            let mut object = Map::new();
            for (key, value) in members.iter() {
                let Value::String(key) = read(key, depth, left)? else {
                    return Err("gives a key that is not text");
                };
                object.insert(key, read(value, depth, left)?);
            }
            Value::Object(object)
        }
    })
}

fn read_number(number: &Num) -> Result<Value, &'static str> {
    match number {
        Num::Int(n) => Ok(Value::from(*n)),
        // jq divides in floating point, and an API that wants a number of bytes does not want 4.0
        Num::Float(n) if n.fract() == 0.0 && n.abs() < MAX_SAFE => {
            Ok(format!("{n:.0}").parse::<i64>().unwrap_or(0).into())
        }
        Num::Float(n) if n.is_finite() => Ok(Value::from(*n)),
        // not a number is null in JSON, as in jq
        Num::Float(_) => Ok(Value::Null),
        other => serde_json::from_str(&other.to_string()).map_err(|_| "gives a number that JSON does not have"),
    }
}
