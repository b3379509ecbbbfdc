//! What a refresh does to a connection: it claims the lease, then finishes or releases it; and which connections are due
//! for one. Each function that changes something reads the row, decides, and writes; nothing can come between, because
//! only the writer thread calls them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use valetkey_core::{ConnectionKey, SpaceId, Timestamp};

use super::connection::{is_key, update};
use super::connections::{change, get};
use super::fields::{Fields, all, json};
use super::{Result, SqliteStore, audit};
use crate::Refreshes;
use crate::rows::{AuditRow, Claim, Committed, ConnectionRow, ConnectionState, Due, Intent, Released, Renewed};

super::statements! {
    CLAIM = concat!(
        "UPDATE connection SET (intent_holder, intent_until, intent_at, intent_attempt) = (?5, ?6, ?7, ?8)
         WHERE ", is_key!()
    );
    // Apart from the claim, because writing a due_at also writes an index.
    BRING_FORWARD = concat!("UPDATE connection SET due_at = ?5 WHERE ", is_key!(), " AND due_at > ?5");
    EXTEND = concat!(
        "UPDATE connection SET intent_until = ?7 WHERE ", is_key!(), " AND generation = ?5 AND intent_holder = ?6"
    );
    LIST_DUE = "SELECT space, connector, owner, name, generation, due_at FROM connection
        WHERE state = 'active' AND due_at <= ?1 AND space NOT IN (SELECT value FROM json_each(?2))
            AND ifnull(intent_until, ?1) <= ?1
        ORDER BY due_at LIMIT ?3";
    POSTPONE = concat!(
        "UPDATE connection SET due_at = ?6, notice = ?7
         WHERE ", is_key!(), " AND generation = ?5 AND state = 'active'"
    );
}

#[async_trait]
impl Refreshes for SqliteStore {
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
        self.write(move |conn| claim(conn, &holders, &key, generation, intent))
            .await
    }

    async fn extend_lease(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<bool> {
        let (key, holder, until) = (key.clone(), holder.to_owned(), now.plus(lease));
        self.write(move |conn| {
            let is_theirs = update(conn, EXTEND, &key, &[&generation, &holder, &until.0])?;
            if is_theirs {
                update(conn, BRING_FORWARD, &key, &[&until.0])?;
            }
            Ok(is_theirs)
        })
        .await
    }

    async fn finish_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        renewed: Renewed,
        audit: AuditRow,
    ) -> Result<Committed> {
        let key = key.clone();
        self.write(move |conn| finish(conn, &key, generation, renewed, &audit))
            .await
    }

    async fn release_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        released: Released,
        audit: Option<AuditRow>,
    ) -> Result<Committed> {
        let (key, holder) = (key.clone(), holder.to_owned());
        self.write(move |conn| release(conn, &key, generation, &holder, released, audit.as_ref()))
            .await
    }

    async fn list_due(&self, now: Timestamp, skip: &[SpaceId], limit: u32) -> Result<Vec<Due>> {
        let skip = json(&skip)?;
        self.read(|conn| all(conn, LIST_DUE, params![now.0, skip, limit], due_from_row))
    }

    async fn postpone(
        &self,
        key: &ConnectionKey,
        generation: i64,
        due_at: Option<Timestamp>,
        notice: Option<String>,
        audit: Option<AuditRow>,
    ) -> Result<bool> {
        let key = key.clone();
        self.write(move |conn| {
            let due_at = due_at.map(|at| at.0);
            let is_set = update(conn, POSTPONE, &key, &[&generation, &due_at, &notice])?;
            audit.map_or(Ok(is_set), |audit| audit::note(conn, is_set, &audit))
        })
        .await
    }
}

fn due_from_row(row: &Row<'_>) -> Result<Due> {
    let mut fields = Fields::of(row);
    Ok(Due {
        key: fields.connection_key()?,
        generation: fields.value()?,
        due_at: fields.time()?,
    })
}

/// Who claimed a lease through this store since it was opened.
#[derive(Debug, Default)]
pub(super) struct Holders(Mutex<BTreeSet<String>>);

impl Holders {
    fn note(&self, holder: &str) {
        self.lock().insert(holder.to_owned());
    }

    /// Whether a lease means anything. The lock file proves that no other process has the store open, so a holder that this
    /// process has never seen ended with an earlier one: waiting for its lease would keep callers waiting for nobody.
    fn may_live(&self, holder: &str) -> bool {
        self.lock().contains(holder)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the intent, or says why not. Nobody gets a lease that runs, not even its own holder: a second refresh of the
/// same process would spend the token again.
fn claim(
    conn: &Connection,
    holders: &Holders,
    key: &ConnectionKey,
    generation: i64,
    mut intent: Intent,
) -> Result<Claim> {
    let Some(mut row) = get(conn, key)? else {
        return Ok(Claim::Gone);
    };
    if row.generation != generation || row.state != ConnectionState::Active {
        return Ok(Claim::Moved(Box::new(row)));
    }
    let runs = |held: &&Intent| held.lease_until > intent.at && holders.may_live(&held.holder);
    if let Some(held) = row.intent.as_ref().filter(runs) {
        return Ok(Claim::Busy(held.lease_until));
    }
    holders.note(&intent.holder);
    let previous = row.intent.take();
    intent.attempt = previous.as_ref().map_or(0, |previous| previous.attempt + 1);
    let until = intent.lease_until;
    update(
        conn,
        CLAIM,
        key,
        &[&intent.holder, &until.0, &intent.at.0, &intent.attempt],
    )?;
    if row.due_at.is_some_and(|due_at| due_at > until) {
        update(conn, BRING_FORWARD, key, &[&until.0])?;
        row.due_at = Some(until);
    }
    row.intent = Some(intent);
    Ok(Claim::Held {
        row: Box::new(row),
        previous,
    })
}

/// Writes the new pair over the one that it came from.
fn finish(
    conn: &Connection,
    key: &ConnectionKey,
    generation: i64,
    renewed: Renewed,
    audit: &AuditRow,
) -> Result<Committed> {
    let mut row = match get(conn, key)? {
        Some(row) if row.generation == generation && row.state != ConnectionState::Disconnected => row,
        other => return Ok(lost(other)),
    };
    row.generation += 1;
    row.state = ConnectionState::Active;
    row.grant = Some(renewed.grant);
    row.refreshed_at = Some(renewed.at);
    row.due_at = renewed.due_at;
    row.intent = None;
    change(conn, &row)?;
    audit::append(conn, audit)?;
    Ok(Committed::Done(Box::new(row)))
}

/// Ends the holder's own intent, and changes the state if there is a new one.
fn release(
    conn: &Connection,
    key: &ConnectionKey,
    generation: i64,
    holder: &str,
    released: Released,
    audit: Option<&AuditRow>,
) -> Result<Committed> {
    let mut row = match get(conn, key)? {
        Some(row) if row.generation == generation && is_held_by(&row, holder) => row,
        other => return Ok(lost(other)),
    };
    row.intent = None;
    row.due_at = released.due_at;
    if let Some(state) = released.state {
        row.state = state;
    }
    change(conn, &row)?;
    if let Some(audit) = audit {
        audit::append(conn, audit)?;
    }
    Ok(Committed::Done(Box::new(row)))
}

fn is_held_by(row: &ConnectionRow, holder: &str) -> bool {
    row.intent.as_ref().is_some_and(|intent| intent.holder == holder)
}

fn lost(row: Option<ConnectionRow>) -> Committed {
    Committed::Lost(row.map(Box::new))
}
