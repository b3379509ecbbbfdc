//! Connections: where they are read, made and ended. A row is taken apart in `connection.rs`; what refreshes do is in
//! `refresh.rs`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use valetkey_core::{ConnectionKey, ConnectorId, Owner, SpaceId, Timestamp};

use super::connection::{columns, from_row, save, values};
use super::fields::{all, first};
use super::{Result, SqliteStore, audit, refresh};
use crate::Connections;
use crate::rows::{AuditRow, Claim, Committed, ConnectionRow, ConnectionState, GrantRow, Intent};

super::statements! {
    GET = concat!(
        "SELECT ", columns!(), " FROM connection WHERE space = ?1 AND connector = ?2 AND owner = ?3 AND name = ?4"
    );
    PUT = concat!(
        "INSERT INTO connection (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ", values!(changing), ", ", values!(made), ")
         ON CONFLICT (space, connector, owner, name) DO UPDATE
         SET (", columns!(changing), ", ", columns!(made), ") = (", values!(changing), ", ", values!(made), ")"
    );
    CHANGE = concat!(
        "UPDATE connection SET (", columns!(changing), ") = (", values!(changing), ")
         WHERE space = ?1 AND connector = ?2 AND owner = ?3 AND name = ?4"
    );
    LIST = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = ?1 AND connector = ?2 AND (owner, name) > (?3, ?4) AND state <> 'disconnected'
         ORDER BY owner, name LIMIT ?5"
    );
    LIST_OWNED = concat!(
        "SELECT ", columns!(), " FROM connection WHERE space = ?1 AND owner = ?2 AND state <> 'disconnected'
         ORDER BY connector, name LIMIT ?3"
    );
    SHARES_ACCOUNT = "SELECT 1 FROM connection
        WHERE space = ?1 AND connector = ?2 AND account_id = ?5 AND state <> 'disconnected'
        AND (owner <> ?3 OR name <> ?4) LIMIT 1";
}

#[async_trait]
impl Connections for SqliteStore {
    async fn get_connection(&self, key: &ConnectionKey) -> Result<Option<ConnectionRow>> {
        self.read(|conn| get(conn, key))
    }

    async fn put_connection(&self, row: ConnectionRow, audit: AuditRow) -> Result<Committed> {
        self.write(move |conn| put(conn, row, &audit)).await
    }

    async fn claim_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Claim> {
        let key = key.clone();
        let intent = Intent {
            holder: holder.to_owned(),
            lease_until: now.plus(lease),
            at: now,
            attempt: 0,
        };
        let holders = Arc::clone(&self.holders);
        self.write(move |conn| refresh::claim(conn, &holders, &key, generation, intent))
            .await
    }

    async fn finish_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        grant: GrantRow,
        now: Timestamp,
        audit: AuditRow,
    ) -> Result<Committed> {
        let key = key.clone();
        self.write(move |conn| refresh::finish(conn, &key, generation, grant, now, &audit))
            .await
    }

    async fn release_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        state: Option<ConnectionState>,
        audit: Option<AuditRow>,
    ) -> Result<Committed> {
        let (key, holder) = (key.clone(), holder.to_owned());
        self.write(move |conn| refresh::release(conn, &key, generation, &holder, state, audit.as_ref()))
            .await
    }

    async fn disconnect(&self, key: &ConnectionKey, audit: AuditRow) -> Result<Option<ConnectionRow>> {
        let key = key.clone();
        self.write(move |conn| disconnect(conn, &key, &audit)).await
    }

    async fn list_connections(
        &self,
        space: &SpaceId,
        connector: &ConnectorId,
        after: Option<&ConnectionKey>,
        limit: u32,
    ) -> Result<Vec<ConnectionRow>> {
        // Every owner is greater than the empty text.
        let (owner, name) = after.map_or((String::new(), ""), |key| (key.owner.as_stored(), key.name.as_str()));
        let params = params![space.as_str(), connector.as_str(), owner, name, limit];
        self.read(|conn| all(conn, LIST, params, from_row))
    }

    async fn list_owned(&self, space: &SpaceId, owner: &Owner, limit: u32) -> Result<Vec<ConnectionRow>> {
        self.read(|conn| {
            all(
                conn,
                LIST_OWNED,
                params![space.as_str(), owner.as_stored(), limit],
                from_row,
            )
        })
    }

    async fn shares_account(&self, key: &ConnectionKey, account_id: &str) -> Result<bool> {
        let (owner, name) = (key.owner.as_stored(), key.name.as_str());
        let params = params![key.space.as_str(), key.connector.as_str(), owner, name, account_id];
        self.read(|conn| Ok(conn.prepare_cached(SHARES_ACCOUNT)?.exists(params)?))
    }
}

pub(super) fn get(conn: &Connection, key: &ConnectionKey) -> Result<Option<ConnectionRow>> {
    let owner = key.owner.as_stored();
    first(
        conn,
        GET,
        [key.space.as_str(), key.connector.as_str(), &owner, key.name.as_str()],
        from_row,
    )
}

fn put(conn: &Connection, mut row: ConnectionRow, audit: &AuditRow) -> Result<Committed> {
    if let Some(stored) = get(conn, &row.key)?
        && stored.generation >= row.generation
    {
        return Ok(Committed::Lost(Some(Box::new(stored))));
    }
    row.intent = None;
    save(conn, PUT, &row)?;
    audit::append(conn, audit)?;
    Ok(Committed::Done(Box::new(row)))
}

fn disconnect(conn: &Connection, key: &ConnectionKey, audit: &AuditRow) -> Result<Option<ConnectionRow>> {
    let Some(row) = get(conn, key)?.filter(|row| row.state != ConnectionState::Disconnected) else {
        return Ok(None);
    };
    let mut tombstone = row.clone();
    tombstone.generation += 1;
    tombstone.state = ConnectionState::Disconnected;
    tombstone.grant = None;
    tombstone.intent = None;
    change(conn, &tombstone)?;
    audit::append(conn, audit)?;
    Ok(Some(row))
}

/// Writes what a refresh or a disconnect may change of a row that was read in the same transaction.
pub(super) fn change(conn: &Connection, row: &ConnectionRow) -> Result<()> {
    save(conn, CHANGE, row)
}
