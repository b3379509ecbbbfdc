//! A store that was put back from a backup.
//!
//! Its refresh tokens are those of then. Where they rotated since, the provider has seen their successors, and may take the
//! use of an old one for theft and end the whole grant. So valetkey has to notice, and to be careful with what is older.
//!
//! What tells it is a *high-water mark* outside the store: the newest record of the audit log that was seen, its number and
//! its time. Every change of a connection writes such a record in the same transaction, so a store that lacks the record, or
//! has another one in its place, has lost changes: it was put back, or a standby took over that had not got everything.
//!
//! Nothing ends this state for the store; each connection leaves it by being renewed or connected again.

use serde::{Deserialize, Serialize};
use valetkey_core::Timestamp;
use valetkey_store::rows::{AuditEntry, AuditFilter, ConnectionRow, ConnectionState};

use crate::Engine;
use crate::caller::Audit;
use crate::error::Result;

/// How many connections one read of the store brings.
const PAGE: u32 = 500;

/// The newest that was seen of a store's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWater {
    /// Which installation.
    pub deployment: String,
    /// The number of its newest audit record.
    pub seq: i64,
    /// The time of that record, in milliseconds.
    pub at: i64,
}

/// What was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What is older than this was in the backup.
    pub at: Timestamp,
    /// How many connections have a refresh token of then.
    pub connections: u64,
}

impl Engine {
    /// When the store was last put back from a backup, if ever.
    pub fn restored(&self) -> Option<Timestamp> {
        self.sealing.restored_at()
    }

    /// Whether the tokens of this connection come out of a backup: it was not renewed and not connected since.
    pub fn is_from_backup(&self, row: &ConnectionRow) -> bool {
        let written = row.refreshed_at.unwrap_or(row.connected_at).max(row.connected_at);
        self.restored().is_some_and(|at| written < at)
    }

    /// The mark of the store as it is now; `None` as long as nothing happened in it.
    pub async fn high_water(&self) -> Result<Option<HighWater>> {
        let deployment = self.stored_vault().await?.deployment;
        let newest = self.newest_record(None).await?;
        Ok(newest.map(|record| HighWater {
            deployment,
            seq: record.seq,
            at: record.at.0,
        }))
    }

    /// Whether the store lacks what the mark was made of. A mark of another installation says nothing.
    pub async fn is_older_than(&self, mark: &HighWater) -> Result<bool> {
        if self.stored_vault().await?.deployment != mark.deployment {
            return Ok(false);
        }
        if let Some(record) = self.newest_record(Some(mark.seq)).await? {
            return Ok((record.seq, record.at.0) != (mark.seq, mark.at));
        }
        // Nothing as old as the mark: a log whose beginning was taken away goes on after it, an older one does not.
        Ok(self.newest_record(None).await?.is_none())
    }

    /// Notes that the store was put back from a backup just now. Everything that is in it counts as old.
    pub async fn mark_restored(&self) -> Result<Restored> {
        let connections = self.count_renewable().await?;
        let at = self.clock.now();
        let audit = Audit::new("backup.restore", at).detail("connections", connections);
        self.store.mark_restored(at, audit.row()).await?;
        self.sealing.note_restored(Some(at));
        Ok(Restored { at, connections })
    }

    /// The newest record up to this number.
    async fn newest_record(&self, up_to: Option<i64>) -> Result<Option<AuditEntry>> {
        let filter = AuditFilter {
            before: up_to.map(|seq| seq.saturating_add(1)),
            limit: 1,
            ..AuditFilter::default()
        };
        Ok(self.store.list_audit(&filter).await?.pop())
    }

    async fn count_renewable(&self) -> Result<u64> {
        let (mut count, mut after) = (0, None);
        loop {
            let rows = self.store.scan_connections(after.as_ref(), PAGE).await?;
            let renewable = |row: &&ConnectionRow| {
                row.state == ConnectionState::Active && row.grant.as_ref().is_some_and(|g| g.sealed_refresh.is_some())
            };
            count += rows.iter().filter(renewable).count() as u64;
            if rows.len() < PAGE as usize {
                return Ok(count);
            }
            after = rows.last().map(|row| row.key.clone());
        }
    }
}
