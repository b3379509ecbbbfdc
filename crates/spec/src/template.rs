//! URLs and hosts with placeholders. `{tenantId}` is a field of the connector's config, `{metadata.instance_url}` is
//! kept from the connection's token response. Templates are in spec files only; what a caller sends is never one (E14).

mod host;
mod typed;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use url::Url;

use crate::error::FieldError;
use crate::path;

pub(crate) use host::HostTemplate;
pub(crate) use typed::{base_url, endpoint};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where placeholders get their values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    pub(crate) config: &'a Map<String, Value>,
    pub(crate) metadata: &'a Map<String, Value>,
}

impl<'a> Places<'a> {
    fn value(self, name: &str) -> Result<&'a Value, FieldError> {
        let value = match name.strip_prefix("metadata.") {
            Some(name) => self.metadata.get(name),
            None => self.config.get(name),
        };
        value
            .filter(|v| !v.is_null())
            .ok_or_else(|| refuse(name, "is required"))
    }

    fn text(self, name: &str) -> Result<&'a str, FieldError> {
        self.value(name)?
            .as_str()
            .ok_or_else(|| refuse(name, "must be a string"))
    }
}

fn refuse(name: &str, why: &str) -> FieldError {
    let place = if name.starts_with("metadata.") { "" } else { "config." };
    FieldError::new(format!("{place}{name}"), why)
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Name(String),
}

fn split(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("has a { without its }")?;
        let bare = name.strip_prefix("metadata.").unwrap_or(name);
        if bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("{{{name}}} is not the name of a field"));
        }
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(Part::Name(name.to_owned()));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// The host with its placeholders filled in: each value is one label, so that none can move the host (E13).
fn fill_host(parts: &[Part], places: Places<'_>) -> Result<String, FieldError> {
    let mut host = String::new();
    for part in parts {
        match part {
            Part::Text(text) => host.push_str(text),
            Part::Name(name) => {
                let label = places.text(name)?;
                if !is_label(label) {
                    return Err(refuse(
                        name,
                        "must be one label of a host name: a-z, 0-9 and -, at most 63 characters",
                    ));
                }
                host.push_str(label);
            }
        }
    }
    Ok(host)
}

fn is_label(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && edge(bytes.first())
        && edge(bytes.last())
        && !text.starts_with("xn--")
}

fn names(parts: &[Part]) -> impl Iterator<Item = &str> {
    parts.iter().filter_map(|part| {
        if let Part::Name(name) = part {
            Some(name.as_str())
        } else {
            None
        }
    })
}

/// An URL with placeholders in host and path, or one that a field gives whole.
#[derive(Clone, Debug)]
pub(crate) struct UrlTemplate {
    start: Start,
    rest: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Start {
    Host(Vec<Part>),
    Whole(String),
}

impl UrlTemplate {
    /// Reads a template: `https://…`, or `{field}` and perhaps a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let template = if text.starts_with('{') {
            let mut parts = split(text)?;
            match parts.remove(0) {
                Part::Name(name) => Self {
                    start: Start::Whole(name),
                    rest: parts,
                },
                Part::Text(_) => return Err("must start with https://".to_owned()),
            }
        } else {
            let rest = text.strip_prefix("https://").ok_or("must start with https://")?;
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            Self {
                start: Start::Host(split(&rest[..end])?),
                rest: split(&rest[end..])?,
            }
        };
        template.check()?;
        Ok(template)
    }

    /// Renders it once with sample values, so that a template that cannot work is refused when it is read.
    fn check(&self) -> Result<(), String> {
        let (mut config, mut metadata) = (Map::new(), Map::new());
        for name in self.names() {
            let whole = matches!(&self.start, Start::Whole(start) if start == name);
            let value = Value::from(if whole { "https://x.y" } else { "x" });
            match name.strip_prefix("metadata.") {
                Some(name) => metadata.insert(name.to_owned(), value),
                None => config.insert(name.to_owned(), value),
            };
        }
        self.render(Places {
            config: &config,
            metadata: &metadata,
        })
        .map(drop)
        .map_err(|e| e.message)
    }

    /// The names of its placeholders.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let (host, whole) = match &self.start {
            Start::Host(parts) => (parts.as_slice(), None),
            Start::Whole(name) => (&[] as &[Part], Some(name.as_str())),
        };
        whole.into_iter().chain(names(host)).chain(names(&self.rest))
    }

    /// Whether it is the same for every connector.
    pub(crate) fn is_fixed(&self) -> bool {
        self.names().next().is_none()
    }

    /// Whether this template, filled in somehow, could have made the URL.
    pub(crate) fn could_make(&self, url: &str) -> bool {
        let host = match &self.start {
            Start::Host(parts) => parts.as_slice(),
            Start::Whole(_) => &[],
        };
        let texts = host.iter().chain(&self.rest).map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Name(_) => "",
        });
        let Some(mut left) = url.strip_prefix("https://") else {
            return false;
        };
        for text in texts.filter(|text| !text.is_empty()) {
            let Some(at) = left.find(text) else { return false };
            left = &left[at + text.len()..];
        }
        let ends_open = matches!(self.rest.last().or(host.last()), Some(Part::Name(_)));
        left.is_empty() || ends_open
    }

    /// Fills the placeholders in.
    pub(crate) fn render(&self, places: Places<'_>) -> Result<Url, FieldError> {
        let mut rest = String::new();
        for part in &self.rest {
            match part {
                Part::Text(text) => rest.push_str(text),
                Part::Name(name) => {
                    let encoded = utf8_percent_encode(places.text(name)?, ENCODED).to_string();
                    path::check_path(&format!("/{encoded}")).map_err(|e| refuse(name, &e.to_string()))?;
                    rest.push_str(&encoded);
                }
            }
        }
        let name = self.names().next().unwrap_or_default();
        let base = match &self.start {
            Start::Whole(name) => base_url(places.text(name)?).map_err(|why| refuse(name, why))?,
            Start::Host(parts) => {
                let host = fill_host(parts, places)?;
                let url = base_url(&format!("https://{host}")).map_err(|why| refuse(name, why))?;
                let parsed = &url[url::Position::BeforeUsername..url::Position::AfterPort];
                if parsed != host.strip_suffix(":443").unwrap_or(&host) {
                    return Err(refuse(name, "makes another host than the spec says"));
                }
                url
            }
        };
        path::join_path(&base, &rest).map_err(|e| refuse(name, &e.to_string()))
    }
}

#[cfg(test)]
mod tests;
