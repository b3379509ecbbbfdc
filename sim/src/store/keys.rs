use async_trait::async_trait;
use valetkey_core::{KeyId, Timestamp};
use valetkey_store::Keys;
use valetkey_store::rows::{AuditRow, KeyRow};

use super::{MemoryStore, Result, audit, first};

#[async_trait]
impl Keys for MemoryStore {
    async fn put_key(&self, row: KeyRow, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        if tables.keys.contains_key(&row.id) {
            return Ok(false);
        }
        tables.keys.insert(row.id.clone(), row);
        audit::append(&mut tables, &audit);
        Ok(true)
    }

    async fn put_first_key(&self, row: KeyRow, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        if !tables.keys.is_empty() {
            return Ok(false);
        }
        tables.keys.insert(row.id.clone(), row);
        audit::append(&mut tables, &audit);
        Ok(true)
    }

    async fn get_key(&self, id: &KeyId) -> Result<Option<KeyRow>> {
        Ok(self.lock().keys.get(id).cloned())
    }

    async fn list_keys(&self) -> Result<Vec<KeyRow>> {
        let mut rows: Vec<_> = self.lock().keys.values().cloned().collect();
        rows.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(rows)
    }

    async fn walk_keys(&self, after: Option<(Timestamp, &KeyId)>, limit: u32) -> Result<Vec<KeyRow>> {
        let rows = self.list_keys().await?.into_iter();
        let rows = rows.filter(|row| after.is_none_or(|after| (row.created_at, &row.id) > after));
        Ok(first(rows, limit))
    }

    async fn delete_key(&self, id: &KeyId, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        let found = tables.keys.remove(id).is_some();
        Ok(audit::note(&mut tables, found, &audit))
    }
}
