//! How often things went well or not, by time.

use async_trait::async_trait;
use tokio_postgres::Row;
use valetkey_core::{SpaceId, Timestamp};

use super::fields::{Fields, all, count};
use super::values::{Value, params};
use super::{PostgresStore, Result};
use crate::Tallies;
use crate::rows::{Outcome, Subject, TallyRow};

super::statements! {
    // In the order of the keys, so that several processes cannot wait for each other in a circle.
    ADD = "INSERT INTO tally (space, at, subject, outcome, connector_type, count)
        SELECT space, at, subject, outcome, connector_type, sum(count)::BIGINT
        FROM unnest($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::BIGINT[])
            AS t(space, at, subject, outcome, connector_type, count)
        GROUP BY space, at, subject, outcome, connector_type
        ORDER BY space, at, subject, outcome, connector_type
        ON CONFLICT (space, at, subject, outcome, connector_type) DO UPDATE SET count = tally.count + excluded.count";
    LIST = "SELECT space, at, subject, outcome, connector_type, count FROM tally
        WHERE space = $1 AND at >= $2 AND at < $3 ORDER BY at, subject, outcome, connector_type";
    SWEEP = "WITH old AS (
            SELECT space, at, subject, outcome, connector_type FROM tally
            WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
        ),
        gone AS (
            DELETE FROM tally t USING old
            WHERE t.space = old.space AND t.at = old.at AND t.subject = old.subject AND t.outcome = old.outcome
                AND t.connector_type = old.connector_type
            RETURNING 1
        )
        SELECT count(*) FROM gone";
}

#[async_trait]
impl Tallies for PostgresStore {
    async fn add_tallies(&self, rows: Vec<TallyRow>) -> Result<()> {
        let texts = |part: fn(&TallyRow) -> &str| Value::Texts(rows.iter().map(|row| part(row).into()).collect());
        let params = [
            texts(|row| row.space.as_str()),
            Value::Ints(rows.iter().map(|row| row.at.0).collect()),
            texts(|row| row.subject.word()),
            texts(|row| row.outcome.word()),
            texts(|row| row.connector_type.as_str()),
            Value::Ints(rows.iter().map(|row| row.count).collect()),
        ];
        self.write(ADD, &params).await.map(drop)
    }

    async fn list_tallies(&self, space: &SpaceId, from: Timestamp, to: Timestamp) -> Result<Vec<TallyRow>> {
        all(&self.list(LIST, &params![space.as_str(), from, to]).await?, from_row)
    }

    async fn sweep_tallies(&self, before: Timestamp, limit: u32) -> Result<u64> {
        count(&self.write(SWEEP, &params![before, limit]).await?)
    }
}

fn from_row(row: &Row) -> Result<TallyRow> {
    let mut fields = Fields::of(row);
    Ok(TallyRow {
        space: fields.id()?,
        at: fields.time()?,
        subject: Subject::from_word(fields.value()?).ok_or_else(|| fields.corrupt())?,
        outcome: Outcome::from_word(fields.value()?).ok_or_else(|| fields.corrupt())?,
        connector_type: fields.id()?,
        count: fields.value()?,
    })
}
