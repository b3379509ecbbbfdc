//! The end of a run: everything works again, time passes, and then everything must be as it should.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use valetkey_store::rows::ConnectionState;

use super::{Service, Slot};
use crate::harness;

impl Service {
    /// Lets everything work again, gives it time, and checks what is there.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        self.world.trace.line(format_args!("from now on everything works"));
        self.world.change_weather(crate::weather::Weather::clear);
        self.spells.clear();
        if !self.plan.step.is_zero() {
            self.set_clocks_right();
        }
        let now = self.world.time.elapsed();
        for replica in &mut self.replicas {
            (replica.resumes_at, replica.reconnects_at, replica.dies_at) = (None, None, None);
            replica.process.resume();
            replica.process.reconnect();
            if replica.process.is_dead() {
                replica.starts_at = Some(now);
            }
            replica.process.spare();
        }
        // Until pauses and leases are over; then until every token has ended once.
        self.ask_everywhere(24, Duration::from_secs(15)).await;
        let life = self.plan.longest_life();
        self.ask_everywhere(8, life / 6).await;
        self.ask_everywhere(10, Duration::from_secs(10)).await;
        self.next_beat = None;
        self.pass(Duration::from_secs(60)).await;
        if !self.world.ledger.violations().is_empty() {
            return Ok(());
        }
        let now = self.world.time.elapsed();
        for caller in self
            .callers
            .iter()
            .filter(|caller| caller.since + Duration::from_secs(30) < now)
        {
            let (process, since) = (&caller.process, caller.since.as_secs_f64());
            let text = format_args!("a caller waits at {process:?} since {since} s");
            self.world.ledger.violates("stuck", text);
        }
        for slot in self.slots.clone() {
            self.check(&slot).await;
        }
        Ok(())
    }

    async fn ask_everywhere(&mut self, times: usize, every: Duration) {
        for _ in 0..times {
            self.tend().await;
            let serving: Vec<_> = (0..self.replicas.len())
                .filter(|n| self.replicas[*n].serves())
                .collect();
            for number in serving {
                for slot in self.slots.clone() {
                    self.spawn_ask(number, &slot, None);
                }
            }
            self.pass(every).await;
        }
    }

    /// A connection that is active gives a token that works, everywhere.
    async fn check(&mut self, slot: &Slot) {
        if self.world.ledger.state(&slot.key) == Some(ConnectionState::Active) {
            for number in 0..self.replicas.len() {
                let engine = Arc::clone(&self.replicas[number].running.engine);
                let mut token = harness::token(&engine, slot.connector, slot.user, None).await;
                // Clocks differ a little, and memory is a little behind: then the API says so, and the second one works.
                if let Ok(first) = &token
                    && !self.world.call_api(slot.provider, first)
                {
                    token = harness::token(&engine, slot.connector, slot.user, Some(&first.clone())).await;
                }
                match token {
                    Ok(token) if self.world.call_api(slot.provider, &token) => {}
                    Ok(token) => self
                        .world
                        .ledger
                        .violates("unsettled", format_args!("r{number} gives {token}")),
                    Err(error) => {
                        let told = harness::told(&error);
                        self.world
                            .ledger
                            .violates("unsettled", format_args!("{}: {told:#}", slot.user));
                    }
                }
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        self.world.ledger.judge_store(&slot.key);
        self.world.ledger.judge_ended(&slot.key);
    }
}
