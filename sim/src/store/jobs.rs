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
        self.put_job_row(&mut tables, "put_job", &row);
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
            self.put_job_row(&mut tables, "claim_jobs", row);
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
        self.put_job_row(&mut tables, "postpone_job", &row);
        Ok(true)
    }

    async fn finish_job(&self, space: &SpaceId, id: &str, audit: AuditRow) -> Result<bool> {
        let mut tables = self.lock();
        let id = (space.clone(), id.to_owned());
        let found = self.remove_job_row(&mut tables, "finish_job", &id);
        Ok(audit::note(&mut tables, found, &audit))
    }
}
