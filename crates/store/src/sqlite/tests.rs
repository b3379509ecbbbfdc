//! Every statement against the schema.

use rusqlite::{Connection, StatementStatus, params};
use tempfile::TempDir;

use super::{
    audit, checkpoint, connections, connectors, files, flows, jobs, keys, limits, migrate, open, refresh, sessions,
    tallies, vault, walk, writer,
};

const SUBJECTS: [&[&str]; 15] = [
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
    sessions::ALL,
    tallies::ALL,
    vault::ALL,
    walk::ALL,
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

/// The one statement of a subject that has this in it.
fn statement(subject: &[&'static str], part: &str) -> &'static str {
    let found: Vec<_> = subject.iter().filter(|sql| sql.contains(part)).collect();
    match found.as_slice() {
        [sql] => sql,
        _ => panic!("{part}: {found:?}"),
    }
}

#[test]
fn what_is_due_and_every_page_is_read_from_where_it_begins() {
    let (_dir, conn) = new_database();
    let cases = [
        (refresh::ALL, "SELECT", "INDEX connection_due (due_at<?)"),
        (connections::ALL, "DELETE", "INDEX connection_ended (due_at<?)"),
        (
            connections::ALL,
            "(?1, ?2, ?3, ?4) AND state",
            "((space,connector,owner,name)>(?,?,?,?))",
        ),
        (
            connections::ALL,
            "(?1, ?2, ?3, ?4)\n         ORDER",
            "((space,connector,owner,name)>(?,?,?,?))",
        ),
        (connectors::ALL, "(space, id) >", "((space,id)>(?,?))"),
        (flows::ALL, "state_hash >", "(state_hash>?)"),
        (jobs::ALL, "due_at <=", "INDEX job_due (due_at<?)"),
        (jobs::ALL, "(space, id) >", "((space,id)>(?,?))"),
        (keys::ALL, "WHERE id > ?1", "(id>?)"),
        (
            keys::ALL,
            "(created_at, id) >",
            "INDEX api_key_age ((created_at,id)>(?,?))",
        ),
        (
            connectors::ALL,
            "INDEXED BY",
            "COVERING INDEX connector_name (space=? AND id>?)",
        ),
        (audit::ALL, "seq >", "INTEGER PRIMARY KEY (rowid>?)"),
        (tallies::ALL, "DELETE", "INDEX tally_age (at<?)"),
    ];
    for (subject, part, place) in cases {
        let sql = statement(subject, part);
        let steps = plan(&conn, sql);
        assert!(steps.iter().any(|step| step.contains(place)), "{sql}: {steps:?}");
    }
}

/// A claim and a noted use cost one page. The indexes are those of what is due and of tombstones.
#[test]
fn a_change_of_a_connection_writes_an_index_only_if_it_changes_what_is_due() {
    let (_dir, conn) = new_database();
    let changes = [connections::ALL, refresh::ALL].concat();
    for sql in changes.into_iter().filter(|sql| sql.starts_with("UPDATE")) {
        let mut statement = conn.prepare(&format!("EXPLAIN {sql}")).expect("a program");
        let steps: Vec<String> = statement
            .raw_query()
            .mapped(|row| row.get(1))
            .collect::<Result<_, _>>()
            .expect("its steps");
        let indexes = steps.iter().filter(|step| *step == "IdxDelete").count();
        let changes = sql.split("WHERE").next().unwrap_or_default();
        // All, because it is seen only when it runs which of them the row is in.
        let expected = match (changes.contains("due_at"), changes.contains("state")) {
            (false, _) => 0,
            (true, false) => 2,
            (true, true) => 3,
        };
        assert_eq!(indexes, expected, "{sql}");
    }
}

#[test]
fn finding_what_is_due_costs_what_is_due_and_no_more() {
    const NOW: i64 = 1_000_000;
    let (_dir, conn) = new_database();
    let rows = |space: &str, count: i64, first_due_at: i64| {
        let sql = "INSERT INTO connection (space, connector, owner, name, generation, state, binding, spec_version,
            connected_at, due_at)
            WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < ?2 - 1)
            SELECT ?1, 'slack', 'user:' || i, 'default', 1, 'active', zeroblob(32), 1, 0, ?3 + i FROM n";
        conn.execute(sql, params![space, count, first_due_at]).expect("rows");
    };
    rows("busy", 100_000, 0);
    rows("other", 1, NOW);
    rows("later", 50_000, NOW + 1);
    let mut list = conn.prepare(statement(refresh::ALL, "json_each")).expect("a statement");
    let mut cost = |skip: &[String], limit: u32| {
        let skip = serde_json::to_string(skip).expect("a list");
        let spaces = list
            .query_map(params![NOW, skip, limit], |row| row.get(0))
            .expect("rows")
            .collect::<Result<Vec<String>, _>>()
            .expect("spaces");
        (spaces, list.reset_status(StatementStatus::VmStep))
    };
    let (spaces, steps) = cost(&[], 10);
    assert_eq!(spaces, ["busy"; 10]);
    assert!(steps < 1_000, "{steps}");
    let mut skip: Vec<String> = (0..1_000).map(|number| format!("space-{number}")).collect();
    skip.push("busy".to_owned());
    let (spaces, steps) = cost(&skip, 10);
    assert_eq!(spaces, ["other"]);
    assert!(steps < 30 * 100_000, "{steps}");
}

#[test]
fn every_walk_begins_at_its_place_in_an_index_and_ends_with_its_page() {
    let (_dir, conn) = new_database();
    let cases = [
        (0, "connection_1 (space=? AND (connector,owner,name)>(?,?,?))"),
        (1, "connection_1 (space=? AND connector=? AND (owner,name)>(?,?))"),
        (
            2,
            "INDEX connection_owner (space=? AND owner=? AND (connector,name)>(?,?))",
        ),
        (3, "name>?)"),
        (
            4,
            "INDEX connection_broken (space=? AND (connector,owner,name)>(?,?,?))",
        ),
        (
            5,
            "INDEX connection_broken (space=? AND connector=? AND (owner,name)>(?,?))",
        ),
        (6, "INDEX connection_owner (space=? AND (owner,connector,name)>(?,?,?)"),
        (7, "connection_1 (space=? AND connector=? AND (owner,name)>(?,?)"),
        (
            8,
            "INDEX connection_label (space=? AND (label_key,connector,owner,name)>(?,?,?,?)",
        ),
    ];
    for (number, place) in cases {
        let sql = walk::ALL[number];
        let steps = plan(&conn, sql);
        assert!(
            steps.len() == 1 && steps[0].contains(place),
            "{place}: {sql}: {steps:?}"
        );
    }
}

/// Rows of a space, half of them with a label, one in a thousand waiting for a person.
fn many_rows(conn: &Connection, space: &str, count: i64) {
    let sql = "INSERT INTO connection (space, connector, owner, name, generation, state, cause, binding, spec_version,
        connected_at, account_label)
        WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < ?2 - 1)
        SELECT ?1, 'slack', 'user:u' || i, 'default', 1, iif(i % 1000 = 7, 'reauthorize', 'active'),
            iif(i % 1000 = 7, 'token_revoked', NULL), zeroblob(32), 1, 0, iif(i % 2 = 0, 'Ada-' || i || '@example.com', NULL)
        FROM n";
    conn.execute(sql, params![space, count]).expect("rows");
}

#[test]
fn a_page_of_a_walk_costs_the_same_with_few_rows_and_with_many() {
    let (_dir, conn) = new_database();
    many_rows(&conn, "few", 2_000);
    many_rows(&conn, "many", 200_000);
    let texts: [&[&str]; 9] = [
        &["slack", "user:u1", ""],
        &["slack", "user:u1", ""],
        &["user:u5", "", ""],
        &["slack", "user:u5", ""],
        &["", "", ""],
        &["slack", "", ""],
        &["user:u1", "slack", "", "user:u1\u{10ffff}"],
        &["slack", "user:u1", "", "user:u1\u{10ffff}"],
        &["ada-1", "", "", "", "ada-1\u{10ffff}"],
    ];
    for (sql, texts) in walk::ALL.iter().zip(texts) {
        let mut statement = conn.prepare(sql).expect("a statement");
        let mut cost = |space: &str| {
            let all = [&[space], texts, &["2"]].concat();
            let limit = all.len();
            for (place, text) in all.iter().enumerate() {
                statement.raw_bind_parameter(place + 1, text).expect("bound");
            }
            statement.raw_bind_parameter(limit, 2).expect("bound");
            let mut rows = statement.raw_query();
            let mut count = 0;
            while rows.next().expect("a row").is_some() {
                count += 1;
            }
            drop(rows);
            (count, statement.reset_status(StatementStatus::VmStep))
        };
        let (few, many) = (cost("few"), cost("many"));
        assert_eq!(few.0, many.0, "{sql}");
        assert!(few.0 > 0, "{sql}");
        assert_eq!(few.1, many.1, "{sql}");
    }
}

#[test]
fn the_audit_log_is_read_by_the_narrowest_filter_and_never_sorted() {
    let (_dir, conn) = new_database();
    for sql in audit::every_list() {
        let [step] = plan(&conn, &sql).try_into().expect("one step");
        let has = |filter: &str| sql.contains(filter);
        let owner = has(" owner =");
        let index = match (has("space ="), has(" connector ="), has(" profile_uid =")) {
            (false, _, _) => "audit",
            (true, false, false) if owner => "INDEX audit_owner (space=? AND owner=?",
            (true, false, false) => "INDEX audit_space (space=?",
            (true, true, false) => "INDEX audit_connector (space=? AND connector=?",
            (true, false, true) => "INDEX audit_user (space=? AND profile_uid=?",
            (true, true, true) => "=? AND ",
        };
        assert!(step.contains(index), "{sql}: {step}");
    }
}
