use std::time::Duration;

use async_trait::async_trait;
use valetkey_core::Timestamp;
use valetkey_store::Limits;

use super::{MemoryStore, Result};

/// One counted attempt.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    bucket: &'static str,
    subject: String,
    at: Timestamp,
}

#[async_trait]
impl Limits for MemoryStore {
    async fn take_limit(
        &self,
        bucket: &'static str,
        subject: &str,
        limit: u32,
        window: Duration,
        now: Timestamp,
    ) -> Result<std::result::Result<(), Duration>> {
        let mut tables = self.lock();
        let after = now.minus(window);
        let counted = tables.attempts.iter();
        let counted = counted.filter(|a| a.bucket == bucket && a.subject == subject && a.at > after);
        let times: Vec<_> = counted.map(|attempt| attempt.at).collect();
        if times.len() >= limit as usize {
            let free_at = times.into_iter().min().unwrap_or(now).plus(window);
            return Ok(Err(free_at.since(now)));
        }
        tables.attempts.push(Attempt {
            bucket,
            subject: subject.to_owned(),
            at: now,
        });
        Ok(Ok(()))
    }

    async fn sweep_limits(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let mut tables = self.lock();
        tables.attempts.sort_by_key(|attempt| attempt.at);
        let old = tables.attempts.iter().take_while(|attempt| attempt.at < before).count();
        let removed = old.min(limit as usize);
        tables.attempts.drain(..removed);
        Ok(removed as u64)
    }
}
