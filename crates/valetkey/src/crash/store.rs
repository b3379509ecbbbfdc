//! The store, with crash points around each of its operations.

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

use super::Plan;
use super::point::Edge;

/// A store with crash points.
#[derive(Debug)]
pub(super) struct Crashing {
    store: Arc<dyn Store>,
    plan: Arc<Plan>,
}

impl Crashing {
    pub(super) fn new(store: Arc<dyn Store>, plan: Arc<Plan>) -> Self {
        Self { store, plan }
    }
}

/// Implements a part of the contract: each operation has a crash point before it, and one after it if it succeeded.
macro_rules! crashing {
    ($part:ident { $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+ }) => {
        #[async_trait]
        impl $part for Crashing {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
                self.plan.pass(Edge::Before(stringify!($name))).await?;
                let answer = self.store.$name($($argument),*).await?;
                self.plan.pass(Edge::After(stringify!($name))).await?;
                Ok(answer)
            })+
        }
    };
}

crashing! {
    Vault {
        vault() -> Option<VaultRow>;
        init_vault(row: VaultRow) -> bool;
        replace_keys(before: &[SealingKeyRow], after: Vec<SealingKeyRow>, audit: AuditRow) -> bool;
        mark_restored(at: Timestamp, audit: AuditRow) -> bool;
        probe() -> ();
        time() -> Option<Timestamp>;
    }
}

crashing! {
    Keys {
        put_key(row: KeyRow, audit: AuditRow) -> bool;
        put_first_key(row: KeyRow, audit: AuditRow) -> bool;
        get_key(id: &KeyId) -> Option<KeyRow>;
        list_keys() -> Vec<KeyRow>;
        walk_keys(after: Option<(Timestamp, &KeyId)>, limit: u32) -> Vec<KeyRow>;
        delete_key(id: &KeyId, audit: AuditRow) -> bool;
    }
}

crashing! {
    Sessions {
        put_session(row: SessionRow, audit: AuditRow) -> ();
        get_session(hash: &Digest) -> Option<SessionRow>;
        touch_session(hash: &Digest, at: Timestamp) -> ();
        claim_ask(hash: &Digest, asks: i64, now: Timestamp, until: Timestamp) -> bool;
        renew_session(row: SessionRow, audit: Option<AuditRow>) -> bool;
        delete_session(hash: &Digest, audit: AuditRow) -> bool;
        delete_sessions_of(person: &KeyId, audit: AuditRow) -> u64;
        put_sign_in_link(hash: Digest, expires_at: Timestamp, audit: AuditRow) -> ();
        take_sign_in_link(hash: &Digest, now: Timestamp) -> bool;
        sweep_sessions(now: Timestamp, limit: u32) -> u64;
    }
}

crashing! {
    Connectors {
        put_connector(row: ConnectorRow, audit: AuditRow) -> bool;
        replace_connector(row: ConnectorRow, audit: AuditRow) -> bool;
        get_connector(space: &SpaceId, id: &ConnectorId) -> Option<ConnectorRow>;
        get_connectors(space: &SpaceId, ids: &[ConnectorId]) -> Vec<ConnectorRow>;
        list_connectors(space: &SpaceId, after: Option<&ConnectorId>, limit: u32) -> Vec<ConnectorRow>;
        walk_connectors(space: &SpaceId, after: Option<&ConnectorId>, limit: u32) -> Vec<ConnectorName>;
        delete_connector(space: &SpaceId, id: &ConnectorId, audit: AuditRow) -> Deletion;
        scan_connectors(after: Option<(&SpaceId, &ConnectorId)>, limit: u32) -> Vec<ConnectorRow>;
        reseal_connector(space: &SpaceId, id: &ConnectorId, version: i64, sealed: Sealed) -> bool;
    }
}

crashing! {
    Flows {
        put_flow(row: FlowRow, max_pending: u32, audit: AuditRow) -> bool;
        get_flow(state_hash: &Digest) -> Option<FlowRow>;
        take_flow(state_hash: &Digest, now: Timestamp) -> TakenFlow;
        end_flow(state_hash: &Digest, audit: Option<AuditRow>) -> bool;
        list_taken_flows(before: Timestamp, limit: u32) -> Vec<FlowRow>;
        get_flow_by_ticket(ticket_hash: &Digest) -> Option<FlowRow>;
        bind_browser(ticket_hash: &Digest, browser: Digest) -> BoundBrowser;
        sweep_flows(now: Timestamp, limit: u32) -> u64;
    }
}

crashing! {
    Connections {
        get_connection(key: &ConnectionKey) -> Option<ConnectionRow>;
        get_connections(keys: &[ConnectionKey]) -> Vec<ConnectionRow>;
        put_connection(row: ConnectionRow, audit: AuditRow) -> Committed;
        disconnect(
            key: &ConnectionKey, generation: i64, until: Timestamp, job: Option<JobRow>, audit: AuditRow
        ) -> Committed;
        list_connections(
            space: &SpaceId, connector: &ConnectorId, after: Option<&ConnectionKey>, limit: u32
        ) -> Vec<ConnectionRow>;
        walk_connections(space: &SpaceId, walk: &Walk, after: Option<&Place>, limit: u32) -> Vec<ConnectionRow>;
        shares_account(key: &ConnectionKey, account_id: &str) -> bool;
        scan_connections(after: Option<&ConnectionKey>, limit: u32) -> Vec<ConnectionRow>;
        reseal_connection(
            key: &ConnectionKey, generation: i64, sealed_access: Sealed, sealed_refresh: Option<Sealed>
        ) -> bool;
        touch_connections(used: Vec<(ConnectionKey, Timestamp)>) -> ();
        sweep_tombstones(now: Timestamp, limit: u32) -> u64;
    }
}

crashing! {
    Refreshes {
        claim_refresh(key: &ConnectionKey, generation: i64, holder: &str, now: Timestamp, lease: Duration) -> Claim;
        extend_lease(key: &ConnectionKey, generation: i64, holder: &str, now: Timestamp, lease: Duration) -> bool;
        finish_refresh(key: &ConnectionKey, generation: i64, renewed: Renewed, audit: AuditRow) -> Committed;
        release_refresh(
            key: &ConnectionKey, generation: i64, holder: &str, released: Released, audit: Option<AuditRow>
        ) -> Committed;
        list_due(now: Timestamp, skip: &[SpaceId], limit: u32) -> Vec<Due>;
        postpone(
            key: &ConnectionKey, generation: i64, due_at: Option<Timestamp>, notice: Option<String>, audit: Option<AuditRow>
        ) -> bool;
    }
}

crashing! {
    Jobs {
        put_job(row: JobRow) -> bool;
        claim_jobs(now: Timestamp, until: Timestamp, limit: u32) -> Vec<JobRow>;
        postpone_job(space: &SpaceId, id: &str, due_at: Timestamp) -> bool;
        finish_job(space: &SpaceId, id: &str, audit: AuditRow) -> bool;
    }
}

crashing! {
    Transfer {
        export(table: Table, after: Option<&Record>, limit: u32) -> Vec<Record>;
        import(records: Vec<Record>) -> ();
    }
}

crashing! {
    AuditLog {
        append_audit(rows: Vec<AuditRow>) -> ();
        list_audit(filter: &AuditFilter) -> Vec<AuditEntry>;
    }
}

crashing! {
    Limits {
        take_limit(
            bucket: &'static str, subject: &str, limit: u32, window: Duration, now: Timestamp
        ) -> std::result::Result<(), Duration>;
        sweep_limits(before: Timestamp, limit: u32) -> u64;
    }
}

crashing! {
    Tallies {
        add_tallies(rows: Vec<TallyRow>) -> ();
        list_tallies(space: &SpaceId, from: Timestamp, to: Timestamp) -> Vec<TallyRow>;
        sweep_tallies(before: Timestamp, limit: u32) -> u64;
    }
}
