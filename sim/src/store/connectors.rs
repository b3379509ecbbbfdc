use std::ops::Bound;

use async_trait::async_trait;
use valetkey_core::{ConnectorId, SpaceId};
use valetkey_store::Connectors;
use valetkey_store::rows::{AuditRow, ConnectionState, ConnectorName, ConnectorRow, Deletion, Sealed};

use super::{MemoryStore, Result, Tables, audit, first};

#[async_trait]
impl Connectors for MemoryStore {
    async fn put_connector(&self, row: ConnectorRow, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        let id = (row.space.clone(), row.id.clone());
        if tables.connectors.contains_key(&id) {
            return Ok(false);
        }
        tables.connectors.insert(id, row);
        audit::append(&mut tables, &audit);
        Ok(true)
    }

    async fn replace_connector(&self, row: ConnectorRow, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        let id = (row.space.clone(), row.id.clone());
        let Some(stored) = tables.connectors.get_mut(&id).filter(|c| c.version == row.version - 1) else {
            return Ok(false);
        };
        *stored = row;
        audit::append(&mut tables, &audit);
        Ok(true)
    }

    async fn get_connector(&self, space: &SpaceId, id: &ConnectorId) -> Result<Option<ConnectorRow>> {
        Ok(self.lock().connectors.get(&(space.clone(), id.clone())).cloned())
    }

    async fn get_connectors(&self, space: &SpaceId, ids: &[ConnectorId]) -> Result<Vec<ConnectorRow>> {
        let tables = self.lock();
        let rows = ids
            .iter()
            .filter_map(|id| tables.connectors.get(&(space.clone(), id.clone())));
        Ok(rows.cloned().collect())
    }

    async fn list_connectors(
        &self,
        space: &SpaceId,
        after: Option<&ConnectorId>,
        limit: u32,
    ) -> Result<Vec<ConnectorRow>> {
        let tables = self.lock();
        let rows = tables.connectors.values();
        let rows = rows.filter(|row| row.space == *space && after.is_none_or(|after| row.id > *after));
        Ok(first(rows.cloned(), limit))
    }

    async fn walk_connectors(
        &self,
        space: &SpaceId,
        after: Option<&ConnectorId>,
        limit: u32,
    ) -> Result<Vec<ConnectorName>> {
        let rows = self.list_connectors(space, after, limit).await?.into_iter();
        let name = |row: ConnectorRow| ConnectorName {
            id: row.id,
            type_id: row.type_id,
            name: row.name,
        };
        Ok(rows.map(name).collect())
    }

    async fn delete_connector(&self, space: &SpaceId, id: &ConnectorId, audit: AuditRow) -> Result<Deletion> {
        let mut tables = self.lock();
        let rows = tables.connections.values();
        let rows: Vec<_> = rows
            .filter(|row| row.key.space == *space && row.key.connector == *id)
            .map(|row| (row.key.clone(), row.state == ConnectionState::Disconnected))
            .collect();
        if rows.iter().any(|(_, ended)| !ended) {
            return Ok(Deletion::InUse);
        }
        if tables.connectors.remove(&(space.clone(), id.clone())).is_none() {
            return Ok(Deletion::Missing);
        }
        tables
            .flows
            .retain(|_, flow| flow.key.space != *space || flow.key.connector != *id);
        for (key, _) in rows {
            self.remove_row(&mut tables, "delete_connector", &key);
        }
        audit::append(&mut tables, &audit);
        Ok(Deletion::Done)
    }

    async fn scan_connectors(&self, after: Option<(&SpaceId, &ConnectorId)>, limit: u32) -> Result<Vec<ConnectorRow>> {
        Ok(page(&self.lock(), after, limit))
    }

    async fn reseal_connector(&self, space: &SpaceId, id: &ConnectorId, version: i64, sealed: Sealed) -> Result<bool> {
        let mut tables = self.lock();
        let stored = tables.connectors.get_mut(&(space.clone(), id.clone()));
        let Some(stored) = stored.filter(|row| row.version == version) else {
            return Ok(false);
        };
        stored.sealed_secrets = Some(sealed);
        Ok(true)
    }
}

/// The connectors of all spaces, by space and id.
pub(super) fn page(tables: &Tables, after: Option<(&SpaceId, &ConnectorId)>, limit: u32) -> Vec<ConnectorRow> {
    let from = after.map_or(Bound::Unbounded, |(space, id)| {
        Bound::Excluded((space.clone(), id.clone()))
    });
    let rows = tables.connectors.range((from, Bound::Unbounded));
    first(rows.map(|(_, row)| row.clone()), limit)
}
