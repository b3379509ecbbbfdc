//! Where master keys come from: a setting, or a file that is made for the one that needs it first.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use valetkey_core::{Rng, Secret};
use valetkey_seal::{KeySource as _, MasterKey, SealError};

use crate::app::{Place, Refusal};
use crate::config::Config;

/// The names of keys that stand in this project's documentation and test vectors, and so protect nothing.
const PUBLISHED: [&str; 3] = ["0a78733adcb66c5b", "410c2e60178bd14a", "b953df8a9b801d04"];

/// Reads a key that a setting holds.
fn parse(text: &Secret<String>) -> Result<MasterKey, SealError> {
    MasterKey::parse(text.expose()).and_then(unpublished)
}

fn unpublished(key: MasterKey) -> Result<MasterKey, SealError> {
    if PUBLISHED.contains(&key.id()) {
        return Err(SealError::WeakKey("must be your own: this one is published"));
    }
    Ok(key)
}

/// The master key: given, read from its file, or made for a new store. It is never made for one that exists.
pub(crate) async fn master_key(config: &Config, place: &Place, rng: &dyn Rng) -> Result<MasterKey> {
    let refuse = |what: &str, error: &dyn fmt::Display| Refusal::Configuration(format!("{what}: {error}"));
    if let Some(text) = &config.master_key {
        return Ok(parse(text).map_err(|e| refuse("master_key", &e))?);
    }
    let file = &config.master_key_file;
    let named = format!("master_key_file {}", file.display());
    if file.exists() {
        let key = MasterKey::read_file(file).and_then(unpublished);
        return Ok(key.map_err(|e| refuse(&named, &e))?);
    }
    if place.store().vault().await?.is_some() {
        return Err(Refusal::Configuration(format!(
            "{named} does not exist, but {place} was made with one. Put the file back, or set master_key; nothing was changed"
        ))
        .into());
    }
    Ok(MasterKey::create_file(file, rng).map_err(|e| refuse(&named, &e))?)
}

/// Where the master key is that the one in use is exchanged for.
#[derive(Clone, Debug)]
pub(crate) struct NewMaster {
    given: Option<Secret<String>>,
    file: PathBuf,
}

/// The new master key, and where it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) key: MasterKey,
    /// Its file; `None` if a setting holds it.
    pub(crate) file: Option<PathBuf>,
    /// Whether the file was made just now.
    pub(crate) made: bool,
}

impl NewMaster {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            given: config.new_master_key.clone(),
            file: config.new_master_key_file.clone(),
        }
    }

    /// Reads the new master key; makes its file if there is none. The error says where it was looked for, never what was
    /// found.
    pub(crate) fn find(&self, rng: &dyn Rng) -> Result<Found, String> {
        if let Some(text) = &self.given {
            let key = parse(text).map_err(|e| format!("new_master_key: {e}"))?;
            return Ok(Found {
                key,
                file: None,
                made: false,
            });
        }
        let refuse = |error: SealError| match &error {
            SealError::KeyFile { source, .. } => format!("new_master_key_file: {error}: {source}"),
            _ => format!("new_master_key_file {}: {error}", self.file.display()),
        };
        let made = !self.file.exists();
        let key = if made {
            MasterKey::create_file(&self.file, rng)
        } else {
            MasterKey::read_file(&self.file).and_then(unpublished)
        };
        Ok(Found {
            key: key.map_err(refuse)?,
            file: Some(self.file.clone()),
            made,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d34_keys_that_everybody_can_read_in_this_repository_are_refused() {
        let vectors = include_str!("../../seal/tests/vectors.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).expect("JSON");
        let (_, documented) = include_str!("../../seal/src/lib.rs")
            .split_once("MasterKey::parse(\"")
            .expect("an example");
        let documented = documented.split('"').next();
        let known = [
            vectors["master_key"].as_str(),
            vectors["other_master"]["key"].as_str(),
            documented,
        ];
        for key in known {
            let key = Secret::new(key.expect("a key").to_owned());
            let refused = parse(&key).expect_err("it is published");
            assert!(refused.to_string().contains("published"), "{refused}");
        }
        let own = Secret::from("c41d7fa2905e8b36e7f0135a6d92bc488e21d3f4750ab96c1f5e83da2746b09c");
        parse(&own).expect("a key that is written nowhere else");
    }
}
