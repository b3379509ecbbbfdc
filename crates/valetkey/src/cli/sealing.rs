//! The keys that seal, at the command line: for a store that no server holds, or that several may open.

use std::io::IsTerminal as _;

use anyhow::{Result, anyhow};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use valetkey_engine::{Caller, Engine, Exchange, Pass, Tally};
use valetkey_seal::KeySource as _;

use super::{Settings, say};
use crate::app::{self, Core, Refusal};
use crate::config::Config;
use crate::master::{Found, NewMaster};
use crate::system::SystemRng;
use crate::telemetry;

/// How many rows are read at once. Nobody else wants the store here.
const PAGE: u32 = 500;

/// How many of them are worked on at the same time: as many as may share one write to the disk.
const AT_ONCE: usize = 64;

/// What can be done about the keys that seal.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show which keys open the store and which one seals.
    Status(Settings),
    /// Let a new master key open the store, too, and seal with a new data key from now on.
    RotateMaster {
        #[command(flatten)]
        settings: Settings,
        /// The file of the new master key; it is made if it does not exist. Without it, the settings `new_master_key` and
        /// `new_master_key_file` say.
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<String>,
    },
    /// Seal with a new data key from now on.
    RotateData(Settings),
    /// Let only the master key in use open the store, once every process uses the new one.
    RetireMaster {
        #[command(flatten)]
        settings: Settings,
        /// Take the exchange back: the new master key is retired instead of the old one.
        #[arg(long)]
        undo: bool,
    },
    /// Seal everything again that is sealed under an older data key. A running server does so by itself.
    Reseal {
        #[command(flatten)]
        settings: Settings,
        /// Only count what would be sealed again.
        #[arg(long)]
        dry_run: bool,
    },
}

impl Command {
    fn config(&self) -> Result<Config> {
        match self {
            Self::RotateMaster {
                settings,
                new_key_file: Some(file),
            } => {
                let mut settings = settings.clone();
                settings.set.push(format!("new_master_key_file={file}"));
                settings.read()
            }
            Self::Status(settings)
            | Self::RotateData(settings)
            | Self::RotateMaster { settings, .. }
            | Self::RetireMaster { settings, .. }
            | Self::Reseal { settings, .. } => settings.read(),
        }
    }

    /// What to call instead when a server has the data directory.
    fn at_the_server(&self) -> &'static str {
        match self {
            Self::Status(_) => "ask the server that runs on it: GET /api/security/sealing",
            Self::RotateMaster { .. } => {
                "tell the server that runs on it: POST /api/security/sealing/_rotate with {\"key\": \"master\"}"
            }
            Self::RotateData(_) => {
                "tell the server that runs on it: POST /api/security/sealing/_rotate with {\"key\": \"data\"}"
            }
            Self::RetireMaster { undo: false, .. } => {
                "tell the server that runs on it: POST /api/security/sealing/_retire with {}"
            }
            Self::RetireMaster { undo: true, .. } => {
                "tell the server that runs on it: POST /api/security/sealing/_retire with {\"undo\": true}"
            }
            Self::Reseal { .. } => {
                "the server that runs on it does this by itself: GET /api/security/sealing shows how far it is"
            }
        }
    }
}

/// Runs one of them.
pub(super) async fn run(command: Command) -> Result<()> {
    let config = command.config()?;
    let core = app::build_core(&config)
        .await
        .map_err(|error| match error.downcast::<Refusal>() {
            Ok(Refusal::NotNow(text)) => Refusal::NotNow(format!("{text}; {}", command.at_the_server())).into(),
            Ok(other) => other.into(),
            Err(error) => error,
        })?;
    super::report_restored(&core)?;
    let done = execute(&command, &config, &core).await;
    core.engine.flush_audit().await?;
    core.place.close();
    done
}

async fn execute(command: &Command, config: &Config, core: &Core) -> Result<()> {
    let (engine, operator) = (&core.engine, Caller::operator());
    match command {
        Command::Status(_) => status(engine).await,
        Command::RotateMaster { .. } => rotate_master(config, engine).await,
        Command::RotateData(_) => {
            let data_key = engine.rotate_data_key(&operator).await?;
            say(&format!("data key {data_key} seals from now on"))
        }
        Command::RetireMaster { undo, .. } => {
            let retired = engine.retire_master(&operator, *undo).await?;
            if retired.is_empty() {
                return say("only the master key in use opens the store; there is nothing to retire");
            }
            say(&format!("retired: {}", retired.join(" and ")))?;
            say("keep a retired master key for as long as you keep backups from before")
        }
        Command::Reseal { dry_run, .. } => reseal(engine, *dry_run).await,
    }
}

async fn status(engine: &Engine) -> Result<()> {
    let view = engine.sealing_view(&Caller::operator()).await?;
    for key in &view.master_keys {
        let in_use = if key.in_use { "\tin use" } else { "" };
        say(&format!("master key\t{}\tsince {}{in_use}", key.name, key.since))?;
    }
    for key in &view.data_keys {
        let seals = if key.seals { "\tseals" } else { "" };
        say(&format!("data key\t{}\tmade {}{seals}", key.id, key.created_at))?;
    }
    match view.restored_at {
        Some(at) => say(&format!("put back from a backup\t{at}")),
        None => Ok(()),
    }
}

async fn rotate_master(config: &Config, engine: &Engine) -> Result<()> {
    let Found { key, file, made } = NewMaster::of(config).find(&SystemRng).map_err(Refusal::Configuration)?;
    if let Some(file) = file.as_ref().filter(|_| made) {
        say(&format!(
            "made {} (mode 0600): the new master key. Keep a copy where you keep the one of the old one",
            file.display()
        ))?;
    }
    match engine.rotate_master(&Caller::operator(), &key).await? {
        Exchange::Begun(data_key) => say(&format!(
            "the master key {} opens the store from now on, beside the one in use; data key {data_key} seals",
            key.id()
        ))?,
        Exchange::Prepared(_) => say(&format!(
            "the master key {} opens the store already; nothing was changed",
            key.id()
        ))?,
    }
    say("next: start every process with the new master key, then run `valetkey keys retire-master`")
}

async fn reseal(engine: &Engine, dry_run: bool) -> Result<()> {
    // What does not open is named there; nothing else is said.
    let _logs = telemetry::start("error")?;
    let mut survey = engine.reseal_pass(true);
    while !survey.is_over() {
        engine.reseal_page(&mut survey, PAGE, 1).await?;
    }
    let pass = if dry_run {
        survey
    } else {
        let behind = survey.connectors().behind + survey.connections().behind;
        seal_again(engine, behind).await?
    };
    say(&format!("connectors: {}", describe(pass.connectors(), dry_run)))?;
    say(&format!("connections: {}", describe(pass.connections(), dry_run)))?;
    match pass.connectors().unreadable + pass.connections().unreadable {
        0 => Ok(()),
        number => Err(anyhow!(
            "{number} rows have values that do not open; they stay as they are"
        )),
    }
}

async fn seal_again(engine: &Engine, behind: u64) -> Result<Pass> {
    let progress = Progress::new(behind)?;
    let mut pass = engine.reseal_pass(false);
    while !pass.is_over() {
        engine.reseal_page(&mut pass, PAGE, AT_ONCE).await?;
        progress.show(pass.connectors().behind + pass.connections().behind)?;
    }
    progress.end();
    Ok(pass)
}

fn describe(tally: Tally, dry_run: bool) -> String {
    let Tally {
        seen,
        behind,
        resealed,
        changed,
        unreadable,
    } = tally;
    if dry_run {
        return format!("{seen} looked at, {behind} under an older data key, {unreadable} of them do not open");
    }
    format!(
        "{seen} looked at, {behind} under an older data key: {resealed} sealed again, {changed} changed meanwhile, \
         {unreadable} do not open"
    )
}

/// How far it is: a bar on a terminal, else a line now and then.
struct Progress {
    bar: Option<ProgressBar>,
    all: u64,
    /// The tenths that were told.
    told: std::cell::Cell<u64>,
}

impl Progress {
    fn new(all: u64) -> Result<Self> {
        let visible = all > 0 && std::io::stderr().is_terminal();
        let bar = visible.then(|| ProgressBar::new(all));
        if let Some(bar) = &bar {
            bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}")?);
        }
        Ok(Self {
            bar,
            all,
            told: std::cell::Cell::new(0),
        })
    }

    fn show(&self, done: u64) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return Ok(());
        }
        let tenths = (done * 10).checked_div(self.all).unwrap_or_default();
        if tenths > self.told.replace(tenths) {
            say(&format!("{done} of {}", self.all))?;
        }
        Ok(())
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
