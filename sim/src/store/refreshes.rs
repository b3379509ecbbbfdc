use std::time::Duration;

use async_trait::async_trait;
use valetkey_core::{ConnectionKey, SpaceId, Timestamp};
use valetkey_store::Refreshes;
use valetkey_store::rows::{
    AuditRow, Claim, Committed, ConnectionRow, ConnectionState, Due, Intent, Released, Renewed,
};

use super::connections::{is_alive, lost};
use super::{MemoryStore, Result, audit};

#[async_trait]
impl Refreshes for MemoryStore {
    async fn claim_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Claim> {
        let mut tables = self.lock();
        let Some(mut row) = tables.connections.get(key).cloned() else {
            return Ok(Claim::Gone);
        };
        if row.generation != generation || row.state != ConnectionState::Active {
            return Ok(Claim::Moved(Box::new(row)));
        }
        // Nobody gets a lease that runs, not even its own holder. Unlike SQLite's, this store is shared by processes, so
        // a holder that it has never seen may well live.
        if let Some(held) = row.intent.as_ref().filter(|held| held.lease_until > now) {
            return Ok(Claim::Busy(held.lease_until));
        }
        let previous = row.intent.take();
        let until = now.plus(lease);
        row.intent = Some(Intent {
            holder: holder.to_owned(),
            lease_until: until,
            at: now,
            attempt: previous.as_ref().map_or(0, |previous| previous.attempt + 1),
        });
        row.due_at = row.due_at.map(|due_at| due_at.min(until));
        self.put_row(&mut tables, "claim_refresh", &row);
        Ok(Claim::Held {
            row: Box::new(row),
            previous,
        })
    }

    async fn extend_lease(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<bool> {
        let mut tables = self.lock();
        let stored = tables.connections.get(key);
        let theirs = stored.filter(|row| row.generation == generation && is_held_by(row, holder));
        let Some(mut row) = theirs.cloned() else {
            return Ok(false);
        };
        let until = now.plus(lease);
        if let Some(intent) = &mut row.intent {
            intent.lease_until = until;
        }
        row.due_at = row.due_at.map(|due_at| due_at.min(until));
        self.put_row(&mut tables, "extend_lease", &row);
        Ok(true)
    }

    async fn finish_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        renewed: Renewed,
        audit: AuditRow,
    ) -> Result<Committed> {
        let mut tables = self.lock();
        let mut row = match tables.connections.get(key) {
            Some(row) if row.generation == generation && is_alive(row) => row.clone(),
            other => return Ok(lost(other.cloned())),
        };
        renew(&mut row, renewed);
        self.put_row(&mut tables, "finish_refresh", &row);
        audit::append(&mut tables, &audit);
        Ok(Committed::Done(Box::new(row)))
    }

    async fn release_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        released: Released,
        audit: Option<AuditRow>,
    ) -> Result<Committed> {
        let mut tables = self.lock();
        let mut row = match tables.connections.get(key) {
            Some(row) if row.generation == generation && is_held_by(row, holder) => row.clone(),
            other => return Ok(lost(other.cloned())),
        };
        row.intent = None;
        row.due_at = released.due_at;
        if let Some(state) = released.state {
            row.state = state;
        }
        self.put_row(&mut tables, "release_refresh", &row);
        if let Some(audit) = audit {
            audit::append(&mut tables, &audit);
        }
        Ok(Committed::Done(Box::new(row)))
    }

    async fn list_due(&self, now: Timestamp, skip: &[SpaceId], limit: u32) -> Result<Vec<Due>> {
        let tables = self.lock();
        let rows = tables.connections.values();
        let is_leased = |row: &ConnectionRow| row.intent.as_ref().is_some_and(|held| held.lease_until > now);
        let rows = rows.filter(|row| row.state == ConnectionState::Active && !is_leased(row));
        let rows = rows.filter(|row| !skip.contains(&row.key.space));
        let mut due: Vec<_> = rows
            .filter_map(|row| {
                Some(Due {
                    key: row.key.clone(),
                    generation: row.generation,
                    due_at: row.due_at.filter(|at| *at <= now)?,
                })
            })
            .collect();
        due.sort_by(|a, b| (a.due_at, &a.key).cmp(&(b.due_at, &b.key)));
        due.truncate(limit as usize);
        Ok(due)
    }

    async fn postpone(
        &self,
        key: &ConnectionKey,
        generation: i64,
        due_at: Option<Timestamp>,
        notice: Option<String>,
        audit: Option<AuditRow>,
    ) -> Result<bool> {
        let mut tables = self.lock();
        let stored = tables.connections.get(key);
        let stored = stored.filter(|row| row.generation == generation && row.state == ConnectionState::Active);
        let Some(mut row) = stored.cloned() else {
            return Ok(false);
        };
        (row.due_at, row.notice) = (due_at, notice);
        self.put_row(&mut tables, "postpone", &row);
        if let Some(audit) = audit {
            audit::append(&mut tables, &audit);
        }
        Ok(true)
    }
}

/// What a new pair makes of a connection.
pub(crate) fn renew(row: &mut ConnectionRow, renewed: Renewed) {
    row.generation += 1;
    row.state = ConnectionState::Active;
    row.grant = Some(renewed.grant);
    row.refreshed_at = Some(renewed.at);
    row.due_at = renewed.due_at;
    row.intent = None;
}

fn is_held_by(row: &ConnectionRow, holder: &str) -> bool {
    row.intent.as_ref().is_some_and(|intent| intent.holder == holder)
}
