//! A store around a store: every call passes a layer, which may delay it, lose it, or answer something else.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use valetkey_core::{ConnectionKey, ConnectorId, KeyId, SpaceId, Timestamp};
use valetkey_store::rows::{
    AuditEntry, AuditFilter, AuditRow, BoundBrowser, Claim, Committed, ConnectionRow, ConnectorName, ConnectorRow,
    Deletion, Digest, Due, FlowRow, JobRow, KeyRow, Place, Record, Released, Renewed, Sealed, SealingKeyRow,
    SessionRow, Table, TakenFlow, TallyRow, VaultRow, Walk,
};
use valetkey_store::{
    AuditLog, Connections, Connectors, Flows, Jobs, Keys, Limits, Refreshes, Sessions, Store, StoreError, Tallies,
    Transfer, Vault,
};

/// What an operation of the store answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The answer that is to be fetched from the store within: it is not asked before this is polled.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A call of the store.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The operation of the contract.
    pub name: &'static str,
    /// Whether it may change something.
    pub writes: bool,
}

/// What stands between the engine and a store.
#[async_trait]
pub trait Layer: Send + Sync + fmt::Debug {
    /// Carries a call to the store, and its answer back.
    fn carry<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        reply: Reply<'a, T>,
    ) -> impl Future<Output = Result<T>> + Send + 'a;

    /// How a connection is read.
    async fn get_connection(&self, store: &dyn Store, key: &ConnectionKey) -> Result<Option<ConnectionRow>> {
        store.get_connection(key).await
    }

    /// How a lease is taken.
    async fn claim_refresh(
        &self,
        store: &dyn Store,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Claim> {
        store.claim_refresh(key, generation, holder, now, lease).await
    }

    /// How a lease is made longer.
    async fn extend_lease(
        &self,
        store: &dyn Store,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<bool> {
        store.extend_lease(key, generation, holder, now, lease).await
    }

    /// How a new pair is written.
    async fn finish_refresh(
        &self,
        store: &dyn Store,
        key: &ConnectionKey,
        generation: i64,
        renewed: Renewed,
        audit: AuditRow,
    ) -> Result<Committed> {
        store.finish_refresh(key, generation, renewed, audit).await
    }
}

/// A store behind a layer.
#[derive(Debug)]
pub struct Layered<L> {
    layer: L,
    store: Arc<dyn Store>,
}

impl<L: Layer> Layered<L> {
    /// Puts the layer in front of the store.
    pub fn new(layer: L, store: Arc<dyn Store>) -> Self {
        Self { layer, store }
    }
}

/// Implements a part of the contract: each operation of the list is carried through the layer, the ones with `via` to the
/// layer's own form of it.
macro_rules! carried {
    ($part:ident { $($kind:ident $(($via:ident))? $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+ }) => {
        #[async_trait]
        impl<L: Layer> $part for Layered<L> {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                let call = Call { name: stringify!($name), writes: carried!(@$kind) };
                let reply = carried!(@call $($via)? self, $name, $($argument),*);
                self.layer.carry(call, reply).await
            })+
        }
    };
    (@reads) => { false };
    (@writes) => { true };
    (@call via $self:ident, $name:ident, $($argument:ident),*) => {
        $self.layer.$name(&*$self.store, $($argument),*)
    };
    (@call $self:ident, $name:ident, $($argument:ident),*) => {
        $self.store.$name($($argument),*)
    };
}

carried! {
    Vault {
        reads vault() -> Option<VaultRow>;
        writes init_vault(row: VaultRow) -> bool;
        writes replace_keys(before: &[SealingKeyRow], after: Vec<SealingKeyRow>, audit: AuditRow) -> bool;
        writes mark_restored(at: Timestamp, audit: AuditRow) -> bool;
        writes probe() -> ();
        reads time() -> Option<Timestamp>;
    }
}

carried! {
    Keys {
        writes put_key(row: KeyRow, audit: AuditRow) -> bool;
        writes put_first_key(row: KeyRow, audit: AuditRow) -> bool;
        reads get_key(id: &KeyId) -> Option<KeyRow>;
        reads list_keys() -> Vec<KeyRow>;
        reads walk_keys(after: Option<(Timestamp, &KeyId)>, limit: u32) -> Vec<KeyRow>;
        writes delete_key(id: &KeyId, audit: AuditRow) -> bool;
    }
}

carried! {
    Sessions {
        writes put_session(row: SessionRow, audit: AuditRow) -> ();
        reads get_session(hash: &Digest) -> Option<SessionRow>;
        writes touch_session(hash: &Digest, at: Timestamp) -> ();
        writes claim_ask(hash: &Digest, asks: i64, now: Timestamp, until: Timestamp) -> bool;
        writes renew_session(row: SessionRow, audit: Option<AuditRow>) -> bool;
        writes delete_session(hash: &Digest, audit: AuditRow) -> bool;
        writes delete_sessions_of(person: &KeyId, audit: AuditRow) -> u64;
        writes put_sign_in_link(hash: Digest, expires_at: Timestamp, audit: AuditRow) -> ();
        writes take_sign_in_link(hash: &Digest, now: Timestamp) -> bool;
        writes sweep_sessions(now: Timestamp, limit: u32) -> u64;
    }
}

carried! {
    Connectors {
        writes put_connector(row: ConnectorRow, audit: AuditRow) -> bool;
        writes replace_connector(row: ConnectorRow, audit: AuditRow) -> bool;
        reads get_connector(space: &SpaceId, id: &ConnectorId) -> Option<ConnectorRow>;
        reads get_connectors(space: &SpaceId, ids: &[ConnectorId]) -> Vec<ConnectorRow>;
        reads list_connectors(space: &SpaceId, after: Option<&ConnectorId>, limit: u32) -> Vec<ConnectorRow>;
        reads walk_connectors(
            space: &SpaceId, after: Option<&ConnectorId>, limit: u32
        ) -> Vec<ConnectorName>;
        writes delete_connector(space: &SpaceId, id: &ConnectorId, audit: AuditRow) -> Deletion;
        reads scan_connectors(after: Option<(&SpaceId, &ConnectorId)>, limit: u32) -> Vec<ConnectorRow>;
        writes reseal_connector(space: &SpaceId, id: &ConnectorId, version: i64, sealed: Sealed) -> bool;
    }
}

carried! {
    Flows {
        writes put_flow(row: FlowRow, max_pending: u32, audit: AuditRow) -> bool;
        reads get_flow(state_hash: &Digest) -> Option<FlowRow>;
        writes take_flow(state_hash: &Digest, now: Timestamp) -> TakenFlow;
        writes end_flow(state_hash: &Digest, audit: Option<AuditRow>) -> bool;
        reads list_taken_flows(before: Timestamp, limit: u32) -> Vec<FlowRow>;
        reads get_flow_by_ticket(ticket_hash: &Digest) -> Option<FlowRow>;
        writes bind_browser(ticket_hash: &Digest, browser: Digest) -> BoundBrowser;
        writes sweep_flows(now: Timestamp, limit: u32) -> u64;
    }
}

carried! {
    Connections {
        reads (via) get_connection(key: &ConnectionKey) -> Option<ConnectionRow>;
        reads get_connections(keys: &[ConnectionKey]) -> Vec<ConnectionRow>;
        writes put_connection(row: ConnectionRow, audit: AuditRow) -> Committed;
        writes disconnect(
            key: &ConnectionKey, generation: i64, until: Timestamp, job: Option<JobRow>, audit: AuditRow
        ) -> Committed;
        reads list_connections(
            space: &SpaceId, connector: &ConnectorId, after: Option<&ConnectionKey>, limit: u32
        ) -> Vec<ConnectionRow>;
        reads walk_connections(
            space: &SpaceId, walk: &Walk, after: Option<&Place>, limit: u32
        ) -> Vec<ConnectionRow>;
        reads shares_account(key: &ConnectionKey, account_id: &str) -> bool;
        reads scan_connections(after: Option<&ConnectionKey>, limit: u32) -> Vec<ConnectionRow>;
        writes reseal_connection(
            key: &ConnectionKey, generation: i64, sealed_access: Sealed, sealed_refresh: Option<Sealed>
        ) -> bool;
        writes touch_connections(used: Vec<(ConnectionKey, Timestamp)>) -> ();
        writes sweep_tombstones(now: Timestamp, limit: u32) -> u64;
    }
}

carried! {
    Refreshes {
        writes (via) claim_refresh(
            key: &ConnectionKey, generation: i64, holder: &str, now: Timestamp, lease: Duration
        ) -> Claim;
        writes (via) extend_lease(
            key: &ConnectionKey, generation: i64, holder: &str, now: Timestamp, lease: Duration
        ) -> bool;
        writes (via) finish_refresh(
            key: &ConnectionKey, generation: i64, renewed: Renewed, audit: AuditRow
        ) -> Committed;
        writes release_refresh(
            key: &ConnectionKey, generation: i64, holder: &str, released: Released, audit: Option<AuditRow>
        ) -> Committed;
        reads list_due(now: Timestamp, skip: &[SpaceId], limit: u32) -> Vec<Due>;
        writes postpone(
            key: &ConnectionKey, generation: i64, due_at: Option<Timestamp>, notice: Option<String>,
            audit: Option<AuditRow>
        ) -> bool;
    }
}

carried! {
    Jobs {
        writes put_job(row: JobRow) -> bool;
        writes claim_jobs(now: Timestamp, until: Timestamp, limit: u32) -> Vec<JobRow>;
        writes postpone_job(space: &SpaceId, id: &str, due_at: Timestamp) -> bool;
        writes finish_job(space: &SpaceId, id: &str, audit: AuditRow) -> bool;
    }
}

carried! {
    Transfer {
        reads export(table: Table, after: Option<&Record>, limit: u32) -> Vec<Record>;
        writes import(records: Vec<Record>) -> ();
    }
}

carried! {
    AuditLog {
        writes append_audit(rows: Vec<AuditRow>) -> ();
        reads list_audit(filter: &AuditFilter) -> Vec<AuditEntry>;
    }
}

carried! {
    Tallies {
        writes add_tallies(rows: Vec<TallyRow>) -> ();
        reads list_tallies(space: &SpaceId, from: Timestamp, to: Timestamp) -> Vec<TallyRow>;
        writes sweep_tallies(before: Timestamp, limit: u32) -> u64;
    }
}

carried! {
    Limits {
        writes take_limit(
            bucket: &'static str, subject: &str, limit: u32, window: Duration, now: Timestamp
        ) -> std::result::Result<(), Duration>;
        writes sweep_limits(before: Timestamp, limit: u32) -> u64;
    }
}
