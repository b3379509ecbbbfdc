//! Exact rate limits: one row for each counted attempt.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use valetkey_core::Timestamp;

use super::error::Failure;
use super::fields::{Fields, count, first};
use super::pool::Work;
use super::session::Session;
use super::values::{Value, params};
use super::{PostgresStore, Result};
use crate::Limits;

super::statements! {
    // Waits until nobody else counts the same, and keeps others waiting until the end of the transaction.
    TURN = "INSERT INTO turn (space, kind, subject, made_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (space, kind, subject) DO UPDATE SET made_at = turn.made_at";
    // A row, with the oldest attempt, if there is no room for another one.
    TAKE = "WITH counted AS (
            SELECT count(*) AS n, min(at) AS oldest FROM attempt WHERE bucket = $1 AND subject = $2 AND at > $3
        ),
        added AS (INSERT INTO attempt (bucket, subject, at) SELECT $1, $2, $4 FROM counted WHERE n < $5)
        SELECT oldest FROM counted WHERE n >= $5";
    // Turns are made again when somebody needs one.
    SWEEP = "WITH old AS (
            SELECT id FROM attempt WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
        ),
        gone AS (DELETE FROM attempt USING old WHERE attempt.id = old.id RETURNING 1),
        over AS (
            SELECT space, kind, subject FROM turn WHERE made_at < $1 ORDER BY made_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ),
        left_over AS (
            DELETE FROM turn USING over
            WHERE turn.space = over.space AND turn.kind = over.kind AND turn.subject = over.subject
        )
        SELECT count(*) FROM gone";
}

/// A statement that counts rows and adds one if there are few enough. The turn is a statement of its own before it, so
/// that it sees what those before committed.
pub(super) struct InTurn<'a> {
    /// The space, the kind and the subject of what is counted, and the time.
    pub(super) turn: [Value<'a>; 4],
    pub(super) statement: &'static str,
    pub(super) params: Vec<Value<'a>>,
}

#[async_trait]
impl Work for InTurn<'_> {
    type Output = Vec<Row>;

    async fn run(&self, session: &Session<'_>) -> std::result::Result<Vec<Row>, Failure> {
        session.query(TURN, &self.turn).await?;
        session.query(self.statement, &self.params).await
    }
}

#[async_trait]
impl Limits for PostgresStore {
    async fn take_limit(
        &self,
        bucket: &'static str,
        subject: &str,
        limit: u32,
        window: Duration,
        now: Timestamp,
    ) -> Result<std::result::Result<(), Duration>> {
        let work = InTurn {
            turn: params!["", bucket, subject, now],
            statement: TAKE,
            params: params![bucket, subject, now.minus(window), now, limit].into(),
        };
        let refused = self.transact(&work).await?;
        let oldest: Option<Option<Timestamp>> = first(&refused, |row| Fields::of(row).time_if_any())?;
        Ok(match oldest {
            None => Ok(()),
            Some(oldest) => Err(oldest.unwrap_or(now).plus(window).since(now)),
        })
    }

    async fn sweep_limits(&self, before: Timestamp, limit: u32) -> Result<u64> {
        count(&self.write(SWEEP, &params![before, limit]).await?)
    }
}
