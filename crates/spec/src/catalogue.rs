//! The catalogue: the specs in this library, and more from a directory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use crate::error::SpecError;
use crate::spec::Spec;
use crate::yaml::MAX_BYTES;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// No directory has more specs.
const MAX_SPECS: usize = 2000;

/// A folder of `connectors/`.
pub(crate) struct Embedded {
    folder: &'static str,
    spec: &'static str,
    icon: Option<&'static str>,
    workflows: &'static [(&'static str, &'static str)],
}

/// Every connector type there is. A clone shares them.
#[derive(Clone, Debug)]
pub struct Catalogue {
    specs: BTreeMap<String, Arc<Spec>>,
}

impl Catalogue {
    /// The connector types in this library.
    pub fn embedded() -> Result<Self, SpecError> {
        let mut catalogue = Self { specs: BTreeMap::new() };
        for embedded in EMBEDDED {
            let file = format!("connectors/{}/spec.yaml", embedded.folder);
            let mut spec = Spec::parse(&file, embedded.spec)?;
            spec.icon = embedded.icon.map(ToOwned::to_owned);
            spec.workflows = embedded
                .workflows
                .iter()
                .map(|(name, yaml)| ((*name).into(), (*yaml).into()))
                .collect();
            catalogue.add(&file, spec)?;
        }
        Ok(catalogue)
    }

    /// The connector types in this library, and those of a directory: `<name>/spec.yaml` with what lies beside it, or
    /// `<name>.yaml` (`<name>.tests.yaml` are its tests). It may add connector types, and not replace any.
    pub fn load(overlay: Option<&Path>) -> Result<Self, SpecError> {
        let mut catalogue = Self::embedded()?;
        let Some(overlay) = overlay else { return Ok(catalogue) };
        let name = overlay.display().to_string();
        let entries = sorted(overlay).map_err(|e| SpecError::of_file(&name, format!("cannot be read: {e}")))?;
        let files = entries.into_iter().filter_map(|entry| {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            let is_yaml = (name.ends_with(".yaml") || name.ends_with(".yml")) && !name.ends_with(".tests.yaml");
            if is_yaml && entry.is_file() {
                Some(entry)
            } else {
                Some(entry.join("spec.yaml")).filter(|s| s.is_file())
            }
        });
        for file in files {
            let spec = Self::read(&file)?;
            catalogue.add(&file.display().to_string(), spec)?;
        }
        Ok(catalogue)
    }

    /// Reads one spec and, where it has a folder of its own, what lies beside it.
    pub(crate) fn read(file: &Path) -> Result<Spec, SpecError> {
        let mut spec = Spec::parse(&file.display().to_string(), &text(file)?)?;
        if let Some(folder) = file
            .parent()
            .filter(|_| file.file_name().is_some_and(|name| name == "spec.yaml"))
        {
            let icon = folder.join("icon.svg");
            spec.icon = if icon.is_file() { Some(text(&icon)?) } else { None };
            for workflow in sorted(&folder.join("workflows")).unwrap_or_default() {
                let name = workflow.file_name().unwrap_or_default().to_string_lossy().into_owned();
                spec.workflows.push((name, text(&workflow)?));
            }
        }
        Ok(spec)
    }

    fn add(&mut self, file: &str, spec: Spec) -> Result<(), SpecError> {
        let refuse = |message: &str| SpecError {
            field: "id".to_owned(),
            ..SpecError::of_file(file, message)
        };
        if self.specs.len() >= MAX_SPECS {
            return Err(refuse("is one connector type too many"));
        }
        match self.specs.entry(spec.id.to_string()) {
            Entry::Occupied(_) => Err(refuse("is the id of another connector type, which may not be replaced")),
            Entry::Vacant(place) => {
                place.insert(Arc::new(spec));
                Ok(())
            }
        }
    }

    /// A connector type.
    pub fn get(&self, id: &str) -> Option<&Arc<Spec>> {
        self.specs.get(id)
    }

    /// All connector types, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Spec>> {
        self.specs.values()
    }
}

/// The text of a file that is not larger than any spec may be.
pub(crate) fn text(file: &Path) -> Result<String, SpecError> {
    let name = file.display().to_string();
    let refuse = |e: io::Error| SpecError::of_file(&name, format!("cannot be read: {e}"));
    if fs::metadata(file).map_err(refuse)?.len() > MAX_BYTES as u64 {
        return Err(SpecError::of_file(&name, "is larger than 1 MiB"));
    }
    fs::read_to_string(file).map_err(refuse)
}

/// The entries of a directory in a fixed order.
fn sorted(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests;
