//! What a refresh does to a connection: it claims the lease, then finishes or releases it. Each function reads the row,
//! decides, and writes; nothing can come between, because only the writer thread calls them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use valetkey_core::{ConnectionKey, Timestamp};

use super::connections::{change, get};
use super::{Result, audit};
use crate::rows::{AuditRow, Claim, Committed, ConnectionRow, ConnectionState, GrantRow, Intent};

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
pub(super) fn claim(
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
    row.intent = Some(intent);
    change(conn, &row)?;
    Ok(Claim::Held {
        row: Box::new(row),
        previous,
    })
}

/// Writes the new pair over the one that it came from.
pub(super) fn finish(
    conn: &Connection,
    key: &ConnectionKey,
    generation: i64,
    grant: GrantRow,
    now: Timestamp,
    audit: &AuditRow,
) -> Result<Committed> {
    let mut row = match get(conn, key)? {
        Some(row) if row.generation == generation && row.state != ConnectionState::Disconnected => row,
        other => return Ok(lost(other)),
    };
    row.generation += 1;
    row.state = ConnectionState::Active;
    row.grant = Some(grant);
    row.refreshed_at = Some(now);
    row.intent = None;
    change(conn, &row)?;
    audit::append(conn, audit)?;
    Ok(Committed::Done(Box::new(row)))
}

/// Ends the holder's own intent, and changes the state if there is a new one.
pub(super) fn release(
    conn: &Connection,
    key: &ConnectionKey,
    generation: i64,
    holder: &str,
    state: Option<ConnectionState>,
    audit: Option<&AuditRow>,
) -> Result<Committed> {
    let mut row = match get(conn, key)? {
        Some(row) if row.generation == generation && is_held_by(&row, holder) => row,
        other => return Ok(lost(other)),
    };
    row.intent = None;
    if let Some(state) = state {
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
