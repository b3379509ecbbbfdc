//! Rows to begin with.

use std::future::Future;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use valetkey_core::{
    AuthMode, ConnectionKey, ConnectionName, ConnectorId, ConnectorTypeId, KeyId, Owner, ProfileUid, SpaceId, Timestamp,
};
use valetkey_store::Store;
use valetkey_store::rows::{
    AuditEntry, AuditFilter, AuditRow, ConnectionRow, ConnectionState, ConnectorRow, Digest, FlowRow, FlowState,
    GrantRow, JobRow, KeyRow, Sealed, SessionRow, Standing,
};

/// When the tests take place.
pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// So many milliseconds after [`NOW`].
pub(crate) fn later(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

pub(crate) fn space(id: &str) -> SpaceId {
    SpaceId::new(id).expect("a space id")
}

pub(crate) fn home() -> SpaceId {
    SpaceId::default_space()
}

pub(crate) fn connector_id(id: &str) -> ConnectorId {
    ConnectorId::new(id).expect("a connector id")
}

pub(crate) fn key_id(id: &str) -> KeyId {
    KeyId::new(id).expect("a key id")
}

pub(crate) fn user(uid: &str) -> ProfileUid {
    ProfileUid::new(uid).expect("a user")
}

pub(crate) fn owner(uid: &str) -> Owner {
    Owner::User(user(uid))
}

/// The connection of a user to `slack` in the default space.
pub(crate) fn key_of(uid: &str) -> ConnectionKey {
    key("slack", owner(uid), "default")
}

pub(crate) fn key(connector: &str, owner: Owner, name: &str) -> ConnectionKey {
    let name = ConnectionName::new(name).expect("a name");
    ConnectionKey {
        space: home(),
        connector: connector_id(connector),
        owner,
        name,
    }
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

pub(crate) fn grant(mark: u8) -> GrantRow {
    GrantRow {
        sealed_access: Sealed(vec![mark; 40]),
        sealed_refresh: Some(Sealed(vec![mark, 0, 255])),
        expires_at: Some(NOW),
        lifetime_ms: Some(3_600_000),
        refresh_expires_at: Some(Timestamp(NOW.0 + 1)),
        scopes: vec!["chat:write".to_owned(), "ümlaut \"quoted\"".to_owned()],
        metadata: object(json!({"instance_url": "https://x.example", "team": {"id": 7}})),
    }
}

pub(crate) fn connection(key: ConnectionKey, generation: i64) -> ConnectionRow {
    ConnectionRow {
        key,
        generation,
        state: ConnectionState::Active,
        grant: Some(grant(1)),
        binding: Digest([9; 32]),
        spec_version: 3,
        account_id: Some("U123".to_owned()),
        account_label: Some("Ada ✓".to_owned()),
        connected_at: NOW,
        refreshed_at: None,
        intent: None,
        due_at: None,
        used_at: NOW,
        notice: None,
    }
}

pub(crate) fn connector(id: &str) -> ConnectorRow {
    ConnectorRow {
        space: home(),
        id: connector_id(id),
        type_id: ConnectorTypeId::new(".slack2").expect("a type id"),
        name: "Our Slack".to_owned(),
        config: object(json!({"n": 1.5, "deep": [null, true, {"ö": "\u{0}"}]})),
        auth_type: "oauth_authorization_code".to_owned(),
        auth_mode: AuthMode::PerUser,
        auth: object(json!({"clientId": "abc"})),
        sealed_secrets: Some(Sealed(vec![0, 1, 2])),
        binding: Digest([4; 32]),
        version: 1,
        legacy_redirect_uri: true,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// A digest that is the number's own.
pub(crate) fn digest(number: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Digest(bytes)
}

/// A flow of ten minutes for a user, with a ticket.
pub(crate) fn flow(number: u64, uid: &str) -> FlowRow {
    FlowRow {
        state_hash: digest(number),
        id: format!("flow-{number}"),
        ticket_hash: Some(digest(1_000_000 + number)),
        browser_hash: None,
        key: key_of(uid),
        context: "default.slack".to_owned(),
        state: FlowState::Pending,
        sealed: Sealed(b"verifier".to_vec()),
        started_by: key_id("key-1"),
        created_at: NOW,
        expires_at: Timestamp(NOW.0 + 600_000),
    }
}

pub(crate) fn api_key(id: &str, created_at: Timestamp) -> KeyRow {
    KeyRow {
        id: key_id(id),
        name: "CI".to_owned(),
        hash: Digest([2; 32]),
        privileges: vec!["tokens:read".to_owned()],
        spaces: vec!["*".to_owned()],
        profile_uid: Some(user("ada")),
        connectors: Some(vec!["slack".to_owned()]),
        actions: Some(vec![]),
        created_at,
        expires_at: Some(Timestamp(NOW.0 + 1)),
        created_by: Some(key_id("root")),
    }
}

/// A session of twelve hours.
pub(crate) fn session(number: u64, person: &str) -> SessionRow {
    SessionRow {
        hash: digest(number),
        person: key_id(person),
        name: "Ada ✓".to_owned(),
        profile_uid: Some(user("ada")),
        privileges: Some(vec!["connectors:read".to_owned()]),
        spaces: vec!["*".to_owned()],
        created_at: NOW,
        seen_at: NOW,
        expires_at: later(43_200_000),
        standing: None,
    }
}

/// A session whose identity provider can be asked, and was asked twice.
pub(crate) fn confirmed_session(number: u64, person: &str) -> SessionRow {
    SessionRow {
        standing: Some(Standing {
            sealed: Sealed(vec![7, 0, 255]),
            confirmed_at: NOW,
            asks: 2,
            asked_until: later(10),
        }),
        ..session(number, person)
    }
}

/// A job that is due now, for a user's connection.
pub(crate) fn job(id: &str) -> JobRow {
    JobRow {
        id: id.to_owned(),
        key: key_of("ada"),
        kind: "revoke".to_owned(),
        sealed: Sealed(vec![5, 0, 255]),
        due_at: NOW,
        attempts: 0,
        created_at: Timestamp(NOW.0 - 7),
    }
}

pub(crate) fn audit(kind: &'static str) -> AuditRow {
    AuditRow {
        at: NOW,
        space: Some(home()),
        kind,
        outcome: "ok".to_owned(),
        key: Some(key_id("key-1")),
        user: Some(user("ada")),
        connector: Some(connector_id("slack")),
        connection: Some((owner("ada"), ConnectionName::default_name())),
        request_id: Some("request".to_owned()),
        address: Some("192.0.2.1".to_owned()),
        details: object(json!({"provider": "slack"})),
        count: 1,
    }
}

/// How many records of a kind there are.
pub(crate) async fn records(store: &dyn Store, kind: &str) -> usize {
    list(
        store,
        AuditFilter {
            kind: Some(kind.to_owned()),
            ..everything()
        },
    )
    .await
    .len()
}

pub(crate) async fn list(store: &dyn Store, filter: AuditFilter) -> Vec<AuditEntry> {
    store.list_audit(&filter).await.expect("a list")
}

pub(crate) fn everything() -> AuditFilter {
    AuditFilter {
        limit: 1_000,
        ..AuditFilter::default()
    }
}

/// Runs the same thing many times at once and collects what came of each.
pub(crate) async fn race<T, F>(store: &Arc<dyn Store>, runners: u64, run: impl Fn(Arc<dyn Store>, u64) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks: JoinSet<T> = (0..runners).map(|number| run(Arc::clone(store), number)).collect();
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        results.push(result.expect("a result"));
    }
    results
}
