//! Files that a power cut or a bad disk left damaged: what was acknowledged before holds, and whatever cannot be read is an
//! error and never somebody's wrong token.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use valetkey_core::{ConnectionKey, ConnectionName, ConnectorId, Owner, ProfileUid, SpaceId};
use valetkey_store::rows::{AuditFilter, ConnectionRow};
use valetkey_store::sqlite::SqliteStore;
use valetkey_store::{AuditLog as _, Connections as _, StoreError};

use crate::support::browser::Browser;
use crate::support::stage::Stage;
use crate::support::valetkey::{Setup, Valetkey};

/// The length of a page, and of what the log keeps of one.
const PAGE: usize = 4096;
pub(super) const FRAME: usize = PAGE + 24;

/// What the log begins with.
pub(super) const HEADER: usize = 32;

/// The database and its log at one moment.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) database: Vec<u8>,
    pub(super) log: Vec<u8>,
}

impl Files {
    /// The files as a power cut at this moment would leave them, had all of it been on the disk.
    pub(super) async fn of(valetkey: &Valetkey) -> Self {
        valetkey.stand_still().await;
        let dir = valetkey.setup.data_dir();
        let files = Self {
            database: fs::read(dir.join("valetkey.db")).expect("a database"),
            log: fs::read(dir.join("valetkey.db-wal")).expect("a log"),
        };
        valetkey.signal("CONT").await;
        files
    }

    /// Puts them into a directory of their own.
    fn put(&self) -> TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("valetkey.db"), &self.database).expect("a database");
        fs::write(dir.path().join("valetkey.db-wal"), &self.log).expect("a log");
        dir
    }

    pub(super) fn open(&self) -> Result<(SqliteStore, TempDir), StoreError> {
        let dir = self.put();
        SqliteStore::open(&dir.path().join("valetkey.db")).map(|store| (store, dir))
    }

    /// The same with another log.
    pub(super) fn with_log(&self, log: impl Into<Vec<u8>>) -> Self {
        Self {
            database: self.database.clone(),
            log: log.into(),
        }
    }
}

/// The log before and after something was done, and what it added. Done again if the log began anew in between, which it
/// does when nothing was written for a second.
async fn log_of(valetkey: &Valetkey, mut work: impl AsyncFnMut()) -> (Files, Files, Range<usize>) {
    for _ in 0..10 {
        let before = Files::of(valetkey).await;
        work().await;
        let after = Files::of(valetkey).await;
        let added = before.log.len().max(HEADER)..after.log.len();
        if after.database == before.database && after.log.starts_with(&before.log) && !added.is_empty() {
            return (before, after, added);
        }
    }
    panic!("the log began anew again and again");
}

fn key(user: &str) -> ConnectionKey {
    ConnectionKey {
        space: SpaceId::default_space(),
        connector: ConnectorId::new("api").expect("an id"),
        owner: Owner::User(ProfileUid::new(user).expect("a user")),
        name: ConnectionName::default_name(),
    }
}

async fn connection(store: &SqliteStore, user: &str) -> Option<ConnectionRow> {
    store.get_connection(&key(user)).await.expect("a read")
}

async fn records(store: &SqliteStore, kind: &str) -> usize {
    let filter = AuditFilter {
        kind: Some(kind.to_owned()),
        limit: 100,
        ..AuditFilter::default()
    };
    store.list_audit(&filter).await.expect("records").len()
}

/// Starts the binary on these files, with the master key of `setup`.
pub(super) async fn start_on(files: &Files, setup: &Setup) -> (Valetkey, TempDir) {
    let dir = files.put();
    let master = setup.data_dir().join("master.key");
    let here = dir.path().join("master.key");
    fs::copy(master, &here).expect("a master key");
    let setup = setup.clone().set("DATA_DIR", dir.path().to_str().expect("a path"));
    (setup.start().await, dir)
}

#[tokio::test]
async fn g07_however_much_of_an_exchange_reached_the_disk_it_is_all_or_nothing() {
    let stage = Stage::per_user().await;
    let mut flows = 0;
    let (_, after, added) = log_of(&stage.valetkey, async || {
        flows += 1;
        let started = stage.user.start("api", json!({})).await;
        Browser::new().connect(&started.url).await.connected();
    })
    .await;
    let (whole, _dir) = after.open().expect("a store");
    let last = connection(&whole, "u1").await.expect("a connection").generation;
    drop(whole);

    let mut seen = Vec::new();
    for end in (added.start..=added.end).step_by(FRAME / 2) {
        let (store, _dir) = after.with_log(&after.log[..end]).open().expect("a store");
        let row = connection(&store, "u1").await;
        let is_done = row.is_some_and(|row| row.generation == last);
        let completed = records(&store, "flow.complete").await;
        assert_eq!(
            completed,
            if is_done { flows } else { flows - 1 },
            "at {end} of {}",
            added.end
        );
        seen.push(is_done);
    }
    assert!(seen.is_sorted() && !seen[0] && seen[seen.len() - 1], "{seen:?}");
}

#[tokio::test]
async fn g21_what_was_acknowledged_before_a_torn_tail_holds() {
    let mut stage = Stage::per_user().await;
    stage.connect(&stage.user, "api").await;
    let mut tokens = (String::new(), stage.user.token_text("api").await);
    let (_, after, added) = log_of(&stage.valetkey, async || {
        let renewed = stage.user.renew("api").await.expect(200);
        let new = renewed["access_token"].as_str().expect("a token").to_owned();
        tokens = (std::mem::take(&mut tokens.1), new);
    })
    .await;
    stage.valetkey.kill().await;
    let (old, new) = tokens;

    // One byte is missing, the last page was never written, or something else is where it should be.
    let log = &after.log;
    let mut spoilt = log.clone();
    spoilt[added.end - FRAME / 2] ^= 0xff;
    let torn = [
        (log[..added.end - 1].to_vec(), &old),
        ([&log[..added.end - PAGE], &[0; PAGE][..]].concat(), &old),
        (spoilt, &old),
        ([&log[..], &[0x5a; PAGE][..]].concat(), &new),
    ];
    for (log, expected) in torn {
        let (mut valetkey, _dir) = start_on(&after.with_log(log), &stage.valetkey.setup).await;
        assert_eq!(&stage.user.token_text("api").await, expected);
        valetkey.kill().await;
    }
}

/// Three users are connected, and everything is in the database file.
async fn at_rest() -> (Stage, Files, [(&'static str, String); 3]) {
    let mut stage = Stage::per_user().await;
    let mut tokens = ["u1", "u2", "u3"].map(|user| (user, String::new()));
    for (user, token) in &mut tokens {
        let api = stage.admin.for_user(user);
        stage.connect(&api, "api").await;
        *token = api.token_text("api").await;
    }
    stage.valetkey.stop().await;
    let files = Files {
        database: fs::read(database(&stage)).expect("a database"),
        log: Vec::new(),
    };
    (stage, files, tokens)
}

fn database(stage: &Stage) -> PathBuf {
    stage.valetkey.setup.data_dir().join("valetkey.db")
}

#[tokio::test]
async fn g24_of_a_page_that_is_damaged_nothing_false_is_read() {
    let (_stage, files, tokens) = at_rest().await;
    let (store, _dir) = files.open().expect("a store");
    let mut rows = Vec::new();
    for (user, _) in &tokens {
        rows.push(connection(&store, user).await.expect("a connection"));
    }
    drop(store);
    let mut told = 0;
    for at in (0..files.database.len())
        .step_by(PAGE / 2)
        .flat_map(|at| [at + 3, at + PAGE / 4])
    {
        let mut damaged = files.clone();
        damaged.database[at] ^= 0xff;
        let Ok((store, _dir)) = damaged.open() else {
            told += 1;
            continue;
        };
        for row in &rows {
            match store.get_connection(&row.key).await {
                Ok(Some(found)) if sealed(&found) == sealed(row) => {}
                // The bytes do not open, and they are bound to whose they are: see the next test.
                Ok(_) | Err(_) => told += 1,
            }
        }
    }
    assert!(told > 0, "no damage was seen at all");
}

fn sealed(row: &ConnectionRow) -> &[u8] {
    &row.grant.as_ref().expect("a grant").sealed_access.0
}

#[tokio::test]
async fn g24_a_damaged_token_is_an_error_of_its_connection_only() {
    let (stage, mut files, tokens) = at_rest().await;
    let (store, _dir) = files.open().expect("a store");
    let rows = [connection(&store, "u1").await, connection(&store, "u2").await].map(|row| row.expect("a connection"));
    drop(store);
    // One has another byte, and another one has what belongs to the first.
    let place = |row: &ConnectionRow| find(&files.database, sealed(row));
    let (first, second) = (place(&rows[0]), place(&rows[1]));
    let stolen = sealed(&rows[0]).to_vec();
    files.database[second..second + stolen.len()].copy_from_slice(&stolen);
    files.database[first + stolen.len() / 2] ^= 1;

    let (mut valetkey, _dir) = start_on(&files, &stage.valetkey.setup).await;
    for (user, token) in &tokens {
        let api = stage.admin.for_user(user);
        if *user == "u3" {
            assert_eq!(&api.token_text("api").await, token);
        } else {
            api.token("api").await.refused(500, "integrity_error");
            let params = json!({"subAction": "request", "subActionParams": {"path": "/api/whoami"}});
            let result = api.on("api", "_execute", json!({"params": params})).await;
            result.refused(500, "integrity_error");
        }
    }
    assert_eq!((stage.fake.refreshes(), stage.fake.seen("/api/whoami").len()), (0, 0));
    assert!(!valetkey.whole_output().await.contains("panicked"));
}

/// Where these bytes are; they must be there once.
fn find(all: &[u8], part: &[u8]) -> usize {
    let mut found = all
        .windows(part.len())
        .enumerate()
        .filter(|(_, window)| *window == part);
    let (at, _) = found.next().expect("the bytes");
    assert!(found.next().is_none(), "they are there twice");
    at
}

/// The page of an index is read only when somebody looks there: a start that reads nothing of it would serve the rest.
#[tokio::test]
async fn g24_after_a_kill_a_file_that_is_damaged_anywhere_is_refused() {
    let (mut stage, ..) = at_rest().await;
    stage.valetkey.start_again().await;
    stage.connect(&stage.user, "api").await;
    let whole = Files::of(&stage.valetkey).await;
    stage.valetkey.kill().await;
    let (mut valetkey, _dir) = start_on(&whole, &stage.valetkey.setup).await;
    valetkey.stop().await;

    let mut refused = 0;
    for page in 1..whole.database.len() / PAGE {
        let mut damaged = whole.clone();
        damaged.database[page * PAGE..][..16].fill(0x5a);
        // A page that the log has is not read from the file.
        if let Err(error) = damaged.open() {
            let text = error.to_string();
            assert!(text.contains("the file is damaged"), "page {page}: {text}");
            refused += 1;
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn g24_a_file_is_looked_through_on_demand() {
    let (stage, files, _) = at_rest().await;
    let whole = files.put();
    let path = |dir: &TempDir| dir.path().join("valetkey.db");
    assert_eq!(
        SqliteStore::check(&path(&whole)).expect("readable"),
        Vec::<String>::new()
    );
    let mut damaged = 0;
    for page in 1..files.database.len() / PAGE {
        let mut spoilt = files.clone();
        spoilt.database[page * PAGE..][..16].fill(0x5a);
        let dir = spoilt.put();
        damaged += usize::from(SqliteStore::check(&path(&dir)).map_or(true, |findings| !findings.is_empty()));
    }
    assert!(
        damaged > files.database.len() / PAGE / 2,
        "only what is free may be damaged"
    );

    let setup = stage.valetkey.setup.clone();
    let setup = setup.set("DATA_DIR", whole.path().to_str().expect("a path"));
    let (code, output) = setup.command(&["check"]).await;
    assert!(code == 0 && output.contains("is whole"), "{code} {output}");
    fs::write(
        path(&whole),
        [&files.database[..PAGE], &vec![0x5a; files.database.len() - PAGE]].concat(),
    )
    .expect("damaged");
    let (code, output) = setup.command(&["check"]).await;
    assert!(code != 0 && output.contains("valetkey.db"), "{code} {output}");
}

#[tokio::test]
async fn g24_a_file_that_is_damaged_all_over_is_refused_with_its_name() {
    let (stage, mut files, _) = at_rest().await;
    files.database[..PAGE].fill(0x5a);
    let dir = files.put();
    refused(dir.path(), &stage.valetkey.setup).await;
}

async fn refused(dir: &Path, setup: &Setup) {
    fs::copy(setup.data_dir().join("master.key"), dir.join("master.key")).expect("a master key");
    let setup = setup.clone().set("DATA_DIR", dir.to_str().expect("a path"));
    let output = setup.start_in_vain().await;
    assert!(
        output.contains("data_dir") && output.contains("not a database"),
        "{output}"
    );
}
