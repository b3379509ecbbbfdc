use async_trait::async_trait;
use valetkey_core::{ConnectorTypeId, SpaceId, Timestamp};
use valetkey_store::Tallies;
use valetkey_store::rows::{Outcome, Subject, TallyRow};

use super::{MemoryStore, Result};

/// What is counted: space, time, subject, outcome and type.
pub(super) type Key = (SpaceId, Timestamp, Subject, Outcome, ConnectorTypeId);

#[async_trait]
impl Tallies for MemoryStore {
    async fn add_tallies(&self, rows: Vec<TallyRow>) -> Result<()> {
        let mut tables = self.lock();
        for row in rows {
            let key = (row.space, row.at, row.subject, row.outcome, row.connector_type);
            *tables.tallies.entry(key).or_default() += row.count;
        }
        Ok(())
    }

    async fn list_tallies(&self, space: &SpaceId, from: Timestamp, to: Timestamp) -> Result<Vec<TallyRow>> {
        let tables = self.lock();
        let rows = tables
            .tallies
            .iter()
            .map(|((space, at, subject, outcome, kind), count)| TallyRow {
                space: space.clone(),
                at: *at,
                subject: *subject,
                outcome: *outcome,
                connector_type: kind.clone(),
                count: *count,
            });
        Ok(rows
            .filter(|row| row.space == *space && row.at >= from && row.at < to)
            .collect())
    }

    async fn sweep_tallies(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let mut tables = self.lock();
        let old: Vec<_> = tables.tallies.keys().filter(|key| key.1 < before).cloned().collect();
        let old = &old[..old.len().min(limit as usize)];
        for key in old {
            tables.tallies.remove(key);
        }
        Ok(old.len() as u64)
    }
}
