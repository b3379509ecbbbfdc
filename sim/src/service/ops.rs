//! What is done in a step, and what callers do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use valetkey_store::rows::ConnectionState;

use super::{Caller, Service, Slot};
use crate::harness;
use crate::ledger::{CallId, Given, Ledger};
use crate::plan::Op;
use crate::process::Blow;

/// How long a person waits for a page.
const PATIENCE: Duration = Duration::from_secs(120);

impl Service {
    /// Does one operation.
    pub(super) async fn step(&mut self, op: Op) -> Result<()> {
        let slot = self.dice.pick(&self.slots).clone();
        match op {
            Op::Ask => self.ask_anywhere(&slot),
            Op::Burst => {
                for number in 0..self.replicas.len() {
                    for _ in 0..=self.dice.below(4) {
                        if self.replicas[number].serves() {
                            self.spawn_ask(number, &slot, None);
                        }
                    }
                }
            }
            Op::Use => self.spawn_use(&slot),
            Op::Execute => self.spawn_execute(&slot),
            Op::Connect => self.spawn_connect(&slot),
            Op::Disconnect => {
                if let Some(number) = self.any_running() {
                    self.spawn_disconnect(number, &slot);
                }
            }
            Op::GoAway => {
                if !self.callers.is_empty() {
                    let caller = self.dice.below(self.callers.len());
                    self.callers.swap_remove(caller).task.abort();
                }
            }
            Op::Crash => self.strike(Blow::Kill),
            Op::Stop => self.stop_any(),
            Op::Pause => self.strike(Blow::Pause),
            Op::CutOff => self.strike(Blow::CutOff),
            Op::StoreOutage | Op::ProviderOutage | Op::Mistake => self.cast(op, slot.provider),
            Op::TakeBack => self.take_back(&slot),
            Op::SetClock => self.set_clock(),
            Op::LetStale => self.let_pass(&slot, 80, 99).await,
            Op::LetEnd => self.let_pass(&slot, 100, 120).await,
            Op::Wait => {
                let span = self.dice.millis(1_000, 60_000);
                self.pass(span).await;
            }
        }
        Ok(())
    }

    /// Whoever is told that a person is needed may be that person.
    pub(super) fn reconnect_some(&mut self) {
        for slot in self.slots.clone() {
            let state = self.world.ledger.state(&slot.key);
            let needs_person = matches!(
                state,
                Some(ConnectionState::Reauthorize(_) | ConnectionState::Disconnected)
            );
            if needs_person && self.dice.happens(200) {
                self.spawn_connect(&slot);
            }
        }
    }

    /// Lets so many hundredths of a token's life pass.
    async fn let_pass(&mut self, slot: &Slot, low: u64, high: u64) {
        let life = self.plan.providers[slot.provider].lifetime;
        let share = u32::try_from(self.dice.between(low, high)).unwrap_or(100);
        self.world
            .trace
            .line(format_args!("{share} % of the life of {} pass", slot.connector));
        self.pass(life * share / 100).await;
    }

    fn ask_anywhere(&mut self, slot: &Slot) {
        if let Some(number) = self.any_running() {
            self.spawn_ask(number, slot, None);
        }
    }

    /// Somebody asks a replica for a token.
    pub(crate) fn spawn_ask(&mut self, number: usize, slot: &Slot, instead: Option<String>) {
        let replica = &self.replicas[number];
        let (engine, process, slot) = (
            Arc::clone(&replica.running.engine),
            Arc::clone(&replica.process),
            slot.clone(),
        );
        let ledger = Arc::clone(&self.world.ledger);
        let call = ledger.asks(&process, &slot.key, instead.as_deref());
        self.spawn(number, async move {
            let result = harness::token(&engine, slot.connector, slot.user, instead.as_deref()).await;
            tell(&ledger, call, result);
        });
    }

    /// Somebody gets a token, calls the API with it, and comes again if it is rejected.
    fn spawn_use(&mut self, slot: &Slot) {
        let Some(number) = self.any_running() else { return };
        let replica = &self.replicas[number];
        let (engine, process, slot) = (
            Arc::clone(&replica.running.engine),
            Arc::clone(&replica.process),
            slot.clone(),
        );
        let world = Arc::clone(&self.world);
        let is_wrong = self.dice.happens(300);
        self.spawn(number, async move {
            let ledger = &world.ledger;
            let call = ledger.asks(&process, &slot.key, None);
            let result = harness::token(&engine, slot.connector, slot.user, None).await;
            let token = result.as_ref().ok().cloned();
            tell(ledger, call, result);
            let Some(token) = token else { return };
            tokio::time::sleep(Duration::from_millis(20)).await;
            // An API may reject what its own authorization server honours.
            if world.call_api(slot.provider, &token) && !is_wrong {
                return;
            }
            ledger.api_rejected(&token);
            let call = ledger.asks(&process, &slot.key, Some(&token));
            let result = harness::token(&engine, slot.connector, slot.user, Some(&token)).await;
            tell(ledger, call, result);
        });
    }

    fn spawn_execute(&mut self, slot: &Slot) {
        let Some(number) = self.any_running() else { return };
        let (engine, slot) = (Arc::clone(&self.replicas[number].running.engine), slot.clone());
        let world = Arc::clone(&self.world);
        self.spawn(number, async move {
            match harness::execute(&engine, slot.connector, slot.user).await {
                Ok(what) => world.trace.line(format_args!("an action of {}: {what}", slot.user)),
                Err(error) if harness::may_be_told(&error) => {}
                Err(error) => {
                    world.ledger.violates(
                        "unexpected",
                        format_args!("an action brings {:#}", harness::told(&error)),
                    );
                }
            }
        });
    }

    /// Somebody connects: each page is served by another replica.
    pub(crate) fn spawn_connect(&mut self, slot: &Slot) {
        let (Some(start), Some(page), Some(back)) = (self.any_running(), self.any_running(), self.any_running()) else {
            return;
        };
        let engine = |number: usize| Arc::clone(&self.replicas[number].running.engine);
        let (start, page, callback) = (engine(start), engine(page), engine(back));
        let (world, slot) = (Arc::clone(&self.world), slot.clone());
        let thinks = self.dice.millis(0, 2_000);
        let connect = async move {
            let browser = harness::go_connecting(&start, &page, slot.connector, slot.user).await?;
            tokio::time::sleep(thinks).await;
            let (code, grant) = {
                let mut providers = world.providers();
                let provider = &mut providers[slot.provider];
                let code = provider.consent(slot.user);
                (code, provider.grants_of(slot.user).last().map(|(grant, _)| grant))
            };
            world
                .trace
                .line(format_args!("{} consents at {}: {code}", slot.user, slot.connector));
            harness::come_back(&callback, slot.connector, &browser, &code).await?;
            if let Some(grant) = grant {
                world.ledger.connected(&slot.key, grant);
            }
            Ok::<_, valetkey_engine::Error>(slot.user)
        };
        let world = Arc::clone(&self.world);
        self.spawn(back, async move {
            match tokio::time::timeout(PATIENCE, connect).await {
                Ok(Ok(user)) => world.trace.line(format_args!("{user} is connected")),
                Ok(Err(error)) if harness::may_be_told(&error) => {
                    world
                        .trace
                        .line(format_args!("a connect failed: {:#}", harness::told(&error)));
                }
                Ok(Err(error)) => {
                    world.ledger.violates(
                        "unexpected",
                        format_args!("a connect brings {:#}", harness::told(&error)),
                    );
                }
                Err(_) => world.trace.line(format_args!("a browser gives up")),
            }
        });
    }

    /// Somebody disconnects at a replica.
    pub(crate) fn spawn_disconnect(&mut self, number: usize, slot: &Slot) {
        let replica = &self.replicas[number];
        let (engine, process, slot) = (
            Arc::clone(&replica.running.engine),
            Arc::clone(&replica.process),
            slot.clone(),
        );
        let world = Arc::clone(&self.world);
        world.trace.line(format_args!(
            "{process:?} is to disconnect {}/{}",
            slot.connector, slot.user
        ));
        self.spawn(number, async move {
            match harness::disconnect(&engine, slot.connector, slot.user).await {
                Ok(()) => world.ledger.disconnected(&process, &slot.key),
                Err(error) if harness::may_be_told(&error) => {}
                Err(error) => {
                    world.ledger.violates(
                        "unexpected",
                        format_args!("a disconnect brings {:#}", harness::told(&error)),
                    );
                }
            }
        });
    }

    fn spawn(&mut self, number: usize, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(task);
        self.callers.push(Caller {
            process: Arc::clone(&self.replicas[number].process),
            since: self.world.time.elapsed(),
            task,
        });
    }
}

fn tell(ledger: &Ledger, call: CallId, result: Result<String, valetkey_engine::Error>) {
    let given = match result {
        Ok(token) => Given::Token(token),
        Err(error) => match harness::must_connect(&error) {
            Some(reason) => Given::Person(reason.to_owned()),
            None => Given::Error {
                text: format!("{:#}", harness::told(&error)),
                is_expected: harness::may_be_told(&error),
            },
        },
    };
    ledger.gets(call, &given);
}
