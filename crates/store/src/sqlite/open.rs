//! How connections are opened and set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{Result, files, migrate};
use crate::StoreError;

/// How long to wait for a lock. Within the process nobody waits for one: this is for a backup or a shell from outside.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// More than there are statements, so that none is prepared twice.
pub(super) const CACHED_STATEMENTS: usize = 112;

/// Refuses a library with the defect that can corrupt a database when a checkpoint meets a writer (3.7.0 to 3.51.2), and
/// 3.52.0, which was withdrawn.
pub(super) fn check_version(number: i32) -> Result<()> {
    if number >= 3_051_003 && number != 3_052_000 {
        return Ok(());
    }
    Err(StoreError::Corrupt(format!(
        "SQLite {number} has a known defect; 3051003 or later is needed"
    )))
}

/// The one connection that writes.
pub(super) fn writer(path: &Path) -> Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Before anything is changed.
    migrate::check_owner(&conn)?;
    files::close_to_others(path)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Unavailable(
            "the file system does not allow a write-ahead log".to_owned(),
        ));
    }
    // FULL: an answer means that a power cut cannot take it back. The checkpoints are ours (`checkpoint.rs`).
    conn.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA secure_delete = ON;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -16000;",
    )?;
    Ok(conn)
}

/// One of the connections that read.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // Enough for the upper levels of every index and for the rows of the moment.
    conn.execute_batch(
        "PRAGMA query_only = ON;
         PRAGMA cache_size = -8000;",
    )?;
    Ok(conn)
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection> {
    let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // Before everything else: the change to a write-ahead log can find the database busy.
    conn.busy_timeout(PATIENCE)?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    // No mapped memory: a page that is not in memory would stop the thread where nobody expects it.
    conn.execute_batch(
        "PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA mmap_size = 0;",
    )?;
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_the_defect_are_refused() {
        for bad in [3_007_000, 3_050_006, 3_051_002, 3_052_000] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
        for good in [3_051_003, 3_053_000, rusqlite::version_number()] {
            assert!(check_version(good).is_ok(), "{good}");
        }
    }
}
