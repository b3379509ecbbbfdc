//! `cargo xtask sim`: the simulation's own tests, then as many runs as asked for. `sim/` is a workspace of its own, built
//! into `target/sim`; it has its own flags in `sim/.cargo/config.toml`, so its commands run in its directory.

use anyhow::{Context as _, Result};
use cargo_metadata::camino::Utf8PathBuf;

use crate::shell::{Workspace, works};

/// What a change is tested with: about half a minute on two cores.
pub(crate) const SEEDS: u64 = 1_000;

/// The command line: `--seeds N`.
pub(crate) fn seeds(args: &[&str]) -> Result<u64> {
    match args {
        [] => Ok(SEEDS),
        ["--seeds", number] => number
            .parse()
            .with_context(|| format!("--seeds {number}: must be a number")),
        _ => anyhow::bail!("cargo xtask sim [--seeds N]"),
    }
}

pub(crate) fn run(workspace: &Workspace, seeds: u64) -> Result<()> {
    let cargo = |args: &[&str]| workspace.run_in(&dir(workspace), "cargo", args, &[]);
    if works("cargo", &["nextest", "--version"]) {
        cargo(&["nextest", "run"])?;
    } else {
        cargo(&["test", "--no-fail-fast"])?;
    }
    let range = format!("0..{seeds}");
    cargo(&["run", "--quiet", "--", "run", "--seeds", &range])
}

/// The checks of `cargo xtask ci` that the main workspace has too.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let cargo = |args: &[&str]| workspace.run_in(&dir(workspace), "cargo", args, &[]);
    cargo(&["fmt", "--check"])?;
    cargo(&["clippy", "--all-targets", "--", "-D", "warnings"])
}

fn dir(workspace: &Workspace) -> Utf8PathBuf {
    workspace.root().join("sim")
}
