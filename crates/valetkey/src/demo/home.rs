//! The demo's data directory, and the settings that follow from it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use toml::{Table, Value};
use valetkey_core::encode::{base64url, hex};
use valetkey_core::{Rng, Secret};

use crate::config::{Config, Values};
use crate::system::SystemRng;

/// Where a kept directory keeps its admin key: the server recognises it at the next start.
const KEY_FILE: &str = "demo-admin.key";

/// A data directory with the admin key of its server. A temporary one is removed when this is dropped.
pub(super) struct Home {
    path: PathBuf,
    admin_key: Secret<String>,
    temporary: bool,
}

impl Home {
    /// Opens the given directory, or makes a temporary one.
    pub(super) fn open(kept: Option<PathBuf>) -> Result<Self> {
        let rng: &dyn Rng = &SystemRng;
        let temporary = kept.is_none();
        let path =
            kept.unwrap_or_else(|| std::env::temp_dir().join(format!("valetkey-demo-{}", hex(&rng.bytes::<8>()))));
        DirBuilder::new()
            .recursive(!temporary)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        // From here on the directory is removed, whatever goes wrong.
        let mut home = Self {
            path,
            admin_key: Secret::new(format!("vk_demo_{}", base64url(&rng.bytes::<24>()))),
            temporary,
        };
        if !temporary {
            home.keep_key()?;
        }
        Ok(home)
    }

    /// Takes the key of an earlier run, or writes this one down.
    fn keep_key(&mut self) -> Result<()> {
        let file = self.path.join(KEY_FILE);
        if file.exists() {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            self.admin_key = Secret::from(text.trim());
            return Ok(());
        }
        if fs::read_dir(&self.path)?.next().is_some() {
            bail!(
                "{} is not empty and was not made by the demo; choose another",
                self.path.display()
            );
        }
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)?;
        out.write_all(self.admin_key.expose().as_bytes())
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// The admin key of the server.
    pub(super) fn admin_key(&self) -> &Secret<String> {
        &self.admin_key
    }

    /// Where it is, and what becomes of it.
    pub(super) fn describe(&self) -> String {
        let fate = if self.temporary { "removed at the end" } else { "kept" };
        format!("{} ({fate})", self.path.display())
    }

    /// The settings of the server. They come from here alone: the environment of an installation has no say in a demo.
    pub(super) fn config(&self, listen: SocketAddr, page: &str) -> Result<Config> {
        let text = |text: &str| Value::String(text.to_owned());
        let list = |item: &str| Value::Array(vec![text(item)]);
        let table: Table = [
            ("listen", text(&listen.to_string())),
            ("data_dir", text(path_text(&self.path)?)),
            ("public_base_url", text(&format!("http://{listen}"))),
            ("bootstrap_api_key", text(self.admin_key.expose())),
            ("allow_networks", list("127.0.0.0/8")),
            ("allow_insecure_http", list("127.0.0.1")),
            ("allowed_return_origins", list(page)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let mut values = Values::default();
        values.add_file(&table.to_string(), "the demo's settings")?;
        values.check()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the temporary data directory cannot be removed");
        }
    }
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8; choose another --data-dir", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_goes_and_a_kept_one_keeps_its_key() {
        let home = Home::open(None).expect("a temporary directory");
        let path = home.path.clone();
        assert!(path.is_dir());
        drop(home);
        assert!(!path.exists());

        let place = tempfile::tempdir().expect("a directory");
        let kept = || Home::open(Some(place.path().join("kept"))).expect("a kept directory");
        let first = kept().admin_key().expose().clone();
        assert_eq!(kept().admin_key().expose(), &first);
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let place = tempfile::tempdir().expect("a directory");
        fs::write(place.path().join("valetkey.db"), "precious").expect("a file");
        assert!(Home::open(Some(place.path().to_owned())).is_err());
    }

    #[test]
    fn the_settings_are_valid() {
        let home = Home::open(None).expect("a temporary directory");
        let listen = "127.0.0.1:7420".parse().expect("an address");
        let config = home.config(listen, "http://127.0.0.1:7421").expect("settings");
        assert_eq!(config.allowed_return_origins, ["http://127.0.0.1:7421"]);
        assert_eq!(config.data_dir, home.path);
    }
}
