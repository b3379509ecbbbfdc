//! Rows to begin with, and servers for tests that spoil theirs.

use std::fmt::Display;

use tempfile::TempDir;
use valetkey_core::{ConnectionKey, ConnectionName, ConnectorId, KeyId, Owner, ProfileUid, SpaceId, Timestamp};
use valetkey_store::postgres::{Address, PostgresStore};
use valetkey_store::rows::{
    AuditFilter, AuditRow, Committed, ConnectionRow, ConnectionState, Digest, FlowRow, FlowState, GrantRow, Renewed,
    Sealed,
};
use valetkey_store::{AuditLog as _, Connections as _, Refreshes as _, StoreError};

use crate::place::told;
use crate::server::{self, Server};

pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// A server for one test. Without its programs the test does not run, as without the shared server.
pub(crate) fn own_server(settings: &[&str]) -> Option<(Server, TempDir)> {
    told("VALETKEY_TEST_POSTGRES")?;
    let programs = server::programs().expect("the programs of the server");
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(&programs, dir.path(), settings).expect("a server");
    Some((server, dir))
}

pub(crate) fn address(url: impl Display) -> Address {
    url.to_string().parse().expect("an address")
}

/// Why a store cannot be opened there.
pub(crate) async fn refusal(url: impl Display) -> StoreError {
    PostgresStore::open(&address(url)).await.expect_err("a refusal")
}

/// The text of an error that may pass.
pub(crate) fn unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable(text)) => text,
        other => panic!("not unavailable: {other:?}"),
    }
}

pub(crate) fn key_of(uid: &str) -> ConnectionKey {
    ConnectionKey {
        space: SpaceId::default_space(),
        connector: ConnectorId::new("slack").expect("an id"),
        owner: Owner::User(ProfileUid::new(uid).expect("a user")),
        name: ConnectionName::default_name(),
    }
}

pub(crate) fn grant() -> GrantRow {
    GrantRow {
        sealed_access: Sealed(vec![1; 40]),
        sealed_refresh: Some(Sealed(vec![2; 40])),
        expires_at: Some(NOW),
        lifetime_ms: None,
        refresh_expires_at: None,
        scopes: vec![],
        metadata: serde_json::Map::new(),
    }
}

pub(crate) fn connection(uid: &str) -> ConnectionRow {
    ConnectionRow {
        key: key_of(uid),
        generation: 1,
        state: ConnectionState::Active,
        grant: Some(grant()),
        binding: Digest([0; 32]),
        spec_version: 1,
        account_id: None,
        account_label: None,
        connected_at: NOW,
        refreshed_at: None,
        intent: None,
        due_at: None,
        used_at: NOW,
        notice: None,
    }
}

pub(crate) fn flow(number: u8, uid: &str) -> FlowRow {
    FlowRow {
        state_hash: Digest([number; 32]),
        id: format!("flow-{number}"),
        ticket_hash: None,
        browser_hash: None,
        key: key_of(uid),
        context: "default.slack".to_owned(),
        state: FlowState::Pending,
        sealed: Sealed(vec![]),
        started_by: KeyId::new("key-1").expect("an id"),
        created_at: NOW,
        expires_at: Timestamp(NOW.0 + 600_000),
    }
}

pub(crate) fn audit(kind: &'static str) -> AuditRow {
    AuditRow {
        at: NOW,
        space: None,
        kind,
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

pub(crate) async fn put(store: &PostgresStore, uid: &str) {
    let put = store.put_connection(connection(uid), audit("connection.connect"));
    assert!(matches!(put.await.expect("written"), Committed::Done(_)));
}

pub(crate) async fn finish(store: &PostgresStore, uid: &str, generation: i64) -> Result<Committed, StoreError> {
    let renewed = Renewed {
        grant: grant(),
        at: NOW,
        due_at: None,
    };
    let key = key_of(uid);
    store
        .finish_refresh(&key, generation, renewed, audit("token.refresh"))
        .await
}

/// The generation of a stored connection.
pub(crate) async fn generation(store: &PostgresStore, uid: &str) -> i64 {
    let row = store.get_connection(&key_of(uid)).await.expect("read");
    row.expect("a connection").generation
}

/// How many records of a kind there are.
pub(crate) async fn records(store: &PostgresStore, kind: &str) -> usize {
    let filter = AuditFilter {
        kind: Some(kind.to_owned()),
        limit: 1_000,
        ..AuditFilter::default()
    };
    store.list_audit(&filter).await.expect("a list").len()
}
