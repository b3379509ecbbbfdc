//! A scene: a few steps in a fixed order, with faults where they are wanted. What a seed has found is kept as a scene,
//! because a seed means something else as soon as the engine asks its store one question more.
//!
//! It has one provider with one connection, of `ada`; replicas are numbered from 0.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::ledger::Violation;
use crate::process::Blow;
use crate::service::Service;
use crate::wire::Fate;
use crate::world::{StoreFate, World};

/// The stage.
#[derive(Debug)]
pub struct Scene {
    service: Service,
}

impl Scene {
    pub(crate) fn new(service: Service) -> Self {
        Self { service }
    }

    /// The world.
    pub fn world(&self) -> &Arc<World> {
        self.service.world()
    }

    /// Lets time pass.
    pub async fn pass(&mut self, seconds: f64) {
        self.service.pass(Duration::from_secs_f64(seconds)).await;
    }

    /// Lets time pass until a request of a kind was made, a second at most.
    pub async fn pass_until_made(&mut self, what: &str) {
        for _ in 0..1_000 {
            if self.count(what) > 0 {
                return;
            }
            self.pass(0.001).await;
        }
    }

    /// Somebody asks a replica for a token, and waits for it in the background.
    pub fn ask(&mut self, replica: usize) {
        let slot = self.service.slot();
        self.service.spawn_ask(replica, &slot, None);
    }

    /// Somebody asks for another token than the stored one, which an API rejects.
    pub fn reject(&mut self, replica: usize) -> Result<()> {
        let slot = self.service.slot();
        let stored = self.world().ledger.stored(&slot.key).context("a stored token")?;
        self.world().ledger.api_rejected(&stored.0);
        self.service.spawn_ask(replica, &slot, Some(stored.0));
        Ok(())
    }

    /// An API is called with the stored access token.
    pub fn use_stored(&self) -> Result<bool> {
        let slot = self.service.slot();
        let stored = self.world().ledger.stored(&slot.key).context("a stored token")?;
        Ok(self.world().call_api(0, &stored.0))
    }

    /// An API is called with a token that is not stored yet.
    pub fn use_token(&self, token: &str) -> bool {
        self.world().call_api(0, token)
    }

    /// Somebody connects.
    pub fn connect(&mut self) {
        let slot = self.service.slot();
        self.service.spawn_connect(&slot);
    }

    /// Somebody disconnects at a replica.
    pub fn disconnect(&mut self, replica: usize) {
        let slot = self.service.slot();
        self.service.spawn_disconnect(replica, &slot);
    }

    /// The next requests at the token endpoint meet these fates.
    pub fn wire_will(&self, fates: &[Fate]) {
        for fate in fates {
            self.world().will_meet(*fate);
        }
    }

    /// The next call of an operation of the store meets this fate.
    pub fn store_will(&self, operation: &'static str, fate: StoreFate) {
        self.world().store_will(operation, fate);
    }

    /// Something befalls a replica, for so long.
    pub fn befalls(&mut self, replica: usize, blow: Blow, seconds: f64) {
        self.service.suffer(replica, blow, Duration::from_secs_f64(seconds));
    }

    /// How the connection stands: the word of its state, or the cause.
    pub fn state(&self) -> String {
        let state = self.world().ledger.state(&self.service.slot().key);
        state.map_or_else(String::new, |state| {
            state.cause().unwrap_or_else(|| state.word()).to_owned()
        })
    }

    /// How many requests of a kind were made: `refresh LostAnswer`.
    pub fn count(&self, what: &str) -> u64 {
        self.world().ledger.tally().get(what).copied().unwrap_or_default()
    }

    /// Lets everything work again, and says what must not have happened. The trace is shown by a test that fails.
    pub async fn end(mut self) -> Result<Vec<Violation>> {
        self.service.settle().await?;
        let violations = self.world().ledger.violations();
        if !violations.is_empty() {
            let _ = std::io::Write::write_all(&mut std::io::stdout(), self.world().trace.text().as_bytes());
        }
        Ok(violations)
    }
}
