//! Every statement against the schema.

use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    audit, checkpoint, connections, connectors, files, flows, jobs, keys, limits, migrate, open, refresh, vault, writer,
};

const SUBJECTS: [&[&str]; 12] = [
    audit::ALL,
    checkpoint::ALL,
    connections::ALL,
    connectors::ALL,
    flows::ALL,
    jobs::ALL,
    keys::ALL,
    limits::ALL,
    migrate::ALL,
    refresh::ALL,
    vault::ALL,
    writer::ALL,
];

fn new_database() -> (TempDir, Connection) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("valetkey.db");
    files::create(&path).expect("a file");
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

fn plan(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
    let steps = statement.raw_query().mapped(|row| row.get(3));
    steps.collect::<Result<_, _>>().expect("its steps")
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
        if !sql.contains("WHERE") {
            let known = of_everything.iter().any(|part| sql.contains(part));
            assert!(known || !sql.starts_with("SELECT"), "{sql}");
            continue;
        }
        for step in plan(&conn, sql) {
            // A list that came as a parameter is gone through once.
            let scans = step.starts_with("SCAN") && !step.starts_with("SCAN json_each");
            assert!(!scans && !step.contains("TEMP B-TREE"), "{sql}: {step}");
        }
    }
}

#[test]
fn the_audit_log_is_read_by_the_narrowest_filter_and_never_sorted() {
    let (_dir, conn) = new_database();
    for sql in audit::every_list() {
        let [step] = plan(&conn, &sql).try_into().expect("one step");
        let has = |filter: &str| sql.contains(filter);
        let index = match (has("space ="), has("connector ="), has("profile_uid =")) {
            (false, _, _) => "audit",
            (true, false, false) => "INDEX audit_space (space=?",
            (true, true, false) => "INDEX audit_connector (space=? AND connector=?",
            (true, false, true) => "INDEX audit_user (space=? AND profile_uid=?",
            (true, true, true) => "=? AND ",
        };
        assert!(step.contains(index), "{sql}: {step}");
    }
}
