//! Databases of older schemas, before and after.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;
use valetkey_core::{ConnectionKey, ConnectionName, ConnectorId, Owner, ProfileUid, SpaceId, Timestamp};

use super::{SqliteStore, files, migrate, open};
use crate::rows::{AuditFilter, ConnectionRow, ConnectionState, Digest, Table, Walk};
use crate::{AuditLog, Connections, Sessions, Tallies, Transfer, Vault};

/// What a program that knew the first migration only wrote: something in every table.
const OF_THE_FIRST: &str = r#"
INSERT INTO vault (one, deployment) VALUES (1, 'deployment');
INSERT INTO sealing_key (id, wrapped, created_at) VALUES (1, x'01', 10), (2, x'02ff', 20);
INSERT INTO probe (one, writes) VALUES (1, 7);
INSERT INTO api_key (id, name, hash, privileges, spaces, profile_uid, connectors, actions, created_at, expires_at,
    created_by)
VALUES ('root', 'Root', zeroblob(32), '["*"]', '["*"]', NULL, NULL, NULL, 1, NULL, NULL),
    ('ci', 'CI', zeroblob(32), '["tokens:read"]', '["default"]', 'ada', '["slack"]', '[]', 2, 3, 'root');
INSERT INTO connector (space, id, type_id, name, config, auth_type, auth_mode, auth, sealed_secrets, binding, version,
    legacy_redirect_uri, created_at, updated_at)
VALUES ('default', 'slack', '.slack2', 'Our Slack', '{"n":1.5}', 'oauth_authorization_code', 'per-user',
    '{"clientId":"abc"}', x'000102', zeroblob(32), 3, 1, 4, 5);
INSERT INTO flow (state_hash, id, ticket_hash, browser_hash, space, connector, owner, name, context, state, sealed,
    started_by, created_at, expires_at)
VALUES (zeroblob(32), 'flow', zeroblob(32), NULL, 'default', 'slack', 'user:ada', 'default', 'default.slack', 'pending',
    x'03', 'root', 6, 7);
INSERT INTO connection (space, connector, owner, name, generation, state, cause, sealed_access, sealed_refresh,
    expires_at, lifetime_ms, refresh_expires_at, scopes, metadata, binding, spec_version, account_id, account_label,
    connected_at, refreshed_at, intent_holder, intent_until, intent_at, intent_attempt)
VALUES ('default', 'slack', 'user:ada', 'default', 8, 'active', NULL, x'04', x'05', 9, 10, 11, '["chat:write"]', '{}',
    zeroblob(32), 12, 'U1', 'Ada', 13, 14, 'holder', 15, 16, 17),
    ('default', 'slack', 'user:bob', 'default', 18, 'reauthorize', 'token_revoked', x'06', NULL, NULL, NULL, NULL, '[]',
    '{}', zeroblob(32), 12, NULL, NULL, 19, NULL, NULL, NULL, NULL, NULL),
    ('default', 'slack', 'user:gone', 'default', 20, 'disconnected', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    zeroblob(32), 12, NULL, NULL, 21, NULL, NULL, NULL, NULL, NULL);
INSERT INTO audit (at, space, kind, outcome, key_id, profile_uid, connector, owner, connection, request_id, address,
    details, count)
VALUES (22, 'default', 'flow.start', 'ok', 'root', 'ada', 'slack', 'user:ada', 'default', 'request', '192.0.2.1',
    '{"a":1}', 23), (24, NULL, 'vault.init', 'ok', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', 1);
INSERT INTO attempt (bucket, subject, at) VALUES ('callback', 'ada', 25);
"#;

const DAY: i64 = 24 * 60 * 60 * 1_000;

/// A database of the first so many migrations, with these rows.
fn old(steps: usize, rows: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("valetkey.db");
    files::create(&path).expect("a file");
    let conn = open::writer(&path).expect("a connection");
    migrate::migrate(&conn, &migrate::STEPS[..steps]).expect("a schema");
    conn.execute_batch(rows).expect("rows");
    (dir, path)
}

fn connect(path: &Path) -> Connection {
    Connection::open(path).expect("a connection")
}

fn texts(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).expect("a statement");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<Result<_, _>>().expect("texts")
}

/// A query for every column of every table that there is now, with the number of columns.
fn queries(conn: &Connection) -> Vec<(String, usize)> {
    let tables = texts(
        conn,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'schema_migration'",
    );
    let query = |table: String| {
        let columns = texts(conn, &format!("SELECT name FROM pragma_table_info('{table}')"));
        let list = columns.join(", ");
        (format!("SELECT {list} FROM {table} ORDER BY {list}"), columns.len())
    };
    tables.into_iter().map(query).collect()
}

fn values(conn: &Connection, (sql, columns): &(String, usize)) -> Vec<Vec<Value>> {
    let mut statement = conn.prepare(sql).expect("a statement");
    let rows = statement.query_map([], |row| (0..*columns).map(|column| row.get(column)).collect());
    rows.expect("rows").collect::<Result<_, _>>().expect("values")
}

fn now(path: &Path) -> i64 {
    let sql = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)";
    connect(path).query_row(sql, [], |row| row.get(0)).expect("a time")
}

fn key(uid: &str) -> ConnectionKey {
    ConnectionKey {
        space: SpaceId::default_space(),
        connector: ConnectorId::new("slack").expect("an id"),
        owner: Owner::User(ProfileUid::new(uid).expect("a user")),
        name: ConnectionName::default_name(),
    }
}

async fn get(store: &SqliteStore, uid: &str) -> ConnectionRow {
    store.get_connection(&key(uid)).await.expect("read").expect("there")
}

#[test]
fn what_was_stored_before_the_second_migration_is_there_after_it() {
    let (_dir, path) = old(1, OF_THE_FIRST);
    let conn = connect(&path);
    let before: Vec<_> = queries(&conn)
        .into_iter()
        .map(|query| (values(&conn, &query), query))
        .collect();
    assert_eq!(before.len(), 9, "every table");
    drop(conn);
    drop(SqliteStore::open(&path).expect("a store"));
    let conn = connect(&path);
    for (rows, query) in before {
        assert!(!rows.is_empty(), "{}", query.0);
        assert_eq!(values(&conn, &query), rows, "{}", query.0);
    }
}

#[tokio::test]
async fn what_the_second_migration_adds_has_a_value_for_older_rows() {
    let (_dir, path) = old(1, OF_THE_FIRST);
    let begin = now(&path);
    let store = SqliteStore::open(&path).expect("a store");
    let end = now(&path);

    let keys = store.vault().await.expect("read").expect("there").keys;
    let keys: Vec<_> = keys.iter().map(|key| (key.id, key.master.as_str())).collect();
    assert_eq!(keys, [(1, ""), (2, "")]);

    for (uid, connected_at) in [("ada", 13), ("bob", 19)] {
        let row = get(&store, uid).await;
        assert_eq!(row.connected_at, Timestamp(connected_at));
        assert_eq!((row.used_at, row.due_at, row.notice), (row.connected_at, None, None));
    }
    let used = [("ada", 12), ("bob", 30)].map(|(uid, at)| (key(uid), Timestamp(at)));
    store.touch_connections(used.to_vec()).await.expect("noted");
    assert_eq!(get(&store, "ada").await.used_at, Timestamp(13));
    assert_eq!(get(&store, "bob").await.used_at, Timestamp(30));

    let tombstone = get(&store, "gone").await;
    assert_eq!(tombstone.state, ConnectionState::Disconnected);
    let due_at = tombstone.due_at.expect("a time");
    assert!((begin + 30 * DAY..=end + 30 * DAY).contains(&due_at.0), "{due_at}");
    assert_eq!(store.sweep_tombstones(due_at, 10).await.expect("swept"), 0);
    let later = Timestamp(due_at.0 + 1);
    assert_eq!(store.sweep_tombstones(later, 10).await.expect("swept"), 1);

    for (table, count) in Table::ALL.into_iter().zip([1, 2, 1, 2, 1, 0, 2]) {
        let records = store.export(table, None, 10).await.expect("readable");
        assert_eq!(records.len(), count, "{table:?}");
    }
}

#[tokio::test]
async fn what_an_older_program_writes_after_the_second_migration_is_complete() {
    let (_dir, path) = old(2, OF_THE_FIRST);
    let store = SqliteStore::open(&path).expect("a store");
    let row = get(&store, "ada").await;
    assert_eq!(row.used_at, row.connected_at);
    let keys = store.vault().await.expect("read").expect("there").keys;
    assert!(keys.iter().all(|key| key.master.is_empty()));
    assert_eq!(keys.len(), 2);
}

#[tokio::test]
async fn what_was_stored_before_the_fourth_migration_is_found_by_its_indexes() {
    let (_dir, path) = old(3, OF_THE_FIRST);
    let store = SqliteStore::open(&path).expect("a store");
    let space = SpaceId::default_space();
    let walks = [
        (Walk::All, vec!["ada", "bob", "gone"]),
        (Walk::Broken, vec!["bob"]),
        (Walk::Labels("ADA".to_owned()), vec!["ada"]),
    ];
    for (walk, expected) in walks {
        let rows = store.walk_connections(&space, &walk, None, 10).await.expect("rows");
        let users: Vec<_> = rows.iter().filter_map(|row| row.key.owner.user()).collect();
        assert_eq!(users.iter().map(|user| user.as_str()).collect::<Vec<_>>(), expected);
    }
    let filter = AuditFilter {
        space: Some(space.clone()),
        owner: Some(key("ada").owner),
        limit: 10,
        ..AuditFilter::default()
    };
    assert_eq!(store.list_audit(&filter).await.expect("a list").len(), 1);
    let tallies = store.list_tallies(&space, Timestamp(0), Timestamp(i64::MAX)).await;
    assert_eq!(tallies.expect("a list"), []);
}

#[test]
fn what_an_older_program_writes_after_the_fifth_migration_is_complete() {
    let (_dir, path) = old(5, OF_THE_FIRST);
    let labels = "SELECT label_key FROM connection WHERE label_key IS NOT NULL";
    assert_eq!(texts(&connect(&path), labels), ["ada"]);
}

#[tokio::test]
async fn a_session_that_an_older_program_opened_has_nobody_to_ask() {
    let opened =
        "INSERT INTO session (hash, person, name, profile_uid, privileges, spaces, created_at, seen_at, expires_at)
        VALUES (zeroblob(32), 'oidc-ada', 'Ada', NULL, '[]', '[]', 1, 1, 9)";
    let (_dir, path) = old(7, opened);
    let store = SqliteStore::open(&path).expect("a store");
    let session = store.get_session(&Digest([0; 32])).await.expect("read");
    assert_eq!(session.expect("there").standing, None);
}
