//! The rescue journal on this machine's disk: one file for each token pair that the store has not taken yet.
//!
//! A file is complete or not there: it is written beside its place, synced, moved and the directory synced. Its first
//! line says what it is, its second whose pair it is, and the rest is sealed. A full disk is a likely reason for the store
//! to fail, so some room is set aside: a file of zeros that goes when room is needed, and comes back when nothing is kept.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use valetkey_core::encode::hex;
use valetkey_core::{ConnectionKey, ConnectionName, ConnectorId, Owner, SpaceId};
use valetkey_engine::journal::{Journal, JournalError, Kept, Rescue};
use valetkey_store::rows::Sealed;

/// The first line of every file.
const MAGIC: &str = "valetkey rescue 1";

/// The longest file that is read: two tokens of 16 KiB in two layers of base64 are far below.
const MAX_LENGTH: u64 = 1 << 20;

/// How much room is set aside.
const RESERVE: usize = 1 << 20;

/// The journal in one directory.
#[derive(Clone, Debug)]
pub(crate) struct FileJournal(Arc<Place>);

#[derive(Debug)]
struct Place {
    dir: PathBuf,
    reserve: usize,
}

/// The second line: whose pair it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    space: SpaceId,
    connector: ConnectorId,
    owner: String,
    name: ConnectionName,
    parent: i64,
}

impl FileJournal {
    /// Opens the directory, or makes it, and sets the reserve aside.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        Self::with_reserve(dir, RESERVE)
    }

    fn with_reserve(dir: &Path, reserve: usize) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let place = Place {
            dir: dir.to_owned(),
            reserve,
        };
        if let Err(error) = place.set_aside() {
            tracing::warn!(%error, "no room can be set aside for the rescue journal");
        }
        Ok(Self(Arc::new(place)))
    }

    /// Files are read and synced on a thread that may wait.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> io::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let place = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&place)).await {
            Ok(done) => done.map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalError::Full,
                _ => JournalError::Unusable(error.to_string()),
            }),
            Err(error) => Err(JournalError::Unusable(error.to_string())),
        }
    }
}

#[async_trait]
impl Journal for FileJournal {
    async fn keep(&self, pair: Rescue) -> Result<(), JournalError> {
        self.run(move |place| place.keep(&pair)).await
    }

    async fn forget(&self, key: &ConnectionKey, parent: i64) -> Result<(), JournalError> {
        let name = file_name(key, parent);
        self.run(move |place| place.forget(&name)).await
    }

    async fn kept(&self) -> Result<Kept, JournalError> {
        self.run(Place::kept).await
    }
}

impl Place {
    fn keep(&self, pair: &Rescue) -> io::Result<()> {
        let label = Label {
            space: pair.key.space.clone(),
            connector: pair.key.connector.clone(),
            owner: pair.key.owner.as_stored(),
            name: pair.key.name.clone(),
            parent: pair.parent,
        };
        let mut bytes = format!("{MAGIC}\n{}\n", serde_json::to_string(&label)?).into_bytes();
        bytes.extend_from_slice(&pair.sealed.0);
        let name = file_name(&pair.key, pair.parent);
        match self.write(&name, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && self.give_up_reserve() => {
                tracing::error!("the disk is full: the reserve of the rescue journal is used up");
                self.write(&name, &bytes)
            }
            done => done,
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (beside, place) = (self.dir.join(format!("{name}.tmp")), self.dir.join(name));
        let written = create(&beside).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        if let Err(error) = written.and_then(|()| fs::rename(&beside, &place)) {
            // Half a file is of no use; the next start would remove it as well.
            drop(fs::remove_file(&beside));
            return Err(error);
        }
        self.sync()
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.sync()?;
        if let Err(error) = self.set_aside() {
            tracing::warn!(%error, "no room can be set aside for the rescue journal again");
        }
        Ok(())
    }

    fn kept(&self) -> io::Result<Kept> {
        let mut kept = Kept::default();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some("pair") => match read(&path) {
                    Some(pair) => kept.pairs.push(pair),
                    None => kept.unreadable += 1,
                },
                // A process ended while it wrote this one.
                Some("tmp") => fs::remove_file(&path)?,
                _ => {}
            }
        }
        // The order of a directory is anybody's guess.
        kept.pairs.sort_by(|a, b| (&a.key, a.parent).cmp(&(&b.key, b.parent)));
        Ok(kept)
    }

    fn reserve_file(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    /// Makes the reserve, if it is not there.
    fn set_aside(&self) -> io::Result<()> {
        let path = self.reserve_file();
        if path.exists() {
            return Ok(());
        }
        let made = create(&path).and_then(|mut file| {
            file.write_all(&vec![0; self.reserve])?;
            file.sync_all()
        });
        if made.is_err() {
            drop(fs::remove_file(&path));
        }
        made
    }

    /// Whether there was a reserve to give up.
    fn give_up_reserve(&self) -> bool {
        fs::remove_file(self.reserve_file()).is_ok() && self.sync().is_ok()
    }

    /// What was moved or removed stays so, whatever happens to the power.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn read(path: &Path) -> Option<Rescue> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_LENGTH).read_to_end(&mut bytes).ok()?;
    let rest = bytes.strip_prefix(MAGIC.as_bytes())?.strip_prefix(b"\n")?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let label: Label = serde_json::from_slice(&rest[..end]).ok()?;
    Some(Rescue {
        key: ConnectionKey {
            space: label.space,
            connector: label.connector,
            owner: Owner::from_stored(&label.owner)?,
            name: label.name,
        },
        parent: label.parent,
        sealed: Sealed(rest[end + 1..].to_vec()),
    })
}

/// Names of users and of connections are no file names: a digest of the whole key is.
fn file_name(key: &ConnectionKey, parent: i64) -> String {
    let owner = key.owner.as_stored();
    let parts = [key.space.as_str(), key.connector.as_str(), &owner, key.name.as_str()];
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    let digest = hex(digest(&SHA256, &text).as_ref());
    format!("{}-{parent}.pair", &digest[..32])
}

#[cfg(test)]
mod tests;
