//! What nobody waits for: the audit log's counted records, sweeping, keys, and the high-water mark.

mod sealing;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_engine::Engine;

pub(crate) use sealing::{keep_keys, keep_water};

/// How long a counted audit record collects.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// How often ended rows are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Starts the background work; it ends with `stopping`.
pub(crate) fn start(engine: &Arc<Engine>, tasks: &TaskTracker, stopping: &CancellationToken) {
    let (flusher, sweeper) = (Arc::clone(engine), Arc::clone(engine));
    tasks.spawn(stopping.clone().run_until_cancelled_owned(async move {
        let mut ticks = interval(FLUSH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = flusher.flush_audit().await {
                tracing::error!(code = %error.code, "audit records cannot be written; they wait");
            }
        }
    }));
    tasks.spawn(stopping.clone().run_until_cancelled_owned(async move {
        let mut ticks = interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match sweeper.sweep().await {
                Ok(0) => {}
                Ok(rows) => tracing::debug!(rows, "swept"),
                Err(error) => tracing::warn!(code = %error.code, "sweeping failed; it is tried again"),
            }
        }
    }));
}
