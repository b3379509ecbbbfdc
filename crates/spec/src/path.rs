//! Paths: templates of a spec, paths that a caller gives, and the one place where either is joined to a base URL.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use url::Url;

use crate::error::FieldError;

/// RFC 6570 section 3.2.2: everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// So many layers of percent-encoding are looked through; what has more is refused.
const MAX_LAYERS: usize = 4;

/// Why a path is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is a full URL, names a host, or has no leading slash.
    #[error("must start with one slash and be relative to the base URL")]
    NotRelative,
    /// It has a character that must be percent-encoded, or a broken percent-encoding.
    #[error("has a character that must be percent-encoded, or a broken percent-encoding")]
    BadCharacter,
    /// It would leave its place: `..`, in whatever encoding.
    #[error("would leave its place: . and .. are not allowed as segments")]
    Climbs,
}

/// Joins a path, which may end in a query, to a base URL. The result is under the base: what it says is what is sent.
pub fn join_path(base: &Url, path_and_query: &str) -> Result<Url, PathError> {
    let (path, query) = path_and_query
        .split_once('?')
        .map_or((path_and_query, None), |(p, q)| (p, Some(q)));
    check_path(path)?;
    if path.is_empty() && query.is_some() {
        return Err(PathError::NotRelative);
    }
    if !query.unwrap_or_default().bytes().all(|b| is_path_byte(b) || b == b'?') {
        return Err(PathError::BadCharacter);
    }
    let prefix = base.path().trim_end_matches('/');
    let joined = format!("{prefix}{path}");
    let mut url = base.clone();
    url.set_path(&joined);
    url.set_query(query);
    url.set_fragment(None);
    // the parser must agree with the check, byte by byte
    let same = url.path() == if joined.is_empty() { "/" } else { &joined };
    if same && url.origin() == base.origin() {
        Ok(url)
    } else {
        Err(PathError::BadCharacter)
    }
}

/// Refuses what is not plainly a path below a base: empty, or from the first slash on.
pub(crate) fn check_path(path: &str) -> Result<(), PathError> {
    if !path.is_empty() && (!path.starts_with('/') || path.starts_with("//")) {
        return Err(PathError::NotRelative);
    }
    if !path.bytes().all(is_path_byte) || !is_encoded(path) {
        return Err(PathError::BadCharacter);
    }
    let mut layer = path.to_owned();
    for _ in 0..MAX_LAYERS {
        if layer.split(['/', '\\']).any(is_dots) {
            return Err(PathError::Climbs);
        }
        if layer.chars().any(char::is_control) {
            return Err(PathError::BadCharacter);
        }
        let decoded = percent_decode_str(&layer).decode_utf8_lossy().into_owned();
        if decoded == layer {
            return Ok(());
        }
        layer = decoded;
    }
    Err(PathError::Climbs)
}

/// Servers cut parameters (`..;x`) off a segment, and some trim it, before they look at it.
fn is_dots(segment: &str) -> bool {
    matches!(segment.split(';').next().unwrap_or_default().trim(), "." | "..")
}

/// RFC 3986 section 3.3, with the slash.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

/// Whether each `%` starts an encoded byte.
fn is_encoded(text: &str) -> bool {
    let is_hex = |part: &str| part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    text.split('%').skip(1).all(is_hex)
}

/// A path with variables: `/pages/{pageId}` (RFC 6570 level 1) and `/root:{/path*}:/children`, where the value is a
/// path itself and each of its segments is encoded (level 4).
#[derive(Clone, Debug)]
pub(crate) struct PathTemplate(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Segment(String),
    Segments(String),
}

impl PathTemplate {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (variable, after) = after.split_once('}').ok_or("has a { without its }")?;
            parts.push(Part::Text(before.to_owned()));
            let exploded = variable.strip_prefix('/').and_then(|v| v.strip_suffix('*'));
            let name = exploded.unwrap_or(variable);
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(format!("{{{variable}}} is neither {{name}} nor {{/name*}}"));
            }
            parts.push(if exploded.is_some() {
                Part::Segments(name.into())
            } else {
                Part::Segment(name.into())
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self(parts);
        let sample = template.render(|_| Some(Value::from("x"))).map_err(|e| e.message)?;
        check_path(&sample).map_err(|e| e.to_string())?;
        Ok(template)
    }

    /// The names of its variables.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Segment(name) | Part::Segments(name) => Some(name.as_str()),
        })
    }

    /// Puts values in, so that none of them can change what the path is.
    pub(crate) fn render(&self, value: impl Fn(&str) -> Option<Value>) -> Result<String, FieldError> {
        let mut path = String::new();
        let refuse = |name: &str, why: &str| FieldError::new(format!("input.{name}"), why);
        for part in &self.0 {
            let (name, exploded) = match part {
                Part::Text(text) => {
                    path.push_str(text);
                    continue;
                }
                Part::Segment(name) => (name, false),
                Part::Segments(name) => (name, true),
            };
            let text = value(name)
                .as_ref()
                .and_then(scalar)
                .ok_or_else(|| refuse(name, "is required"))?;
            let segments: Vec<_> = if exploded {
                text.trim_matches('/').split('/').collect()
            } else {
                vec![&text]
            };
            for segment in segments {
                if segment.is_empty() {
                    return Err(refuse(name, "is empty, or has an empty segment"));
                }
                let encoded = utf8_percent_encode(segment, ENCODED).to_string();
                check_path(&format!("/{encoded}")).map_err(|e| refuse(name, &e.to_string()))?;
                if exploded {
                    path.push('/');
                }
                path.push_str(&encoded);
            }
        }
        Ok(path)
    }
}

/// The text of a value that can stand in a path or a query.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
