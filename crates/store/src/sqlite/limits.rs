//! Exact rate limits: one row for each counted attempt.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use valetkey_core::Timestamp;

use super::{Result, SqliteStore};
use crate::Limits;

super::statements! {
    LOOK = "SELECT count(*), min(at) FROM attempt WHERE bucket = ?1 AND subject = ?2 AND at > ?3";
    ADD = "INSERT INTO attempt (bucket, subject, at) VALUES (?1, ?2, ?3)";
    SWEEP = "DELETE FROM attempt WHERE id IN (SELECT id FROM attempt WHERE at < ?1 ORDER BY at LIMIT ?2)";
}

#[async_trait]
impl Limits for SqliteStore {
    async fn take_limit(
        &self,
        bucket: &'static str,
        subject: &str,
        limit: u32,
        window: Duration,
        now: Timestamp,
    ) -> Result<std::result::Result<(), Duration>> {
        let subject = subject.to_owned();
        self.write(move |conn| take(conn, bucket, &subject, limit, window, now))
            .await
    }

    async fn sweep_limits(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.write(move |conn| Ok(conn.prepare_cached(SWEEP)?.execute(params![before.0, limit])? as u64))
            .await
    }
}

fn take(
    conn: &Connection,
    bucket: &str,
    subject: &str,
    limit: u32,
    window: Duration,
    now: Timestamp,
) -> Result<std::result::Result<(), Duration>> {
    let (counted, oldest): (u32, Option<i64>) = conn
        .prepare_cached(LOOK)?
        .query_row(params![bucket, subject, now.minus(window).0], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if counted >= limit {
        let free_at = oldest.map_or(now, Timestamp).plus(window);
        return Ok(Err(free_at.since(now)));
    }
    conn.prepare_cached(ADD)?.execute(params![bucket, subject, now.0])?;
    Ok(Ok(()))
}
