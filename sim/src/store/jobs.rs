use async_trait::async_trait;
use valetkey_core::{SpaceId, Timestamp};
use valetkey_store::Jobs;
use valetkey_store::rows::{AuditRow, JobRow};

use super::{MemoryStore, Result, audit};

#[async_trait]
impl Jobs for MemoryStore {
    async fn put_job(&self, row: JobRow) -> Result<bool> {
        let mut tables = self.lock();
        let id = (row.key.space.clone(), row.id.clone());
        if tables.jobs.contains_key(&id) {
            return Ok(false);
        }
        self.set_job(&mut tables, "put_job", id, Some(row));
        Ok(true)
    }

    async fn claim_jobs(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<JobRow>> {
        let mut tables = self.lock();
        let mut rows: Vec<_> = tables.jobs.values().filter(|job| job.due_at <= now).cloned().collect();
        rows.sort_by(|a, b| (a.due_at, &a.key.space, &a.id).cmp(&(b.due_at, &b.key.space, &b.id)));
        rows.truncate(limit as usize);
        for row in &mut rows {
            row.due_at = until;
            row.attempts += 1;
            let id = (row.key.space.clone(), row.id.clone());
            self.set_job(&mut tables, "claim_jobs", id, Some(row.clone()));
        }
        Ok(rows)
    }

    async fn postpone_job(&self, space: &SpaceId, id: &str, due_at: Timestamp) -> Result<bool> {
        let mut tables = self.lock();
        let id = (space.clone(), id.to_owned());
        let Some(mut row) = tables.jobs.get(&id).cloned() else {
            return Ok(false);
        };
        row.due_at = due_at;
        self.set_job(&mut tables, "postpone_job", id, Some(row));
        Ok(true)
    }

    async fn finish_job(&self, space: &SpaceId, id: &str, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        let id = (space.clone(), id.to_owned());
        let found = tables.jobs.contains_key(&id);
        if found {
            self.set_job(&mut tables, "finish_job", id, None);
        }
        Ok(audit::note(&mut tables, found, &audit))
    }
}
