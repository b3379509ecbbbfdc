//! What happens to processes, to the store, and to providers.

use std::sync::Arc;
use std::time::Duration;

use super::{Service, Slot, Spell};
use crate::plan::Op;
use crate::process::Blow;

impl Service {
    /// Something befalls a process: one that is busy with a refresh, if there is one, and at one of the next places that
    /// it passes, or any, and at once.
    pub(super) fn strike(&mut self, blow: Blow) {
        let busy: Vec<_> = self.world.ledger.busy();
        let is_busy = |number: &usize| {
            busy.iter()
                .any(|process| Arc::ptr_eq(process, &self.replicas[*number].process))
        };
        let busy: Vec<_> = (0..self.replicas.len())
            .filter(is_busy)
            .filter(|n| self.replicas[*n].serves())
            .collect();
        let number = if !busy.is_empty() && self.dice.happens(600) {
            Some(*self.dice.pick(&busy))
        } else {
            self.any_running()
        };
        let Some(number) = number else { return };
        let process = &self.replicas[number].process;
        let after = if self.dice.happens(500) {
            u32::try_from(self.dice.between(0, 12)).unwrap_or(0)
        } else {
            0
        };
        self.world
            .trace
            .line(format_args!("{process:?}: {blow:?}, {after} places from now"));
        match (after, blow) {
            (0, Blow::Kill) => process.kill(),
            (0, Blow::Pause) => process.pause(),
            (0, Blow::CutOff) => process.cut_off(),
            _ => process.will_suffer(blow, after),
        }
        self.notice(number);
    }

    /// Something befalls a replica for so long.
    pub(crate) fn suffer(&mut self, number: usize, blow: Blow, span: Duration) {
        let until = self.world.time.elapsed() + span;
        let replica = &mut self.replicas[number];
        self.world.trace.line(format_args!("{:?}: {blow:?}", replica.process));
        match blow {
            Blow::Kill => {
                replica.process.kill();
                replica.starts_at = Some(until);
            }
            Blow::Pause => {
                replica.process.pause();
                replica.resumes_at = Some(until);
            }
            Blow::CutOff => {
                replica.process.cut_off();
                replica.reconnects_at = Some(until);
            }
        }
    }

    /// Notices what befell a process, and sees to it that it does not last for ever.
    pub(super) fn notice(&mut self, number: usize) {
        let now = self.world.time.elapsed();
        let replica = &mut self.replicas[number];
        let process = Arc::clone(&replica.process);
        if process.is_dead() && replica.starts_at.is_none() {
            let back = if replica.is_stopping {
                Duration::from_secs(1)
            } else {
                self.dice.millis(100, 60_000)
            };
            self.world.trace.line(format_args!("{process:?} is dead"));
            replica.starts_at = Some(now + back);
            replica.is_stopping = false;
            (replica.resumes_at, replica.reconnects_at, replica.dies_at) = (None, None, None);
        }
        if process.is_paused() && replica.resumes_at.is_none() {
            let span = self.dice.millis(1_000, 180_000);
            self.world
                .trace
                .line(format_args!("{process:?} stands still for {} ms", span.as_millis()));
            replica.resumes_at = Some(now + span);
        }
        if process.is_cut_off() && !process.is_dead() && replica.reconnects_at.is_none() {
            let span = self.dice.millis(1_000, 180_000);
            self.world
                .trace
                .line(format_args!("{process:?} is cut off for {} ms", span.as_millis()));
            replica.reconnects_at = Some(now + span);
            // What is not written by then must come from the disk.
            if self.plan.kills_cut_off && self.dice.happens(400) {
                replica.dies_at = Some(now + self.dice.millis(500, 30_000));
            }
        }
    }

    /// Stops a process as it should be: it takes no more callers, ends what must not be cut off, and is gone.
    pub(super) fn stop_any(&mut self) {
        let Some(number) = self.any_running() else { return };
        let replica = &mut self.replicas[number];
        replica.is_stopping = true;
        self.world.trace.line(format_args!("{:?} is stopped", replica.process));
        let (running, process) = (Arc::clone(&replica.running), Arc::clone(&replica.process));
        let world = Arc::clone(&self.world);
        // Not one of the callers, who may go away.
        self.tasks.spawn(async move {
            running.stop().await;
            world.trace.line(format_args!("{process:?} is gone"));
            process.kill();
        });
    }

    pub(super) fn cast(&mut self, op: Op, provider: usize) {
        let span = self.dice.millis(1_000, 120_000);
        let spell = match op {
            Op::StoreOutage => Spell::StoreDown,
            Op::Mistake => Spell::Mistaken(provider),
            _ => Spell::ProviderDown(provider),
        };
        self.world
            .trace
            .line(format_args!("{spell:?} for {} ms", span.as_millis()));
        self.world.change_weather(|weather| match spell {
            Spell::StoreDown => weather.store_is_down = true,
            Spell::ProviderDown(provider) => weather.skies[provider].is_down = true,
            Spell::Mistaken(provider) => weather.skies[provider].is_mistaken = true,
        });
        let until = self.world.time.elapsed() + span;
        self.spells.retain(|(other, _)| *other != spell);
        self.spells.push((spell, until));
    }

    /// Somebody sets the clock of a replica, or a correction that is believed comes from a store that is wrong. From then on
    /// nobody's lease is safe from that one.
    fn set_a_clock(&mut self, number: usize, ahead: i64) {
        self.world
            .trace
            .line(format_args!("the clock of r{number} is {ahead} ms ahead"));
        self.replicas[number].clock.set_ahead(ahead);
        for replica in &self.replicas {
            replica.process.had_trouble();
        }
    }

    /// Sets a clock wrong, or right again.
    pub(super) fn set_clock(&mut self) {
        let number = self.dice.below(self.replicas.len());
        let step = i64::try_from(self.plan.step.as_millis()).unwrap_or(0);
        let most = u64::try_from(2 * step).unwrap_or(0);
        let by = i64::try_from(self.dice.between(0, most)).unwrap_or(0) - step;
        let ahead = if self.dice.happens(300) { 0 } else { by };
        self.set_a_clock(number, ahead);
    }

    /// Sets all clocks right.
    pub(super) fn set_clocks_right(&mut self) {
        for number in 0..self.replicas.len() {
            let ahead = self.plan.ahead[number];
            self.set_a_clock(number, ahead);
        }
    }

    pub(super) fn take_back(&mut self, slot: &Slot) {
        let now = self.world.time.elapsed();
        let mut providers = self.world.providers();
        let provider = &mut providers[slot.provider];
        let last = provider.grants_of(slot.user).last().map(|(grant, _)| grant);
        if let Some(grant) = last {
            self.world.trace.line(format_args!(
                "{} takes grant {grant} back at {}",
                slot.user, slot.connector
            ));
            provider.take_back(grant, now);
        }
    }
}
