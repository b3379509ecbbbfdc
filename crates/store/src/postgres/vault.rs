//! The installation's identity, its wrapped data keys, the proof that the store can be written, and the clock.

use async_trait::async_trait;
use tokio_postgres::Row;
use valetkey_core::Timestamp;

use super::audit::{self, noted};
use super::error::Failure;
use super::fields::{Fields, first};
use super::pool::Work;
use super::session::Session;
use super::values::{Value, params};
use super::{PostgresStore, Result};
use crate::Vault;
use crate::rows::{AuditRow, SealingKeyRow, VaultRow};

/// Adds data keys, if the part named `$change` has a row.
macro_rules! keys {
    ($change:literal, $id:literal, $master:literal, $wrapped:literal, $created_at:literal) => {
        concat!(
            "keys AS (
                INSERT INTO sealing_key (id, master, wrapped, created_at)
                SELECT id, master, wrapped, created_at FROM ",
            $change,
            ", unnest(",
            $id,
            "::BIGINT[], ",
            $master,
            "::TEXT[], ",
            $wrapped,
            "::BYTEA[], ",
            $created_at,
            "::BIGINT[]) AS k(id, master, wrapped, created_at)
             )"
        )
    };
}

super::statements! {
    LOAD = "SELECT deployment, restored_at, id, master, wrapped, created_at FROM vault LEFT JOIN sealing_key ON true
        WHERE one = 1 ORDER BY created_at, id, master";
    INIT = concat!(
        "WITH made AS (INSERT INTO vault (one, deployment, restored_at) VALUES (1, $1, $2)
            ON CONFLICT (one) DO NOTHING RETURNING 1), ",
        keys!("made", "$3", "$4", "$5", "$6"), " SELECT 1 FROM made"
    );
    LOCK = "SELECT 1 FROM vault FOR UPDATE";
    CLEAR = "DELETE FROM sealing_key";
    REFILL = concat!(
        "WITH locked AS (SELECT 1 FROM vault), ", keys!("locked", "$1", "$2", "$3", "$4"), ", ",
        noted!("locked", "$5"), " SELECT 1 FROM locked"
    );
    MARK_RESTORED = concat!(
        "WITH marked AS (
            UPDATE vault SET restored_at = $1 WHERE one = 1 AND coalesce(restored_at < $1, TRUE) RETURNING 1
         ), ", noted!("marked", "$2"), " SELECT 1 FROM marked"
    );
    PROBE = "INSERT INTO probe (one, writes) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET writes = probe.writes + 1";
    TIME = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT";
}

#[async_trait]
impl Vault for PostgresStore {
    async fn vault(&self) -> Result<Option<VaultRow>> {
        from_rows(&self.list(LOAD, &[]).await?)
    }

    async fn init_vault(&self, row: VaultRow) -> Result<bool> {
        Ok(!self.write(INIT, &values(&row)).await?.is_empty())
    }

    async fn replace_keys(&self, before: &[SealingKeyRow], after: Vec<SealingKeyRow>, audit: AuditRow) -> Result<bool> {
        let mut after = key_values(&after);
        after.push(audit::records([&audit]).into());
        self.transact(&ReplaceKeys { before, after }).await
    }

    async fn mark_restored(&self, at: Timestamp, audit: AuditRow) -> Result<bool> {
        let params = params![at, audit::records([&audit])];
        Ok(!self.write(MARK_RESTORED, &params).await?.is_empty())
    }

    async fn probe(&self) -> Result<()> {
        self.write(PROBE, &[]).await.map(drop)
    }

    async fn time(&self) -> Result<Option<Timestamp>> {
        first(&self.read(TIME, &[]).await?, |row| Fields::of(row).time())
    }
}

struct ReplaceKeys<'a> {
    before: &'a [SealingKeyRow],
    after: Vec<Value<'a>>,
}

#[async_trait]
impl Work for ReplaceKeys<'_> {
    type Output = bool;

    async fn run(&self, session: &Session<'_>) -> std::result::Result<bool, Failure> {
        session.query(LOCK, &[]).await?;
        let stored = from_rows(&session.query(LOAD, &[]).await?)?;
        if stored.is_none_or(|stored| stored.keys != self.before) {
            return Ok(false);
        }
        session.query(CLEAR, &[]).await?;
        session.query(REFILL, &self.after).await?;
        Ok(true)
    }
}

fn values(row: &VaultRow) -> Vec<Value<'_>> {
    let mut params = params![&row.deployment, row.restored_at].to_vec();
    params.extend(key_values(&row.keys));
    params
}

/// The columns of data keys, each as an array.
fn key_values(keys: &[SealingKeyRow]) -> Vec<Value<'_>> {
    vec![
        Value::Ints(keys.iter().map(|key| key.id.into()).collect()),
        Value::Texts(keys.iter().map(|key| key.master.as_str().into()).collect()),
        Value::Byteses(keys.iter().map(|key| key.wrapped[..].into()).collect()),
        Value::Ints(keys.iter().map(|key| key.created_at.0).collect()),
    ]
}

/// Each row has the deployment and a key; there is one row without a key if there is none.
fn from_rows(rows: &[Row]) -> Result<Option<VaultRow>> {
    let mut vault = None;
    for row in rows {
        let mut fields = Fields::of(row);
        let (deployment, restored_at) = (fields.value()?, fields.time_if_any()?);
        let vault = vault.get_or_insert_with(|| VaultRow {
            deployment,
            keys: vec![],
            restored_at,
        });
        let Some(id) = fields.value::<Option<i64>>()? else {
            continue;
        };
        vault.keys.push(SealingKeyRow {
            id: u32::try_from(id).map_err(|_| fields.corrupt())?,
            master: fields.value()?,
            wrapped: fields.value()?,
            created_at: fields.time()?,
        });
    }
    Ok(vault)
}

/// Adds the installation. `false` if there is one.
pub(super) async fn add(session: &Session<'_>, row: &VaultRow) -> std::result::Result<bool, Failure> {
    Ok(!session.query(INIT, &values(row)).await?.is_empty())
}
