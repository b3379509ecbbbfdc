//! The secondary fields of an answer: read leniently, noted when they make no sense, never a reason to lose a token.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use valetkey_core::Timestamp;

use crate::apply::split_scopes;
use crate::profile::{ExpiresAt, TimeUnit};
use crate::{json, text};

/// The longest lifetime that is believed: ten years.
const MAX_LIFETIME_S: u64 = 10 * 365 * 86_400;
/// The last second that RFC 3339 can write: the end of the year 9999.
const MAX_TIME_S: u64 = 253_402_300_799;
/// The longest account id.
const MAX_ID: usize = 256;
/// The longest value that is kept as metadata, as JSON.
const MAX_METADATA: usize = 16 << 10;

/// An answer and where its access token was found.
pub(super) struct Fields<'a> {
    answer: &'a Map<String, Value>,
    beside: Option<&'a Map<String, Value>>,
    /// The fields that were ignored.
    pub(super) notes: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(answer: &'a Map<String, Value>, access_token: &str) -> Self {
        let parent = access_token
            .rsplit_once('.')
            .and_then(|(parent, _)| json::at(answer, parent));
        Self {
            answer,
            beside: parent.and_then(Value::as_object),
            notes: Vec::new(),
        }
    }

    /// A companion of the access token: beside it, or else at the top. A null beside it is an answer too: what stands at
    /// the top then belongs to another token.
    pub(super) fn get(&self, path: &str) -> Option<&'a Value> {
        self.beside
            .and_then(|beside| json::at(beside, path))
            .or_else(|| json::at(self.answer, path))
    }

    fn note<T>(&mut self, field: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.notes.contains(&field) {
            self.notes.push(field);
        }
        value
    }

    /// A lifetime, at the first of the paths that exists. Absent, zero, negative and absurd all mean unknown.
    pub(super) fn lifetime(&mut self, field: &'static str, paths: &[&str]) -> Option<Duration> {
        let value = paths.iter().find_map(|path| self.get(path))?;
        let seconds = whole(value)
            .filter(|s| (1..=MAX_LIFETIME_S).contains(s))
            .map(Duration::from_secs);
        self.note(field, seconds)
    }

    /// An absolute expiry, only where the profile says where it is and what it is written in.
    pub(super) fn instant(&mut self, profile: Option<&ExpiresAt>) -> Option<Timestamp> {
        let profile = profile?;
        let value = self.get(&profile.path)?;
        let in_unit = |per_second: u64| {
            let number = whole(value).filter(|n| (1..=MAX_TIME_S * per_second).contains(n))?;
            i64::try_from(number * (1000 / per_second)).ok().map(Timestamp)
        };
        let time = match profile.unit {
            TimeUnit::Seconds => in_unit(1),
            TimeUnit::Milliseconds => in_unit(1000),
            TimeUnit::Rfc3339 => value.as_str().and_then(Timestamp::parse),
        };
        self.note("expires_at", time)
    }

    /// What was granted: a text, or an array of texts. An empty text says as little as none (RFC 6749 section 3.2).
    pub(super) fn scopes(&mut self, path: &str, separators: &str) -> Option<Vec<String>> {
        let value = self.get(path).filter(|value| super::is_set(value))?;
        let scopes = match value {
            Value::String(text) => Some(split_scopes(text, separators)),
            Value::Array(list) => list.iter().map(|scope| scope.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let scopes = scopes.filter(|list| list.iter().all(|scope| scope.bytes().all(|b| b.is_ascii_graphic())));
        self.note("scope", scopes).filter(|list| !list.is_empty())
    }

    /// The account's id: a text without controls, or a whole number.
    pub(super) fn account_id(&mut self, path: Option<&str>) -> Option<String> {
        let value = self.top(path)?;
        let id = word(value).filter(|id| id.len() <= MAX_ID && !id.contains(char::is_control));
        self.note("account_id", id)
    }

    /// The account's name: any text, made harmless.
    pub(super) fn account_label(&mut self, path: Option<&str>) -> Option<String> {
        let value = self.top(path)?;
        let label = word(value).map(|label| text::cut(&text::clean(&label), text::MAX_TEXT).to_owned());
        self.note("account_label", label.filter(|label| !label.is_empty()))
    }

    /// What the profile names, and nothing else.
    pub(super) fn metadata(&mut self, paths: &BTreeMap<String, String>) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, path) in paths {
            let Some(value) = self.top(Some(path)) else { continue };
            let value = Some(value).filter(|value| value.to_string().len() <= MAX_METADATA);
            if let Some(value) = self.note("metadata", value) {
                kept.insert(name.clone(), value.clone());
            }
        }
        kept
    }

    fn top(&self, path: Option<&str>) -> Option<&'a Value> {
        json::at(self.answer, path?).filter(|value| super::is_set(value))
    }
}

/// A text, or a whole number as text.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// A number of seconds or milliseconds: an integer, a fraction (rounded down), or a text of digits with at most one dot.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(floor)),
        Value::String(text) => {
            let text = text.trim();
            let (integer, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if digits(integer) && digits(fraction) {
                integer.parse().ok()
            } else {
                None
            }
        }
        _ => None,
    }
}

/// Rounds down; nothing for what is negative or beyond all time.
fn floor(number: f64) -> Option<u64> {
    Duration::try_from_secs_f64(number).ok().map(|span| span.as_secs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_are_read_from_what_providers_send() {
        let table = [
            (json!(3600), Some(3600)),
            (json!(3599.5), Some(3599)),
            (json!(3.6e3), Some(3600)),
            (json!("3600"), Some(3600)),
            (json!(" 3600 "), Some(3600)),
            (json!("3600.9"), Some(3600)),
            (json!(0.5), Some(0)),
            (json!(-1), None),
            (json!(-0.5), None),
            (json!("-1"), None),
            (json!("3600s"), None),
            (json!("1e3"), None),
            (json!("inf"), None),
            (json!("1.2.3"), None),
            (json!("."), None),
            (json!(""), None),
            (json!(1e300), None),
            (json!(true), None),
            (json!(null), None),
            (json!([3600]), None),
        ];
        for (value, expected) in table {
            assert_eq!(whole(&value), expected, "{value}");
        }
    }
}
