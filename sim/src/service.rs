//! The service under test: its replicas, its callers, and what happens to them.

mod end;
mod ops;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::{AbortHandle, JoinSet};
use valetkey_core::ConnectionKey;
use valetkey_spec::Catalogue;

use crate::clock::WallClock;
use crate::dice::Dice;
use crate::harness::{self, Chore, Surroundings};
use crate::journal::{Disk, DiskJournal};
use crate::layer::Layered;
use crate::link::Link;
use crate::plan::Plan;
use crate::process::Process;
use crate::wire::Net;
use crate::world::World;

/// A replica: a process, or a while without one.
#[derive(Debug)]
struct Replica {
    process: Arc<Process>,
    clock: Arc<WallClock>,
    running: Arc<harness::Running>,
    disk: Arc<Disk>,
    is_stopping: bool,
    /// What it does beside requests.
    chores: Vec<(Chore, AbortHandle)>,
    /// When the next process starts, if this one is dead.
    starts_at: Option<Duration>,
    resumes_at: Option<Duration>,
    dies_at: Option<Duration>,
    reconnects_at: Option<Duration>,
}

impl Replica {
    /// Whether it takes callers.
    fn serves(&self) -> bool {
        self.process.is_running() && !self.is_stopping
    }
}

/// A caller under way, and at which process it asks.
#[derive(Debug)]
struct Caller {
    process: Arc<Process>,
    since: Duration,
    task: AbortHandle,
}

/// A connection that may be.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    provider: usize,
    connector: &'static str,
    user: &'static str,
    pub(crate) key: ConnectionKey,
}

/// The service.
#[derive(Debug)]
pub struct Service {
    world: Arc<World>,
    plan: Plan,
    dice: Dice,
    seed: u64,
    catalogue: Catalogue,
    replicas: Vec<Replica>,
    slots: Vec<Slot>,
    callers: Vec<Caller>,
    tasks: JoinSet<()>,
    /// What ends by itself: who suffers from it, and until when.
    spells: Vec<(Spell, Duration)>,
    next_beat: Option<Duration>,
    next_work: Duration,
    /// Since when every process runs and reaches everything.
    works_since: Option<Duration>,
}

/// A time in which something does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spell {
    StoreDown,
    ProviderDown(usize),
    Mistaken(usize),
}

impl Service {
    /// Starts the replicas, and makes what they need: connectors, and some connections.
    pub async fn start(world: Arc<World>, plan: Plan, dice: Dice, seed: u64, catalogue: Catalogue) -> Result<Self> {
        let right = WallClock::right(world.time);
        harness::vault(&*world.memory, &right).await?;
        world.ledger.set_ring(harness::ring(&*world.memory).await?);
        let connectors: Vec<_> = plan.providers.iter().map(|habits| habits.name).collect();
        let slot = |(provider, connector): (usize, &'static str), user: &'static str| Slot {
            provider,
            connector,
            user,
            key: harness::key(connector, user),
        };
        let slots = connectors.iter().copied().enumerate();
        let slots = slots
            .flat_map(|at| plan.users.iter().map(move |user| slot(at, user)))
            .collect();
        let next_beat = plan.heartbeat;
        let mut service = Self {
            world,
            plan,
            dice,
            seed,
            catalogue,
            replicas: Vec::new(),
            slots,
            callers: Vec::new(),
            tasks: JoinSet::new(),
            spells: Vec::new(),
            next_beat,
            next_work: Duration::ZERO,
            works_since: None,
        };
        for number in 0..service.plan.replicas {
            let replica = service.boot(number, 0, Arc::default()).await?;
            service.replicas.push(replica);
        }
        let engine = Arc::clone(&service.replicas[0].running.engine);
        harness::furnish(&*service.world.memory, &engine, &connectors).await?;
        for slot in service.slots.clone() {
            service.spawn_connect(&slot);
        }
        service.pass(Duration::from_secs(5)).await;
        let chances = service.plan.chances;
        service.world.change_weather(|weather| weather.chances = chances);
        Ok(service)
    }

    /// The world.
    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The first connection that may be.
    pub(crate) fn slot(&self) -> Slot {
        self.slots[0].clone()
    }

    /// Does what the plan says, and then lets everything work again.
    pub async fn run(&mut self) -> Result<()> {
        for _ in 0..self.plan.steps {
            let op = self.plan.op(&self.dice);
            self.world.ledger.count(&format!("op {op:?}"));
            self.step(op).await?;
            if self.plan.reconnects {
                self.reconnect_some();
            }
            let pause = if self.dice.happens(700) {
                self.dice.millis(0, 60)
            } else {
                self.dice.millis(0, 4_000)
            };
            self.pass(pause).await;
            if !self.world.ledger.violations().is_empty() {
                return Ok(());
            }
        }
        self.settle().await
    }

    /// Starts a process of a replica.
    async fn boot(&self, number: usize, life: u32, disk: Arc<Disk>) -> Result<Replica> {
        let process = Arc::new(Process::start(self.world.time, number, life));
        let clock = Arc::new(WallClock::right(self.world.time));
        clock.set_ahead(self.plan.ahead[number]);
        let link = Link::new(Arc::clone(&self.world), Arc::clone(&process));
        if !disk.is_empty() {
            self.world.ledger.count("start with kept pairs");
        }
        self.world
            .trace
            .line(format_args!("{process:?} starts with {} kept pairs", disk.len()));
        let (world, disk_of) = (Arc::clone(&self.world), Arc::clone(&disk));
        let running = harness::engine(Surroundings {
            store: Arc::new(Layered::new(link, Arc::clone(&self.world.store))),
            wire: Arc::new(Net::new(Arc::clone(&self.world), Arc::clone(&process))),
            journal: Arc::new(DiskJournal::new(world, Arc::clone(&process), disk_of)),
            clock: Arc::clone(&clock) as _,
            seed: Dice::new(self.seed, &format!("{process:?}")).number(),
            vault: harness::vault(&*self.world.memory, &*clock).await?,
            catalogue: self.catalogue.clone(),
            cache_max_age: self.plan.cache_max_age,
            refreshes_ahead: self.plan.refreshes_ahead,
        });
        let running = Arc::new(running.await?);
        Ok(Replica {
            process,
            clock,
            running,
            disk,
            is_stopping: false,
            chores: Vec::new(),
            starts_at: None,
            resumes_at: None,
            dies_at: None,
            reconnects_at: None,
        })
    }

    /// Lets time pass, with everything that happens by itself meanwhile.
    pub(crate) async fn pass(&mut self, span: Duration) {
        let end = self.world.time.elapsed() + span;
        loop {
            self.tend().await;
            let now = self.world.time.elapsed();
            if now >= end || !self.world.ledger.violations().is_empty() {
                return;
            }
            let next = self
                .next_event()
                .unwrap_or(end)
                .clamp(now + Duration::from_millis(1), end);
            tokio::time::sleep(next.saturating_sub(now)).await;
        }
    }

    fn next_event(&self) -> Option<Duration> {
        let of_replicas = self
            .replicas
            .iter()
            .flat_map(|r| [r.starts_at, r.resumes_at, r.dies_at, r.reconnects_at]);
        let of_spells = self.spells.iter().map(|(_, until)| Some(*until));
        of_replicas
            .chain(of_spells)
            .chain([self.next_beat, Some(self.next_work)])
            .flatten()
            .min()
    }

    /// Does what is due.
    async fn tend(&mut self) {
        let now = self.world.time.elapsed();
        self.end_spells(now);
        for number in 0..self.replicas.len() {
            self.tend_replica(number, now).await;
        }
        if self.next_beat.is_some_and(|at| at <= now) {
            self.next_beat = self.plan.heartbeat.map(|every| now + every);
            let slot = self.dice.pick(&self.slots).clone();
            if let Some(number) = self.any_running() {
                self.spawn_ask(number, &slot, None);
            }
        }
        if self.next_work <= now {
            self.next_work = now + self.plan.work_every();
            self.work();
        }
        self.reap();
        let is_well = |replica: &Replica| replica.serves() && !replica.process.is_cut_off();
        if self.spells.is_empty() && self.world.weather().chances.are_mild() && self.replicas.iter().all(is_well) {
            let since = *self.works_since.get_or_insert(now);
            self.world.ledger.judge_intents(since, self.world.time.now());
        } else {
            self.works_since = None;
        }
    }

    fn end_spells(&mut self, now: Duration) {
        let (over, rest): (Vec<_>, Vec<_>) = self.spells.drain(..).partition(|(_, until)| *until <= now);
        self.spells = rest;
        for (spell, _) in over {
            self.world.trace.line(format_args!("{spell:?} is over"));
            self.world.change_weather(|weather| match spell {
                Spell::StoreDown => weather.store_is_down = false,
                Spell::ProviderDown(provider) => weather.skies[provider].is_down = false,
                Spell::Mistaken(provider) => weather.skies[provider].is_mistaken = false,
            });
        }
    }

    async fn tend_replica(&mut self, number: usize, now: Duration) {
        self.notice(number);
        let replica = &mut self.replicas[number];
        if replica.resumes_at.is_some_and(|at| at <= now) {
            replica.resumes_at = None;
            self.world.trace.line(format_args!("{:?} goes on", replica.process));
            replica.process.resume();
        }
        if replica.dies_at.is_some_and(|at| at <= now) {
            replica.dies_at = None;
            replica.process.kill();
            self.notice(number);
            return;
        }
        if replica.reconnects_at.is_some_and(|at| at <= now) {
            replica.reconnects_at = None;
            self.world
                .trace
                .line(format_args!("{:?} reaches the store again", replica.process));
            replica.process.reconnect();
        }
        if replica.starts_at.is_some_and(|at| at <= now) {
            let (life, disk) = (replica.process.life + 1, Arc::clone(&replica.disk));
            match self.boot(number, life, disk).await {
                Ok(replica) => self.replicas[number] = replica,
                Err(error) => self
                    .world
                    .ledger
                    .violates("unexpected", format_args!("no start: {error:#}")),
            }
        }
    }

    /// What runs beside requests, on every replica; what is under way is not begun again.
    fn work(&mut self) {
        for (number, chore) in (0..self.replicas.len()).flat_map(|n| Chore::ALL.map(|chore| (n, chore))) {
            let replica = &mut self.replicas[number];
            let is_under_way = |(done, task): &(Chore, AbortHandle)| *done == chore && !task.is_finished();
            if !replica.serves() || replica.chores.iter().any(is_under_way) {
                continue;
            }
            let engine = Arc::clone(&replica.running.engine);
            let world = Arc::clone(&self.world);
            let task = self.tasks.spawn(async move {
                if let Err(error) = harness::work(&engine, chore).await
                    && !harness::may_be_told(&error)
                {
                    world
                        .ledger
                        .violates("unexpected", format_args!("{chore:?}: {:#}", harness::told(&error)));
                }
            });
            replica.chores.retain(|(done, _)| *done != chore);
            replica.chores.push((chore, task));
        }
    }

    /// Callers that are done go home; one that panicked tells.
    fn reap(&mut self) {
        while let Some(done) = self.tasks.try_join_next() {
            if let Err(error) = done
                && error.is_panic()
            {
                self.world
                    .ledger
                    .violates("unexpected", format_args!("a panic: {error}"));
            }
        }
        self.callers.retain(|caller| {
            if caller.process.is_dead() {
                caller.task.abort();
            }
            !caller.task.is_finished() && !caller.process.is_dead()
        });
    }

    fn any_running(&self) -> Option<usize> {
        let running: Vec<_> = (0..self.replicas.len())
            .filter(|n| self.replicas[*n].serves())
            .collect();
        (!running.is_empty()).then(|| *self.dice.pick(&running))
    }
}
