//! How often things went well or not, by time.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use valetkey_core::{SpaceId, Timestamp};

use super::fields::{Fields, all};
use super::{Result, SqliteStore};
use crate::Tallies;
use crate::rows::{Outcome, Subject, TallyRow};

super::statements! {
    ADD = "INSERT INTO tally (space, at, subject, outcome, connector_type, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (space, at, subject, outcome, connector_type) DO UPDATE SET count = count + excluded.count";
    LIST = "SELECT space, at, subject, outcome, connector_type, count FROM tally
        WHERE space = ?1 AND at >= ?2 AND at < ?3 ORDER BY at, subject, outcome, connector_type";
    SWEEP = "DELETE FROM tally WHERE rowid IN (SELECT rowid FROM tally WHERE at < ?1 ORDER BY at LIMIT ?2)";
}

#[async_trait]
impl Tallies for SqliteStore {
    async fn add_tallies(&self, rows: Vec<TallyRow>) -> Result<()> {
        self.write(move |conn| rows.iter().try_for_each(|row| add(conn, row)))
            .await
    }

    async fn list_tallies(&self, space: &SpaceId, from: Timestamp, to: Timestamp) -> Result<Vec<TallyRow>> {
        self.read(|conn| all(conn, LIST, params![space.as_str(), from.0, to.0], from_row))
    }

    async fn sweep_tallies(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.write(move |conn| Ok(conn.prepare_cached(SWEEP)?.execute(params![before.0, limit])? as u64))
            .await
    }
}

fn add(conn: &Connection, row: &TallyRow) -> Result<()> {
    conn.prepare_cached(ADD)?.execute(params![
        row.space.as_str(),
        row.at.0,
        row.subject.word(),
        row.outcome.word(),
        row.connector_type.as_str(),
        row.count,
    ])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<TallyRow> {
    let mut fields = Fields::of(row);
    Ok(TallyRow {
        space: fields.id()?,
        at: fields.time()?,
        subject: Subject::from_word(&fields.value::<String>()?).ok_or_else(|| fields.corrupt())?,
        outcome: Outcome::from_word(&fields.value::<String>()?).ok_or_else(|| fields.corrupt())?,
        connector_type: fields.id()?,
        count: fields.value()?,
    })
}
