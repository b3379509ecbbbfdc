//! YAML, read strictly: one document, no anchors, no merge keys, no custom tags, no duplicate keys, within budgets.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Error, Options, Spanned};

use crate::error::{Fault, SpecError};

/// No spec is larger.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// On which line each field of a file starts.
#[derive(Debug, Default)]
pub(crate) struct Lines(HashMap<String, u64>);

impl Lines {
    /// The line of the field, or of the nearest thing around it that has one.
    fn line(&self, field: &str) -> Option<u64> {
        let mut path = field;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// Names file and line of a fault.
    pub(crate) fn locate(&self, file: &str, fault: Fault) -> SpecError {
        SpecError {
            file: file.to_owned(),
            line: self.line(&fault.field),
            field: fault.field,
            message: fault.message,
        }
    }

    fn note(&mut self, node: &Spanned<Node>, path: &str) {
        let line = node.referenced.line();
        self.0.insert(path.to_owned(), line);
        match &node.value {
            Node::Leaf => {}
            Node::List(items) => items
                .iter()
                .enumerate()
                .for_each(|(i, item)| self.note(item, &format!("{path}[{i}]"))),
            Node::Map(members) => members.iter().for_each(|(key, value)| {
                let inner = if path.is_empty() {
                    key.value.clone()
                } else {
                    format!("{path}.{}", key.value)
                };
                self.note(value, &inner);
                // a block starts on the line after its key, and the key is what one looks for
                self.0.insert(inner, key.referenced.line());
            }),
        }
    }
}

/// Reads one document as `T`.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<(T, Lines), SpecError> {
    if text.len() > MAX_BYTES {
        return Err(SpecError::of_file(file, "is larger than 1 MiB"));
    }
    let refuse = |error: &Error, field: String| SpecError {
        file: file.to_owned(),
        line: error.location().map(|l| l.line()),
        field,
        message: message(error),
    };
    let root: Spanned<Node> =
        serde_saphyr::from_str_with_options(text, options()).map_err(|e| refuse(&e, String::new()))?;
    let mut lines = Lines::default();
    lines.note(&root, "");

    let mut field = String::new();
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|e| {
            field = e.path().to_string();
            e.into_inner()
        })
    })
    .map_err(|e| refuse(&e, std::mem::take(&mut field)))?;
    Ok((value, lines))
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_depth: 48,
            max_documents: 1,
            max_aliases: 0,
            max_anchors: 0,
            max_total_scalar_bytes: MAX_BYTES,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
        with_snippet: false,
    }
}

/// The text of an error without its place, which is told separately.
fn message(error: &Error) -> String {
    match error.without_snippet() {
        Error::Message { msg, .. } => msg.clone(),
        other => {
            let text = other.to_string();
            text.split(" at line ").next().unwrap_or_default().to_owned()
        }
    }
}

/// The shape of a document, for the lines only.
enum Node {
    Leaf,
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Node::Map(members))
    }
}

#[cfg(test)]
mod tests;
