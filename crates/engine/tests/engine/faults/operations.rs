//! Every operation of the contract, passed on as its rule says.

use std::time::Duration;

use async_trait::async_trait;
use valetkey_core::{ConnectionKey, ConnectorId, KeyId, SpaceId, Timestamp};
use valetkey_store::rows::{
    AuditEntry, AuditFilter, AuditRow, BoundBrowser, Claim, Committed, ConnectionRow, ConnectorName, ConnectorRow,
    Deletion, Digest, Due, FlowRow, JobRow, KeyRow, Place, Record, Released, Renewed, Sealed, SealingKeyRow,
    SessionRow, Table, TakenFlow, TallyRow, VaultRow, Walk,
};
use valetkey_store::{
    AuditLog, Connections, Connectors, Flows, Jobs, Keys, Limits, Refreshes, Sessions, Tallies, Transfer, Vault,
};

use super::{Faults, Result, in_no_time};

macro_rules! pass {
    ($self:ident, $operation:ident($($argument:ident),*)) => {{
        let (inner, fault) = $self.begin(stringify!($operation)).await?;
        let answer = in_no_time(inner.$operation($($argument),*)).await;
        drop(inner);
        $self.end(stringify!($operation), fault, answer).await
    }};
}

#[async_trait]
impl Vault for Faults {
    async fn vault(&self) -> Result<Option<VaultRow>> {
        pass!(self, vault())
    }

    async fn init_vault(&self, row: VaultRow) -> Result<bool> {
        pass!(self, init_vault(row))
    }

    async fn replace_keys(&self, before: &[SealingKeyRow], after: Vec<SealingKeyRow>, audit: AuditRow) -> Result<bool> {
        pass!(self, replace_keys(before, after, audit))
    }

    async fn mark_restored(&self, at: Timestamp, audit: AuditRow) -> Result<bool> {
        pass!(self, mark_restored(at, audit))
    }

    async fn probe(&self) -> Result<()> {
        pass!(self, probe())
    }

    async fn time(&self) -> Result<Option<Timestamp>> {
        pass!(self, time())
    }
}

#[async_trait]
impl Keys for Faults {
    async fn put_key(&self, row: KeyRow, audit: AuditRow) -> Result<bool> {
        pass!(self, put_key(row, audit))
    }

    async fn put_first_key(&self, row: KeyRow, audit: AuditRow) -> Result<bool> {
        pass!(self, put_first_key(row, audit))
    }

    async fn get_key(&self, id: &KeyId) -> Result<Option<KeyRow>> {
        pass!(self, get_key(id))
    }

    async fn list_keys(&self) -> Result<Vec<KeyRow>> {
        pass!(self, list_keys())
    }

    async fn walk_keys(&self, after: Option<(Timestamp, &KeyId)>, limit: u32) -> Result<Vec<KeyRow>> {
        pass!(self, walk_keys(after, limit))
    }

    async fn delete_key(&self, id: &KeyId, audit: AuditRow) -> Result<bool> {
        pass!(self, delete_key(id, audit))
    }
}

#[async_trait]
impl Sessions for Faults {
    async fn put_session(&self, row: SessionRow, audit: AuditRow) -> Result<()> {
        pass!(self, put_session(row, audit))
    }

    async fn get_session(&self, hash: &Digest) -> Result<Option<SessionRow>> {
        pass!(self, get_session(hash))
    }

    async fn touch_session(&self, hash: &Digest, at: Timestamp) -> Result<()> {
        pass!(self, touch_session(hash, at))
    }

    async fn claim_ask(&self, hash: &Digest, asks: i64, now: Timestamp, until: Timestamp) -> Result<bool> {
        pass!(self, claim_ask(hash, asks, now, until))
    }

    async fn renew_session(&self, row: SessionRow, audit: Option<AuditRow>) -> Result<bool> {
        pass!(self, renew_session(row, audit))
    }

    async fn delete_session(&self, hash: &Digest, audit: AuditRow) -> Result<bool> {
        pass!(self, delete_session(hash, audit))
    }

    async fn delete_sessions_of(&self, person: &KeyId, audit: AuditRow) -> Result<u64> {
        pass!(self, delete_sessions_of(person, audit))
    }

    async fn put_sign_in_link(&self, hash: Digest, expires_at: Timestamp, audit: AuditRow) -> Result<()> {
        pass!(self, put_sign_in_link(hash, expires_at, audit))
    }

    async fn take_sign_in_link(&self, hash: &Digest, now: Timestamp) -> Result<bool> {
        pass!(self, take_sign_in_link(hash, now))
    }

    async fn sweep_sessions(&self, now: Timestamp, limit: u32) -> Result<u64> {
        pass!(self, sweep_sessions(now, limit))
    }
}

#[async_trait]
impl Connectors for Faults {
    async fn put_connector(&self, row: ConnectorRow, audit: AuditRow) -> Result<bool> {
        pass!(self, put_connector(row, audit))
    }

    async fn replace_connector(&self, row: ConnectorRow, audit: AuditRow) -> Result<bool> {
        pass!(self, replace_connector(row, audit))
    }

    async fn get_connector(&self, space: &SpaceId, id: &ConnectorId) -> Result<Option<ConnectorRow>> {
        pass!(self, get_connector(space, id))
    }

    async fn get_connectors(&self, space: &SpaceId, ids: &[ConnectorId]) -> Result<Vec<ConnectorRow>> {
        pass!(self, get_connectors(space, ids))
    }

    async fn list_connectors(
        &self,
        space: &SpaceId,
        after: Option<&ConnectorId>,
        limit: u32,
    ) -> Result<Vec<ConnectorRow>> {
        pass!(self, list_connectors(space, after, limit))
    }

    async fn walk_connectors(
        &self,
        space: &SpaceId,
        after: Option<&ConnectorId>,
        limit: u32,
    ) -> Result<Vec<ConnectorName>> {
        pass!(self, walk_connectors(space, after, limit))
    }

    async fn delete_connector(&self, space: &SpaceId, id: &ConnectorId, audit: AuditRow) -> Result<Deletion> {
        pass!(self, delete_connector(space, id, audit))
    }

    async fn scan_connectors(&self, after: Option<(&SpaceId, &ConnectorId)>, limit: u32) -> Result<Vec<ConnectorRow>> {
        pass!(self, scan_connectors(after, limit))
    }

    async fn reseal_connector(&self, space: &SpaceId, id: &ConnectorId, version: i64, sealed: Sealed) -> Result<bool> {
        pass!(self, reseal_connector(space, id, version, sealed))
    }
}

#[async_trait]
impl Flows for Faults {
    async fn put_flow(&self, row: FlowRow, max_pending: u32, audit: AuditRow) -> Result<bool> {
        pass!(self, put_flow(row, max_pending, audit))
    }

    async fn get_flow(&self, state_hash: &Digest) -> Result<Option<FlowRow>> {
        pass!(self, get_flow(state_hash))
    }

    async fn take_flow(&self, state_hash: &Digest, now: Timestamp) -> Result<TakenFlow> {
        pass!(self, take_flow(state_hash, now))
    }

    async fn end_flow(&self, state_hash: &Digest, audit: Option<AuditRow>) -> Result<bool> {
        pass!(self, end_flow(state_hash, audit))
    }

    async fn list_taken_flows(&self, before: Timestamp, limit: u32) -> Result<Vec<FlowRow>> {
        pass!(self, list_taken_flows(before, limit))
    }

    async fn get_flow_by_ticket(&self, ticket_hash: &Digest) -> Result<Option<FlowRow>> {
        pass!(self, get_flow_by_ticket(ticket_hash))
    }

    async fn bind_browser(&self, ticket_hash: &Digest, browser: Digest) -> Result<BoundBrowser> {
        pass!(self, bind_browser(ticket_hash, browser))
    }

    async fn sweep_flows(&self, now: Timestamp, limit: u32) -> Result<u64> {
        pass!(self, sweep_flows(now, limit))
    }
}

#[async_trait]
impl Connections for Faults {
    async fn get_connection(&self, key: &ConnectionKey) -> Result<Option<ConnectionRow>> {
        pass!(self, get_connection(key))
    }

    async fn get_connections(&self, keys: &[ConnectionKey]) -> Result<Vec<ConnectionRow>> {
        pass!(self, get_connections(keys))
    }

    async fn put_connection(&self, row: ConnectionRow, audit: AuditRow) -> Result<Committed> {
        pass!(self, put_connection(row, audit))
    }

    async fn disconnect(
        &self,
        key: &ConnectionKey,
        generation: i64,
        until: Timestamp,
        job: Option<JobRow>,
        audit: AuditRow,
    ) -> Result<Committed> {
        pass!(self, disconnect(key, generation, until, job, audit))
    }

    async fn list_connections(
        &self,
        space: &SpaceId,
        connector: &ConnectorId,
        after: Option<&ConnectionKey>,
        limit: u32,
    ) -> Result<Vec<ConnectionRow>> {
        pass!(self, list_connections(space, connector, after, limit))
    }

    async fn walk_connections(
        &self,
        space: &SpaceId,
        walk: &Walk,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<ConnectionRow>> {
        pass!(self, walk_connections(space, walk, after, limit))
    }

    async fn shares_account(&self, key: &ConnectionKey, account_id: &str) -> Result<bool> {
        pass!(self, shares_account(key, account_id))
    }

    async fn scan_connections(&self, after: Option<&ConnectionKey>, limit: u32) -> Result<Vec<ConnectionRow>> {
        pass!(self, scan_connections(after, limit))
    }

    async fn reseal_connection(
        &self,
        key: &ConnectionKey,
        generation: i64,
        sealed_access: Sealed,
        sealed_refresh: Option<Sealed>,
    ) -> Result<bool> {
        pass!(self, reseal_connection(key, generation, sealed_access, sealed_refresh))
    }

    async fn touch_connections(&self, used: Vec<(ConnectionKey, Timestamp)>) -> Result<()> {
        pass!(self, touch_connections(used))
    }

    async fn sweep_tombstones(&self, now: Timestamp, limit: u32) -> Result<u64> {
        pass!(self, sweep_tombstones(now, limit))
    }
}

#[async_trait]
impl Refreshes for Faults {
    async fn claim_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Claim> {
        pass!(self, claim_refresh(key, generation, holder, now, lease))
    }

    async fn extend_lease(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<bool> {
        pass!(self, extend_lease(key, generation, holder, now, lease))
    }

    async fn finish_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        renewed: Renewed,
        audit: AuditRow,
    ) -> Result<Committed> {
        pass!(self, finish_refresh(key, generation, renewed, audit))
    }

    async fn release_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        released: Released,
        audit: Option<AuditRow>,
    ) -> Result<Committed> {
        pass!(self, release_refresh(key, generation, holder, released, audit))
    }

    async fn list_due(&self, now: Timestamp, skip: &[SpaceId], limit: u32) -> Result<Vec<Due>> {
        pass!(self, list_due(now, skip, limit))
    }

    async fn postpone(
        &self,
        key: &ConnectionKey,
        generation: i64,
        due_at: Option<Timestamp>,
        notice: Option<String>,
        audit: Option<AuditRow>,
    ) -> Result<bool> {
        pass!(self, postpone(key, generation, due_at, notice, audit))
    }
}

#[async_trait]
impl Jobs for Faults {
    async fn put_job(&self, row: JobRow) -> Result<bool> {
        pass!(self, put_job(row))
    }

    async fn claim_jobs(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<JobRow>> {
        pass!(self, claim_jobs(now, until, limit))
    }

    async fn postpone_job(&self, space: &SpaceId, id: &str, due_at: Timestamp) -> Result<bool> {
        pass!(self, postpone_job(space, id, due_at))
    }

    async fn finish_job(&self, space: &SpaceId, id: &str, audit: AuditRow) -> Result<bool> {
        pass!(self, finish_job(space, id, audit))
    }
}

#[async_trait]
impl Transfer for Faults {
    async fn export(&self, table: Table, after: Option<&Record>, limit: u32) -> Result<Vec<Record>> {
        pass!(self, export(table, after, limit))
    }

    async fn import(&self, records: Vec<Record>) -> Result<()> {
        pass!(self, import(records))
    }
}

#[async_trait]
impl AuditLog for Faults {
    async fn append_audit(&self, rows: Vec<AuditRow>) -> Result<()> {
        pass!(self, append_audit(rows))
    }

    async fn list_audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        pass!(self, list_audit(filter))
    }
}

#[async_trait]
impl Limits for Faults {
    async fn take_limit(
        &self,
        bucket: &'static str,
        subject: &str,
        limit: u32,
        window: Duration,
        now: Timestamp,
    ) -> Result<std::result::Result<(), Duration>> {
        pass!(self, take_limit(bucket, subject, limit, window, now))
    }

    async fn sweep_limits(&self, before: Timestamp, limit: u32) -> Result<u64> {
        pass!(self, sweep_limits(before, limit))
    }
}

#[async_trait]
impl Tallies for Faults {
    async fn add_tallies(&self, rows: Vec<TallyRow>) -> Result<()> {
        pass!(self, add_tallies(rows))
    }

    async fn list_tallies(&self, space: &SpaceId, from: Timestamp, to: Timestamp) -> Result<Vec<TallyRow>> {
        pass!(self, list_tallies(space, from, to))
    }

    async fn sweep_tallies(&self, before: Timestamp, limit: u32) -> Result<u64> {
        pass!(self, sweep_tallies(before, limit))
    }
}
