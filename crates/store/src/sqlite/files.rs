//! The files beside and below the database.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use super::Result;
use crate::StoreError;

/// Takes the lock file beside the database (`valetkey.db` has `valetkey.lock`), or says that another process has it.
pub(super) fn lock(database: &Path) -> Result<File> {
    let file = open(&database.with_extension("lock")).map_err(|e| cannot("the lock file cannot be opened", &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(
            "another process has it open, and only one may".to_owned(),
        )),
        Err(TryLockError::Error(e)) => Err(cannot("the lock file cannot be locked", &e)),
    }
}

/// Makes the database file before `SQLite` does, so that it is never readable for others, not even for a moment. Its
/// own files get the same mode from `SQLite`.
pub(super) fn prepare(database: &Path) -> Result<()> {
    let file = open(database).map_err(|e| cannot("the database file cannot be opened", &e))?;
    close_to_others(&file).map_err(|e| cannot("the database file's mode cannot be changed to 0600", &e))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A file restored from a backup often comes back with the mode that the umask gives.
#[cfg(unix)]
fn close_to_others(file: &File) -> io::Result<()> {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    const OTHERS: u32 = 0o077;
    let mode = file.metadata()?.permissions().mode();
    if mode & OTHERS == 0 {
        Ok(())
    } else {
        file.set_permissions(Permissions::from_mode(mode & !OTHERS))
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the signature is the one of the other form")]
fn close_to_others(_file: &File) -> io::Result<()> {
    Ok(())
}

fn cannot(what: &str, cause: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{what}: {cause}"))
}
