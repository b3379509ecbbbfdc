//! The installation's identity, its wrapped data keys, and the proof that the store can be written.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::fields::{Fields, all, first};
use super::{Result, SqliteStore};
use crate::Vault;
use crate::rows::{SealingKeyRow, VaultRow};

super::statements! {
    DEPLOYMENT = "SELECT deployment FROM vault";
    KEYS = "SELECT id, wrapped, created_at FROM sealing_key ORDER BY created_at, id";
    INIT = "INSERT INTO vault (one, deployment) VALUES (1, ?1) ON CONFLICT (one) DO NOTHING";
    ADD_KEY = "INSERT INTO sealing_key (id, wrapped, created_at) VALUES (?1, ?2, ?3)";
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

    async fn probe(&self) -> Result<()> {
        self.write(|conn| Ok(conn.prepare_cached(PROBE)?.execute([]).map(drop)?))
            .await
    }
}

fn load(conn: &Connection) -> Result<Option<VaultRow>> {
    let Some(deployment) = first(conn, DEPLOYMENT, [], |row| Fields::of(row).value())? else {
        return Ok(None);
    };
    let keys = all(conn, KEYS, [], |row| {
        let mut fields = Fields::of(row);
        Ok(SealingKeyRow {
            id: fields.value()?,
            wrapped: fields.value()?,
            created_at: fields.time()?,
        })
    })?;
    Ok(Some(VaultRow { deployment, keys }))
}

fn init(conn: &Connection, row: &VaultRow) -> Result<bool> {
    if conn.prepare_cached(INIT)?.execute([&row.deployment])? == 0 {
        return Ok(false);
    }
    for key in &row.keys {
        conn.prepare_cached(ADD_KEY)?
            .execute(params![key.id, key.wrapped, key.created_at.0])?;
    }
    Ok(true)
}
