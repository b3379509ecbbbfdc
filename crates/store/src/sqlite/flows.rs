//! Flows.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use valetkey_core::Timestamp;

use super::fields::{Fields, all, first};
use super::{Result, SqliteStore, audit};
use crate::Flows;
use crate::rows::{AuditRow, BoundBrowser, Digest, FlowRow, FlowState, TakenFlow};

macro_rules! columns {
    () => {
        "state_hash, id, ticket_hash, browser_hash, space, connector, owner, name, context, state, sealed, started_by,
         created_at, expires_at"
    };
}

super::statements! {
    COUNT_PENDING = "SELECT count(*) FROM flow
        WHERE space = ?1 AND owner = ?2 AND state = 'pending' AND expires_at > ?3";
    ADD = concat!(
        "INSERT INTO flow (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    );
    GET = concat!("SELECT ", columns!(), " FROM flow WHERE state_hash = ?1");
    GET_BY_TICKET = concat!("SELECT ", columns!(), " FROM flow WHERE ticket_hash = ?1");
    EXPORT = concat!(
        "SELECT ", columns!(), " FROM flow WHERE state_hash > ?1 ORDER BY state_hash LIMIT ?2"
    );
    USE = "UPDATE flow SET state = 'used', sealed = x'', taken_at = ?2 WHERE state_hash = ?1";
    END = "UPDATE flow SET taken_at = NULL WHERE state_hash = ?1 AND taken_at IS NOT NULL";
    LIST_TAKEN = concat!("SELECT ", columns!(), " FROM flow WHERE taken_at < ?1 ORDER BY taken_at LIMIT ?2");
    BIND = "UPDATE flow SET browser_hash = ?2 WHERE state_hash = ?1";
    DELETE = "DELETE FROM flow WHERE state_hash = ?1 AND taken_at IS NULL";
    SWEEP = "DELETE FROM flow WHERE state_hash IN (
        SELECT state_hash FROM flow WHERE expires_at < ?1 AND taken_at IS NULL ORDER BY expires_at LIMIT ?2)";
}

#[async_trait]
impl Flows for SqliteStore {
    async fn put_flow(&self, row: FlowRow, max_pending: u32, audit: AuditRow) -> Result<bool> {
        self.write(move |conn| {
            let added = start(conn, &row, max_pending)?;
            audit::note(conn, added, &audit)
        })
        .await
    }

    async fn get_flow(&self, state_hash: &Digest) -> Result<Option<FlowRow>> {
        self.read(|conn| first(conn, GET, [state_hash.0], from_row))
    }

    async fn take_flow(&self, state_hash: &Digest, now: Timestamp) -> Result<TakenFlow> {
        let state_hash = *state_hash;
        self.write(move |conn| take(conn, state_hash, now)).await
    }

    async fn end_flow(&self, state_hash: &Digest, audit: Option<AuditRow>) -> Result<bool> {
        let state_hash = *state_hash;
        self.write(move |conn| {
            let ended = conn.prepare_cached(END)?.execute([state_hash.0])? > 0;
            audit.map_or(Ok(ended), |audit| audit::note(conn, ended, &audit))
        })
        .await
    }

    async fn list_taken_flows(&self, before: Timestamp, limit: u32) -> Result<Vec<FlowRow>> {
        self.read(|conn| all(conn, LIST_TAKEN, params![before.0, limit], from_row))
    }

    async fn get_flow_by_ticket(&self, ticket_hash: &Digest) -> Result<Option<FlowRow>> {
        self.read(|conn| first(conn, GET_BY_TICKET, [ticket_hash.0], from_row))
    }

    async fn bind_browser(&self, ticket_hash: &Digest, browser: Digest) -> Result<BoundBrowser> {
        let ticket_hash = *ticket_hash;
        self.write(move |conn| bind(conn, ticket_hash, browser)).await
    }

    async fn sweep_flows(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.write(move |conn| Ok(conn.prepare_cached(SWEEP)?.execute(params![now.0, limit])? as u64))
            .await
    }
}

fn start(conn: &Connection, row: &FlowRow, max_pending: u32) -> Result<bool> {
    let (space, owner) = (row.key.space.as_str(), row.key.owner.as_stored());
    // A flow that ended waits no longer, swept or not.
    let pending: u32 = conn
        .prepare_cached(COUNT_PENDING)?
        .query_row(params![space, owner, row.created_at.0], |row| row.get(0))?;
    if pending >= max_pending {
        return Ok(false);
    }
    add(conn, row)
}

/// Adds a flow; one with the same state or ticket is an error, for both are random. `true` when it is done.
pub(super) fn add(conn: &Connection, row: &FlowRow) -> Result<bool> {
    let added = conn.prepare_cached(ADD)?.execute(params![
        row.state_hash.0,
        row.id,
        row.ticket_hash.map(|hash| hash.0),
        row.browser_hash.map(|hash| hash.0),
        row.key.space.as_str(),
        row.key.connector.as_str(),
        row.key.owner.as_stored(),
        row.key.name.as_str(),
        row.context,
        match row.state {
            FlowState::Pending => "pending",
            FlowState::Used => "used",
        },
        row.sealed.0,
        row.started_by.as_str(),
        row.created_at.0,
        row.expires_at.0,
    ])?;
    Ok(added > 0)
}

/// The flows with digests of their state greater than this, by that digest.
pub(super) fn export(conn: &Connection, after: &[u8], limit: u32) -> Result<Vec<FlowRow>> {
    all(conn, EXPORT, params![after, limit], from_row)
}

fn take(conn: &Connection, state_hash: Digest, now: Timestamp) -> Result<TakenFlow> {
    let Some(row) = first(conn, GET, [state_hash.0], from_row)? else {
        return Ok(TakenFlow::Unknown);
    };
    if row.expires_at <= now {
        conn.prepare_cached(DELETE)?.execute([state_hash.0])?;
        return Ok(TakenFlow::Expired);
    }
    if row.state == FlowState::Used {
        return Ok(TakenFlow::AlreadyUsed);
    }
    conn.prepare_cached(USE)?.execute(params![state_hash.0, now.0])?;
    Ok(TakenFlow::Taken(Box::new(row)))
}

fn bind(conn: &Connection, ticket_hash: Digest, browser: Digest) -> Result<BoundBrowser> {
    let Some(mut row) = first(conn, GET_BY_TICKET, [ticket_hash.0], from_row)? else {
        return Ok(BoundBrowser::Unknown);
    };
    if row.state == FlowState::Used {
        return Ok(BoundBrowser::Unknown);
    }
    if row.browser_hash.is_some() {
        return Ok(BoundBrowser::Already(Box::new(row)));
    }
    conn.prepare_cached(BIND)?.execute([row.state_hash.0, browser.0])?;
    row.browser_hash = Some(browser);
    Ok(BoundBrowser::Bound(Box::new(row)))
}

fn from_row(row: &Row<'_>) -> Result<FlowRow> {
    let mut fields = Fields::of(row);
    Ok(FlowRow {
        state_hash: fields.digest()?,
        id: fields.value()?,
        ticket_hash: fields.digest_if_any()?,
        browser_hash: fields.digest_if_any()?,
        key: fields.connection_key()?,
        context: fields.value()?,
        state: match fields.value::<String>()?.as_str() {
            "pending" => FlowState::Pending,
            "used" => FlowState::Used,
            _ => return Err(fields.corrupt()),
        },
        sealed: fields.sealed()?,
        started_by: fields.id()?,
        created_at: fields.time()?,
        expires_at: fields.time()?,
    })
}
