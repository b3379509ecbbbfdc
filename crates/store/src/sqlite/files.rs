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

/// Makes the database file before `SQLite` does, so that it is never readable for others, not even for a moment.
pub(super) fn create(database: &Path) -> Result<()> {
    open(database)
        .map(drop)
        .map_err(|e| cannot("the database file cannot be opened", &e))
}

/// Takes everybody else's rights to the database and to `SQLite`'s own files away: files restored from a backup often
/// come back with those that the umask gives. By path, because closing a second handle would end `SQLite`'s locks.
#[cfg(unix)]
pub(super) fn close_to_others(database: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = database.as_os_str().to_owned();
        file.push(suffix);
        match close_one(file.as_ref()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(cannot("a file's mode cannot be changed to 0600", &e));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(unix)]
fn close_one(file: &Path) -> io::Result<()> {
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    const OTHERS: u32 = 0o077;
    let mode = metadata(file)?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    set_permissions(file, Permissions::from_mode(mode & !OTHERS))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the signature is the one of the other form")]
pub(super) fn close_to_others(_database: &Path) -> Result<()> {
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn cannot(what: &str, cause: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{what}: {cause}"))
}
