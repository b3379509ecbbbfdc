//! Where in a file a field is. Asked only when something is wrong with it.

use std::collections::HashMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::options;
use crate::error::{Fault, SpecError};

/// Names file and line of a fault.
pub(crate) fn locate(file: &str, text: &str, fault: Fault) -> SpecError {
    let mut lines = Lines::default();
    if let Ok(root) = serde_saphyr::from_str_with_options(text, options()) {
        lines.note(&root, "");
    }
    SpecError {
        file: file.to_owned(),
        line: lines.line(&fault.field),
        field: fault.field,
        message: fault.message,
    }
}

/// On which line each field of a file starts.
#[derive(Debug, Default)]
struct Lines(HashMap<String, u64>);

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
