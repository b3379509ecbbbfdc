//! Keys that others added, a key that is too old, what is sealed under an older one, and what was last seen of the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_engine::{Engine, Pass, REREAD_KEYS_EVERY};

use crate::water::Water;

/// How often is looked whether something is to be sealed again: a look costs nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most rows of one page.
const PAGE: u32 = 100;

/// How many rows are worked on at the same time.
const AT_ONCE: usize = 4;

/// The least pause after a page, also if nothing on it had to be sealed again: others want to read, too.
const BREATH: Duration = Duration::from_millis(10);

/// The pause after a failure of the store.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the mark is written down.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// Keeps the keys, and seals again at most `rate` rows a second.
pub(crate) fn keep_keys(engine: &Arc<Engine>, rate: u32, tasks: &TaskTracker, stopping: &CancellationToken) {
    let (keeper, sealer) = (Arc::clone(engine), Arc::clone(engine));
    tasks.spawn(stopping.clone().run_until_cancelled_owned(async move {
        let mut ticks = interval(REREAD_KEYS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = keeper.keep_keys().await {
                tracing::error!(code = %error.code, cause = error.cause, "the stored keys cannot be used");
            }
        }
    }));
    tasks.spawn(stopping.clone().run_until_cancelled_owned(async move {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(pass) = sealer.due_pass() {
                reseal(&sealer, pass, rate).await;
            }
        }
    }));
}

async fn reseal(engine: &Engine, mut pass: Pass, rate: u32) {
    while !pass.is_over() {
        let pause = match engine.reseal_page(&mut pass, PAGE.min(rate), AT_ONCE).await {
            Ok(0) => BREATH,
            Ok(resealed) => Duration::from_secs(resealed) / rate,
            Err(error) => {
                tracing::warn!(code = %error.code, cause = error.cause, "sealing again was interrupted; it goes on");
                PATIENCE
            }
        };
        sleep(pause).await;
    }
    let (connectors, connections) = (pass.connectors(), pass.connections());
    tracing::info!(
        resealed = connectors.resealed + connections.resealed,
        unreadable = connectors.unreadable + connections.unreadable,
        "everything was sealed again under the current data key"
    );
}

/// Writes down what the newest of the store is. The mark comes back at the stop, to be written a last time.
pub(crate) fn keep_water(
    engine: &Arc<Engine>,
    mut water: Water,
    tasks: &TaskTracker,
    stopping: &CancellationToken,
) -> JoinHandle<Water> {
    let (engine, stopping) = (Arc::clone(engine), stopping.clone());
    tasks.spawn(async move {
        let mut ticks = interval(MARK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stopping.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = water.keep(&engine).await {
                tracing::debug!(code = %error.code, "the high-water mark waits for the store");
            }
        }
        water
    })
}
