//! Every statement against the schema.

use rusqlite::Connection;
use tempfile::TempDir;

use super::{audit, checkpoint, connections, connectors, files, flows, keys, limits, migrate, open, vault, writer};

const SUBJECTS: [&[&str]; 10] = [
    audit::ALL,
    checkpoint::ALL,
    connections::ALL,
    connectors::ALL,
    flows::ALL,
    keys::ALL,
    limits::ALL,
    migrate::ALL,
    vault::ALL,
    writer::ALL,
];

fn new_database() -> (TempDir, Connection) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("valetkey.db");
    files::prepare(&path).expect("a file");
    let conn = open::writer(&path).expect("a connection");
    migrate::migrate(&conn, migrate::STEPS).expect("a schema");
    (dir, conn)
}

#[test]
fn every_statement_can_be_prepared() {
    let (_dir, conn) = new_database();
    for sql in SUBJECTS
        .concat()
        .into_iter()
        .map(str::to_owned)
        .chain(audit::every_list())
    {
        if let Err(error) = conn.prepare(&sql) {
            panic!("{sql}: {error}");
        }
    }
}

#[test]
fn every_statement_has_a_place_in_the_cache() {
    assert!(SUBJECTS.concat().len() <= open::CACHED_STATEMENTS);
}

/// The plans of the statements that run for each request or each sweep: work must not grow with the number of rows.
#[test]
fn no_statement_but_the_lists_of_everything_scans_a_table() {
    let (_dir, conn) = new_database();
    let of_everything = [
        "FROM api_key ORDER BY",
        "FROM vault",
        "FROM sealing_key",
        "FROM schema_migration",
        "FROM audit",
    ];
    for sql in SUBJECTS.concat() {
        let Some(_) = sql.find("WHERE") else {
            let known = of_everything.iter().any(|part| sql.contains(part));
            assert!(known || !sql.starts_with("SELECT"), "{sql}");
            continue;
        };
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
        let plan: Vec<String> = statement
            .raw_query()
            .mapped(|row| row.get(3))
            .collect::<Result<_, _>>()
            .expect("its steps");
        for step in plan {
            assert!(
                !step.starts_with("SCAN") && !step.contains("TEMP B-TREE"),
                "{sql}: {step}"
            );
        }
    }
}
