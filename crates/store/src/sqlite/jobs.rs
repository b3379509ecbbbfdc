//! Jobs: work that outlives the process.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use valetkey_core::{SpaceId, Timestamp};

use super::fields::{Fields, all};
use super::{Result, SqliteStore, audit};
use crate::Jobs;
use crate::rows::{AuditRow, JobRow};

macro_rules! columns {
    () => {
        "id, space, connector, owner, name, kind, sealed, due_at, attempts, created_at"
    };
}

super::statements! {
    ADD = concat!(
        "INSERT INTO job (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (space, id) DO NOTHING"
    );
    LIST_DUE = concat!("SELECT ", columns!(), " FROM job WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2");
    CLAIM = "UPDATE job SET due_at = ?3, attempts = ?4 WHERE space = ?1 AND id = ?2";
    POSTPONE = "UPDATE job SET due_at = ?3 WHERE space = ?1 AND id = ?2";
    FINISH = "DELETE FROM job WHERE space = ?1 AND id = ?2";
    EXPORT = concat!("SELECT ", columns!(), " FROM job WHERE (space, id) > (?1, ?2) ORDER BY space, id LIMIT ?3");
}

#[async_trait]
impl Jobs for SqliteStore {
    async fn put_job(&self, row: JobRow) -> Result<bool> {
        self.write(move |conn| add(conn, &row)).await
    }

    async fn claim_jobs(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<JobRow>> {
        self.write(move |conn| claim(conn, now, until, limit)).await
    }

    async fn postpone_job(&self, space: &SpaceId, id: &str, due_at: Timestamp) -> Result<bool> {
        let (space, id) = (space.clone(), id.to_owned());
        self.write(move |conn| {
            let set = conn
                .prepare_cached(POSTPONE)?
                .execute(params![space.as_str(), id, due_at.0])?;
            Ok(set > 0)
        })
        .await
    }

    async fn finish_job(&self, space: &SpaceId, id: &str, audit: AuditRow) -> Result<bool> {
        let (space, id) = (space.clone(), id.to_owned());
        self.write(move |conn| {
            let found = conn.prepare_cached(FINISH)?.execute([space.as_str(), &id])? > 0;
            audit::note(conn, found, &audit)
        })
        .await
    }
}

/// Adds a job. `false` if the id exists in the space.
pub(super) fn add(conn: &Connection, row: &JobRow) -> Result<bool> {
    let added = conn.prepare_cached(ADD)?.execute(params![
        row.id,
        row.key.space.as_str(),
        row.key.connector.as_str(),
        row.key.owner.as_stored(),
        row.key.name.as_str(),
        row.kind,
        row.sealed.0,
        row.due_at.0,
        row.attempts,
        row.created_at.0,
    ])?;
    Ok(added > 0)
}

fn claim(conn: &Connection, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<JobRow>> {
    let mut rows = all(conn, LIST_DUE, params![now.0, limit], from_row)?;
    for row in &mut rows {
        row.due_at = until;
        row.attempts += 1;
        conn.prepare_cached(CLAIM)?
            .execute(params![row.key.space.as_str(), row.id, row.due_at.0, row.attempts])?;
    }
    Ok(rows)
}

/// The jobs after this space and id, by space and id.
pub(super) fn export(conn: &Connection, (space, id): (&str, &str), limit: u32) -> Result<Vec<JobRow>> {
    all(conn, EXPORT, params![space, id, limit], from_row)
}

fn from_row(row: &Row<'_>) -> Result<JobRow> {
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
