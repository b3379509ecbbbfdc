//! The high-water mark: a small file beside the store that says what was last seen of it, so that a store which was put
//! back from a backup is noticed. It must not be in the backup itself.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use valetkey_engine::{Engine, HighWater, Restored, Result};

/// The mark of one data directory.
#[derive(Debug)]
pub(crate) struct Water {
    file: PathBuf,
    /// What is in the file, as far as this process knows.
    kept: Option<HighWater>,
}

impl Water {
    /// Reads the mark. One that cannot be read is none: the store works without, only a restore goes unnoticed.
    pub(crate) fn open(data_dir: &Path) -> Self {
        let file = data_dir.join("high-water");
        let kept = match fs::read(&file) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(mark) => Some(mark),
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "the high-water mark makes no sense and is begun anew");
                    None
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the high-water mark cannot be read");
                None
            }
        };
        Self { file, kept }
    }

    /// Compares the store with the mark. If it is older, that is noted in the store, and the mark goes back with it.
    pub(crate) async fn check(&mut self, engine: &Engine) -> Result<Option<Restored>> {
        match &self.kept {
            Some(mark) if engine.is_older_than(mark).await? => self.mark_restored(engine).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Notes in the store that it was put back from a backup.
    pub(crate) async fn mark_restored(&mut self, engine: &Engine) -> Result<Restored> {
        let restored = engine.mark_restored().await?;
        self.keep(engine).await?;
        Ok(restored)
    }

    /// Writes down what the newest is, if it is another than before.
    pub(crate) async fn keep(&mut self, engine: &Engine) -> Result<()> {
        let newest = engine.high_water().await?;
        if newest != self.kept
            && let Some(mark) = &newest
        {
            match self.write(mark) {
                Ok(()) => self.kept = newest,
                Err(error) => {
                    tracing::warn!(file = %self.file.display(), %error, "the high-water mark cannot be written");
                }
            }
        }
        Ok(())
    }

    /// Not synced: a mark that a power cut takes back a little is a lower one, and that is still right.
    fn write(&self, mark: &HighWater) -> io::Result<()> {
        let new = self.file.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(mark)?)?;
        fs::rename(&new, &self.file)
    }
}

/// What an operator is told.
pub(crate) fn describe(restored: &Restored) -> String {
    format!(
        "the store was put back from a backup: {} connections have a refresh token of then, which providers may have \
         replaced since. Only a few of each provider are renewed ahead of time until one succeeds; one that the provider \
         refuses must be connected again (reason `restored`)",
        restored.connections
    )
}
