//! The way from one process to the store: delays, errors before and after, outages, and the lock-out of one replica.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use valetkey_core::{ConnectionKey, Timestamp};
use valetkey_store::rows::{AuditRow, Claim, Committed, Renewed};
use valetkey_store::{Store, StoreError};

use crate::layer::{Call, Layer, Reply, Result};
use crate::process::Process;
use crate::world::{StoreFate, World};

/// The longest that a client waits for the store, in milliseconds.
const PATIENCE_MS: u64 = 5_000;

/// One process's way to the store.
#[derive(Debug)]
pub struct Link {
    world: Arc<World>,
    process: Arc<Process>,
}

impl Link {
    /// The way of a process.
    pub fn new(world: Arc<World>, process: Arc<Process>) -> Self {
        Self { world, process }
    }

    fn is_cut(&self) -> bool {
        self.process.is_cut_off() || self.world.weather().store_is_down
    }

    fn latency(&self) -> Duration {
        let dice = &self.world.store_dice;
        if dice.happens(self.world.weather().chances.store_slow) {
            dice.millis(100, PATIENCE_MS - 1_000)
        } else if dice.happens(500) {
            Duration::ZERO
        } else {
            dice.millis(1, 5)
        }
    }

    async fn wait(&self, span: Duration) {
        if !span.is_zero() {
            tokio::time::sleep(span).await;
        }
        self.process.pass().await;
    }

    fn failed<T>(&self, call: Call, how: &str) -> Result<T> {
        self.process.had_trouble();
        if call.writes {
            let Call { name, .. } = call;
            self.world
                .trace
                .line(format_args!("{:?} store {name}: {how}", self.process));
        }
        Err(StoreError::Unavailable(how.to_owned()))
    }
}

#[async_trait]
impl Layer for Link {
    #[expect(
        clippy::manual_async_fn,
        reason = "`async_trait` would box what is declared as a plain future"
    )]
    fn carry<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        reply: Reply<'a, T>,
    ) -> impl Future<Output = Result<T>> + Send + 'a {
        async move {
            self.process.pass().await;
            let dice = &self.world.store_dice;
            let chances = self.world.weather().chances;
            if self.is_cut() {
                self.wait(dice.millis(0, PATIENCE_MS)).await;
                return self.failed(call, "unreachable");
            }
            match self.world.scripted_store_fate(call.name) {
                None => {}
                Some(StoreFate::Fails) => return self.failed(call, "failed before"),
                Some(StoreFate::LosesAnswer) => {
                    let _done = reply.await;
                    return self.failed(call, "done, and the answer was lost");
                }
                Some(StoreFate::AnswersAfter(span)) => {
                    let answer = reply.await;
                    self.wait(span).await;
                    return answer;
                }
            }
            if dice.happens(chances.store_before) {
                self.wait(self.latency()).await;
                return self.failed(call, "failed before");
            }
            // A process may end or be held up before the store has read the call, or after.
            let answer = if dice.happens(500) {
                let answer = reply.await;
                self.wait(self.latency()).await;
                answer
            } else {
                self.wait(self.latency()).await;
                if self.is_cut() {
                    return self.failed(call, "unreachable");
                }
                reply.await
            };
            if call.writes && (self.is_cut() || dice.happens(chances.store_after)) {
                return self.failed(call, "done, and the answer was lost");
            }
            answer
        }
    }

    async fn claim_refresh(
        &self,
        store: &dyn Store,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Claim> {
        self.world.ledger.claims(holder, &self.process);
        let claim = store.claim_refresh(key, generation, holder, now, lease).await;
        if let Ok(claim) = &claim {
            self.world.ledger.claimed(key, &self.process, claim);
        }
        claim
    }

    async fn extend_lease(
        &self,
        store: &dyn Store,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<bool> {
        let extended = store.extend_lease(key, generation, holder, now, lease).await;
        self.world.ledger.heard(key, &self.process);
        extended
    }

    async fn finish_refresh(
        &self,
        store: &dyn Store,
        key: &ConnectionKey,
        generation: i64,
        renewed: Renewed,
        audit: AuditRow,
    ) -> Result<Committed> {
        let committed = store.finish_refresh(key, generation, renewed, audit).await;
        if let Ok(Committed::Lost(_)) = &committed {
            self.world.ledger.lost_race(key, &self.process);
        }
        committed
    }
}
