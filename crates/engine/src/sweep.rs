//! What is cleaned up while the service runs.

use crate::Engine;
use crate::error::Result;
use crate::health::KEPT;

/// Rows removed in one go, so that a sweep never holds the writer for long.
const BATCH: u32 = 1_000;

impl Engine {
    /// Records flows that were interrupted. Removes flows and sessions that ended, counted attempts that no limit looks at any
    /// more, tombstones that are old enough, and old tallies. How many rows went.
    pub async fn sweep(&self) -> Result<u64> {
        self.tell_interrupted_flows().await?;
        let now = self.clock.now();
        let window = self
            .settings
            .authorize_limit
            .window
            .max(self.settings.callback_limit.window)
            .max(self.settings.sign_in_limit.window)
            .max(self.settings.flow_ttl);
        let mut removed = 0;
        loop {
            let flows = self.store.sweep_flows(now, BATCH).await?;
            let sessions = self.store.sweep_sessions(now, BATCH).await?;
            let attempts = self.store.sweep_limits(now.minus(window), BATCH).await?;
            let tombstones = self.store.sweep_tombstones(now, BATCH).await?;
            let tallies = self.store.sweep_tallies(now.minus(KEPT), BATCH).await?;
            removed += flows + sessions + attempts + tombstones + tallies;
            if [flows, sessions, attempts, tombstones, tallies]
                .into_iter()
                .all(|n| n < u64::from(BATCH))
            {
                return Ok(removed);
            }
        }
    }
}
