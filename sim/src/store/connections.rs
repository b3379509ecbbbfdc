use std::ops::Bound;

use async_trait::async_trait;
use valetkey_core::{ConnectionKey, ConnectorId, SpaceId, Timestamp};
use valetkey_store::rows::{AuditRow, Committed, ConnectionRow, ConnectionState, JobRow, Place, Sealed, Walk};
use valetkey_store::{Connections, StoreError};

use super::{MemoryStore, Result, Tables, audit, first, walks};

#[async_trait]
impl Connections for MemoryStore {
    async fn get_connection(&self, key: &ConnectionKey) -> Result<Option<ConnectionRow>> {
        Ok(self.lock().connections.get(key).cloned())
    }

    async fn get_connections(&self, keys: &[ConnectionKey]) -> Result<Vec<ConnectionRow>> {
        let tables = self.lock();
        let rows = keys.iter().filter_map(|key| tables.connections.get(key));
        Ok(rows.cloned().collect())
    }

    async fn put_connection(&self, mut row: ConnectionRow, audit: AuditRow) -> Result<Committed> {
        let mut tables = self.lock();
        let stored = tables.connections.get(&row.key);
        if let Some(stored) = stored.filter(|stored| stored.generation >= row.generation) {
            return Ok(lost(Some(stored.clone())));
        }
        row.intent = None;
        self.put_row(&mut tables, "put_connection", &row);
        audit::append(&mut tables, &audit);
        Ok(Committed::Done(Box::new(row)))
    }

    async fn disconnect(
        &self,
        key: &ConnectionKey,
        generation: i64,
        until: Timestamp,
        job: Option<JobRow>,
        audit: AuditRow,
    ) -> Result<Committed> {
        let mut tables = self.lock();
        let mut row = match tables.connections.get(key) {
            Some(row) if row.generation == generation && is_alive(row) => row.clone(),
            other => return Ok(lost(other.cloned())),
        };
        if let Some(job) = &job
            && tables.jobs.contains_key(&(job.key.space.clone(), job.id.clone()))
        {
            return Err(StoreError::Corrupt(
                "the job of a disconnect is there already".to_owned(),
            ));
        }
        row.generation += 1;
        row.state = ConnectionState::Disconnected;
        (row.grant, row.intent, row.notice) = (None, None, None);
        row.due_at = Some(until);
        self.put_row(&mut tables, "disconnect", &row);
        if let Some(job) = job {
            self.put_job_row(&mut tables, "disconnect", &job);
        }
        audit::append(&mut tables, &audit);
        Ok(Committed::Done(Box::new(row)))
    }

    async fn list_connections(
        &self,
        space: &SpaceId,
        connector: &ConnectorId,
        after: Option<&ConnectionKey>,
        limit: u32,
    ) -> Result<Vec<ConnectionRow>> {
        let tables = self.lock();
        let after = after.map(|key| (&key.owner, &key.name));
        let rows = alive(&tables).filter(|row| {
            let key = &row.key;
            key.space == *space
                && key.connector == *connector
                && after.is_none_or(|after| (&key.owner, &key.name) > after)
        });
        Ok(first(rows.cloned(), limit))
    }

    async fn walk_connections(
        &self,
        space: &SpaceId,
        walk: &Walk,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<ConnectionRow>> {
        let tables = self.lock();
        let rows = tables.connections.values().filter(|row| row.key.space == *space);
        Ok(walks::along(rows, walk, after, limit))
    }

    async fn shares_account(&self, key: &ConnectionKey, account_id: &str) -> Result<bool> {
        let tables = self.lock();
        let shared = alive(&tables).any(|row| {
            row.key != *key
                && row.key.space == key.space
                && row.key.connector == key.connector
                && row.account_id.as_deref() == Some(account_id)
        });
        Ok(shared)
    }

    async fn scan_connections(&self, after: Option<&ConnectionKey>, limit: u32) -> Result<Vec<ConnectionRow>> {
        let tables = self.lock();
        let rows = after_key(&tables, after).filter(|row| is_alive(row));
        Ok(first(rows.cloned(), limit))
    }

    async fn reseal_connection(
        &self,
        key: &ConnectionKey,
        generation: i64,
        sealed_access: Sealed,
        sealed_refresh: Option<Sealed>,
    ) -> Result<bool> {
        let mut tables = self.lock();
        let stored = tables
            .connections
            .get(key)
            .filter(|row| row.generation == generation && is_alive(row));
        let Some(mut row) = stored.cloned() else {
            return Ok(false);
        };
        if let Some(grant) = &mut row.grant {
            (grant.sealed_access, grant.sealed_refresh) = (sealed_access, sealed_refresh);
        }
        self.put_row(&mut tables, "reseal_connection", &row);
        Ok(true)
    }

    async fn touch_connections(&self, used: Vec<(ConnectionKey, Timestamp)>) -> Result<()> {
        let mut tables = self.lock();
        for (key, at) in used {
            let stored = tables
                .connections
                .get(&key)
                .filter(|row| row.used_at < at && is_alive(row));
            if let Some(mut row) = stored.cloned() {
                row.used_at = at;
                self.put_row(&mut tables, "touch_connections", &row);
            }
        }
        Ok(())
    }

    async fn sweep_tombstones(&self, now: Timestamp, limit: u32) -> Result<u64> {
        let mut tables = self.lock();
        let ended = tables.connections.values().filter(|row| !is_alive(row));
        let mut ended: Vec<_> = ended
            .filter_map(|row| Some((row.due_at.filter(|at| *at < now)?, row.key.clone())))
            .collect();
        ended.sort();
        ended.truncate(limit as usize);
        for (_, key) in &ended {
            self.remove_row(&mut tables, "sweep_tombstones", key);
        }
        Ok(ended.len() as u64)
    }
}

pub(super) fn is_alive(row: &ConnectionRow) -> bool {
    row.state != ConnectionState::Disconnected
}

pub(super) fn lost(row: Option<ConnectionRow>) -> Committed {
    Committed::Lost(row.map(Box::new))
}

fn alive(tables: &Tables) -> impl Iterator<Item = &ConnectionRow> {
    tables.connections.values().filter(|row| is_alive(row))
}

/// The connections of all spaces in the order of their keys, tombstones included.
pub(super) fn after_key<'a>(
    tables: &'a Tables,
    after: Option<&ConnectionKey>,
) -> impl Iterator<Item = &'a ConnectionRow> + use<'a> {
    let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.clone()));
    tables.connections.range((from, Bound::Unbounded)).map(|(_, row)| row)
}
