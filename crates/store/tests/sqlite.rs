//! What only the embedded engine promises: its files, its lock, its schema, and what is left of erased rows.
#![cfg(feature = "sqlite")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;
use valetkey_core::{ConnectionKey, ConnectionName, ConnectorId, Owner, SpaceId, Timestamp};
use valetkey_store::rows::{AuditRow, Claim, ConnectionRow, ConnectionState, Digest, GrantRow, Sealed};
use valetkey_store::sqlite::SqliteStore;
use valetkey_store::{AuditLog, Connections, Limits, Refreshes, StoreError, Vault};

/// Bytes that are found again if they are anywhere.
const MARK: &[u8] = b"0123456789-sealed-mark-0123456789";

fn new() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("valetkey.db");
    (dir, path)
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).expect("a store")
}

/// A second connection that does to the file what it likes.
fn meddle(path: &Path, sql: &str) {
    Connection::open(path)
        .and_then(|conn| conn.execute_batch(sql))
        .expect("meddling");
}

fn refusal(path: &Path) -> StoreError {
    SqliteStore::open(path).expect_err("a refusal")
}

fn key(name: &str) -> ConnectionKey {
    ConnectionKey {
        space: SpaceId::default_space(),
        connector: ConnectorId::new("slack").expect("an id"),
        owner: Owner::Shared,
        name: ConnectionName::new(name).expect("a name"),
    }
}

fn connection(name: &str) -> ConnectionRow {
    let grant = GrantRow {
        sealed_access: Sealed(MARK.to_vec()),
        sealed_refresh: Some(Sealed(MARK.repeat(40))),
        expires_at: None,
        lifetime_ms: None,
        refresh_expires_at: None,
        scopes: vec![],
        metadata: serde_json::Map::new(),
    };
    ConnectionRow {
        key: key(name),
        generation: 1,
        state: ConnectionState::Active,
        grant: Some(grant),
        binding: Digest([0; 32]),
        spec_version: 1,
        account_id: None,
        account_label: None,
        connected_at: Timestamp(0),
        refreshed_at: None,
        intent: None,
        due_at: None,
        used_at: Timestamp(0),
        notice: None,
    }
}

fn audit() -> AuditRow {
    AuditRow {
        at: Timestamp(0),
        space: None,
        kind: "test",
        outcome: "ok".to_owned(),
        key: None,
        user: None,
        connector: None,
        connection: None,
        request_id: None,
        address: None,
        details: serde_json::Map::new(),
        count: 1,
    }
}

async fn put(store: &SqliteStore, name: &str) {
    store.put_connection(connection(name), audit()).await.expect("written");
}

/// The files in the directory that hold the mark.
fn marked(dir: &TempDir) -> Vec<String> {
    let files = fs::read_dir(dir.path())
        .expect("the directory")
        .map(|file| file.expect("a file"));
    files
        .filter(|file| {
            fs::read(file.path())
                .expect("its bytes")
                .windows(MARK.len())
                .any(|bytes| bytes == MARK)
        })
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_second_opener_is_told_and_the_first_goes_on() {
    let (_dir, path) = new();
    let first = open(&path);
    let text = refusal(&path).to_string();
    assert_eq!(
        text,
        "the store is unavailable: another process has it open, and only one may"
    );
    drop(first);
    open(&path);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_user_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let (dir, path) = new();
    let modes = || {
        let files = fs::read_dir(dir.path())
            .expect("the directory")
            .map(|file| file.expect("a file"));
        files
            .map(|file| file.metadata().expect("its mode").permissions().mode() & 0o777)
            .collect::<Vec<_>>()
    };
    let store = open(&path);
    store.probe().await.expect("written");
    assert_eq!(modes(), [0o600; 4], "database, log, index of the log and lock");
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a backup restored carelessly");
    let _store = open(&path);
    assert_eq!(modes(), [0o600; 4]);
}

#[tokio::test]
async fn closing_leaves_the_database_alone_without_a_log() {
    let (dir, path) = new();
    let store = open(&path);
    put(&store, "ada").await;
    store.close();
    store.close();
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .expect("the directory")
        .map(|f| f.expect("a file").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["valetkey.db", "valetkey.lock"]);
    assert!(matches!(
        store.get_connection(&key("ada")).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(store.probe().await, Err(StoreError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_before_the_end_is_written() {
    let (_dir, path) = new();
    let store = Arc::new(open(&path));
    let mut tasks: JoinSet<_> = (0..200)
        .map(|number| {
            let store = Arc::clone(&store);
            let row = connection(&number.to_string());
            async move { (number, store.put_connection(row, audit()).await.is_ok()) }
        })
        .collect();
    put(&store, "ada").await;
    store.close();
    let mut answers = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer.expect("an answer"));
    }
    drop(store);
    let store = open(&path);
    for (number, written) in answers {
        let found = store
            .get_connection(&key(&number.to_string()))
            .await
            .expect("read")
            .is_some();
        assert_eq!(found, written, "{number}");
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let (_dir, path) = new();
    let (_other, copy) = new();
    let store = open(&path);
    put(&store, "ada").await;
    // What a process that is killed now would leave behind.
    for file in ["db", "db-wal"] {
        fs::copy(path.with_extension(file), copy.with_extension(file)).expect("a copy");
    }
    let restarted = open(&copy);
    let row = restarted.get_connection(&key("ada")).await.expect("read");
    assert_eq!(row, Some(connection("ada")));
}

#[tokio::test]
async fn nothing_of_an_erased_row_stays_on_disk() {
    let (dir, path) = new();
    let store = open(&path);
    for number in 0..20 {
        put(&store, &number.to_string()).await;
    }
    drop(store);
    assert_eq!(marked(&dir), ["valetkey.db"], "the mark is found while it is there");
    let store = open(&path);
    for number in 0..20 {
        store
            .disconnect(&key(&number.to_string()), 1, Timestamp(0), None, audit())
            .await
            .expect("a tombstone");
    }
    drop(store);
    assert_eq!(marked(&dir), Vec::<String>::new());
}

#[tokio::test]
async fn the_log_is_emptied_when_nobody_writes() {
    let (_dir, path) = new();
    let store = open(&path);
    put(&store, "ada").await;
    let log = path.with_extension("db-wal");
    let size = || fs::metadata(&log).expect("a log").len();
    assert!(size() > 0);
    for _ in 0..100 {
        if size() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the log still has {} bytes", size());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_a_bound() {
    let (_dir, path) = new();
    let store = open(&path);
    let rows = || (0..500).map(|_| audit()).collect::<Vec<_>>();
    for _ in 0..100 {
        store.append_audit(rows()).await.expect("written");
        store
            .take_limit("callback", "ada", u32::MAX, Duration::ZERO, Timestamp(0))
            .await
            .expect("taken")
            .expect("free");
    }
    let log = fs::metadata(path.with_extension("db-wal")).expect("a log").len();
    assert!(log < 8 << 20, "{log}");
}

#[test]
fn a_newer_schema_is_refused() {
    let (_dir, path) = new();
    drop(open(&path));
    meddle(&path, "INSERT INTO schema_migration VALUES (1000, 'future', '', 0)");
    let text = refusal(&path).to_string();
    assert!(text.contains("newer version"), "{text}");
}

#[test]
fn an_altered_migration_is_refused() {
    for change in [
        "checksum = replace(checksum, substr(checksum, 1, 1), 'x')",
        "name = 'other'",
        "number = number + 10",
    ] {
        let (_dir, path) = new();
        drop(open(&path));
        meddle(&path, &format!("UPDATE schema_migration SET {change}"));
        assert!(matches!(refusal(&path), StoreError::Corrupt(_)), "{change}");
    }
}

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_is() {
    let (_dir, path) = new();
    meddle(&path, "CREATE TABLE theirs (x)");
    let before = fs::read(&path).expect("its bytes");
    assert!(matches!(refusal(&path), StoreError::Corrupt(_)));
    assert!(fs::read(&path).expect("its bytes") == before);

    let (_dir, path) = new();
    fs::write(&path, "not a database at all, but long enough to look at; ".repeat(100)).expect("a file");
    assert!(matches!(refusal(&path), StoreError::Corrupt(_)));
}

#[test]
fn a_directory_that_is_not_there_is_an_error_and_not_made() {
    let (dir, _) = new();
    let path = dir.path().join("missing").join("valetkey.db");
    assert!(matches!(refusal(&path), StoreError::Unavailable(_)));
    assert!(!dir.path().join("missing").exists());
}

#[tokio::test]
async fn a_corrupt_row_is_told_without_its_values() {
    let changes = [
        ("scopes", "UPDATE connection SET scopes = 'SECRET'"),
        ("metadata", "UPDATE connection SET metadata = NULL"),
        ("cause", "UPDATE connection SET cause = 'SECRET'"),
        ("intent_attempt", "UPDATE connection SET intent_holder = 'SECRET'"),
        ("", "UPDATE connection SET binding = x'00'"),
    ];
    for (column, change) in changes {
        let (_dir, path) = new();
        let store = open(&path);
        put(&store, "ada").await;
        meddle(&path, change);
        let error = store.get_connection(&key("ada")).await.expect_err("a corrupt row");
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        assert!(
            error.to_string().contains(column) && !error.to_string().contains("SECRET"),
            "{error}"
        );
        let error = store
            .disconnect(&key("ada"), 1, Timestamp(0), None, audit())
            .await
            .expect_err("a corrupt row");
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        put(&store, "bob").await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_to_a_file_that_was_taken_away() {
    let (dir, path) = new();
    let store = open(&path);
    store.probe().await.expect("written");
    fs::rename(&path, dir.path().join("elsewhere.db")).expect("moved");
    for _ in 0..2 {
        let text = store.probe().await.expect_err("a refusal").to_string();
        assert!(text.contains("moved, replaced or deleted"), "{text}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_its_operation() {
    let (_dir, path) = new();
    let store = open(&path);
    let mut operation = store.put_connection(connection("ada"), audit());
    // The first poll queues it.
    let _ = operation.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    drop(operation);
    // Operations keep their order, so the first is done when the second is.
    store.probe().await.expect("written");
    assert!(store.get_connection(&key("ada")).await.expect("read").is_some());
}

#[tokio::test]
async fn the_only_clock_is_the_one_of_the_process() {
    let (_dir, path) = new();
    assert_eq!(open(&path).time().await.expect("an answer"), None);
}

#[tokio::test]
async fn a_lease_ends_with_the_process_that_held_it() {
    let (_dir, path) = new();
    let store = open(&path);
    put(&store, "one").await;
    let (now, lease) = (Timestamp(1_000), Duration::from_secs(40));
    let claim = |store: SqliteStore, holder: &'static str| async move {
        let generation = store
            .get_connection(&key("one"))
            .await
            .expect("a read")
            .expect("a row")
            .generation;
        let claim = store
            .claim_refresh(&key("one"), generation, holder, now, lease)
            .await
            .expect("an answer");
        (store, claim)
    };
    let (store, first) = claim(store, "first").await;
    assert!(matches!(first, Claim::Held { previous: None, .. }));
    let (store, second) = claim(store, "second").await;
    assert!(matches!(second, Claim::Busy(_)), "the first one lives");
    drop(store);
    let (_store, third) = claim(open(&path), "third").await;
    let Claim::Held {
        previous: Some(previous),
        row,
    } = third
    else {
        panic!("the first one is gone: {third:?}")
    };
    assert_eq!(previous.holder, "first");
    assert_eq!(row.intent.map(|i| i.attempt), Some(1));
}
