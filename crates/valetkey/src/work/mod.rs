//! What nobody waits for: refreshes ahead of time, revocations that are still owed, the audit log's counted records,
//! counts, the clock, sweeping, keys, and the high-water mark. Every replica does all of it; what must be done once is claimed in the store.

mod clock;
mod sealing;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_engine::Engine;

use crate::system::SystemClock;

pub(crate) use clock::ClockMetrics;
pub(crate) use sealing::{keep_keys, keep_water};

/// How long a counted audit record collects.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// How often what was counted here is added to what the others counted.
const TALLY_EVERY: Duration = Duration::from_secs(10);

/// How often it is asked what is due.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long slots that became free wait for others.
const REFILL_PAUSE: Duration = Duration::from_millis(10);

/// How often it is asked which revocations are owed.
const REVOKE_EVERY: Duration = Duration::from_secs(5);

/// How often ended rows are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How often all connections are looked through for those that do not say when they are due, and the pause between pages.
const ADOPT_EVERY: Duration = Duration::from_secs(86_400);
const ADOPT_PAUSE: Duration = Duration::from_millis(100);

/// Starts the background work; it ends with `stopping`.
pub(crate) fn start(
    engine: &Arc<Engine>,
    clock: &Arc<SystemClock>,
    metrics: &ClockMetrics,
    tasks: &TaskTracker,
    stopping: &CancellationToken,
) {
    let begin = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        tasks.spawn(stopping.clone().run_until_cancelled_owned(work));
    };
    begin(Box::pin(flush(Arc::clone(engine))));
    begin(Box::pin(tally(Arc::clone(engine))));
    begin(Box::pin(refresh(Arc::clone(engine))));
    begin(Box::pin(revoke(Arc::clone(engine))));
    begin(Box::pin(sweep(Arc::clone(engine))));
    begin(Box::pin(adopt(Arc::clone(engine))));
    begin(Box::pin(clock::watch(
        Arc::clone(engine),
        Arc::clone(clock),
        metrics.clone(),
    )));
}

/// Ticks from one span on: a start has better things to do.
fn ticks(span: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(tokio::time::Instant::now() + span, span);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn flush(engine: Arc<Engine>) {
    let mut ticks = ticks(FLUSH_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = engine.audit_is_crowded() => {}
        }
        if let Err(error) = engine.flush_audit().await {
            tracing::error!(code = %error.code, "audit records cannot be written; they wait");
        }
    }
}

async fn tally(engine: Arc<Engine>) {
    let mut ticks = ticks(TALLY_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = engine.flush_tallies().await {
            tracing::warn!(code = %error.code, "counts cannot be written; they wait");
        }
    }
}

/// Asks again at once where more is due than may be under way, as soon as something has ended.
async fn refresh(engine: Arc<Engine>) {
    let mut ticks = ticks(ASK_EVERY);
    loop {
        ticks.tick().await;
        loop {
            match engine.refresh_due().await {
                Ok(round) if round.more => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(code = %error.code, cause = error.cause.as_deref(), "what is due cannot be read; it is tried again");
                    break;
                }
            }
            if timeout(ASK_EVERY, engine.background_freed()).await.is_err() {
                break;
            }
            // Others end in the same moment: one question serves them all.
            sleep(REFILL_PAUSE).await;
        }
    }
}

async fn revoke(engine: Arc<Engine>) {
    let mut ticks = ticks(REVOKE_EVERY);
    loop {
        ticks.tick().await;
        match engine.run_jobs().await {
            Ok(0) => {}
            Ok(jobs) => tracing::debug!(jobs, "told providers that grants are over"),
            Err(error) => {
                tracing::warn!(code = %error.code, cause = error.cause.as_deref(), "what is owed to providers cannot be read; it is tried again");
            }
        }
    }
}

async fn sweep(engine: Arc<Engine>) {
    let mut ticks = ticks(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        match engine.sweep().await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "swept"),
            Err(error) => tracing::warn!(code = %error.code, "sweeping failed; it is tried again"),
        }
    }
}

async fn adopt(engine: Arc<Engine>) {
    loop {
        let mut after = None;
        loop {
            sleep(ADOPT_PAUSE).await;
            match engine.adopt_connections(after.clone()).await {
                Ok(None) => break,
                Ok(next) => after = next,
                Err(error) => {
                    tracing::warn!(code = %error.code, cause = error.cause.as_deref(), "connections cannot be looked through; it is tried again");
                    sleep(SWEEP_EVERY).await;
                }
            }
        }
        sleep(ADOPT_EVERY).await;
    }
}
