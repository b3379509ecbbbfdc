//! When the write-ahead log is moved into the database file.
//!
//! The writer calls this after it has answered, so that no caller waits for the checkpoint that their own commit makes
//! due. A thread of its own would call the same functions, on a second connection.

use std::time::Duration;

use rusqlite::Connection;

use super::open::PATIENCE;

/// How many pages that were not moved yet make a checkpoint due.
const DUE: i64 = 1_000;

/// How many pages the log may have (64 MiB). It grows past [`DUE`] only while reads keep it from beginning anew.
const BOUND: i64 = 16_000;

/// How long to wait for reads that stand in the way of truncating.
const WAIT: Duration = Duration::from_millis(100);

super::statements! {
    LOOK = "PRAGMA wal_checkpoint(NOOP)";
    MOVE = "PRAGMA wal_checkpoint(PASSIVE)";
    TRUNCATE = "PRAGMA wal_checkpoint(TRUNCATE)";
}

/// Keeps the log short: moves it when it is due, and truncates it when it is over the bound.
pub(super) fn after_commit(conn: &Connection) -> rusqlite::Result<()> {
    let (pages, moved) = run(conn, LOOK)?;
    if pages > BOUND {
        truncate(conn).map(drop)
    } else if pages - moved >= DUE {
        run(conn, MOVE).map(drop)
    } else {
        Ok(())
    }
}

/// Moves everything and empties the log, so that erased rows are gone from it too. `false` if a read stood in the way
/// for too long.
pub(super) fn truncate(conn: &Connection) -> rusqlite::Result<bool> {
    conn.busy_timeout(WAIT)?;
    let left = run(conn, TRUNCATE).map(|(pages, _)| pages);
    conn.busy_timeout(PATIENCE)?;
    Ok(left? == 0)
}

/// How many pages the log has, and how many of them are in the database file.
fn run(conn: &Connection, statement: &str) -> rusqlite::Result<(i64, i64)> {
    conn.prepare_cached(statement)?
        .query_row([], |row| Ok((row.get(1)?, row.get(2)?)))
}
