//! One run: sets the world up, does what the plan says, lets everything work again, and checks what is there.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use valetkey_spec::Catalogue;
use valetkey_store::Store;

use crate::clock::{Time, WallClock};
use crate::dice::Dice;
use crate::layer::Layered;
use crate::ledger::{Ledger, Tally, Terms, Violation};
use crate::plan::Plan;
use crate::provider::Provider;
use crate::sabotage::{Flaw, Saboteur};
use crate::scene::Scene;
use crate::service::Service;
use crate::store::MemoryStore;
use crate::trace::{Keep, Trace};
use crate::weather::{Sky, Weather};
use crate::world::{Parts, World};

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which run.
    pub seed: u64,
    /// How much of its trace is kept.
    pub keep: Keep,
    /// What is broken on purpose.
    pub flaw: Option<Flaw>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which run.
    pub seed: u64,
    /// What must not have happened.
    pub violations: Vec<Violation>,
    /// The digest of the trace.
    pub digest: String,
    /// The trace, as far as it was kept.
    pub trace: String,
    /// How often what happened.
    pub tally: Tally,
}

/// Makes a run. The catalogue is the same for all of them.
pub fn run(options: Options, catalogue: &Catalogue) -> Result<Report> {
    runtime(options.seed)?.block_on(async {
        let dice = Dice::new(options.seed, "plan");
        let plan = Plan::draw(&dice);
        let world = build(&plan, options)?;
        let _log = (options.keep == Keep::All).then(|| world.trace.show_log());
        world.trace.line(format_args!("seed {}: {plan:?}", options.seed));
        let mut service = Service::start(Arc::clone(&world), plan, dice, options.seed, catalogue.clone()).await?;
        service.run().await?;
        Ok(Report {
            seed: options.seed,
            violations: world.ledger.violations(),
            digest: world.trace.digest(),
            trace: world.trace.text(),
            tally: world.ledger.tally(),
        })
    })
}

/// Plays a scene: what happens is written down, and judged by the same rules as a run. What was violated.
pub fn play<F>(plan: Plan, catalogue: &Catalogue, act: impl FnOnce(Scene) -> F) -> Result<Vec<Violation>>
where
    F: Future<Output = Result<Scene>>,
{
    let options = Options {
        seed: 0,
        keep: Keep::All,
        flaw: None,
    };
    runtime(options.seed)?.block_on(async {
        let world = build(&plan, options)?;
        let _log = world.trace.show_log();
        let dice = Dice::new(options.seed, "plan");
        let service = Service::start(world, plan, dice, options.seed, catalogue.clone()).await?;
        let scene = act(Scene::new(service)).await?;
        scene.end().await
    })
}

fn runtime(seed: u64) -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    // Without it `select!` would decide by true chance. It is there in builds with the flag of `.cargo/config.toml`.
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    #[cfg(not(tokio_unstable))]
    let _ = seed;
    builder.build().context("a runtime")
}

/// The world of a plan, before anybody starts in it.
pub fn build(plan: &Plan, options: Options) -> Result<Arc<World>> {
    let time = Time::begin();
    let trace = Arc::new(Trace::new(time, options.keep));
    let providers: Vec<_> = plan.providers.iter().cloned().map(Provider::new).collect();
    let providers = Arc::new(Mutex::new(providers));
    let terms = Terms {
        cache_max_age: plan.cache_max_age,
        skew: plan.skew(),
        looked_after: plan.refreshes_ahead.then(|| plan.work_every()),
    };
    let ledger = Arc::new(Ledger::new(time, Arc::clone(&trace), terms, Arc::clone(&providers)));
    let clock = Arc::new(WallClock::right(time));
    let memory = Arc::new(MemoryStore::watched(clock, Arc::clone(&ledger) as _));
    let store: Arc<dyn Store> = match options.flaw {
        None => Arc::clone(&memory) as _,
        Some(flaw) => {
            let saboteur = Saboteur::new(flaw, Arc::clone(&memory));
            Arc::new(Layered::new(saboteur, Arc::clone(&memory) as _))
        }
    };
    let weather = Weather {
        skies: vec![Sky::default(); plan.providers.len()],
        ..Weather::default()
    };
    Ok(Arc::new(World::new(Parts {
        time,
        trace,
        ledger,
        memory,
        store,
        providers,
        weather,
        seed: options.seed,
        flaw: options.flaw,
    })))
}
