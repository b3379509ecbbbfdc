//! The installation's identity, its wrapped data keys, and the proof that the store can be written.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use valetkey_core::Timestamp;

use super::fields::{Fields, all, first};
use super::{Result, SqliteStore, audit};
use crate::Vault;
use crate::rows::{AuditRow, SealingKeyRow, VaultRow};

super::statements! {
    INSTALLATION = "SELECT deployment, restored_at FROM vault";
    KEYS = "SELECT id, master, wrapped, created_at FROM sealing_key ORDER BY created_at, id, master";
    INIT = "INSERT INTO vault (one, deployment, restored_at) VALUES (1, ?1, ?2) ON CONFLICT (one) DO NOTHING";
    MARK_RESTORED = "UPDATE vault SET restored_at = ?1 WHERE one = 1 AND coalesce(restored_at < ?1, TRUE)";
    ADD_KEY = "INSERT INTO sealing_key (id, master, wrapped, created_at) VALUES (?1, ?2, ?3, ?4)";
    REMOVE_KEYS = "DELETE FROM sealing_key";
    PROBE = "INSERT INTO probe (one, writes) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET writes = probe.writes + 1";
}

#[async_trait]
impl Vault for SqliteStore {
    async fn vault(&self) -> Result<Option<VaultRow>> {
        self.read(load)
    }

    async fn init_vault(&self, row: VaultRow) -> Result<bool> {
        self.write(move |conn| init(conn, &row)).await
    }

    async fn replace_keys(&self, before: &[SealingKeyRow], after: Vec<SealingKeyRow>, audit: AuditRow) -> Result<bool> {
        let before = before.to_vec();
        self.write(move |conn| {
            let replaced = replace_keys(conn, &before, &after)?;
            audit::note(conn, replaced, &audit)
        })
        .await
    }

    async fn mark_restored(&self, at: Timestamp, audit: AuditRow) -> Result<bool> {
        self.write(move |conn| {
            let marked = conn.prepare_cached(MARK_RESTORED)?.execute([at.0])?;
            audit::note(conn, marked > 0, &audit)
        })
        .await
    }

    async fn probe(&self) -> Result<()> {
        self.write(|conn| Ok(conn.prepare_cached(PROBE)?.execute([]).map(drop)?))
            .await
    }

    async fn time(&self) -> Result<Option<Timestamp>> {
        Ok(None)
    }
}

fn load(conn: &Connection) -> Result<Option<VaultRow>> {
    let installation = first(conn, INSTALLATION, [], |row| {
        let mut fields = Fields::of(row);
        Ok((fields.value()?, fields.time_if_any()?))
    })?;
    let Some((deployment, restored_at)) = installation else {
        return Ok(None);
    };
    let keys = all(conn, KEYS, [], |row| {
        let mut fields = Fields::of(row);
        Ok(SealingKeyRow {
            id: fields.value()?,
            master: fields.value()?,
            wrapped: fields.value()?,
            created_at: fields.time()?,
        })
    })?;
    Ok(Some(VaultRow {
        deployment,
        keys,
        restored_at,
    }))
}

/// The one record, if there is one and it is asked for.
pub(super) fn export(conn: &Connection, limit: u32) -> Result<Vec<VaultRow>> {
    Ok(load(conn)?.into_iter().take(limit as usize).collect())
}

/// Writes the identity and the keys of a new store. `false` if it had them already.
pub(super) fn init(conn: &Connection, row: &VaultRow) -> Result<bool> {
    let restored_at = row.restored_at.map(|at| at.0);
    if conn
        .prepare_cached(INIT)?
        .execute(params![row.deployment, restored_at])?
        == 0
    {
        return Ok(false);
    }
    add_keys(conn, &row.keys)?;
    Ok(true)
}

fn replace_keys(conn: &Connection, before: &[SealingKeyRow], after: &[SealingKeyRow]) -> Result<bool> {
    if load(conn)?.is_none_or(|vault| vault.keys != before) {
        return Ok(false);
    }
    conn.prepare_cached(REMOVE_KEYS)?.execute([])?;
    add_keys(conn, after)?;
    Ok(true)
}

fn add_keys(conn: &Connection, keys: &[SealingKeyRow]) -> Result<()> {
    for key in keys {
        conn.prepare_cached(ADD_KEY)?
            .execute(params![key.id, key.master, key.wrapped, key.created_at.0])?;
    }
    Ok(())
}
