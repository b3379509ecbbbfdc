//! The master key in a file: the only I/O of this crate.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use valetkey_core::Rng;
use valetkey_core::encode::base64;
use zeroize::Zeroizing;

use crate::{MasterKey, SealError};

/// More than any spelling of a key, and little enough to read whatever file somebody names.
const MAX_FILE: usize = 256;

impl MasterKey {
    /// Reads the key from a file that nobody but its owner can read (mode 0600 or 0400). A symbolic link is followed:
    /// what counts is the file at its end.
    pub fn read_file(path: impl AsRef<Path>) -> Result<Self, SealError> {
        let path = path.as_ref();
        let failed = |source| SealError::KeyFile {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        // Of the open file, not of the path: nothing can be exchanged in between.
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(SealError::KeyFileOpen(path.to_owned()));
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE));
        file.take(MAX_FILE as u64).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text)
    }

    /// Makes a new key and writes it to a file that must not exist yet: mode 0600, on disk when this returns.
    pub fn create_file(path: impl AsRef<Path>, rng: &dyn Rng) -> Result<Self, SealError> {
        let path = path.as_ref();
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill(&mut *bytes);
        let key = Self::from_bytes(&*bytes)?;
        let text = Zeroizing::new(base64(&*bytes));
        write_new(path, &text).map_err(|source| SealError::KeyFile {
            path: path.to_owned(),
            source,
        })?;
        Ok(key)
    }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_directory_of(path));
    if written.is_err() {
        // Half a key is worse than none: the next start would refuse it. The first error is the one to report.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// A new file survives a power failure only once its directory was written too.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
