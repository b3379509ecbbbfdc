//! The files under `schema/`: what the binary prints about itself, so that a change of the contract shows in review.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::shell::{Workspace, say};

/// A subcommand of the binary, and the file that holds what it prints.
const GENERATED: [(&str, &str); 2] = [
    ("openapi", "schema/openapi.json"),
    ("spec-schema", "schema/spec.schema.json"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    Check,
}

pub(crate) fn run(workspace: &Workspace, mode: Mode) -> Result<()> {
    let mut stale = Vec::new();
    for (command, file) in GENERATED {
        let path = workspace.root().join(file);
        let printed = workspace.output("cargo", &["run", "--quiet", "--package", "valetkey", "--", command])?;
        if !printed.trim_start().starts_with('{') {
            bail!("`valetkey {command}` did not print a JSON object");
        }
        let printed = format!("{}\n", printed.trim_end());
        let stored = fs::read_to_string(&path).unwrap_or_default();
        if printed == stored {
            say(&format!("{file}: up to date"));
        } else if mode == Mode::Check {
            say(&format!("{file}: line {} differs", first_difference(&printed, &stored)));
            stale.push(file);
        } else {
            fs::write(&path, printed).with_context(|| format!("cannot write {path}"))?;
            say(&format!("{file}: written"));
        }
    }
    if !stale.is_empty() {
        bail!(
            "{} not what the code says: run `cargo xtask gen` and commit the result",
            stale.join(", ")
        );
    }
    Ok(())
}

/// Counts from 1, as editors do.
fn first_difference(one: &str, other: &str) -> usize {
    1 + one.lines().zip(other.lines()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_by_its_line() {
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), 2);
        assert_eq!(first_difference("a\nb\n", ""), 1);
        assert_eq!(first_difference("a\nb\n", "a\n"), 2);
    }
}
