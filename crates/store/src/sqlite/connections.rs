//! Connections: where they are read, made and ended. What refreshes do is in `refresh.rs`.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use valetkey_core::{ConnectionKey, ConnectorId, Owner, SpaceId, Timestamp};

use super::fields::{Fields, all, first, json};
use super::{Result, SqliteStore, audit, refresh};
use crate::Connections;
use crate::rows::{AuditRow, Claim, Committed, ConnectionRow, ConnectionState, GrantRow, Intent};

/// The key, what a refresh may change, and what only connecting again changes. Apart, because writing a column also
/// writes its indexes, and those of a refresh should be none.
macro_rules! columns {
    (key) => {
        "space, connector, owner, name"
    };
    (changing) => {
        "generation, state, cause, sealed_access, sealed_refresh, expires_at, lifetime_ms, refresh_expires_at, scopes,
         metadata, refreshed_at, intent_holder, intent_until, intent_at, intent_attempt"
    };
    (made) => {
        "binding, spec_version, account_id, account_label, connected_at"
    };
    () => {
        concat!(columns!(key), ", ", columns!(changing), ", ", columns!(made))
    };
}

macro_rules! values {
    (changing) => {
        "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19"
    };
    (made) => {
        "?20, ?21, ?22, ?23, ?24"
    };
}

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
        self.write(move |conn| refresh::claim(conn, &key, generation, intent))
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

fn save(conn: &Connection, statement: &str, row: &ConnectionRow) -> Result<()> {
    let (grant, intent) = (row.grant.as_ref(), row.intent.as_ref());
    let params = params![
        row.key.space.as_str(),
        row.key.connector.as_str(),
        row.key.owner.as_stored(),
        row.key.name.as_str(),
        row.generation,
        row.state.word(),
        row.state.cause(),
        grant.map(|grant| &grant.sealed_access.0),
        grant
            .and_then(|grant| grant.sealed_refresh.as_ref())
            .map(|sealed| &sealed.0),
        grant.and_then(|grant| grant.expires_at).map(|at| at.0),
        grant.and_then(|grant| grant.lifetime_ms),
        grant.and_then(|grant| grant.refresh_expires_at).map(|at| at.0),
        grant.map(|grant| json(&grant.scopes)).transpose()?,
        grant.map(|grant| json(&grant.metadata)).transpose()?,
        row.refreshed_at.map(|at| at.0),
        intent.map(|intent| intent.holder.as_str()),
        intent.map(|intent| intent.lease_until.0),
        intent.map(|intent| intent.at.0),
        intent.map(|intent| intent.attempt),
        row.binding.0,
        row.spec_version,
        row.account_id,
        row.account_label,
        row.connected_at.0,
    ];
    let mut statement = conn.prepare_cached(statement)?;
    let count = statement.parameter_count();
    statement.execute(&params[..count])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<ConnectionRow> {
    let mut fields = Fields::of(row);
    Ok(ConnectionRow {
        key: fields.connection_key()?,
        generation: fields.value()?,
        state: state(&mut fields)?,
        grant: grant(&mut fields)?,
        refreshed_at: fields.time_if_any()?,
        intent: intent(&mut fields)?,
        binding: fields.digest()?,
        spec_version: fields.value()?,
        account_id: fields.value()?,
        account_label: fields.value()?,
        connected_at: fields.time()?,
    })
}

fn state(fields: &mut Fields<'_>) -> Result<ConnectionState> {
    let (word, cause): (String, Option<String>) = (fields.value()?, fields.value()?);
    match (word.as_str(), cause) {
        ("active", None) => Ok(ConnectionState::Active),
        ("reauthorize", Some(cause)) => Ok(ConnectionState::Reauthorize(cause)),
        ("disconnected", None) => Ok(ConnectionState::Disconnected),
        _ => Err(fields.corrupt()),
    }
}

/// All columns are read even if there is no grant, because the next field comes after them.
fn grant(fields: &mut Fields<'_>) -> Result<Option<GrantRow>> {
    let sealed_access = fields.sealed_if_any()?;
    let sealed_refresh = fields.sealed_if_any()?;
    let expires_at = fields.time_if_any()?;
    let lifetime_ms = fields.value()?;
    let refresh_expires_at = fields.time_if_any()?;
    let (scopes, metadata) = (fields.json_if_any()?, fields.json_if_any()?);
    match (sealed_access, scopes, metadata) {
        (Some(sealed_access), Some(scopes), Some(metadata)) => Ok(Some(GrantRow {
            sealed_access,
            sealed_refresh,
            expires_at,
            lifetime_ms,
            refresh_expires_at,
            scopes,
            metadata,
        })),
        (None, None, None) => Ok(None),
        _ => Err(fields.corrupt()),
    }
}

fn intent(fields: &mut Fields<'_>) -> Result<Option<Intent>> {
    let holder = fields.value()?;
    let lease_until = fields.time_if_any()?;
    let at = fields.time_if_any()?;
    let attempt = fields.value()?;
    match (holder, lease_until, at, attempt) {
        (Some(holder), Some(lease_until), Some(at), Some(attempt)) => Ok(Some(Intent {
            holder,
            lease_until,
            at,
            attempt,
        })),
        (None, None, None, None) => Ok(None),
        _ => Err(fields.corrupt()),
    }
}
