//! `sim run`: many seeds, or one with its trace.

use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Result, anyhow, bail};
use clap::{Parser, Subcommand};
use valetkey_sim::harness;
use valetkey_sim::ledger::Tally;
use valetkey_sim::run::{Options, Report, run};
use valetkey_sim::sabotage::Flaw;
use valetkey_sim::trace::Keep;
use valetkey_spec::Catalogue;

/// The deterministic simulation of valetkey.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes runs and says which of them broke a rule.
    Run(Run),
}

#[derive(clap::Args)]
struct Run {
    /// Makes the runs of these seeds: `0..1000`.
    #[arg(long, value_name = "FROM..TO", value_parser = range, conflicts_with = "seed")]
    seeds: Option<Range<u64>>,
    /// Makes one run.
    #[arg(long)]
    seed: Option<u64>,
    /// Shows everything that happens in it, with the engine's own log.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Goes on after a run that broke a rule.
    #[arg(long)]
    keep_going: bool,
    /// Breaks something on purpose: `no-lease`, `no-intent`, `no-compare-and-set`, `stale-read`,
    /// `forgetful-journal`, `lying-wire`.
    #[arg(long, value_parser = flaw)]
    flaw: Option<Flaw>,
    /// Says how often what happened.
    #[arg(long)]
    tally: bool,
    /// How many runs are made at the same time; each is on one thread.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

fn range(text: &str) -> Result<Range<u64>> {
    let (from, to) = text.split_once("..").ok_or_else(|| anyhow!("write it as 0..1000"))?;
    Ok(from.parse()?..to.parse()?)
}

fn flaw(text: &str) -> Result<Flaw> {
    let known = Flaw::ALL.iter().find(|(name, _)| *name == text);
    known
        .map(|(_, flaw)| *flaw)
        .ok_or_else(|| anyhow!("there is no such flaw"))
}

fn main() -> ExitCode {
    let Command::Run(args) = Args::parse().command;
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("sim: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Run) -> Result<()> {
    let catalogue = harness::catalogue()?;
    match (&args.seed, &args.seeds) {
        (Some(seed), _) => one(*seed, args, &catalogue),
        (None, Some(seeds)) => many(seeds.clone(), args, &catalogue),
        (None, None) => bail!("say which: --seed or --seeds"),
    }
}

fn one(seed: u64, args: &Run, catalogue: &Catalogue) -> Result<()> {
    let keep = if args.trace { Keep::All } else { Keep::Tail };
    let flaw = args.flaw;
    let report = run(Options { seed, keep, flaw }, catalogue)?;
    if args.trace || !report.violations.is_empty() {
        say(&report.trace);
    }
    say(&format!("seed {seed}: {}", report.digest));
    if report.violations.is_empty() {
        return Ok(());
    }
    bail!("{}", broken(&report))
}

fn many(seeds: Range<u64>, args: &Run, catalogue: &Catalogue) -> Result<()> {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let found: Mutex<Vec<Report>> = Mutex::default();
    let tally: Mutex<Tally> = Mutex::default();
    let work = || -> Result<u64> {
        let mut done = 0;
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let keep = Keep::Tail;
            let report = run(
                Options {
                    seed,
                    keep,
                    flaw: args.flaw,
                },
                catalogue,
            )?;
            done += 1;
            if args.tally {
                let mut tally = tally.lock().map_err(|_| anyhow!("a run panicked"))?;
                for (what, times) in &report.tally {
                    *tally.entry(what.clone()).or_default() += times;
                }
            }
            if !report.violations.is_empty() {
                say(&broken(&report));
                found.lock().map_err(|_| anyhow!("a run panicked"))?.push(report);
                stop.store(!args.keep_going, Ordering::Relaxed);
            }
        }
        Ok(done)
    };
    let done = std::thread::scope(|scope| -> Result<u64> {
        let workers: Vec<_> = (0..args.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let counts = workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| anyhow!("a run panicked"))?);
        counts.sum()
    })?;
    for (what, times) in tally.into_inner().map_err(|_| anyhow!("a run panicked"))? {
        say(&format!("{times:>10}  {what}"));
    }
    let found = found.into_inner().map_err(|_| anyhow!("a run panicked"))?;
    match found.iter().min_by_key(|report| report.seed) {
        None => {
            say(&format!("{done} runs, and no rule was broken"));
            Ok(())
        }
        Some(first) => {
            if !args.keep_going {
                say(&first.trace);
            }
            bail!(
                "{} of {done} runs broke a rule; see one with `sim run --seed {} --trace`",
                found.len(),
                first.seed
            )
        }
    }
}

fn broken(report: &Report) -> String {
    let rules: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    format!("seed {}: {}", report.seed, rules.join("; "))
}

/// Tells the person. A closed pipe is their decision.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
