//! The embedded engine: one `SQLite` file, one writer thread, readers in place.
//!
//! **Writing.** Every operation that changes something runs on one thread, and that thread commits in groups: it takes
//! whatever waits, runs each operation in a savepoint of one transaction, and answers all of them after the commit. So
//! an answer means that the change is on disk, operations never race each other, and a sync is shared by many.
//!
//! **Reading.** Reads run on the caller's thread, on a few read-only connections with prepared statements. They take
//! microseconds, less than a change of threads would. They see exactly what was committed.
//!
//! **One process.** A lock file beside the database is held for as long as the store is open.
//!
//! To add an operation: its statements go to the `statements!` list of its subject's file, so that a test prepares them;
//! its body becomes a function over a connection there; the trait's method calls it through `read` or `write`. To change
//! the schema: add a numbered file to `migrations/sqlite` and a line to `migrate.rs`; never edit one that was released.

mod audit;
mod check;
mod checkpoint;
mod connection;
mod connections;
mod connectors;
mod error;
mod fields;
mod files;
mod flows;
mod jobs;
mod keys;
mod limits;
mod migrate;
mod open;
mod reader;
mod refresh;
mod sessions;
mod tallies;
#[cfg(test)]
mod tests;
mod transfer;
#[cfg(test)]
mod upgrade;
mod vault;
mod walk;
mod writer;

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use crate::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

/// Names the SQL statements of a subject, so that each is written once and a test can prepare all of them.
macro_rules! statements {
    ($($name:ident = $sql:expr;)+) => {
        $(const $name: &str = $sql;)+

        #[cfg(test)]
        pub(super) const ALL: &[&str] = &[$($name),+];
    };
}
use statements;

/// A store in one `SQLite` file. See [`crate::sqlite`].
pub struct SqliteStore {
    readers: reader::Readers,
    writer: writer::Writer,
    holders: Arc<refresh::Holders>,
    /// Held, never read: its lock ends when it is closed.
    _lock: File,
}

impl SqliteStore {
    /// Opens the database file, or makes a new one of mode 0600, and brings its schema up to date. The lock file and
    /// `SQLite`'s own files lie beside it.
    ///
    /// It is [`StoreError::Unavailable`] when another process has it open, and [`StoreError::Corrupt`] when the schema
    /// is a newer one or not the one that this program made.
    pub fn open(path: &Path) -> Result<Self> {
        open::check_version(rusqlite::version_number())?;
        let lock = files::lock(path)?;
        files::create(path)?;
        let was_cut_off = check::was_cut_off(path);
        let conn = open::writer(path)?;
        if was_cut_off {
            check::quickly(&conn)?;
        }
        migrate::migrate(&conn, migrate::STEPS)?;
        let readers = reader::Readers::open(path)?;
        let writer = writer::Writer::start(conn)?;
        Ok(Self {
            readers,
            writer,
            holders: Arc::default(),
            _lock: lock,
        })
    }

    /// Looks through a whole file that no process has open, which takes as long as it is large: what is wrong with it, up to
    /// a bound. Nothing is changed but what the log has in it.
    pub fn check(path: &Path) -> Result<Vec<String>> {
        let _lock = files::lock(path)?;
        check::wholly(&open::writer(path)?)
    }

    /// Finishes what waits, moves everything into the database file and closes it. Blocks until that is done. Every
    /// later operation is [`StoreError::Unavailable`]. Dropping the store does the same.
    pub fn close(&self) {
        self.readers.close();
        // The writer goes last: the connection that closes last tidies up, and only this one may write.
        self.writer.close();
    }

    /// Runs a read on this thread.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.readers.with(work)
    }

    /// Runs an operation on the writer thread; returns when it is on disk.
    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.writer.run(work).await
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}
