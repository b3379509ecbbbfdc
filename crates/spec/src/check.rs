//! `valetkey check-spec`: reads a spec as the server would, and plays the tests beside it.
//!
//! The tests are data: what goes in, which requests are expected, what is answered, and what comes out. See
//! `docs/specs.md` for the format.

mod play;
mod tests_file;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::catalogue::{Catalogue, text};
use crate::error::{Fault, SpecError};
use crate::spec::Spec;
use crate::yaml;
use tests_file::Case;

/// A spec that was read, and whose tests passed.
#[derive(Debug)]
pub struct Checked {
    /// The spec.
    pub spec: Spec,
    /// How many tests it has.
    pub tests: usize,
    /// The actions that no test runs.
    pub untested: Vec<String>,
}

/// Checks a spec file, and plays the tests beside it (`tests.yaml`, or `name.tests.yaml` for `name.yaml`), if there are
/// any. The first fault ends it.
pub fn check_spec(path: &Path) -> Result<Checked, SpecError> {
    let spec = Catalogue::read(path)?;
    let file = tests_path(path);
    let mut untested: BTreeSet<_> = spec.actions().map(|(name, _)| name.to_owned()).collect();
    let mut tests = 0;
    if file.is_file() {
        let name = file.display().to_string();
        let text = text(&file)?;
        let cases = yaml::read::<Vec<Case>>(&name, &text)?;
        for (i, case) in cases.iter().enumerate() {
            play::play(&spec, case).map_err(|fault| {
                let dot = if fault.field.is_empty() { "" } else { "." };
                let place = Fault::new(format!("[{i}]{dot}{}", fault.field), fault.message);
                let colon = if fault.field.is_empty() { "" } else { ": " };
                let field = format!("{}{colon}{}", case.name, fault.field);
                SpecError {
                    field,
                    ..yaml::locate(&name, &text, place)
                }
            })?;
            if case.ran() {
                untested.remove(&case.action);
            }
        }
        tests = cases.len();
    }
    Ok(Checked {
        spec,
        tests,
        untested: untested.into_iter().collect(),
    })
}

fn tests_path(spec: &Path) -> PathBuf {
    if spec.file_name().is_some_and(|name| name == "spec.yaml") {
        spec.with_file_name("tests.yaml")
    } else {
        spec.with_extension("tests.yaml")
    }
}
