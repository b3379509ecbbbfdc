//! Connections: where they are read, made and ended. A row is taken apart in `connection.rs`; what refreshes do is in
//! `refresh.rs`.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use valetkey_core::{ConnectionKey, ConnectorId, SpaceId, Timestamp};

use super::connection::{columns, from_row, is_key, save, update, values};
use super::fields::{all, first};
use super::{Result, SqliteStore, audit, jobs, walk};
use crate::rows::{AuditRow, Committed, ConnectionRow, ConnectionState, JobRow, Place, Sealed, Walk};
use crate::{Connections, StoreError};

super::statements! {
    GET = concat!("SELECT ", columns!(read), " FROM connection WHERE ", is_key!());
    ADD = concat!(
        "INSERT INTO connection (", columns!(written), ")
         VALUES (?1, ?2, ?3, ?4, ", values!(changing), ", ", values!(made), ")
         ON CONFLICT (space, connector, owner, name) DO NOTHING"
    );
    PUT = concat!(
        "INSERT INTO connection (", columns!(written), ")
         VALUES (?1, ?2, ?3, ?4, ", values!(changing), ", ", values!(made), ")
         ON CONFLICT (space, connector, owner, name) DO UPDATE
         SET (", columns!(changing), ", ", columns!(made), ") = (", values!(changing), ", ", values!(made), ")"
    );
    CHANGE = concat!(
        "UPDATE connection SET (", columns!(changing), ") = (", values!(changing), ") WHERE ", is_key!()
    );
    LIST = concat!(
        "SELECT ", columns!(read), " FROM connection
         WHERE space = ?1 AND connector = ?2 AND (owner, name) > (?3, ?4) AND state <> 'disconnected'
         ORDER BY owner, name LIMIT ?5"
    );
    SHARES_ACCOUNT = "SELECT 1 FROM connection
        WHERE space = ?1 AND connector = ?2 AND account_id = ?5 AND state <> 'disconnected'
        AND (owner <> ?3 OR name <> ?4) LIMIT 1";
    SCAN = concat!(
        "SELECT ", columns!(read), " FROM connection
         WHERE (space, connector, owner, name) > (?1, ?2, ?3, ?4) AND state <> 'disconnected'
         ORDER BY space, connector, owner, name LIMIT ?5"
    );
    EXPORT = concat!(
        "SELECT ", columns!(read), " FROM connection WHERE (space, connector, owner, name) > (?1, ?2, ?3, ?4)
         ORDER BY space, connector, owner, name LIMIT ?5"
    );
    RESEAL = concat!(
        "UPDATE connection SET sealed_access = ?6, sealed_refresh = ?7
         WHERE ", is_key!(), " AND generation = ?5 AND state <> 'disconnected'"
    );
    TOUCH = concat!(
        "UPDATE connection SET used_at = ?5
         WHERE ", is_key!(), " AND coalesce(used_at, connected_at) < ?5 AND state <> 'disconnected'"
    );
    SWEEP = "DELETE FROM connection WHERE rowid IN (
        SELECT rowid FROM connection WHERE state = 'disconnected' AND due_at < ?1 ORDER BY due_at LIMIT ?2)";
}

#[async_trait]
impl Connections for SqliteStore {
    async fn get_connection(&self, key: &ConnectionKey) -> Result<Option<ConnectionRow>> {
        self.read(|conn| get(conn, key))
    }

    async fn get_connections(&self, keys: &[ConnectionKey]) -> Result<Vec<ConnectionRow>> {
        self.read(|conn| {
            let rows = keys.iter().map(|key| get(conn, key));
            rows.filter_map(Result::transpose).collect()
        })
    }

    async fn put_connection(&self, row: ConnectionRow, audit: AuditRow) -> Result<Committed> {
        self.write(move |conn| put(conn, row, &audit)).await
    }

    async fn disconnect(
        &self,
        key: &ConnectionKey,
        generation: i64,
        until: Timestamp,
        job: Option<JobRow>,
        audit: AuditRow,
    ) -> Result<Committed> {
        let key = key.clone();
        self.write(move |conn| disconnect(conn, &key, generation, until, job.as_ref(), &audit))
            .await
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

    async fn walk_connections(
        &self,
        space: &SpaceId,
        walk: &Walk,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<ConnectionRow>> {
        self.read(|conn| walk::along(conn, space, walk, after, limit))
    }

    async fn shares_account(&self, key: &ConnectionKey, account_id: &str) -> Result<bool> {
        let (owner, name) = (key.owner.as_stored(), key.name.as_str());
        let params = params![key.space.as_str(), key.connector.as_str(), owner, name, account_id];
        self.read(|conn| Ok(conn.prepare_cached(SHARES_ACCOUNT)?.exists(params)?))
    }

    async fn scan_connections(&self, after: Option<&ConnectionKey>, limit: u32) -> Result<Vec<ConnectionRow>> {
        self.read(|conn| page(conn, SCAN, after, limit))
    }

    async fn reseal_connection(
        &self,
        key: &ConnectionKey,
        generation: i64,
        sealed_access: Sealed,
        sealed_refresh: Option<Sealed>,
    ) -> Result<bool> {
        let key = key.clone();
        self.write(move |conn| {
            let refresh = sealed_refresh.as_ref().map(|sealed| &sealed.0);
            update(conn, RESEAL, &key, &[&generation, &sealed_access.0, &refresh])
        })
        .await
    }

    async fn touch_connections(&self, used: Vec<(ConnectionKey, Timestamp)>) -> Result<()> {
        self.write(move |conn| {
            used.iter()
                .try_for_each(|(key, at)| update(conn, TOUCH, key, &[&at.0]).map(drop))
        })
        .await
    }

    async fn sweep_tombstones(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.write(move |conn| Ok(conn.prepare_cached(SWEEP)?.execute(params![now.0, limit])? as u64))
            .await
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

fn disconnect(
    conn: &Connection,
    key: &ConnectionKey,
    generation: i64,
    until: Timestamp,
    job: Option<&JobRow>,
    audit: &AuditRow,
) -> Result<Committed> {
    let mut row = match get(conn, key)? {
        Some(row) if row.generation == generation && row.state != ConnectionState::Disconnected => row,
        other => return Ok(Committed::Lost(other.map(Box::new))),
    };
    row.generation += 1;
    row.state = ConnectionState::Disconnected;
    row.grant = None;
    row.intent = None;
    row.due_at = Some(until);
    row.notice = None;
    change(conn, &row)?;
    if let Some(job) = job
        && !jobs::add(conn, job)?
    {
        return Err(StoreError::Corrupt(
            "the job of a disconnect is there already".to_owned(),
        ));
    }
    audit::append(conn, audit)?;
    Ok(Committed::Done(Box::new(row)))
}

/// Writes what a refresh or a disconnect may change of a row that was read in the same transaction.
pub(super) fn change(conn: &Connection, row: &ConnectionRow) -> Result<()> {
    save(conn, CHANGE, row).map(drop)
}

/// Adds a connection as it is, tombstones and intents included. `false` if there is one with its key.
pub(super) fn add(conn: &Connection, row: &ConnectionRow) -> Result<bool> {
    save(conn, ADD, row)
}

/// The connections of all spaces in the order of their keys, tombstones included.
pub(super) fn export(conn: &Connection, after: Option<&ConnectionKey>, limit: u32) -> Result<Vec<ConnectionRow>> {
    page(conn, EXPORT, after, limit)
}

fn page(conn: &Connection, statement: &str, after: Option<&ConnectionKey>, limit: u32) -> Result<Vec<ConnectionRow>> {
    // Every space is greater than the empty text.
    let (space, connector, owner, name) = after.map_or(("", "", String::new(), ""), |key| {
        (
            key.space.as_str(),
            key.connector.as_str(),
            key.owner.as_stored(),
            key.name.as_str(),
        )
    });
    all(conn, statement, params![space, connector, owner, name, limit], from_row)
}
