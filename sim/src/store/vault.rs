use async_trait::async_trait;
use valetkey_core::Timestamp;
use valetkey_store::Vault;
use valetkey_store::rows::{AuditRow, SealingKeyRow, VaultRow};

use super::{MemoryStore, Result, audit};

fn in_order(mut keys: Vec<SealingKeyRow>) -> Vec<SealingKeyRow> {
    keys.sort_by(|a, b| (a.created_at, a.id, &a.master).cmp(&(b.created_at, b.id, &b.master)));
    keys
}

/// The row as it is read: its keys in order.
pub(super) fn ordered(row: VaultRow) -> VaultRow {
    VaultRow {
        keys: in_order(row.keys),
        ..row
    }
}

#[async_trait]
impl Vault for MemoryStore {
    async fn vault(&self) -> Result<Option<VaultRow>> {
        Ok(self.lock().vault.clone())
    }

    async fn init_vault(&self, row: VaultRow) -> Result<bool> {
        let mut tables = self.lock();
        let is_new = tables.vault.is_none();
        tables.vault.get_or_insert_with(|| ordered(row));
        Ok(is_new)
    }

    async fn replace_keys(&self, before: &[SealingKeyRow], after: Vec<SealingKeyRow>, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        let Some(vault) = tables.vault.as_mut().filter(|vault| vault.keys == before) else {
            return Ok(false);
        };
        vault.keys = in_order(after);
        audit::append(&mut tables, &audit);
        Ok(true)
    }

    async fn mark_restored(&self, at: Timestamp, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        let is_later = |vault: &&mut VaultRow| vault.restored_at.is_none_or(|before| before < at);
        let Some(vault) = tables.vault.as_mut().filter(is_later) else {
            return Ok(false);
        };
        vault.restored_at = Some(at);
        audit::append(&mut tables, &audit);
        Ok(true)
    }

    async fn probe(&self) -> Result<()> {
        self.lock().probes += 1;
        Ok(())
    }

    async fn time(&self) -> Result<Option<Timestamp>> {
        Ok(self.clock.as_ref().map(|clock| clock.now()))
    }
}
