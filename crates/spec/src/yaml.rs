//! YAML, read strictly: one document, no anchors, no merge keys, no custom tags, no duplicate keys, within budgets.

mod lines;

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Options};

use crate::error::SpecError;

pub(crate) use lines::locate;

/// No spec is larger.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Reads one document as `T`.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, SpecError> {
    if text.len() > MAX_BYTES {
        return Err(SpecError::of_file(file, "is larger than 1 MiB"));
    }
    let mut field = String::new();
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|e| {
            field = e.path().to_string();
            e.into_inner()
        })
    });
    value.map_err(|error| SpecError {
        file: file.to_owned(),
        line: error.location().map(|l| l.line()),
        field: if field == "." { String::new() } else { field },
        message: message(&error),
    })
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

#[cfg(test)]
mod tests;
