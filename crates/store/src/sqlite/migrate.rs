//! Brings the schema up to date.
//!
//! Migrations are numbered files, embedded, applied once and never edited after a release: the checksum of each that was
//! applied must be the one that this program knows. All that are missing are applied in one transaction, so that a
//! schema is never half-way.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};
use valetkey_core::encode::hex;

use super::Result;
use crate::StoreError;

/// One step of the schema.
pub(super) struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

/// Every step, in order, without a gap.
pub(super) const STEPS: &[Migration] = &[
    Migration {
        number: 1,
        name: "initial",
        sql: include_str!("../../migrations/sqlite/0001_initial.sql"),
    },
    Migration {
        number: 2,
        name: "refresh",
        sql: include_str!("../../migrations/sqlite/0002_refresh.sql"),
    },
    Migration {
        number: 3,
        name: "restored",
        sql: include_str!("../../migrations/sqlite/0003_restored.sql"),
    },
    Migration {
        number: 4,
        name: "sessions",
        sql: include_str!("../../migrations/sqlite/0004_sessions.sql"),
    },
    Migration {
        number: 5,
        name: "lists",
        sql: include_str!("../../migrations/sqlite/0005_lists.sql"),
    },
    Migration {
        number: 6,
        name: "taken",
        sql: include_str!("../../migrations/sqlite/0006_taken.sql"),
    },
    Migration {
        number: 7,
        name: "names",
        sql: include_str!("../../migrations/sqlite/0007_names.sql"),
    },
    Migration {
        number: 8,
        name: "standing",
        sql: include_str!("../../migrations/sqlite/0008_standing.sql"),
    },
];

/// Made before any migration, so it is none itself.
const TABLE: &str = "CREATE TABLE schema_migration (
    number     INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    checksum   TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT";

const COUNT_TABLES: &str = "SELECT count(*), coalesce(sum(name = 'schema_migration'), 0) FROM sqlite_schema
    WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";

super::statements! {
    APPLIED = "SELECT number, name, checksum FROM schema_migration ORDER BY number";
    NOTE = "INSERT INTO schema_migration (number, name, checksum, applied_at)
        VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000 AS INTEGER))";
}

/// Whose the file is.
#[derive(PartialEq, Eq)]
pub(super) enum Owner {
    /// It is empty.
    Nobody,
    /// It has our list of migrations.
    Us,
}

/// Refuses a file that another program made.
pub(super) fn check_owner(conn: &Connection) -> Result<Owner> {
    let (tables, own): (i64, i64) = conn.query_row(COUNT_TABLES, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    match (tables, own) {
        (0, _) => Ok(Owner::Nobody),
        (_, 0) => Err(StoreError::Corrupt("the file belongs to another program".to_owned())),
        _ => Ok(Owner::Us),
    }
}

/// Applies the steps that are missing. Refuses a file that is not ours, a newer schema and an altered step.
pub(super) fn migrate(conn: &Connection, steps: &[Migration]) -> Result<()> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    if check_owner(conn)? == Owner::Nobody {
        conn.execute_batch(TABLE)?;
    }
    let applied = check_applied(conn, steps)?;
    for step in &steps[applied..] {
        conn.execute_batch(step.sql)?;
        conn.execute(NOTE, params![step.number, step.name, checksum(step)])?;
    }
    Ok(transaction.commit()?)
}

/// How many of the steps were applied; they must be the first ones, unaltered.
fn check_applied(conn: &Connection, steps: &[Migration]) -> Result<usize> {
    let mut statement = conn.prepare(APPLIED)?;
    let mut rows = statement.query([])?;
    let mut applied = 0;
    while let Some(row) = rows.next()? {
        let (number, name, sum): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let Some(step) = steps.get(applied) else {
            let known = steps.len();
            let text = format!("its schema is number {number}, written by a newer version; this one knows {known}");
            return Err(StoreError::Corrupt(text));
        };
        if (step.number, step.name) != (number, name.as_str()) || checksum(step) != sum {
            return Err(StoreError::Corrupt(format!(
                "migration {number} is not the one that this version knows"
            )));
        }
        applied += 1;
    }
    Ok(applied)
}

fn checksum(step: &Migration) -> String {
    hex(&Sha256::digest(step.sql))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration = Migration {
        number: 1,
        name: "first",
        sql: "CREATE TABLE a (x INTEGER) STRICT",
    };
    const SECOND: Migration = Migration {
        number: 2,
        name: "second",
        sql: "CREATE TABLE b (x INTEGER) STRICT",
    };
    const BROKEN: Migration = Migration {
        number: 2,
        name: "second",
        sql: "CREATE TABLE b (x INTEGER); CREATE nonsense",
    };

    fn memory() -> Connection {
        Connection::open_in_memory().expect("memory")
    }

    #[test]
    fn steps_have_no_gap() {
        for (step, number) in STEPS.iter().zip(1..) {
            assert_eq!(step.number, number);
        }
    }

    #[test]
    fn only_missing_steps_are_applied() {
        let conn = memory();
        migrate(&conn, &[FIRST]).expect("new");
        migrate(&conn, &[FIRST, SECOND]).expect("one more");
        migrate(&conn, &[FIRST, SECOND]).expect("nothing to do");
        conn.execute_batch("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)")
            .expect("both tables");
    }

    #[test]
    fn newer_altered_and_foreign_schemas_are_refused() {
        let conn = memory();
        migrate(&conn, &[FIRST, SECOND]).expect("new");
        for steps in [
            &[FIRST][..],
            &[SECOND, FIRST],
            &[
                FIRST,
                Migration {
                    sql: "SELECT 1",
                    ..SECOND
                },
            ],
        ] {
            assert!(matches!(migrate(&conn, steps), Err(StoreError::Corrupt(_))));
        }
        let foreign = memory();
        foreign.execute_batch("CREATE TABLE theirs (x)").expect("a table");
        assert!(matches!(migrate(&foreign, &[FIRST]), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn a_step_that_fails_leaves_nothing() {
        let conn = memory();
        migrate(&conn, &[FIRST]).expect("new");
        assert!(migrate(&conn, &[FIRST, BROKEN]).is_err());
        assert!(conn.is_autocommit());
        assert_eq!(check_applied(&conn, &[FIRST]).expect("still readable"), 1);
        migrate(&conn, &[FIRST, SECOND]).expect("the table is not there");
    }
}
