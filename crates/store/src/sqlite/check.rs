//! Whether the file is whole. Reading all of it takes as long as it is large, so a start after a clean stop does not: the
//! stop emptied the log. After a kill or a power cut the log is there, and the file is looked through for as long as nobody
//! minds waiting.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::Result;
use crate::StoreError;

/// How long a start may take for it.
const BUDGET: Duration = Duration::from_secs(2);

/// Up to the first finding.
const QUICK: &str = "PRAGMA quick_check(1)";

/// Also whether indexes fit their tables.
const FULL: &str = "PRAGMA integrity_check(20)";

/// Whether the last stop left a log. To be asked before the database is opened.
pub(super) fn was_cut_off(database: &Path) -> bool {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Refuses a damaged file. One that is too large to be looked through in time is let pass, with a word in the log.
pub(super) fn quickly(conn: &Connection) -> Result<()> {
    within(conn, BUDGET)
}

fn within(conn: &Connection, budget: Duration) -> Result<()> {
    let interrupt = conn.get_interrupt_handle();
    let (done, is_done) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        // An error that is no time-out says that it is done.
        if is_done.recv_timeout(budget) == Err(mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let found = findings(conn, QUICK);
    drop(done);
    // It cannot interrupt what comes next once it has ended.
    drop(watch.join());
    match found {
        Ok(findings) => refuse(&findings),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::warn!(
                "the last stop was not a clean one, and the database is too large to be looked through at a start; \
                 `valetkey check` does that while no server runs"
            );
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Everything that is wrong, up to a bound. The texts name pages, tables and indexes.
pub(super) fn wholly(conn: &Connection) -> Result<Vec<String>> {
    Ok(findings(conn, FULL)?)
}

fn findings(conn: &Connection, statement: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare(statement)?;
    let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
    let texts = texts.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(texts.into_iter().filter(|text| text != "ok").collect())
}

fn refuse(findings: &[String]) -> Result<()> {
    match findings.first() {
        None => Ok(()),
        Some(first) => Err(StoreError::Corrupt(format!(
            "the file is damaged ({}); put a backup back, as docs/operating.md says",
            first.replace('\n', " ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_let_pass_and_disturbs_nothing_after_it() {
        let conn = Connection::open_in_memory().expect("memory");
        conn.execute_batch(
            "CREATE TABLE a (x BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             INSERT INTO a SELECT randomblob(500) FROM n",
        )
        .expect("rows");
        within(&conn, Duration::ZERO).expect("let pass");
        assert!(wholly(&conn).expect("looked through").is_empty());
        within(&conn, Duration::from_secs(60)).expect("whole");
    }
}
