//! A store in memory: the whole contract, shared by the replicas of a simulated run.
//!
//! Each operation is one step under one lock, so it is atomic, and it never waits: delays and faults are those of
//! [`crate::link`]. Maps are ordered, so that two runs of a seed read the same in the same order.

mod audit;
mod connections;
mod connectors;
mod flows;
mod jobs;
mod keys;
mod limits;
mod refreshes;
mod sessions;
mod tallies;
mod transfer;
mod vault;
mod walks;

pub(crate) use refreshes::renew;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use valetkey_core::{Clock, ConnectionKey, ConnectorId, KeyId, SpaceId, Timestamp};
use valetkey_store::StoreError;
use valetkey_store::rows::{AuditEntry, ConnectionRow, ConnectorRow, FlowRow, JobRow, KeyRow, SessionRow, VaultRow};

type Result<T> = std::result::Result<T, StoreError>;

/// Sees every change of a connection and of a job, in the step that makes it. It must not use the store.
pub trait Watch: Send + Sync + fmt::Debug {
    /// A connection changed; `operation` is the one of the contract that did it.
    fn connection(&self, operation: &'static str, before: Option<&ConnectionRow>, after: Option<&ConnectionRow>);

    /// A job was added, claimed, postponed, or removed.
    fn job(&self, operation: &'static str, before: Option<&JobRow>, after: Option<&JobRow>);
}

/// The store. Replicas share one through an [`Arc`].
#[derive(Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
    clock: Option<Arc<dyn Clock>>,
    watch: Option<Arc<dyn Watch>>,
}

#[derive(Clone, Default)]
struct Tables {
    vault: Option<VaultRow>,
    probes: u64,
    keys: BTreeMap<KeyId, KeyRow>,
    sessions: BTreeMap<[u8; 32], SessionRow>,
    links: BTreeMap<[u8; 32], Timestamp>,
    connectors: BTreeMap<(SpaceId, ConnectorId), ConnectorRow>,
    flows: BTreeMap<[u8; 32], FlowRow>,
    /// When the flows were taken whose end was not noted.
    taken: BTreeMap<[u8; 32], Timestamp>,
    connections: BTreeMap<ConnectionKey, ConnectionRow>,
    jobs: BTreeMap<(SpaceId, String), JobRow>,
    audit: BTreeMap<i64, AuditEntry>,
    attempts: Vec<limits::Attempt>,
    tallies: BTreeMap<tallies::Key, i64>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// A store with a clock of its own, whose changes somebody watches.
    pub fn watched(clock: Arc<dyn Clock>, watch: Arc<dyn Watch>) -> Self {
        Self {
            tables: Mutex::default(),
            clock: Some(clock),
            watch: Some(watch),
        }
    }

    /// The connections as they are, tombstones included: for checks, not part of the contract.
    pub fn connections(&self) -> Vec<ConnectionRow> {
        self.lock().connections.values().cloned().collect()
    }

    /// Writes a connection whatever is there: for a test that breaks compare-and-set on purpose.
    pub fn overwrite(&self, operation: &'static str, row: &ConnectionRow) {
        self.put_row(&mut self.lock(), operation, row);
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one place where a connection is written.
    fn put_row(&self, tables: &mut Tables, operation: &'static str, row: &ConnectionRow) {
        let before = tables.connections.insert(row.key.clone(), row.clone());
        if let Some(watch) = self.watch.as_ref().filter(|_| before.as_ref() != Some(row)) {
            watch.connection(operation, before.as_ref(), Some(row));
        }
    }

    /// The one place where a connection is removed.
    fn remove_row(&self, tables: &mut Tables, operation: &'static str, key: &ConnectionKey) {
        let before = tables.connections.remove(key);
        if let Some(watch) = self.watch.as_ref().filter(|_| before.is_some()) {
            watch.connection(operation, before.as_ref(), None);
        }
    }

    /// The one place where a job is written.
    fn put_job_row(&self, tables: &mut Tables, operation: &'static str, row: &JobRow) {
        let id = (row.key.space.clone(), row.id.clone());
        let before = tables.jobs.insert(id, row.clone());
        if let Some(watch) = &self.watch {
            watch.job(operation, before.as_ref(), Some(row));
        }
    }

    /// The one place where a job is removed. Whether there was one.
    fn remove_job_row(&self, tables: &mut Tables, operation: &'static str, id: &(SpaceId, String)) -> bool {
        let before = tables.jobs.remove(id);
        if let Some(watch) = self.watch.as_ref().filter(|_| before.is_some()) {
            watch.job(operation, before.as_ref(), None);
        }
        before.is_some()
    }
}

/// As many as asked for.
fn first<T>(items: impl Iterator<Item = T>, limit: u32) -> Vec<T> {
    items.take(limit as usize).collect()
}
