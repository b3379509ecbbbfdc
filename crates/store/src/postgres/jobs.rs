//! Jobs: work that outlives the process.

use async_trait::async_trait;
use tokio_postgres::Row;
use valetkey_core::{SpaceId, Timestamp};

use super::audit::{self, noted};
use super::error::Failure;
use super::fields::{Fields, all};
use super::session::Session;
use super::values::{Value, params};
use super::{PostgresStore, Result};
use crate::Jobs;
use crate::rows::{AuditRow, JobRow};

macro_rules! columns {
    () => {
        "id, space, connector, owner, name, kind, sealed, due_at, attempts, created_at"
    };
}
pub(super) use columns as job_columns;

super::statements! {
    ADD = concat!(
        "INSERT INTO job (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (space, id) DO NOTHING RETURNING 1"
    );
    // What somebody else is claiming at the moment is passed over.
    CLAIM = concat!(
        "WITH due AS (
            SELECT space AS s, id AS i, due_at AS since FROM job WHERE due_at <= $1
            ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
         ),
         claimed AS (
            UPDATE job SET due_at = $2, attempts = attempts + 1 FROM due WHERE space = s AND id = i
            RETURNING ", columns!(), ", since
         )
         SELECT ", columns!(), " FROM claimed ORDER BY since, space, id"
    );
    POSTPONE = "UPDATE job SET due_at = $3 WHERE space = $1 AND id = $2 RETURNING 1";
    FINISH = concat!(
        "WITH gone AS (DELETE FROM job WHERE space = $1 AND id = $2 RETURNING 1), ", noted!("gone", "$3"),
        " SELECT 1 FROM gone"
    );
    EXPORT = concat!("SELECT ", columns!(), " FROM job WHERE (space, id) > ($1, $2) ORDER BY space, id LIMIT $3");
}

#[async_trait]
impl Jobs for PostgresStore {
    async fn put_job(&self, row: JobRow) -> Result<bool> {
        Ok(!self.write(ADD, &values(&row)).await?.is_empty())
    }

    async fn claim_jobs(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<JobRow>> {
        all(&self.write(CLAIM, &params![now, until, limit]).await?, from_row)
    }

    async fn postpone_job(&self, space: &SpaceId, id: &str, due_at: Timestamp) -> Result<bool> {
        let params = params![space.as_str(), id, due_at];
        Ok(!self.write(POSTPONE, &params).await?.is_empty())
    }

    async fn finish_job(&self, space: &SpaceId, id: &str, audit: AuditRow) -> Result<bool> {
        let params = params![space.as_str(), id, audit::records([&audit])];
        Ok(!self.write(FINISH, &params).await?.is_empty())
    }
}

/// The parameters for the columns of a job.
pub(super) fn values(row: &JobRow) -> [Value<'_>; 10] {
    params![
        &row.id,
        row.key.space.as_str(),
        row.key.connector.as_str(),
        row.key.owner.as_stored(),
        row.key.name.as_str(),
        &row.kind,
        &row.sealed,
        row.due_at,
        row.attempts,
        row.created_at,
    ]
}

fn from_row(row: &Row) -> Result<JobRow> {
    let mut fields = Fields::of(row);
    Ok(JobRow {
        id: fields.value()?,
        key: fields.connection_key()?,
        kind: fields.value()?,
        sealed: fields.sealed()?,
        due_at: fields.time()?,
        attempts: fields.value()?,
        created_at: fields.time()?,
    })
}

/// The jobs after this space and id, by space and id.
pub(super) async fn export(store: &PostgresStore, (space, id): (&str, &str), limit: u32) -> Result<Vec<JobRow>> {
    all(&store.write(EXPORT, &params![space, id, limit]).await?, from_row)
}

/// Adds a job. `false` if the id exists in the space.
pub(super) async fn add(session: &Session<'_>, row: &JobRow) -> std::result::Result<bool, Failure> {
    Ok(!session.query(ADD, &values(row)).await?.is_empty())
}
